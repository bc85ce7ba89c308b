//! Entries that a caller can repeat. Identical ones are counted, so that they do not fill the audit log.

use std::sync::{MutexGuard, PoisonError};

use audit::{Coalescer, Draft};
use guest_store::Unit;

use super::Direct;
use crate::Error;

/// Largest number of entries of a unit. Our choice.
const MAX_ENTRIES: usize = 1_000;

impl Direct {
    /// Logs an entry.
    ///
    /// # Errors
    /// The store's: then what the entry records must not happen.
    pub async fn log_entry(&self, entry: Draft) -> Result<(), Error> {
        self.commit(entry.into()).await
    }

    /// Logs an entry that a caller can repeat, such as a refusal: at once, or counted with identical ones, as
    /// [`Coalescer`] does.
    ///
    /// # Errors
    /// As [`Self::log_entry`].
    pub async fn log_repeated(&self, entry: Draft) -> Result<(), Error> {
        let now = self.clock().now().instant;
        let Some(entry) = self.coalescer().handle_entry(entry, now) else {
            return Ok(());
        };
        let logged = self.commit(entry.clone().into()).await;
        if logged.is_err() {
            self.coalescer().restore([entry], now);
        }
        logged
    }

    /// Logs the counted entries. Call it before the process stops. Identical refusals within a minute are one audit entry
    /// with their `count`, but for the first, which has its own; the background tasks log it when the minute is over.
    ///
    /// # Errors
    /// The store's. The counts are then kept.
    pub async fn log_refusals(&self) -> Result<(), Error> {
        let counted = self.coalescer().drain();
        self.log_counted(counted).await
    }

    /// Logs the counted entries whose minute is over.
    pub(super) async fn log_due_refusals(&self) -> Result<(), Error> {
        let now = self.clock().now().instant;
        let due = self.coalescer().poll_entries(now);
        self.log_counted(due).await
    }

    async fn log_counted(&self, mut counted: Vec<Draft>) -> Result<(), Error> {
        while !counted.is_empty() {
            let entries = counted.split_off(counted.len().saturating_sub(MAX_ENTRIES));
            let unit = Unit {
                entries: entries.clone(),
                ..Unit::default()
            };
            if let Err(error) = self.store().commit(unit).await {
                let now = self.clock().now().instant;
                self.coalescer().restore(entries.into_iter().chain(counted), now);
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn coalescer(&self) -> MutexGuard<'_, Coalescer> {
        let coalescer = self.shared.coalescer.lock();
        coalescer.unwrap_or_else(PoisonError::into_inner)
    }
}
