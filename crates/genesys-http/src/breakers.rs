//! The circuit breakers of a client.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use genesys_api::breaker::{Breaker, Permit};
use genesys_api::{Host, entropy};

use crate::CallError;

/// Most hosts with failing calls that are tracked. A new one replaces the one that has not failed for longest.
const HOSTS: usize = 1024;
/// Time for which a failed call stops the retries of the next ones. Our choice: an outage of 10 minutes then causes two
/// retries, however seldom calls are made.
const DOWN: Duration = Duration::from_secs(600);

/// One breaker for each host and operation with recent failures.
#[derive(Default)]
pub(crate) struct Breakers {
    failing: Mutex<HashMap<Host, Operations>>,
}

/// The breakers of a host.
struct Operations {
    last_failure: Instant,
    entries: HashMap<&'static str, Entry>,
}

/// The wait until the next probe, and the last error of the operation.
type Suspension = (Duration, Option<CallError>);

struct Entry {
    breaker: Breaker,
    /// Error of the last failed call.
    cause: Option<CallError>,
    /// When the last call failed by a fault of the service. `None` after an attempt that succeeded.
    down_since: Option<Instant>,
}

impl Breakers {
    /// Checks whether an attempt would be admitted, without counting it as a probe. The error is that of [`Self::admit`].
    pub(crate) fn check(&self, host: &Host, operation: &'static str, now: Instant) -> Result<(), Suspension> {
        let mut failing = self.lock();
        let Some(entry) = entry(&mut failing, host, operation) else {
            return Ok(());
        };
        let mut copy = entry.breaker;
        match copy.admit(now) {
            Ok(_) => Ok(()),
            Err(until) => Err((until.saturating_duration_since(now), entry.cause.clone())),
        }
    }

    /// Admits an attempt. The error has the wait until the next probe and the last error of the operation.
    pub(crate) fn admit(
        &self,
        host: &Host,
        operation: &'static str,
        now: Instant,
    ) -> Result<Permit, Suspension> {
        let mut failing = self.lock();
        let Some(entry) = entry(&mut failing, host, operation) else {
            return Ok(Permit::default());
        };
        let admitted = entry.breaker.admit(now);
        admitted.map_err(|until| (until.saturating_duration_since(now), entry.cause.clone()))
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
        if failed {
            if !failing.contains_key(host) {
                make_room(&mut failing);
            }
            let operations = failing.entry(host.clone()).or_insert_with(|| Operations {
                last_failure: now,
                entries: HashMap::new(),
            });
            operations.last_failure = now;
            operations.entries.entry(operation).or_insert_with(|| Entry {
                breaker: Breaker::new(now),
                cause: None,
                down_since: None,
            });
        }
        let Some(operations) = failing.get_mut(host) else {
            return;
        };
        let Some(entry) = operations.entries.get_mut(operation) else {
            return;
        };
        entry.breaker.record(permit, failed, now, entropy::number());
        entry.down_since = entry.down_since.filter(|_| failed);
        if entry.breaker.is_idle() {
            operations.entries.remove(operation);
            if operations.entries.is_empty() {
                failing.remove(host);
            }
        }
    }

    /// Keeps the error of a call, for the error of an open breaker. After a fault of the service, no call of the operation
    /// is retried until one succeeds, or none has failed for 10 minutes.
    pub(crate) fn explain(
        &self,
        host: &Host,
        operation: &'static str,
        error: &CallError,
        is_fault: bool,
        now: Instant,
    ) {
        let mut failing = self.lock();
        if let Some(entry) = entry(&mut failing, host, operation) {
            entry.cause = Some(error.clone());
            entry.down_since = entry.down_since.max(is_fault.then_some(now));
        }
    }

    /// Whether the last call of the operation failed by a fault of the service in the last 10 minutes.
    pub(crate) fn is_down(&self, host: &Host, operation: &'static str, now: Instant) -> bool {
        entry(&mut self.lock(), host, operation)
            .and_then(|entry| entry.down_since)
            .is_some_and(|since| now.saturating_duration_since(since) < DOWN)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Host, Operations>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry<'a>(
    failing: &'a mut HashMap<Host, Operations>,
    host: &Host,
    operation: &'static str,
) -> Option<&'a mut Entry> {
    failing.get_mut(host)?.entries.get_mut(operation)
}

/// Removes the host that has not failed for longest, if there are too many.
fn make_room(failing: &mut HashMap<Host, Operations>) {
    if failing.len() < HOSTS {
        return;
    }
    let oldest = failing
        .iter()
        .min_by_key(|(_, operations)| operations.last_failure);
    if let Some(oldest) = oldest.map(|(host, _)| host.clone()) {
        failing.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    //! The bound of tracked hosts.

    use super::*;

    #[test]
    fn host_with_the_oldest_failure_makes_room_for_a_new_one() {
        let breakers = Breakers::default();
        let mut now = genesys_api::Clock::system().now().instant;
        let mut fail = |name: &str, times| {
            let host = format!("https://{name}.example").parse().unwrap();
            now += Duration::from_millis(1);
            for _ in 0..times {
                breakers.record(&host, "read", Permit::default(), true, now);
            }
            breakers.admit(&host, "read", now).is_err()
        };
        for dead in 0..HOSTS {
            assert!(fail(&format!("dead-{dead}"), 20));
        }
        fail("dead-0", 1);
        assert!(fail("new", 20));
        let tracked = |name: &str| {
            breakers
                .lock()
                .contains_key(&format!("https://{name}.example").parse::<Host>().unwrap())
        };
        assert_eq!(["dead-0", "dead-1", "dead-2"].map(tracked), [true, false, true]);
        assert_eq!(breakers.lock().len(), HOSTS);
    }
}
