//! A rate limit that tasks share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use genesys_api::retry::retry_after;
use genesys_api::{Clock, Gcra, LogLimit, Now, Rate, limits};
use http::{HeaderMap, StatusCode};

/// Shortest time between two warnings. Our choice.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// A rate limit for the calls of all clients and tasks that have a clone of it, for
/// [`Client::with_rate_limiter`](crate::Client::with_rate_limiter).
///
/// Genesys Cloud limits each access token, and all users of an organization together. A call that has to wait is logged as
/// a warning, at most one a minute. It fails when it is the next one and its slot comes after its deadline, at the latest at its
/// deadline.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    gcra: Mutex<Gcra>,
    /// Held by the one task that waits for the next slot. The others wait for this lock, in their order.
    first: tokio::sync::Mutex<()>,
    /// Whether responses are about the same limit.
    is_of_one_token: bool,
    reports: LogLimit,
}

impl RateLimiter {
    /// The limit of one access token, of which nothing is used. It obeys the rate limit headers of Genesys Cloud and the
    /// `Retry-After` of a 429.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::of(rate, true)
    }

    /// The limit of all users of an organization ([`limits::ORGANIZATION_CALLS_PER_MINUTE`]), for the calls with the
    /// tokens of many guests. A response concerns the limit of its own token, so it holds back no other guest.
    #[must_use]
    pub fn of_organization() -> Self {
        let rate = Rate::within(limits::ORGANIZATION_CALLS_PER_MINUTE, Duration::from_secs(60));
        Self::of(rate, false)
    }

    fn of(rate: Rate, is_of_one_token: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                gcra: Mutex::new(Gcra::new(rate)),
                first: tokio::sync::Mutex::default(),
                is_of_one_token,
                reports: LogLimit::new(REPORT_INTERVAL),
            }),
        }
    }

    /// Waits for a slot. The error is the wait that remains at the deadline, or that would end after it. Behind another task
    /// it ends at the slot after that task's.
    pub(crate) async fn acquire(&self, clock: &Clock, deadline: Instant) -> Result<(), Duration> {
        let _first = tokio::select! {
            biased;
            first = self.shared.first.lock() => first,
            () = clock.sleep_until(deadline) => return Err(self.wait_behind_first(clock.now().instant)),
        };
        loop {
            let now = clock.now().instant;
            let Err(free) = self.gcra().try_acquire(now) else {
                return Ok(());
            };
            if free >= deadline {
                return Err(free.saturating_duration_since(now));
            }
            self.report(free.saturating_duration_since(now), now);
            clock.sleep_until(free).await;
        }
    }

    /// Logs that calls wait, unless that was logged in the last minute.
    fn report(&self, wait: Duration, now: Instant) {
        if self.shared.reports.admit(now).is_some() {
            tracing::warn!(
                ?wait,
                "calls wait for the rate limit of Genesys Cloud: send fewer, or have the limit raised"
            );
        }
    }

    /// The wait for the slot after the next one.
    fn wait_behind_first(&self, now: Instant) -> Duration {
        let mut gcra = self.gcra().clone();
        let next = gcra.check(now).err().unwrap_or(now);
        let after = gcra.try_acquire(next).and_then(|()| gcra.check(next));
        after.err().unwrap_or(next).saturating_duration_since(now)
    }

    /// Obeys the head of a response.
    pub(crate) fn observe(&self, status: StatusCode, headers: &HeaderMap, now: Now) {
        if !self.shared.is_of_one_token {
            return;
        }
        let mut gcra = self.gcra();
        gcra.observe(headers, now.instant);
        if status == StatusCode::TOO_MANY_REQUESTS
            && let Some(wait) = retry_after(headers, now.utc)
        {
            gcra.pause_until(now.instant + wait);
        }
    }

    fn gcra(&self) -> MutexGuard<'_, Gcra> {
        self.shared.gcra.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
