//! Retry decisions: policy, budget, backoff and `Retry-After`.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use time::OffsetDateTime;

/// The longest `Retry-After` that is obeyed. Longer ones are clamped. Our choice.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Number of attempts of a call, and the backoff between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// Maximum number of attempts, including the first.
    pub attempts: u32,
    /// Backoff between attempts.
    pub backoff: Backoff,
}

impl Default for RetryPolicy {
    /// 3 attempts, 50 ms doubling to 20 s: the standard mode of the AWS SDKs as of November 2026.
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Backoff {
                base: Duration::from_millis(50),
                cap: Duration::from_secs(20),
            },
        }
    }
}

impl RetryPolicy {
    /// Returns the wait after attempt number `attempt`, counted from 1, or `None` if the call is not retried. `random` is
    /// any fresh random number.
    ///
    /// A call that was never sent, or answered 429, is retried, because the server did not act. After a lost answer, 408,
    /// 500, 502, 503 and 504 a call is retried only if it is `repeatable`: it is idempotent or has an `Idempotency-Key`.
    #[must_use]
    pub fn decide(
        &self,
        attempt: u32,
        repeatable: bool,
        outcome: Outcome<'_>,
        random: u64,
        utc: OffsetDateTime,
    ) -> Option<Duration> {
        let (retryable, requested) = match outcome {
            Outcome::NotSent => (true, None),
            Outcome::Unknown => (repeatable, None),
            Outcome::Answered { status, headers } => {
                let retryable = match status {
                    StatusCode::TOO_MANY_REQUESTS => true,
                    StatusCode::REQUEST_TIMEOUT
                    | StatusCode::INTERNAL_SERVER_ERROR
                    | StatusCode::BAD_GATEWAY
                    // proxies also send it for a connection that was lost after the request
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT => repeatable,
                    _ => false,
                };
                (retryable, retry_after(headers, utc))
            }
        };
        (retryable && attempt < self.attempts).then(|| self.backoff.wait(attempt - 1, requested, random))
    }
}

/// The outcome of a failed attempt.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// No byte of the request was sent: the server did not act.
    NotSent,
    /// The request was sent and no response came: the server may have acted.
    Unknown,
    /// The server responded.
    Answered {
        /// HTTP status.
        status: StatusCode,
        /// Headers, for `Retry-After`.
        headers: &'a HeaderMap,
    },
}

impl Outcome<'_> {
    /// Whether the server may have acted: the answer was lost, or is 408 or a server error.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::NotSent => false,
            Self::Unknown => true,
            Self::Answered { status, .. } => {
                *status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
            }
        }
    }
}

/// Limits retries during an outage: each retry costs tokens, and only successes return them.
///
/// 500 tokens, 14 per retry after a failure and 5 after a throttle, as in the standard mode of the AWS SDKs.
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

    /// Pays for one retry. Returns `false` if the budget is exhausted.
    #[must_use]
    pub fn withdraw(&mut self, outcome: Outcome<'_>) -> bool {
        let left = self.tokens.checked_sub(Self::cost(outcome));
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }

    /// Refunds the cost of the last retry after a success, or one token if there was no retry.
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

/// Exponential backoff with full jitter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// Upper bound of the first wait. It doubles with each retry.
    pub base: Duration,
    /// Upper bound of any wait that the server did not request.
    pub cap: Duration,
}

impl Default for Backoff {
    /// 0.5 s doubling to 30 s. Our choice, for tokens and reconnects.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// Returns the wait before the next attempt, after `retries` retries. `random` is any fresh random number.
    ///
    /// A `retry_after` of the server replaces the backoff, up to [`MAX_RETRY_AFTER`] and with a jitter of at most `base`.
    #[must_use]
    pub fn wait(&self, retries: u32, retry_after: Option<Duration>, random: u64) -> Duration {
        let ceiling = self.base.saturating_mul(2_u32.saturating_pow(retries));
        let jitter = jitter(ceiling.min(self.cap), random);
        retry_after.map_or(jitter, |requested| {
            requested.min(MAX_RETRY_AFTER) + jitter.min(self.base)
        })
    }
}

