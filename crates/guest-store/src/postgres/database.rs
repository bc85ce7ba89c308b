//! The transactions of PostgreSQL.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use genesys_api::entropy;

use crate::sql::error::SqlError;
use crate::sql::log::write_head;
use crate::sql::memory::{Head, Memory};
use crate::sql::prepared::Prepared;
use crate::sql::reader::Reader;
use crate::sql::rows::{session, session_columns};
use crate::sql::turns::Turns;
use crate::sql::values::params;
use crate::sql::writer::{Database, LIVE_SESSIONS, count, last_transaction, write_changes, write_count};
use crate::{Keys, StoreError, StoreErrorKind};

/// The transactions of one process, whose connection holds the lock of the store.
pub(super) struct PostgresDatabase {
    keys: Arc<Keys>,
    /// Name of the count that has the number of the last transaction of this process.
    writer: String,
    /// The link of the last transaction. Before that of another one, the memory is read again.
    link: u64,
    /// Rows that the connection had changed when the transaction began.
    changes: u64,
    /// The last session that was compared.
    compared: i64,
}

impl PostgresDatabase {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        let id: [u8; 16] = entropy::bytes();
        Self {
            keys,
            writer: format!("writer {:032x}", u128::from_be_bytes(id)),
            link: 0,
            changes: 0,
            compared: 0,
        }
    }

    /// Reads what another process may have written.
    fn read_memory(&self, prepared: &mut Prepared<'_>, memory: &mut Memory) -> Result<(), SqlError> {
        let mut reader = Reader {
            prepared,
            keys: &self.keys,
        };
        memory.head.log = reader.log_head()?;
        memory.head.live_sessions = count(prepared, LIVE_SESSIONS)?.ok_or(StoreErrorKind::Corrupt)?;
        memory.head.transactions = last_transaction(prepared)?;
        memory.turns = Turns::read(prepared)?;
        // a process that still looks its last transaction up does so before others have committed this many
        let old = i64::try_from(memory.head.transactions).unwrap_or(i64::MAX) - KEPT;
        prepared.execute(FORGET, [old])?;
        Ok(())
    }

    /// Looks the transaction up whose COMMIT failed. `Ok` if it is stored.
    ///
    /// The lock of the store is free only after the server has ended the lost connection with its transaction, so the
    /// answer is final.
    fn resolve(
        &self,
        prepared: &mut Prepared<'_>,
        number: u64,
        fault: StoreErrorKind,
    ) -> Result<(), StoreErrorKind> {
        for attempt in 1..=LOOK_UPS {
            match prepared.roll_back().and_then(|()| count(prepared, &self.writer)) {
                Ok(last) if last == Some(number) => {
                    tracing::warn!(
                        transaction = number,
                        "a transaction is stored although its commit reported an error"
                    );
                    return Ok(());
                }
                Ok(_) => return Err(fault),
                Err(error) => {
                    tracing::debug!(%error, attempt, "the outcome of a transaction cannot be read yet")
                }
            }
            thread::sleep(PAUSE);
        }
        tracing::error!(transaction = number, "the outcome of a transaction is unknown");
        Err(StoreErrorKind::OutcomeUnknown)
    }
}

impl Database for PostgresDatabase {
    fn begin(&mut self, prepared: &mut Prepared<'_>, memory: &mut Memory) -> Result<(), SqlError> {
        prepared.begin()?;
        let link = prepared.links();
        if self.link != link {
            self.read_memory(prepared, memory)?;
            self.link = link;
        }
        if memory.fault.take().is_some() {
            tracing::info!("changes can be stored again");
        }
        self.changes = prepared.changes();
        Ok(())
    }

    fn commit(
        &mut self,
        prepared: &mut Prepared<'_>,
        memory: &mut Memory,
        before: &Head,
    ) -> Result<(), StoreErrorKind> {
        let has_changed = prepared.changes() != self.changes;
        let mut write = || {
            if has_changed {
                write_changes(prepared, &mut memory.head, before)?;
                write_count(prepared, &self.writer, memory.head.transactions)?;
                write_head(prepared, &memory.head.log, &self.keys.seal)?;
            }
            Ok(())
        };
        write().map_err(|error: SqlError| memory.rolled_back(&error))?;
        match prepared.commit() {
            Ok(()) => Ok(()),
            Err(error) => {
                let fault = memory.rolled_back(&error);
                match has_changed {
                    true => self.resolve(prepared, memory.head.transactions, fault),
                    false => Err(fault),
                }
            }
        }
    }

    fn roll_back(&mut self, prepared: &mut Prepared<'_>) -> Result<(), SqlError> {
        prepared.roll_back()
    }

    fn is_permanent(&self, _: StoreErrorKind) -> bool {
        false
    }

    /// Opens the next page of sessions.
    fn compare_rows(
        &mut self,
        prepared: &mut Prepared<'_>,
        keys: &Keys,
        is_first: bool,
    ) -> Result<bool, SqlError> {
        if is_first {
            self.compared = 0;
        }
        let sql = concat!(
            "SELECT sessions.rowid, ",
            session_columns!(),
            " FROM sessions JOIN subjects USING (slot) WHERE sessions.rowid > ?1 ORDER BY sessions.rowid LIMIT ?2"
        );
        let page = prepared.rows(sql, params![self.compared, COMPARED], |row| {
            let rowid: i64 = row.get(0)?;
            match session(row, 1, &keys.seal) {
                Ok(_) => Ok(rowid),
                Err(error) if error.is_corrupt() => {
                    let source = format!("row {rowid} of the table sessions was altered");
                    Err(StoreError::new(StoreErrorKind::Corrupt, source).into())
                }
                Err(error) => Err(error),
            }
        })?;
        self.compared = page.last().copied().unwrap_or(i64::MAX);
        Ok(page.is_empty())
    }
}

/// Removes the last transactions of processes that ended long ago.
const FORGET: &str = "DELETE FROM counts WHERE name >= 'writer ' AND name < 'writer!' AND value < ?1";
/// Transactions after which that of another process is forgotten. Our choice.
const KEPT: i64 = 100_000;
/// Sessions of a page. Our choice: the writer opens them in some milliseconds.
const COMPARED: i64 = 256;
/// Attempts to look the outcome of a transaction up. Each may wait for a connection and its lock. Our choice: a restart of
/// the server takes less than their pauses.
const LOOK_UPS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
