//! The audit log of a store, as one process appends to it and verifies it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use audit::{Actor, Coalescer, Draft};
use genesys_api::Clock;

use crate::{LogMonitor, Store, StoreError, StoreErrorKind, Unit};

/// Largest number of entries of a unit. Our choice.
const MAX_ENTRIES: usize = 1_000;

/// The audit log of a store. Clones share it.
///
/// Entries that a caller can repeat, such as refusals, are logged at once or counted with identical ones, as [`Coalescer`]
/// does. One that could not be logged is kept and logged later.
#[derive(Clone, Debug)]
pub struct AuditLog {
    store: Arc<dyn Store>,
    clock: Clock,
    counted: Arc<Mutex<Coalescer>>,
    monitor: Arc<LogMonitor>,
}

impl AuditLog {
    /// The log of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            counted: Arc::default(),
            monitor: Arc::default(),
        }
    }

    /// Logs an entry.
    ///
    /// # Errors
    /// The store's: then what the entry records must not happen.
    pub async fn log(&self, entry: Draft) -> Result<(), StoreError> {
        self.store.commit(entry.into()).await.map(drop)
    }

    /// Logs or counts an entry that a caller can repeat, even if the future is dropped.
    ///
    /// # Errors
    /// As [`log`](Self::log).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn log_repeated(&self, entry: Draft) -> Result<(), StoreError> {
        let log = self.clone();
        let logged = tokio::spawn(async move {
            let entry = log.coalescer().handle_entry(entry, log.clock.now().instant);
            log.append(entry.into_iter().collect()).await
        });
        // the task is lost only with its runtime
        let unavailable = |_| Err(StoreErrorKind::Unavailable.into());
        logged.await.unwrap_or_else(unavailable)
    }

    /// Logs that `client` reads the log of all owners: the part `what`.
    ///
    /// # Errors
    /// As [`log`](Self::log).
    pub async fn log_read(&self, client: &str, what: &str) -> Result<(), StoreError> {
        let entry = Draft::new(self.clock.now().utc, Actor::client(client), "audit.log_read");
        self.log_repeated(entry.detail("read", what)).await
    }

    /// Logs the counted entries whose minute is over.
    ///
    /// # Errors
    /// The store's. The counts are then kept.
    pub async fn log_due(&self) -> Result<(), StoreError> {
        let due = self.coalescer().poll_entries(self.clock.now().instant);
        self.append(due).await
    }

    /// Logs all counted entries. Call it before the process stops.
    ///
    /// # Errors
    /// As [`log_due`](Self::log_due).
    pub async fn log_counted(&self) -> Result<(), StoreError> {
        let counted = self.coalescer().drain();
        self.append(counted).await
    }

    /// The verification of the log, which [`verify`](Self::verify) runs.
    #[must_use]
    pub fn monitor(&self) -> &LogMonitor {
        &self.monitor
    }

    /// Verifies the log after `delay` and then every day and on request, until it is dropped or the log is found altered.
    pub async fn verify(self, delay: Duration) {
        self.monitor.run(&*self.store, &self.clock, delay).await;
    }

    async fn append(&self, mut counted: Vec<Draft>) -> Result<(), StoreError> {
        while !counted.is_empty() {
            let entries = counted.split_off(counted.len().saturating_sub(MAX_ENTRIES));
            let unit = Unit {
                entries: entries.clone(),
                ..Unit::default()
            };
            if let Err(error) = self.store.commit(unit).await {
                let (kept, now) = (entries.into_iter().chain(counted), self.clock.now().instant);
                self.coalescer().restore(kept, now);
                return Err(error);
            }
        }
        Ok(())
    }

    fn coalescer(&self) -> MutexGuard<'_, Coalescer> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
