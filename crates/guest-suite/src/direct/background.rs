//! The background tasks of a process: deliveries, idle sessions, erasure, checkpoints, re-evaluation.

use std::time::{Duration, Instant};

use audit::{Actor, Draft};
use genesys_api::{Now, rfc3339};
use guest_store::LogMonitor;
use tokio::task::{JoinError, JoinSet};
use webhook::Dispatcher;

use super::Direct;

/// Maximum number of deliveries in flight: the leases that a store gives by default.
const MAX_DELIVERIES: usize = 256;
/// Shortest time between two reads of the outbox without a new event, and between two runs that end sessions. Our choice.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two runs of the other tasks.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(15);
/// Largest correction of the wall clock between two runs that is no jump. Our choice: NTP sets a clock that is further off.
const MAX_CLOCK_STEP: Duration = Duration::from_secs(1);
/// Runs of the other tasks per checkpoint of the audit log.
const RUNS_PER_CHECKPOINT: u32 = 4;

impl Direct {
    /// Runs the background tasks until it is dropped. Spawn it once per process.
    ///
    /// - Delivers the outbox, up to 256 deliveries at once. A dropped delivery is repeated with the same id.
    /// - Ends idle sessions, and re-evaluates the consent of a session whose decision may differ: all of them at the start.
    /// - Erases sessions after their retention, and removes idempotency keys after 24 hours, attempts of deliveries after 7 days.
    /// - Adds events that wait for a disabled webhook for 7 days to the snapshots of their sessions.
    /// - Logs counted refusals when their minute is over.
    /// - Signs the audit log every minute, and verifies it at the start and every day.
    ///
    /// It waits for the next deadline of each, and reads the store only then.
    pub async fn background_tasks(&self, dispatcher: Dispatcher) {
        let clock = self.clock();
        let (mut last, mut checked, mut runs) = (clock.now(), clock.now(), 0);
        let mut deliver_at = Some(last.instant);
        // whether the live sessions are to be read first, and when
        let (mut unread, mut expire_after) = (true, last.instant);
        let mut refills = self.shared.deadlines.refills();
        let mut maintain_at = last.instant + MAINTENANCE_INTERVAL;
        let (mut deliveries, mut maintenance, mut expiry) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let mut verification = JoinSet::new();
        verification.spawn(self.audit_log().clone().verify(Duration::ZERO));
        loop {
            let (sampled, deadlines) = (clock.now(), &self.shared.deadlines);
            let now = sampled.instant;
            if is_jump(sampled.jump_since(&last)) {
                deadlines.refill();
                deliver_at = Some(now);
            }
            if refills != deadlines.refills() {
                (refills, unread) = (deadlines.refills(), true);
            }
            last = sampled;
            if deliver_at.is_some_and(|at| at <= now) {
                deliver_at = self.start_deliveries(&dispatcher, &mut deliveries).await;
            }
            let mut expire_at = match unread {
                true => Some(expire_after),
                false => deadlines.next().map(|at| at.max(expire_after)),
            };
            expire_at = expire_at.filter(|_| expiry.is_empty());
            if expire_at.is_some_and(|at| at <= now) {
                (expire_at, unread, expire_after) = (None, false, now + MIN_INTERVAL);
                let direct = self.clone();
                expiry.spawn(async move { direct.expire_idle().await });
            }
            if maintain_at <= now {
                maintain_at = now + MAINTENANCE_INTERVAL;
                if maintenance.is_empty() {
                    runs += 1;
                    maintenance.spawn(self.clone().maintain(checked, runs % RUNS_PER_CHECKPOINT == 0));
                }
            }
            let wake_at = [deliver_at, expire_at, Some(maintain_at)]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                () = self.shared.events.notified() => deliver_at = Some(now),
                Some(ended) = deliveries.join_next() => {
                    log_panic(ended);
                    // one lease for all that ended: each is a transaction
                    while let Some(ended) = deliveries.try_join_next() {
                        log_panic(ended);
                    }
                    deliver_at = Some(now);
                }
                Some(ended) = expiry.join_next() => if !matches!(ended, Ok(Ok(_))) {
                    tracing::error!(?ended, "cannot read the live sessions, trying again");
                    (unread, expire_after) = (true, now + MAINTENANCE_INTERVAL);
                },
                Some(ended) = maintenance.join_next() => log_panic(ended.map(|time| checked = time)),
                Some(Err(error)) = verification.join_next() => {
                    tracing::error!(%error, "the verification of the audit log failed, it is started again in a minute");
                    verification.spawn(self.audit_log().clone().verify(LogMonitor::RETRY_INTERVAL));
                }
                () = clock.sleep_until(wake_at) => {}
            }
        }
    }

    /// Returns the time up to which jumps of the clock are logged: the next run looks for them from there.
    async fn maintain(self, earlier: Now, with_checkpoint: bool) -> Now {
        let mut checked = self.clock().now();
        if let Some(entry) = clock_jump(&earlier, &checked)
            && let Err(error) = self.audit_log().log(entry).await
        {
            tracing::error!(%error, "cannot log a jump of the clock, trying again");
            checked = earlier;
        }
        if let Err(error) = self.remove_due().await {
            tracing::error!(%error, "cannot remove old sessions and idempotency keys, trying again");
        }
        if let Err(error) = self.audit_log().log_due().await {
            tracing::error!(%error, "cannot log counted refusals, trying again");
        }
        if with_checkpoint && let Err(error) = self.store().checkpoint().await {
            tracing::error!(%error, "cannot sign the audit log");
        }
        checked
    }

    /// Starts the deliveries that are due. Returns the time of the next ones.
    async fn start_deliveries(
        &self,
        dispatcher: &Dispatcher,
        deliveries: &mut JoinSet<()>,
    ) -> Option<Instant> {
        let now = self.clock().now();
        let earliest = now.instant + MIN_INTERVAL;
        let leases = match self.lease_due(MAX_DELIVERIES - deliveries.len()).await {
            Ok(leases) => leases,
            Err(error) => {
                if let Some(unlogged) = self.admit_fault_line() {
                    tracing::error!(%error, unlogged, "cannot read deliveries from the store");
                }
                return Some(earliest);
            }
        };
        for delivery in leases.deliveries {
            let (direct, dispatcher) = (self.clone(), dispatcher.clone());
            deliveries.spawn(async move {
                if let Err(error) = direct.deliver(&dispatcher, delivery).await
                    && let Some(unlogged) = direct.admit_fault_line()
                {
                    tracing::error!(%error, unlogged, "cannot store the outcome of a delivery, it is repeated");
                }
            });
        }
        leases.next_due.map(|at| now.deadline(at).max(earliest))
    }
}

