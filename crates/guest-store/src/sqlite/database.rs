//! The transactions of SQLite.

use std::sync::Arc;

use rusqlite::Connection;

use super::row_sums::{RowState, Rows};
use super::wal::Wal;
use crate::sql::error::SqlError;
use crate::sql::log::write_head;
use crate::sql::memory::{Head, Memory};
use crate::sql::prepared::Prepared;
use crate::sql::writer::{Database, TRANSACTIONS, last_transaction, write_changes, write_count};
use crate::{Keys, StoreErrorKind};

/// The connection that writes, and what it counts.
pub(super) struct SqliteDatabase<'c> {
    connection: &'c Connection,
    keys: Arc<Keys>,
    rows: Rows,
    /// The state of the sums when the transaction and the unit began.
    before: (RowState, RowState),
    wal: Wal,
    /// Rows that this connection has changed, or `None` before the first transaction.
    changes: Option<u64>,
}

impl<'c> SqliteDatabase<'c> {
    pub(super) fn new(connection: &'c Connection, keys: Arc<Keys>, rows: Rows, wal: Wal) -> Self {
        Self {
            connection,
            keys,
            before: (rows.state(), rows.state()),
            rows,
            wal,
            changes: None,
        }
    }

    /// After a change that could not be written, writes [`PROBE`] bytes and removes them. Fails only if the disk failed.
    fn probe_space(&self, prepared: &mut Prepared<'_>, memory: &mut Memory) -> Result<(), SqlError> {
        if memory.fault.is_none() {
            return Ok(());
        }
        let probed = prepared.begin().and_then(|()| {
            prepared.execute("INSERT INTO meta VALUES ('probe', zeroblob(?1))", [PROBE])?;
            prepared.execute("DELETE FROM meta WHERE name = 'probe'", ())?;
            prepared.commit()
        });
        match probed {
            Ok(()) => {
                tracing::info!("changes can be stored again");
                memory.fault = None;
            }
            Err(error) if error.fault() == StoreErrorKind::Poisoned => return Err(error),
            Err(_) => {}
        }
        prepared.roll_back()
    }

    /// Writes the counts and the head of the log if anything changed.
    fn write_changes(
        &mut self,
        prepared: &mut Prepared<'_>,
        head: &mut Head,
        before: &Head,
    ) -> Result<(), SqlError> {
        if Some(prepared.changes()) == self.changes && head.live_sessions == before.live_sessions {
            return Ok(());
        }
        write_changes(prepared, head, before)?;
        // after all other rows
        head.log.rows = self.rows.sums();
        write_head(prepared, &head.log, &self.keys.seal)?;
        self.changes = Some(prepared.changes());
        Ok(())
    }

    /// Looks the transaction up whose COMMIT failed. `Ok` if it is stored.
    ///
    /// After a failed `fsync` it is not visible, but a later recovery may find it in the write-ahead log. Another
    /// transaction in its place, which is made durable, makes sure that it does not.
    fn resolve(
        &self,
        prepared: &mut Prepared<'_>,
        number: u64,
        before: &Head,
        fault: StoreErrorKind,
    ) -> Result<(), StoreErrorKind> {
        let outcome = prepared.roll_back().and_then(|()| {
            let is_stored = last_transaction(prepared)? == number;
            if !is_stored && fault == StoreErrorKind::Poisoned {
                prepared.begin()?;
                self.rows.restore(self.before.0);
                write_count(prepared, TRANSACTIONS, number.saturating_add(1))?;
                let mut log = before.log.clone();
                log.rows = self.rows.sums();
                write_head(prepared, &log, &self.keys.seal)?;
                prepared.commit()?;
            }
            Ok(is_stored)
        });
        match outcome {
            Ok(true) if fault != StoreErrorKind::Poisoned => {
                tracing::warn!(
                    transaction = number,
                    "a transaction is stored although its commit reported an error"
                );
                Ok(())
            }
            Ok(false) => Err(fault),
            _ => {
                tracing::error!(
                    transaction = number,
                    "the outcome of a transaction is unknown: restart, the store then logs the number of its last one"
                );
                Err(StoreErrorKind::OutcomeUnknown)
            }
        }
    }
}

impl Database for SqliteDatabase<'_> {
    fn begin(&mut self, prepared: &mut Prepared<'_>, memory: &mut Memory) -> Result<(), SqlError> {
        self.before.0 = self.rows.state();
        prepared.roll_back()?;
        self.probe_space(prepared, memory)?;
        prepared.begin()
    }

    fn commit(
        &mut self,
        prepared: &mut Prepared<'_>,
        memory: &mut Memory,
        before: &Head,
    ) -> Result<(), StoreErrorKind> {
        self.write_changes(prepared, &mut memory.head, before)
            .map_err(|error| memory.rolled_back(&error))?;
        match prepared.commit() {
            Ok(()) => Ok(()),
            Err(error) => {
                let fault = memory.rolled_back(&error);
                self.resolve(prepared, memory.head.transactions, before, fault)
            }
        }
    }

    fn roll_back(&mut self, prepared: &mut Prepared<'_>) -> Result<(), SqlError> {
        self.rows.restore(self.before.0);
        prepared.roll_back()
    }

    fn is_permanent(&self, outcome: StoreErrorKind) -> bool {
        matches!(outcome, StoreErrorKind::Poisoned | StoreErrorKind::OutcomeUnknown)
    }

    fn begin_unit(&mut self) {
        self.before.1 = self.rows.state();
    }

    fn undo_unit(&mut self) {
        self.rows.restore(self.before.1);
    }

    fn maintain(&mut self, prepared: &mut Prepared<'_>, has_erased: bool) -> Result<(), StoreErrorKind> {
        self.wal.truncate |= has_erased;
        self.wal.checkpoint_if_due(self.connection, prepared)
    }

    fn compare_rows(&mut self, _: &mut Prepared<'_>, keys: &Keys, is_first: bool) -> Result<bool, SqlError> {
        self.rows.compare(self.connection, &keys.seal, is_first)
    }
}

/// Bytes that are free again when a full disk or file is used. Our choice: more than most changes need.
const PROBE: i64 = 65_536;

#[cfg(test)]
mod tests {
    //! The look-up of a transaction whose COMMIT failed.

    use super::super::{schema, startup};
    use super::*;

    #[test]
    fn failed_commit_is_looked_up() {
        let keys = Arc::new(Keys::ephemeral());
        let connection = schema::open_in_memory().unwrap();
        let (head, rows) = startup::prepare(&connection, &keys).unwrap();
        let mut prepared = Prepared::new(&connection);
        let database = SqliteDatabase::new(&connection, keys, rows, Wal::default());
        let mut resolve = |number, fault| database.resolve(&mut prepared, number, &head, fault);
        let last = || last_transaction(&mut Prepared::new(&connection));
        let full = Err(StoreErrorKind::Full);
        assert_eq!(resolve(5, StoreErrorKind::Full), full);
        assert_eq!(last().unwrap(), 0);
        assert_eq!(
            resolve(5, StoreErrorKind::Poisoned),
            Err(StoreErrorKind::Poisoned)
        );
        assert_eq!(last().unwrap(), 6, "another transaction is in its place");
        assert_eq!(resolve(6, StoreErrorKind::Unavailable), Ok(()));
        let unknown = Err(StoreErrorKind::OutcomeUnknown);
        assert_eq!(
            resolve(6, StoreErrorKind::Poisoned),
            unknown,
            "visible, and perhaps not durable"
        );
        connection.execute_batch("DROP TABLE counts").unwrap();
        assert_eq!(resolve(6, StoreErrorKind::Full), unknown);
    }
}
