//! Limits of requests by the address prefix of a browser.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::PrefixLimiter;

/// The limits of an address prefix: of all requests of pages, and of new sessions.
#[derive(Debug)]
pub(super) struct PageLimits {
    requests: Arc<Mutex<PrefixLimiter>>,
    sessions: Arc<Mutex<PrefixLimiter>>,
}

impl PageLimits {
    pub(super) fn new(sessions_per_minute: u32, requests_per_minute: u32) -> Self {
        let limiter = |limit| Arc::new(Mutex::new(PrefixLimiter::per_minute(limit)));
        Self {
            requests: limiter(requests_per_minute),
            sessions: limiter(sessions_per_minute),
        }
    }

    /// Continues the counts of the limits that are unchanged.
    pub(super) fn continue_from(&mut self, before: &Self) {
        for (limiter, before) in [
            (&mut self.requests, &before.requests),
            (&mut self.sessions, &before.sessions),
        ] {
            let is_same = lock(limiter).limit() == lock(before).limit();
            if is_same {
                *limiter = Arc::clone(before);
            }
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The time to wait, if the limit is reached.
    pub(super) fn count_request(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        lock(&self.requests).count(address, now)
    }

    /// Counts a new session.
    ///
    /// # Errors
    /// The time to wait, if the limit is reached.
    pub(super) fn count_session(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        lock(&self.sessions).count(address, now)
    }
}

fn lock(limiter: &Mutex<PrefixLimiter>) -> std::sync::MutexGuard<'_, PrefixLimiter> {
    limiter.lock().unwrap_or_else(PoisonError::into_inner)
}
