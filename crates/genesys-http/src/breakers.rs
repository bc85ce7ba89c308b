//! The circuit breakers of a client.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use genesys_api::breaker::{Breaker, Permit};
use genesys_api::{Host, entropy};

use crate::CallError;

/// Most hosts with failing calls that are tracked. More pass without a breaker.
const HOSTS: usize = 1024;

/// One breaker for each host and operation with recent failures.
#[derive(Default)]
pub(crate) struct Breakers {
    failing: Mutex<HashMap<Host, HashMap<&'static str, Entry>>>,
}

struct Entry {
    breaker: Breaker,
    /// Error of the last failed call.
    cause: Option<CallError>,
}

impl Breakers {
    /// Admits an attempt. The error has the time of the next probe and the last error of the operation.
    pub(crate) fn admit(
        &self,
        host: &Host,
        operation: &'static str,
        now: Instant,
    ) -> Result<Permit, (Instant, Option<CallError>)> {
        let mut failing = self.lock();
        let entry = failing.get_mut(host).and_then(|host| host.get_mut(operation));
        let Some(entry) = entry else {
            return Ok(Permit::default());
        };
        let admitted = entry.breaker.admit(now);
        admitted.map_err(|until| (until, entry.cause.clone()))
    }

    /// Records the result of an admitted attempt.
    pub(crate) fn record(
        &self,
        host: &Host,
        operation: &'static str,
        permit: Permit,
        failed: bool,
        now: Instant,
    ) {
        let mut failing = self.lock();
        if failed && !failing.contains_key(host) && failing.len() < HOSTS {
            failing.insert(host.clone(), HashMap::new());
        }
        let Some(operations) = failing.get_mut(host) else {
            return;
        };
        if failed {
            operations.entry(operation).or_insert_with(|| Entry {
                breaker: Breaker::new(now),
                cause: None,
            });
        }
        let Some(entry) = operations.get_mut(operation) else {
            return;
        };
        entry.breaker.record(permit, failed, now, entropy::number());
        if entry.breaker.is_idle() {
            operations.remove(operation);
            if operations.is_empty() {
                failing.remove(host);
            }
        }
    }

    /// Keeps the error of a call, for the error of an open breaker.
    pub(crate) fn explain(&self, host: &Host, operation: &'static str, error: &CallError) {
        let mut failing = self.lock();
        if let Some(entry) = failing.get_mut(host).and_then(|host| host.get_mut(operation)) {
            entry.cause = Some(error.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Host, HashMap<&'static str, Entry>>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
