//! Whether, and when, a call is made again.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use time::OffsetDateTime;

/// The longest `Retry-After` that is obeyed. Our choice: a longer one is clamped to it.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How often and how patiently a call is retried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Upper bound of the first wait; it doubles with each attempt.
    pub base: Duration,
    /// Upper bound of any wait that the server did not ask for.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    /// 3 attempts, 50 ms doubling up to 20 s: the standard mode of the AWS SDKs as of November 2026.
    fn default() -> Self {
        Self {
            attempts: 3,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(20),
        }
    }
}

impl RetryPolicy {
    /// Decides after attempt number `attempt`, counted from 1. `random` is any fresh random number.
    ///
    /// 429 and 503 are retried for every call: the server says that it did not act. Other failures are retried only
    /// if the call is idempotent or was never sent.
    #[must_use]
    pub fn decide(
        &self,
        attempt: u32,
        idempotent: bool,
        outcome: Outcome<'_>,
        random: u64,
        utc: OffsetDateTime,
    ) -> Decision {
        let (retryable, asked) = match outcome {
            Outcome::NotSent => (true, None),
            Outcome::Unknown => (idempotent, None),
            Outcome::Answered { status, headers } => {
                let retryable = match status {
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
                    StatusCode::REQUEST_TIMEOUT
                    | StatusCode::INTERNAL_SERVER_ERROR
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::GATEWAY_TIMEOUT => idempotent,
                    _ => false,
                };
                (retryable, retry_after(headers, utc))
            }
        };
        if !retryable || attempt >= self.attempts {
            return Decision::GiveUp;
        }
        let jitter = full_jitter(self.base, self.cap, attempt - 1, random);
        Decision::RetryAfter(asked.map_or(jitter, |asked| asked + jitter.min(self.base)))
    }
}

/// How an attempt ended, other than well.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// No byte of the request left: it was certainly not acted on.
    NotSent,
    /// Sent, and no answer came: it may have been acted on.
    Unknown,
    /// The server answered.
    Answered {
        /// Its status.
        status: StatusCode,
        /// Its headers, for `Retry-After`.
        headers: &'a HeaderMap,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// Report the failure.
    GiveUp,
    /// Try again after this long.
    RetryAfter(Duration),
}

/// Keeps retries from multiplying an outage: each costs tokens, and only successes bring them back.
///
/// 500 tokens, 14 for a retry after a failure and 5 after a throttle, as in the AWS SDKs' standard mode.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    tokens: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            tokens: Self::CAPACITY,
        }
    }
}

impl RetryBudget {
    const CAPACITY: u32 = 500;
    const FAILURE: u32 = 14;
    const THROTTLE: u32 = 5;

    /// Pays for one retry; `false` if the budget is spent.
    #[must_use]
    pub fn withdraw(&mut self, outcome: Outcome<'_>) -> bool {
        match self.tokens.checked_sub(Self::cost(outcome)) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    /// A call succeeded: what its last retry cost comes back, or one token if it needed none.
    pub fn deposit(&mut self, retried_after: Option<Outcome<'_>>) {
        let refund = retried_after.map_or(1, Self::cost);
        self.tokens = (self.tokens + refund).min(Self::CAPACITY);
    }

    fn cost(outcome: Outcome<'_>) -> u32 {
        match outcome {
            Outcome::Answered {
                status: StatusCode::TOO_MANY_REQUESTS,
                ..
            } => Self::THROTTLE,
            _ => Self::FAILURE,
        }
    }
}

/// A wait between zero and `min(cap, base * 2^exponent)`: full jitter, which spreads a herd best.
#[must_use]
pub fn full_jitter(base: Duration, cap: Duration, exponent: u32, random: u64) -> Duration {
    let ceiling = base.saturating_mul(2_u32.saturating_pow(exponent)).min(cap);
    let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(random) * u128::from(nanos)) >> 64) as u64)
}

/// `Retry-After` as seconds or as an HTTP date (RFC 9110 section 10.2.3), clamped to [`LONGEST_WAIT`]. A date that is
/// past is zero; anything else is `None`.
#[must_use]
pub fn retry_after(headers: &HeaderMap, utc: OffsetDateTime) -> Option<Duration> {
    retry_after_seconds(headers).or_else(|| {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
        let when = OffsetDateTime::from(httpdate::parse_http_date(text.trim()).ok()?);
        Some(
            Duration::try_from(when - utc)
                .unwrap_or(Duration::ZERO)
                .min(LONGEST_WAIT),
        )
    })
}

pub(crate) fn retry_after_seconds(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = text.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn decide(attempt: u32, idempotent: bool, outcome: Outcome<'_>) -> Decision {
        RetryPolicy::default().decide(
            attempt,
            idempotent,
            outcome,
            u64::MAX,
            crate::parse_rfc3339(NOON).unwrap(),
        )
    }

    #[test]
    fn only_a_call_that_was_not_acted_on_is_made_again() {
        let none = HeaderMap::new();
        let answered = |status: u16| Outcome::Answered {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &none,
        };
        let retried = |outcome, idempotent| decide(1, idempotent, outcome) != Decision::GiveUp;
        for (status, always, if_idempotent) in [
            (429, true, true),
            (503, true, true),
            (500, false, true),
            (502, false, true),
            (504, false, true),
            (408, false, true),
            (400, false, false),
            (401, false, false),
            (501, false, false),
        ] {
            assert_eq!(retried(answered(status), false), always, "{status}");
            assert_eq!(retried(answered(status), true), if_idempotent, "{status}");
        }
        assert!(retried(Outcome::NotSent, false));
        assert!(!retried(Outcome::Unknown, false));
        assert!(retried(Outcome::Unknown, true));
        assert_eq!(decide(3, true, Outcome::NotSent), Decision::GiveUp);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_garbage() {
        let utc = crate::parse_rfc3339(NOON).unwrap();
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            retry_after(&headers, utc)
        };
        assert_eq!(read("3"), Some(Duration::from_secs(3)));
        assert_eq!(
            read("Sun, 22 Nov 2026 12:00:07 GMT"),
            Some(Duration::from_secs(7))
        );
        assert_eq!(read("Sun, 22 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999999999999999999"), Some(LONGEST_WAIT));
        for text in ["-1", "soon", "", "1.5", "0x10"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_outage_spends_the_budget_and_success_refills_it() {
        let mut budget = RetryBudget::default();
        let retries = std::iter::repeat_with(|| budget.withdraw(Outcome::NotSent))
            .take_while(|paid| *paid)
            .count();
        assert_eq!(retries, 35);
        budget.deposit(Some(Outcome::NotSent));
        assert!(budget.withdraw(Outcome::NotSent));
    }

    #[test]
    fn jitter_is_full_and_capped() {
        let (base, cap) = (Duration::from_millis(500), Duration::from_secs(30));
        assert_eq!(full_jitter(base, cap, 0, 0), Duration::ZERO);
        assert!(full_jitter(base, cap, 0, u64::MAX) <= base);
        assert!(full_jitter(base, cap, 60, u64::MAX) <= cap);
        assert!(full_jitter(base, cap, 60, u64::MAX) > cap - Duration::from_millis(1));
    }
}
