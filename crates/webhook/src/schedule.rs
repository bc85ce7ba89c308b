//! When a delivery is tried again, and when an endpoint is given up.

use std::time::Duration;

use genesys_api::retry;
use http::{HeaderMap, StatusCode};
use time::OffsetDateTime;

/// How long to wait before each attempt, the first included: the example schedule of Standard Webhooks 1.0.0. All
/// together they are 75 hours and 35 minutes; each is stretched or shortened by up to a fifth.
pub const SCHEDULE: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(5 * HOUR),
    Duration::from_secs(10 * HOUR),
    Duration::from_secs(14 * HOUR),
    Duration::from_secs(20 * HOUR),
    Duration::from_secs(24 * HOUR),
];

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// An endpoint is disabled when nothing but failures came from it for this long, as Svix does.
const PATIENCE: time::Duration = time::Duration::days(5);
/// And when there were at least this many, so that two attempts with a week between them are not five days of
/// failures. Our choice.
const FAILURES: u32 = 5;
/// How long a throttling endpoint that names no time is left in peace. Our choice.
const REST: Duration = Duration::from_secs(30);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint answered.
    Answered {
        /// Its status.
        status: StatusCode,
        /// What `Retry-After` asks for, at most 5 minutes.
        retry_after: Option<Duration>,
    },
    /// There was no complete answer.
    Failed(Failure),
}

impl Outcome {
    /// The outcome of an answer. `utc` is needed for a `Retry-After` that is a date.
    #[must_use]
    pub fn answered(status: StatusCode, headers: &HeaderMap, utc: OffsetDateTime) -> Self {
        Self::Answered {
            status,
            retry_after: retry::retry_after(headers, utc),
        }
    }

    /// Whether the message arrived: any 2xx. A redirect is not followed, and so has delivered nothing.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        matches!(self, Self::Answered { status, .. } if status.is_success())
    }
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The name leads to addresses that deliveries may not go to.
    #[error("the endpoint has no address that deliveries may go to")]
    Blocked,
    /// The connection ended before the answer was complete.
    #[error("the endpoint closed the connection before its answer was complete")]
    Closed,
    /// Nobody accepts connections there, or the name is unknown.
    #[error("the endpoint cannot be connected to")]
    Connect,
    /// What answers there speaks no HTTP.
    #[error("the endpoint did not answer in HTTP")]
    Protocol,
    /// No answer in time.
    #[error("the endpoint did not answer in time")]
    Timeout,
    /// The certificate is not trusted, or TLS failed otherwise.
    #[error("the endpoint's certificate is not trusted, or TLS failed")]
    Tls,
    /// The answer is larger than is read.
    #[error("the endpoint's answer is too large")]
    TooLarge,
}

/// What to do with the message, and with its endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It arrived. Forget it.
    Delivered,
    /// Try again.
    RetryAt {
        /// When.
        at: OffsetDateTime,
        /// The endpoint is overwhelmed: send it nothing at all before this time.
        rest_until: Option<OffsetDateTime>,
    },
    /// The schedule is exhausted. Keep the message for a person to replay.
    Dead,
    /// Send nothing more to this endpoint. Keep the message for a person to replay.
    DisableEndpoint(DisableReason),
}

/// Why an endpoint is disabled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DisableReason {
    /// Nothing but failures for five days.
    Failing,
    /// It answered 410: it does not want to hear of us again.
    Gone,
}

/// What an endpoint's answers have been like. It is small and `Copy`; a store keeps its two values.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EndpointHealth {
    failing_since: Option<OffsetDateTime>,
    failures: u32,
}

impl EndpointHealth {
    /// The health that a store remembers.
    #[must_use]
    pub fn restored(failing_since: Option<OffsetDateTime>, failures: u32) -> Self {
        Self {
            failing_since,
            failures,
        }
    }

    /// Takes note of how attempt number `attempt` of a message ended, counted from 1, and decides what follows.
    /// `random` is any fresh random number.
    pub fn handle_outcome(
        &mut self,
        attempt: u32,
        outcome: &Outcome,
        now: OffsetDateTime,
        random: u64,
    ) -> Verdict {
        if outcome.is_delivered() {
            *self = Self::default();
            return Verdict::Delivered;
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let asked = match outcome {
            Outcome::Answered { status, .. } if *status == StatusCode::GONE => {
                return Verdict::DisableEndpoint(DisableReason::Gone);
            }
            Outcome::Answered { retry_after, .. } => *retry_after,
            Outcome::Failed(_) => None,
        };
        if self.failures >= FAILURES && now - since >= PATIENCE {
            return Verdict::DisableEndpoint(DisableReason::Failing);
        }
        let Some(wait) = SCHEDULE.get(attempt.max(1) as usize) else {
            return Verdict::Dead;
        };
        let rest = is_throttled(outcome).then(|| asked.unwrap_or(REST));
        let wait = jittered(*wait, random).max(asked.or(rest).unwrap_or_default());
        Verdict::RetryAt {
            at: now + wait,
            rest_until: rest.map(|rest| now + rest),
        }
    }

    /// Since when there were only failures.
    #[must_use]
    pub fn failing_since(&self) -> Option<OffsetDateTime> {
        self.failing_since
    }

    /// How many failures there were since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// Standard Webhooks: 429, 502 and 504 mean that the endpoint is overwhelmed. So does 503 if it names a time.
fn is_throttled(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered { status, retry_after } => match *status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => true,
            StatusCode::SERVICE_UNAVAILABLE => retry_after.is_some(),
            _ => false,
        },
        Outcome::Failed(_) => false,
    }
}

