//! Entries that a caller can repeat. Identical ones are counted, so that they do not fill the audit log.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use audit::{Coalescer, Draft};

use crate::{Store, StoreError, Unit};

/// Largest number of entries of a unit. Our choice.
const MAX_ENTRIES: usize = 1_000;

/// Logs entries that a caller can repeat, such as refusals: at once, or counted with identical ones, as [`Coalescer`] does.
///
/// An entry that could not be logged is kept and logged later.
#[derive(Debug, Default)]
pub struct RepeatedEntries(Mutex<Coalescer>);

impl RepeatedEntries {
    /// Logs or counts an entry.
    ///
    /// # Errors
    /// The store's: then what the entry records must not happen.
    pub async fn log(&self, store: &dyn Store, entry: Draft, now: Instant) -> Result<(), StoreError> {
        let entry = self.coalescer().handle_entry(entry, now);
        self.append(store, entry.into_iter().collect(), now).await
    }

    /// Logs the counted entries whose minute is over.
    ///
    /// # Errors
    /// The store's. The counts are then kept.
    pub async fn log_due(&self, store: &dyn Store, now: Instant) -> Result<(), StoreError> {
        let due = self.coalescer().poll_entries(now);
        self.append(store, due, now).await
    }

    /// Logs all counted entries, before the process stops.
    ///
    /// # Errors
    /// As [`log_due`](Self::log_due).
    pub async fn log_all(&self, store: &dyn Store, now: Instant) -> Result<(), StoreError> {
        let counted = self.coalescer().drain();
        self.append(store, counted, now).await
    }

    async fn append(
        &self,
        store: &dyn Store,
        mut counted: Vec<Draft>,
        now: Instant,
    ) -> Result<(), StoreError> {
        while !counted.is_empty() {
            let entries = counted.split_off(counted.len().saturating_sub(MAX_ENTRIES));
            let unit = Unit {
                entries: entries.clone(),
                ..Unit::default()
            };
            if let Err(error) = store.commit(unit).await {
                self.coalescer().restore(entries.into_iter().chain(counted), now);
                return Err(error);
            }
        }
        Ok(())
    }

    fn coalescer(&self) -> MutexGuard<'_, Coalescer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
