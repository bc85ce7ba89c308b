//! The retry schedule, and the health of an endpoint.

use std::ops::RangeInclusive;
use std::time::Duration;

use genesys_api::retry;
use http::{HeaderMap, StatusCode};
use time::OffsetDateTime;

/// Default waits before the second and each later attempt, as in Svix. Their sum is 27 hours, 35 minutes and 5 seconds.
const RETRIES: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(5 * HOUR),
    Duration::from_secs(10 * HOUR),
    Duration::from_secs(10 * HOUR),
];

/// Largest number of waits. Our choice.
const MAX_RETRIES: usize = 32;
/// Allowed waits. Our choice.
const WAITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * HOUR);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// An endpoint is disabled after only failures for this long, as in Svix.
const FAILING_LIMIT: time::Duration = time::Duration::days(5);
/// Minimum number of those failures: two failed attempts a week apart do not disable an endpoint. Our choice.
const MIN_FAILURES: u32 = 5;
/// Longest wait that a `Retry-After` can cause.
const LONGEST_WAIT: Duration = Duration::from_secs((7 * 24 + 2) * HOUR);
/// Largest extension of a wait by a `Retry-After`. Our choice.
const MAX_EXTENSION: Duration = Duration::from_secs(2 * HOUR);
/// Latency beyond which an endpoint gets no more deliveries at a time. Our choice: a third of the deadline.
const SLOW: Duration = Duration::from_secs(5);
/// Pause of an overloaded endpoint that sends no `Retry-After`. Our choice.
const DEFAULT_PAUSE: Duration = Duration::from_secs(30);

/// The waits between the attempts of a message. The first attempt is made at once.
///
/// The default makes eight attempts: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h. Each wait gets a
/// jitter of up to a fifth in both directions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// A schedule of 1 to 32 waits, each of 1 s to 7 days.
    ///
    /// # Errors
    /// If the number of waits or a wait is outside these limits.
    pub fn new(retries: impl IntoIterator<Item = Duration>) -> Result<Self, ScheduleError> {
        let retries: Vec<Duration> = retries.into_iter().take(MAX_RETRIES + 1).collect();
        if !(1..=MAX_RETRIES).contains(&retries.len()) {
            return Err(ScheduleError::Number);
        }
        match retries.iter().position(|wait| !WAITS.contains(wait)) {
            Some(position) => Err(ScheduleError::Wait { position }),
            None => Ok(Self(retries)),
        }
    }

    /// The waits before the second and each later attempt, without jitter.
    #[must_use]
    pub fn retries(&self) -> &[Duration] {
        &self.0
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self(RETRIES.into())
    }
}

/// An invalid schedule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// No wait, or more than 32.
    #[error("invalid schedule: give 1 to 32 waits")]
    Number,
    /// A wait that is too short or too long.
    #[error("invalid schedule: the wait at position {position}, from 0, is not between 1 second and 7 days")]
    Wait {
        /// Position of the wait, counted from 0.
        position: usize,
    },
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint sent a complete header section with a final status. The body has no influence.
    Answered {
        /// HTTP status.
        status: StatusCode,
        /// Wait from `Retry-After`, in seconds or until a date, at most 7 days and 2 hours.
        retry_after: Option<Duration>,
    },
    /// There was no complete header section.
    Failed(Failure),
}

impl Outcome {
    /// The outcome of a response. `utc` is the base of a `Retry-After` that is a date.
    #[must_use]
    pub fn answered(status: StatusCode, headers: &HeaderMap, utc: OffsetDateTime) -> Self {
        Self::Answered {
            status,
            retry_after: retry::retry_after_up_to(LONGEST_WAIT, headers, utc),
        }
    }

    /// The load of the endpoint, from the outcome and the time from sending to it. It decides how many deliveries the endpoint
    /// gets at a time.
    #[must_use]
    pub fn load(&self, latency: Duration) -> Load {
        match self {
            Self::Failed(Failure::Timeout) => Load::Hanging,
            Self::Failed(_)
            | Self::Answered {
                status:
                    StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT,
                ..
            } => Load::High,
            Self::Answered { .. } if latency > SLOW => Load::Full,
            Self::Answered { .. } => Load::Low,
        }
    }