/// Whether the wall clock was set by `jump`.
fn is_jump(jump: time::Duration) -> bool {
    jump.unsigned_abs() > MAX_CLOCK_STEP
}

/// The entry of a wall clock that was set since `earlier`.
fn clock_jump(earlier: &Now, now: &Now) -> Option<Draft> {
    let jump = now.jump_since(earlier);
    is_jump(jump).then(|| {
        tracing::warn!(seconds = jump.whole_seconds(), "the clock was set");
        Draft::new(now.utc, Actor::system("guest-suite"), "clock.jumped")
            .detail("before", rfc3339(now.utc.saturating_sub(jump)))
            .detail("after", rfc3339(now.utc))
    })
}

/// Logs the panic of a task. What it was doing is repeated by a later run.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a background task failed, its work is repeated later");
    }
}

#[cfg(test)]
mod tests {
    //! Jumps of the wall clock.

    use audit::Value;
    use genesys_api::Clock;

    use super::*;

    #[test]
    fn set_clock_is_logged_with_both_times() {
        let clock = Clock::system();
        let earlier = clock.now();
        let mut now = Now {
            instant: earlier.instant + Duration::from_secs(15),
            utc: earlier.utc + Duration::from_secs(15),
        };
        assert_eq!(clock_jump(&earlier, &now), None);
        now.utc -= Duration::from_secs(1);
        assert_eq!(clock_jump(&earlier, &now), None);
        for jump in [-3_600, 3_600] {
            let due = now.utc;
            let now = Now {
                utc: earlier.utc + time::Duration::seconds(15 + jump),
                ..now
            };
            let entry = clock_jump(&earlier, &now).unwrap();
            assert_eq!(entry.action, "clock.jumped");
            let time = |name: &str| entry.detail.get(name).cloned();
            let due = due + Duration::from_secs(1);
            assert_eq!(time("before"), Some(Value::from(rfc3339(due))));
            assert_eq!(time("after"), Some(Value::from(rfc3339(now.utc))));
        }
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn jump_that_could_not_be_logged_is_found_by_the_next_run() {
        use std::sync::Arc;

        use genesys_api::Hosts;
        use guest_store::{Keys, Limits, SqliteStore};

        use crate::direct::DirectConfig;

        let folder = tempfile::tempdir().unwrap();
        let limits = Limits {
            file_bytes: 1 << 19,
            ..Limits::default()
        };
        let store = SqliteStore::open(folder.path().join("full.db"), Keys::ephemeral(), limits).unwrap();
        let hosts = Hosts::of_domain("mypurecloud.de").unwrap();
        let config = DirectConfig::with_store(hosts, Arc::new(store)).unwrap();
        let direct = Direct::open(config).await.unwrap();
        let mut earlier = direct.clock().now();
        earlier.utc -= Duration::from_secs(3_600);
        let checked = direct.clone().maintain(earlier, false).await;
        assert!(checked.utc > earlier.utc);

        // large entries first, then small ones until nothing fits
        for length in [1_000, 1] {
            let mut tried = 0;
            let entry = || {
                let entry = Draft::new(earlier.utc, Actor::system("test"), "test");
                entry.detail("text", "a".repeat(length))
            };
            while direct.audit_log().log(entry()).await.is_ok() {
                tried += 1;
                assert!(tried < 1_000, "the file has a limit");
            }
        }
        let checked = direct.clone().maintain(earlier, false).await;
        assert_eq!((checked.utc, checked.instant), (earlier.utc, earlier.instant));
    }
}