/// Between four and six fifths of `wait`.
fn jittered(wait: Duration, random: u64) -> Duration {
    let fifth = wait / 5;
    let spread = (u128::from(random) * (fifth * 2).as_nanos()) >> 64;
    fifth * 4 + Duration::from_nanos(u64::try_from(spread).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::RETRY_AFTER;

    use super::*;

    const MIDDLE: u64 = 1 << 63;

    fn noon() -> OffsetDateTime {
        genesys_api::parse_rfc3339("2026-11-22T12:00:00Z").unwrap()
    }

    fn answered(status: u16, retry_after: Option<&'static str>) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
        }
        Outcome::answered(StatusCode::from_u16(status).unwrap(), &headers, noon())
    }

    fn verdict(attempt: u32, outcome: &Outcome, random: u64) -> Verdict {
        EndpointHealth::default().handle_outcome(attempt, outcome, noon(), random)
    }

    fn wait_of(verdict: Verdict) -> Duration {
        match verdict {
            Verdict::RetryAt { at, .. } => (at - noon()).try_into().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_schedule_has_ten_attempts_in_75_hours() {
        let total: Duration = SCHEDULE.iter().sum();
        assert_eq!(total, Duration::from_secs(75 * HOUR + 35 * MINUTE + 5));
        let failed = answered(500, None);
        for (attempt, wait) in (1..).zip(&SCHEDULE[1..]) {
            assert_eq!(wait_of(verdict(attempt, &failed, MIDDLE)), *wait);
            assert_eq!(wait_of(verdict(attempt, &failed, 0)), *wait * 4 / 5);
            let longest = wait_of(verdict(attempt, &failed, u64::MAX));
            assert!(longest <= *wait * 6 / 5 && longest > *wait * 119 / 100);
        }
        assert_eq!(verdict(10, &failed, 0), Verdict::Dead);
        assert_eq!(verdict(u32::MAX, &failed, 0), Verdict::Dead);
        assert_eq!(
            wait_of(verdict(0, &failed, MIDDLE)),
            SCHEDULE[1],
            "attempts count from 1"
        );
    }

    #[test]
    fn only_2xx_is_a_delivery() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(
                verdict(1, &answered(status, None), 0),
                Verdict::Delivered,
                "{status}"
            );
        }
        for status in [
            100, 300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 422, 500, 501, 503,
        ] {
            let Verdict::RetryAt { rest_until, .. } = verdict(1, &answered(status, None), 0) else {
                panic!("{status}");
            };
            assert_eq!(rest_until, None, "{status}");
        }
        for failure in [
            Failure::Blocked,
            Failure::Connect,
            Failure::Timeout,
            Failure::TooLarge,
        ] {
            assert_eq!(
                wait_of(verdict(1, &Outcome::Failed(failure), MIDDLE)),
                SCHEDULE[1]
            );
        }
    }

    #[test]
    fn gone_disables_the_endpoint_at_once() {
        assert_eq!(
            verdict(1, &answered(410, None), 0),
            Verdict::DisableEndpoint(DisableReason::Gone)
        );
    }

    #[test]
    fn an_overwhelmed_endpoint_is_left_in_peace() {
        for (status, retry_after, wait, rest) in [
            (429, None, 30, Some(30)),
            (502, None, 30, Some(30)),
            (504, None, 30, Some(30)),
            (429, Some("120"), 120, Some(120)),
            (503, Some("Sun, 22 Nov 2026 12:01:00 GMT"), 60, Some(60)),
            (429, Some("999999"), 300, Some(300)),
            (429, Some("soon"), 30, Some(30)),
            (500, Some("60"), 60, None),
            (503, None, 5, None),
        ] {
            assert_eq!(
                verdict(1, &answered(status, retry_after), MIDDLE),
                Verdict::RetryAt {
                    at: noon() + Duration::from_secs(wait),
                    rest_until: rest.map(|rest| noon() + Duration::from_secs(rest)),
                },
                "{status} {retry_after:?}"
            );
        }
        let late = verdict(9, &answered(429, Some("10")), MIDDLE);
        assert_eq!(
            wait_of(late),
            SCHEDULE[9],
            "the schedule is not shortened by what the endpoint asks"
        );
    }

    #[test]
    fn five_days_of_nothing_but_failures_disable_an_endpoint() {
        let failed = Outcome::Failed(Failure::Connect);
        let mut health = EndpointHealth::default();
        let mut tell = |outcome: &Outcome, hours| {
            let now = noon() + time::Duration::hours(hours);
            health.handle_outcome(1, outcome, now, 0)
        };
        for hours in [0, 1, 30, 60] {
            assert!(matches!(tell(&failed, hours), Verdict::RetryAt { .. }));
        }
        assert_eq!(tell(&answered(200, None), 61), Verdict::Delivered);
        for hours in [70, 71, 130, 189] {
            assert!(matches!(tell(&failed, hours), Verdict::RetryAt { .. }), "{hours}");
        }
        assert_eq!(
            tell(&failed, 190),
            Verdict::DisableEndpoint(DisableReason::Failing)
        );
    }

    #[test]
    fn two_failures_a_week_apart_do_not() {
        let failed = Outcome::Failed(Failure::Timeout);
        let mut health = EndpointHealth::default();
        let _ = health.handle_outcome(1, &failed, noon(), 0);
        let kept = EndpointHealth::restored(health.failing_since(), health.failures());
        assert_eq!(kept, health);
        let later = noon() + time::Duration::days(7);
        assert!(matches!(
            health.handle_outcome(1, &failed, later, 0),
            Verdict::RetryAt { .. }
        ));
    }
}