    /// The name of the failure, if there is no status.
    #[must_use]
    pub fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Answered { .. } => None,
            Self::Failed(failure) => Some(failure.as_str()),
        }
    }

    /// The HTTP status, if the endpoint answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(status.as_u16()),
            Self::Failed(_) => None,
        }
    }

    /// Whether the receiver may have got the body: all failures after the connection was made leave it unknown.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::Failed(Failure::Blocked | Failure::Connect))
    }
}

/// The load of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Load {
    /// It answered within 5 s: give it one delivery more at a time.
    Low,
    /// It answered late: keep the number of deliveries.
    Full,
    /// It is overloaded or failed: halve the number.
    High,
    /// It did not answer: one delivery at a time.
    Hanging,
}

/// The reason that there is no header section.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The host name resolves to blocked addresses only.
    Blocked,
    /// The connection closed before the header section was complete.
    Closed,
    /// The endpoint refuses connections, or its name does not resolve.
    Connect,
    /// The response is not HTTP, or its header section is too long.
    Protocol,
    /// The deadline passed.
    Timeout,
    /// The certificate is not trusted, or TLS failed otherwise.
    Tls,
}

impl Failure {
    /// Its name in a log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Closed => "closed",
            Self::Connect => "connect",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
        }
    }
}

/// The next step for a message and its endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NextStep {
    /// Remove the message: it was delivered.
    Delivered,
    /// Retry the message.
    RetryAt {
        /// Time of the next attempt.
        at: OffsetDateTime,
        /// Send nothing to this endpoint before this time: it is overloaded.
        pause_until: Option<OffsetDateTime>,
    },
    /// Give the message up: the schedule is exhausted.
    Dead,
    /// Send nothing more to this endpoint, and give the message up.
    DisableEndpoint(DisableReason),
}

/// The reason that an endpoint is disabled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DisableReason {
    /// Only failures for five days.
    Failing,
    /// Status 410: the endpoint refuses all later deliveries.
    Gone,
}

impl DisableReason {
    /// Its name in an audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Gone => "gone",
        }
    }
}

/// The failures of an endpoint since its last success, for a store to persist.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EndpointHealth {
    /// Time of the first failure.
    pub failing_since: Option<OffsetDateTime>,
    /// Number of failures.
    pub failures: u32,
}

impl EndpointHealth {
    /// Records the outcome of attempt number `attempt` of a message, counted from 1, and returns the next step. `random`
    /// is any fresh random number.
    ///
    /// A `Retry-After` extends the wait, at most to two hours more than the wait of the schedule.
    pub fn handle_outcome(
        &mut self,
        schedule: &Schedule,
        attempt: u32,
        outcome: &Outcome,
        now: OffsetDateTime,
        random: u64,
    ) -> NextStep {
        let (status, retry_after) = match *outcome {
            Outcome::Answered { status, retry_after } => (Some(status), retry_after),
            Outcome::Failed(_) => (None, None),
        };
        // redirects are not followed and count as failures
        if status.is_some_and(|status| status.is_success()) {
            *self = Self::default();
            return NextStep::Delivered;
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        if status == Some(StatusCode::GONE) {
            return NextStep::DisableEndpoint(DisableReason::Gone);
        }
        if self.failures >= MIN_FAILURES && now - since >= FAILING_LIMIT {
            return NextStep::DisableEndpoint(DisableReason::Failing);
        }
        let Some(wait) = schedule.0.get(attempt.max(1) as usize - 1) else {
            return NextStep::Dead;
        };
        // Standard Webhooks: these mean that the endpoint is overloaded
        let is_overloaded = match status {
            Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) => {
                true
            }
            Some(StatusCode::SERVICE_UNAVAILABLE) => retry_after.is_some(),
            _ => false,
        };
        let retry_after = retry_after.map(|requested| requested.min(*wait + MAX_EXTENSION));
        let pause = is_overloaded.then(|| retry_after.unwrap_or(DEFAULT_PAUSE));
        let wait = with_jitter(*wait, random).max(retry_after.or(pause).unwrap_or_default());
        NextStep::RetryAt {
            at: now + wait,
            pause_until: pause.map(|pause| now + pause),
        }
    }
}

