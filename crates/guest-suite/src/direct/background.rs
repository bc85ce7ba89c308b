//! The background tasks of a process: deliveries, idle sessions, erasure, checkpoints, re-evaluation.

use std::time::Duration;

use audit::{Actor, Draft};
use genesys_api::{Now, rfc3339};
use guest_store::LogMonitor;
use tokio::task::{JoinError, JoinSet};
use webhook::Dispatcher;

use super::Direct;

/// Maximum number of deliveries in flight.
const MAX_DELIVERIES: usize = 32;
/// Time until the outbox is read again. Committed events are delivered at once.
const DELIVERY_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two runs of the other tasks.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(15);
/// Largest correction of the wall clock between two runs that is no jump. Our choice: NTP sets a clock that is further off.
const MAX_CLOCK_STEP: Duration = Duration::from_secs(1);
/// Runs of the other tasks per checkpoint of the audit log.
const RUNS_PER_CHECKPOINT: u32 = 4;

impl Direct {
    /// Runs the background tasks until it is dropped. Spawn it once per process.
    ///
    /// - Delivers the outbox, up to 32 deliveries at once. A dropped delivery is repeated with the same id.
    /// - Ends idle sessions, erases sessions after their retention, and removes idempotency keys after 24 hours, every 15 s.
    /// - Logs counted refusals when their minute is over.
    /// - Signs the audit log every minute, and verifies it at the start and every day.
    /// - Re-evaluates the consent of live sessions: all of them at the start, then 1,000 every 15 s.
    pub async fn background_tasks(&self, dispatcher: Dispatcher) {
        let clock = self.clock();
        let mut deliver_at = clock.now().instant;
        let mut maintain_at = deliver_at + MAINTENANCE_INTERVAL;
        let (mut deliveries, mut maintenance) = (JoinSet::new(), JoinSet::new());
        let (mut runs, mut checked) = (0, clock.now());
        let mut verification = JoinSet::new();
        verification.spawn(self.clone().verify_log(Duration::ZERO));
        let mut reevaluation = JoinSet::new();
        let direct = self.clone();
        reevaluation.spawn(async move { direct.reevaluate_live().await });
        loop {
            let now = clock.now().instant;
            if deliver_at <= now {
                deliver_at = now + DELIVERY_INTERVAL;
                self.start_deliveries(&dispatcher, &mut deliveries).await;
            }
            if maintain_at <= now {
                maintain_at = now + MAINTENANCE_INTERVAL;
                if maintenance.is_empty() {
                    runs += 1;
                    maintenance.spawn(self.clone().maintain(checked, runs % RUNS_PER_CHECKPOINT == 0));
                }
            }
            tokio::select! {
                () = self.shared.events.notified() => deliver_at = now,
                Some(ended) = deliveries.join_next() => {
                    log_panic(ended);
                    deliver_at = now;
                }
                Some(ended) = maintenance.join_next() => log_panic(ended.map(|time| checked = time)),
                Some(Err(error)) = reevaluation.join_next() => {
                    tracing::error!(%error, "the re-evaluation of live sessions failed: restart the gateway to continue it");
                }
                Some(Err(error)) = verification.join_next() => {
                    tracing::error!(%error, "the verification of the audit log failed, it is started again in a minute");
                    verification.spawn(self.clone().verify_log(LogMonitor::RETRY_INTERVAL));
                }
                () = clock.sleep_until(deliver_at.min(maintain_at)) => {}
            }
        }
    }

    /// Returns the time up to which jumps of the clock are logged: the next run looks for them from there.
    async fn maintain(self, earlier: Now, with_checkpoint: bool) -> Now {
        let mut checked = self.clock().now();
        if let Some(entry) = clock_jump(&earlier, &checked)
            && let Err(error) = self.log_entry(entry).await
        {
            tracing::error!(%error, "cannot log a jump of the clock, trying again");
            checked = earlier;
        }
        if let Err(error) = self.expire_idle().await {
            tracing::error!(%error, "cannot end idle sessions");
        }
        if let Err(error) = self.erase_old().await {
            tracing::error!(%error, "cannot erase old sessions");
        }
        if let Err(error) = self.forget_requests().await {
            tracing::error!(%error, "cannot remove old idempotency keys");
        }
        let repeated = &self.shared.repeated;
        if let Err(error) = repeated
            .log_due(&**self.store(), self.clock().now().instant)
            .await
        {
            tracing::error!(%error, "cannot log counted refusals, trying again");
        }
        if with_checkpoint && let Err(error) = self.store().checkpoint().await {
            tracing::error!(%error, "cannot sign the audit log");
        }
        checked
    }

    async fn verify_log(self, delay: Duration) {
        self.shared.log.run(&**self.store(), self.clock(), delay).await;
    }

    async fn start_deliveries(&self, dispatcher: &Dispatcher, deliveries: &mut JoinSet<()>) {
        let leased = self.lease_due(MAX_DELIVERIES - deliveries.len()).await;
        let leased = leased.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read deliveries from the store");
            Vec::new()
        });
        for delivery in leased {
            let (direct, dispatcher) = (self.clone(), dispatcher.clone());
            deliveries.spawn(async move {
                if let Err(error) = direct.deliver(&dispatcher, delivery).await {
                    tracing::error!(%error, "cannot store the outcome of a delivery, it is repeated");
                }
            });
        }
    }
}

/// The entry of a wall clock that was set since `earlier`.
fn clock_jump(earlier: &Now, now: &Now) -> Option<Draft> {
    let jump = now.jump_since(earlier);
    (jump.unsigned_abs() > MAX_CLOCK_STEP).then(|| {
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
            while direct.log_entry(entry()).await.is_ok() {
                tried += 1;
                assert!(tried < 1_000, "the file has a limit");
            }
        }
        let checked = direct.clone().maintain(earlier, false).await;
        assert_eq!((checked.utc, checked.instant), (earlier.utc, earlier.instant));
    }
}