/// Returns a duration between zero and `max`, in proportion to `random`.
#[must_use]
pub fn jitter(max: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(random) * u128::from(nanos)) >> 64) as u64)
}

/// Parses `Retry-After` as seconds or as an HTTP date (RFC 9110 section 10.2.3), clamped to [`MAX_RETRY_AFTER`]. A past
/// date is zero, any other value `None`.
#[must_use]
pub fn retry_after(headers: &HeaderMap, utc: OffsetDateTime) -> Option<Duration> {
    retry_after_up_to(MAX_RETRY_AFTER, headers, utc)
}

/// As [`retry_after`], clamped to `longest`.
#[must_use]
pub fn retry_after_up_to(longest: Duration, headers: &HeaderMap, utc: OffsetDateTime) -> Option<Duration> {
    let wait = retry_after_seconds(headers).or_else(|| {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
        let when = OffsetDateTime::from(httpdate::parse_http_date(text.trim()).ok()?);
        Some(Duration::try_from(when - utc).unwrap_or(Duration::ZERO))
    });
    wait.map(|wait| wait.min(longest))
}

/// Parses `Retry-After` as seconds.
pub(crate) fn retry_after_seconds(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOON: &str = "2026-11-22T12:00:00Z";

    #[expect(clippy::unwrap_in_result, reason = "a test's own time is valid")]
    fn decide(attempt: u32, repeatable: bool, outcome: Outcome<'_>) -> Option<Duration> {
        let noon = crate::parse_rfc3339(NOON).unwrap();
        RetryPolicy::default().decide(attempt, repeatable, outcome, u64::MAX, noon)
    }

    #[test]
    fn call_is_retried_only_if_repeatable_or_not_acted_on() {
        let none = HeaderMap::new();
        let answered = |status: u16| Outcome::Answered {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &none,
        };
        let retried = |outcome, repeatable| decide(1, repeatable, outcome).is_some();
        for (status, always, if_repeatable) in [
            (429, true, true),
            (503, false, true),
            (500, false, true),
            (502, false, true),
            (504, false, true),
            (408, false, true),
            (400, false, false),
            (401, false, false),
            (501, false, false),
        ] {
            assert_eq!(retried(answered(status), false), always, "{status}");
            assert_eq!(retried(answered(status), true), if_repeatable, "{status}");
            assert_eq!(
                answered(status).is_unknown(),
                status == 408 || status >= 500,
                "{status}"
            );
        }
        assert!(retried(Outcome::NotSent, false));
        assert!(!retried(Outcome::Unknown, false));
        assert!(retried(Outcome::Unknown, true));
        assert_eq!(decide(3, true, Outcome::NotSent), None);
    }

    #[test]
    fn retry_after_parses_seconds_and_dates_only() {
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
        assert_eq!(read("99999999999999999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(read("Sun, 22 Nov 2026 13:00:00 GMT"), Some(MAX_RETRY_AFTER));
        for text in ["-1", "soon", "", "1.5", "0x10"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn retry_budget_is_spent_by_failures_and_refilled_by_success() {
        let mut budget = RetryBudget::default();
        let retries = std::iter::repeat_with(|| budget.withdraw(Outcome::NotSent))
            .take_while(|paid| *paid)
            .count();
        assert_eq!(retries, 35);
        budget.deposit(Some(Outcome::NotSent));
        assert!(budget.withdraw(Outcome::NotSent));
    }

    #[test]
    fn backoff_doubles_to_cap_and_obeys_retry_after() {
        let backoff = Backoff::default();
        let longest = |retries| backoff.wait(retries, None, u64::MAX).as_millis() + 1;
        assert_eq!([longest(0), longest(1), longest(2)], [500, 1_000, 2_000]);
        assert_eq!(longest(60), 30_000);
        assert_eq!(backoff.wait(0, None, 0), Duration::ZERO);
        let requested = |seconds| backoff.wait(9, Some(Duration::from_secs(seconds)), u64::MAX);
        assert_eq!(requested(7), Duration::from_millis(7_500));
        assert_eq!(requested(999), MAX_RETRY_AFTER + backoff.base);
    }
}
