//! A transaction of the writer, in which units run.

use std::collections::BTreeMap;

use super::error::SqlError;
use super::memory::{Memory, unwritable};
use super::prepared::Prepared;
use super::reader::Reader;
use super::writer::Database;
use crate::{Keys, Limits, StoreError, StoreErrorKind};

/// The current transaction.
pub(crate) struct Transaction<'t, 'c> {
    pub(crate) prepared: &'t mut Prepared<'c>,
    pub(crate) keys: &'t Keys,
    pub(crate) limits: &'t Limits,
    pub(crate) database: &'t mut dyn Database,
    pub(crate) memory: &'t mut Memory,
    /// Additions to totals that are not written yet. They are written once a transaction.
    pub(crate) totals: BTreeMap<String, u64>,
    /// Whether a session was erased.
    pub(crate) has_erased: bool,
    /// The error of a unit because of which the transaction must be rolled back.
    pub(crate) failed: Option<StoreErrorKind>,
}

impl<'c> Transaction<'_, 'c> {
    /// A reader within the transaction, for a store in memory.
    pub(crate) fn reader(&mut self) -> Reader<'_, 'c> {
        Reader {
            prepared: self.prepared,
            keys: self.keys,
        }
    }

    /// Runs a unit. One that fails before it changes a row leaves the transaction as it was.
    pub(crate) fn unit<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, StoreError> {
        let before = self.memory.head.clone();
        let (changed_guests, changes) = (self.memory.guest_changes(), self.prepared.changes());
        self.database.begin_unit();
        let result = work(self).map_err(StoreError::from);
        if let Err(error) = &result {
            self.memory.head = before;
            self.database.undo_unit();
            self.memory.undo_guests(changed_guests);
            let is_known = self.memory.fault.is_some();
            self.memory.fault = unwritable(error.kind()).or(self.memory.fault);
            // a database rolls back the whole transaction after some errors, as when the disk is full
            if !self.prepared.in_transaction() {
                if !is_known {
                    tracing::warn!(%error, "a transaction of the store was rolled back: changes are refused until that passes");
                }
                let kind = match error.kind() {
                    kind @ (StoreErrorKind::Full | StoreErrorKind::Poisoned) => kind,
                    _ => StoreErrorKind::Unavailable,
                };
                self.failed = Some(kind);
                return Err(kind.into());
            }
            if self.prepared.changes() != changes {
                self.failed = Some(error.kind());
            }
        }
        result
    }

    /// Compares a page of rows with what units have written. Returns whether all rows are compared.
    pub(crate) fn compare_rows(&mut self, is_first: bool) -> Result<bool, SqlError> {
        self.database.compare_rows(self.prepared, self.keys, is_first)
    }
}
