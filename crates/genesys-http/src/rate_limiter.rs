//! A rate limit that tasks share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use genesys_api::retry::retry_after;
use genesys_api::{Clock, Gcra, Now, Rate};
use http::{HeaderMap, StatusCode};

/// A rate limit for the calls of all clients and tasks that have a clone of it. It obeys the headers of Genesys Cloud and the
/// `Retry-After` of a 429.
///
/// Genesys Cloud limits each access token, so each needs its own: see [`Client::with_rate_limiter`](crate::Client::with_rate_limiter).
#[derive(Clone, Debug)]
pub struct RateLimiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    gcra: Mutex<Gcra>,
    /// Held by the one task that waits for the next slot. The others wait for this lock, in their order.
    first: tokio::sync::Mutex<()>,
}

impl RateLimiter {
    /// A limit of which nothing is used.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            shared: Arc::new(Shared {
                gcra: Mutex::new(Gcra::new(rate)),
                first: tokio::sync::Mutex::default(),
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
            clock.sleep_until(free).await;
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