/// Between four and six fifths of `wait`.
fn with_jitter(wait: Duration, random: u64) -> Duration {
    let fifth = wait / 5;
    fifth * 4 + retry::jitter(fifth * 2, random)
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

    fn next_step(attempt: u32, outcome: &Outcome, random: u64) -> NextStep {
        EndpointHealth::default().handle_outcome(&Schedule::default(), attempt, outcome, noon(), random)
    }

    fn wait_of(step: NextStep) -> Duration {
        match step {
            NextStep::RetryAt { at, .. } => (at - noon()).try_into().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn schedule_has_eight_attempts_in_28_hours() {
        let total: Duration = RETRIES.iter().sum();
        assert_eq!(total, Duration::from_secs(27 * HOUR + 35 * MINUTE + 5));
        let failed = answered(500, None);
        for (attempt, wait) in (1..).zip(&RETRIES) {
            assert_eq!(wait_of(next_step(attempt, &failed, MIDDLE)), *wait);
            assert_eq!(wait_of(next_step(attempt, &failed, 0)), *wait * 4 / 5);
            let longest = wait_of(next_step(attempt, &failed, u64::MAX));
            assert!(longest <= *wait * 6 / 5 && longest > *wait * 119 / 100);
        }
        assert_eq!(next_step(8, &failed, 0), NextStep::Dead);
        assert_eq!(next_step(u32::MAX, &failed, 0), NextStep::Dead);
        assert_eq!(
            wait_of(next_step(0, &failed, MIDDLE)),
            RETRIES[0],
            "attempts count from 1"
        );
    }

    #[test]
    fn schedule_is_configurable_within_limits() {
        let schedule = Schedule::new([60, 7 * 24 * HOUR].map(Duration::from_secs)).unwrap();
        let step = |attempt, outcome| {
            let mut health = EndpointHealth::default();
            health.handle_outcome(&schedule, attempt, &outcome, noon(), MIDDLE)
        };
        assert_eq!(wait_of(step(1, answered(500, None))), schedule.retries()[0]);
        assert_eq!(wait_of(step(2, answered(500, None))), schedule.retries()[1]);
        assert_eq!(step(3, answered(500, None)), NextStep::Dead);
        // up to the next wait and two hours
        let longest = schedule.retries()[1] + MAX_EXTENSION;
        assert_eq!(wait_of(step(2, answered(429, Some("9999999")))), longest);

        assert_eq!(Schedule::new([]), Err(ScheduleError::Number));
        let many = |number| Schedule::new(vec![Duration::from_secs(1); number]);
        assert!(many(32).is_ok());
        assert_eq!(many(33), Err(ScheduleError::Number));
        for wait in [
            Duration::ZERO,
            Duration::from_millis(999),
            *WAITS.end() + Duration::from_nanos(1),
        ] {
            let waits = [Duration::from_secs(5), wait];
            assert_eq!(
                Schedule::new(waits),
                Err(ScheduleError::Wait { position: 1 }),
                "{wait:?}"
            );
        }
    }

    #[test]
    fn delivery_requires_a_2xx_status() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(
                next_step(1, &answered(status, None), 0),
                NextStep::Delivered,
                "{status}"
            );
        }
        for status in [
            100, 300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 422, 500, 501, 503,
        ] {
            let NextStep::RetryAt { pause_until, .. } = next_step(1, &answered(status, None), 0) else {
                panic!("{status}");
            };
            assert_eq!(pause_until, None, "{status}");
        }
        for failure in [
            Failure::Blocked,
            Failure::Connect,
            Failure::Timeout,
            Failure::Closed,
        ] {
            assert_eq!(
                wait_of(next_step(1, &Outcome::Failed(failure), MIDDLE)),
                RETRIES[0]
            );
        }
    }

    #[test]
    fn load_follows_outcome_and_latency() {
        let fast = Duration::from_millis(500);
        for (outcome, latency, load) in [
            (answered(200, None), fast, Load::Low),
            (answered(404, None), fast, Load::Low),
            (answered(200, None), SLOW * 2, Load::Full),
            (answered(429, None), fast, Load::High),
            (answered(503, None), fast, Load::High),
            (Outcome::Failed(Failure::Connect), fast, Load::High),
            (Outcome::Failed(Failure::Timeout), fast, Load::Hanging),
        ] {
            assert_eq!(outcome.load(latency), load, "{outcome:?} {latency:?}");
        }
    }

    #[test]
    fn status_410_disables_endpoint_at_once() {
        assert_eq!(
            next_step(1, &answered(410, None), 0),
            NextStep::DisableEndpoint(DisableReason::Gone)
        );
    }

    #[test]
    fn overloaded_endpoint_is_paused() {
        for (status, retry_after, wait, pause) in [
            (429, None, 30, Some(30)),
            (502, None, 30, Some(30)),
            (504, None, 30, Some(30)),
            (429, Some("120"), 120, Some(120)),
            (503, Some("Sun, 22 Nov 2026 12:01:00 GMT"), 60, Some(60)),
            (429, Some("3600"), 3_600, Some(3_600)),
            (503, Some("Sun, 22 Nov 2026 13:00:00 GMT"), 3_600, Some(3_600)),
            // the next step and two hours
            (429, Some("999999"), 7_205, Some(7_205)),
            (503, Some("Fri, 01 Jan 2027 00:00:00 GMT"), 7_205, Some(7_205)),
            (404, Some("999999"), 7_205, None),
            (429, Some("Sun, 22 Nov 2026 11:00:00 GMT"), 5, Some(0)),
            (429, Some("soon"), 30, Some(30)),
            (500, Some("60"), 60, None),
            (503, None, 5, None),
        ] {
            assert_eq!(
                next_step(1, &answered(status, retry_after), MIDDLE),
                NextStep::RetryAt {
                    at: noon() + Duration::from_secs(wait),
                    pause_until: pause.map(|pause| noon() + Duration::from_secs(pause)),
                },
                "{status} {retry_after:?}"
            );
        }
        let late = next_step(7, &answered(429, Some("10")), MIDDLE);
        assert_eq!(
            wait_of(late),
            RETRIES[6],
            "Retry-After does not shorten the schedule"
        );
    }

    #[test]
    fn endpoint_is_disabled_after_five_days_of_failures() {
        let failed = Outcome::Failed(Failure::Connect);
        let mut health = EndpointHealth::default();
        let mut record = |outcome: &Outcome, hours| {
            let now = noon() + time::Duration::hours(hours);
            health.handle_outcome(&Schedule::default(), 1, outcome, now, 0)
        };
        for hours in [0, 1, 30, 60] {
            assert!(matches!(record(&failed, hours), NextStep::RetryAt { .. }));
        }
        assert_eq!(record(&answered(200, None), 61), NextStep::Delivered);
        for hours in [70, 71, 130, 189] {
            assert!(
                matches!(record(&failed, hours), NextStep::RetryAt { .. }),
                "{hours}"
            );
        }
        assert_eq!(
            record(&failed, 190),
            NextStep::DisableEndpoint(DisableReason::Failing)
        );
    }

    #[test]
    fn endpoint_is_not_disabled_by_two_failures() {
        let failed = Outcome::Failed(Failure::Timeout);
        let mut health = EndpointHealth::default();
        let _ = health.handle_outcome(&Schedule::default(), 1, &failed, noon(), 0);
        assert_eq!((health.failing_since, health.failures), (Some(noon()), 1));
        let later = noon() + time::Duration::days(7);
        assert!(matches!(
            health.handle_outcome(&Schedule::default(), 1, &failed, later, 0),
            NextStep::RetryAt { .. }
        ));
    }
}
