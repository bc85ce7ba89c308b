//! The thread that writes: group commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::mpsc;

use super::error::{SqliteError, fault};
use super::live_guests::LiveGuests;
use super::log::write_head;
use super::outbox::QueueCounts;
use super::prepared::Prepared;
use super::reader::Reader;
use super::row_sums::{RowState, Rows};
use super::turns::Turns;
use super::wal::Wal;
use super::{Keys, Step, Write};
use crate::audit_log::LogHead;
use crate::{Limits, StoreError, StoreErrorKind};

/// Counters and heads that the writer holds in memory.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) log: LogHead,
    pub(super) live_sessions: u64,
    /// Number of the last transaction that changed something.
    pub(super) transactions: u64,
    /// Counts that the open transaction has not written yet.
    pub(super) queues: QueueCounts,
    /// Webhooks whose full queue was logged. They are logged again after their last snapshot was delivered.
    pub(super) overflowing: BTreeSet<String>,
}

pub(super) struct Writer {
    keys: Arc<Keys>,
    limits: Limits,
    head: Head,
    rows: Rows,
    guests: LiveGuests,
    turns: Turns,
    wal: Wal,
    /// Rows that this connection has changed, or `None` before the first transaction.
    changes: Option<u64>,
    /// Units of the next transaction: of callers that wait, and of those that were just answered, which would otherwise
    /// alternate in two transactions.
    expected: usize,
    /// The passing fault of the last change: `Full`, or `Unavailable` as at a limit of the size of files.
    fault: Option<StoreErrorKind>,
}

impl Writer {
    pub(super) fn new(
        keys: Arc<Keys>,
        limits: Limits,
        head: Head,
        rows: Rows,
        guests: LiveGuests,
        turns: Turns,
        wal: Wal,
    ) -> Self {
        Self {
            keys,
            limits,
            head,
            rows,
            guests,
            turns,
            wal,
            changes: None,
            expected: 0,
            fault: None,
        }
    }

    /// Commits writes until the channel closes or the disk fails.
    ///
    /// While a transaction becomes durable, the units of the next one queue in the inbox.
    pub(super) fn run(mut self, connection: &Connection, mut inbox: mpsc::Receiver<Write>) {
        let mut prepared = Prepared::new(connection);
        let mut batch = Vec::new();
        while inbox.blocking_recv_many(&mut batch, LARGEST_BATCH) > 0 {
            if batch.len() < self.expected {
                thread::sleep(GATHERING);
                while batch.len() < LARGEST_BATCH
                    && let Ok(write) = inbox.try_recv()
                {
                    batch.push(write);
                }
            }
            if !self.store(&mut prepared, &mut batch, &mut inbox) {
                return;
            }
            batch.clear();
        }
    }

    /// Commits a batch and replies. Returns whether the store accepts more units.
    ///
    /// The units have no savepoints, which cost a copy of each page that they change. After one that fails halfway, the
    /// transaction is rolled back and each half of the batch has its own.
    fn store(
        &mut self,
        prepared: &mut Prepared<'_>,
        batch: &mut [Write],
        inbox: &mut mpsc::Receiver<Write>,
    ) -> bool {
        let outcome = match self.commit(prepared, batch) {
            Ok(true) => Ok(()),
            Ok(false) if batch.len() > 1 => {
                let (first, second) = batch.split_at_mut(batch.len() / 2);
                return self.store(prepared, first, inbox) && self.store(prepared, second, inbox);
            }
            // the unit has its own error
            Ok(false) => Ok(()),
            Err(fault) => Err(fault),
        };
        let closed = is_permanent(outcome) || self.wal.checkpoint_if_due(prepared).is_err();
        if closed {
            tracing::error!("the store accepts no more units: the disk failed");
            // before the replies, so that their callers see the closed channel
            inbox.close();
        }
        self.expected = batch.len() + inbox.len();
        batch.iter_mut().for_each(|write| write(Step::Reply(outcome)));
        !closed
    }

    /// Commits a batch in one transaction. Returns whether it is stored: `false` if a unit failed halfway.
    fn commit(&mut self, prepared: &mut Prepared<'_>, batch: &mut [Write]) -> Result<bool, StoreErrorKind> {
        let before = (self.head.clone(), self.rows.state());
        let begun = roll_back(prepared)
            .and_then(|()| self.probe_space(prepared))
            .and_then(|()| prepared.execute("BEGIN IMMEDIATE", []));
        let ran = begun
            .map_err(|error| rolled_back(error, self.fault))
            .and_then(|_| self.run_all(prepared, batch));
        let stored = match ran {
            Ok(true) => self.finish(prepared, &before).map(|()| true),
            failed => failed,
        };
        if stored == Ok(true) {
            self.guests.commit();
            self.turns.commit();
            return stored;
        }
        self.head = before.0;
        self.rows.restore(before.1);
        self.guests.roll_back(0);
        self.turns.roll_back();
        self.fault = stored.err().and_then(unwritable).or(self.fault);
        if let Err(error) = roll_back(prepared) {
            tracing::warn!(%error, "a rollback failed and is repeated before the next transaction");
        }
        stored
    }

    /// Runs the units of a batch until one fails halfway. Returns whether none did.
    fn run_all(&mut self, prepared: &mut Prepared<'_>, batch: &mut [Write]) -> Result<bool, StoreErrorKind> {
        let mut transaction = Transaction {
            prepared,
            keys: &self.keys,
            limits: &self.limits,
            head: &mut self.head,
            rows: &self.rows,
            guests: &mut self.guests,
            turns: &mut self.turns,
            totals: BTreeMap::new(),
            erased: false,
            failed: None,
            fault: &mut self.fault,
        };
        for write in batch {
            write(Step::Run(&mut transaction));
            match transaction.failed {
                Some(StoreErrorKind::Poisoned) => return Err(StoreErrorKind::Poisoned),
                Some(_) => return Ok(false),
                None => {}
            }
        }
        transaction
            .write_counts()
            .map_err(|error| StoreError::from(error).kind())?;
        self.wal.truncate |= transaction.erased;
        Ok(true)
    }

    /// After a change that could not be written, writes [`PROBE`] bytes and removes them. Fails only if the disk failed.
    fn probe_space(&mut self, prepared: &mut Prepared<'_>) -> rusqlite::Result<()> {
        if self.fault.is_none() {
            return Ok(());
        }
        let probed = prepared.execute("BEGIN IMMEDIATE", []).and_then(|_| {
            prepared.execute("INSERT INTO meta VALUES ('probe', zeroblob(?1))", [PROBE])?;
            prepared.execute("DELETE FROM meta WHERE name = 'probe'", [])?;
            prepared.execute("COMMIT", [])
        });
        match probed {
            Ok(_) => {
                tracing::info!("changes can be stored again");
                self.fault = None;
            }
            Err(error) if fault(&error) == StoreErrorKind::Poisoned => return Err(error),
            Err(_) => {}
        }
        roll_back(prepared)
    }

    /// Commits the open transaction with its counts.
    fn finish(
        &mut self,
        prepared: &mut Prepared<'_>,
        before: &(Head, RowState),
    ) -> Result<(), StoreErrorKind> {
        let known = self.fault;
        self.write_changes(prepared, &before.0)
            .map_err(|error| rolled_back(error, known))?;
        match prepared.execute("COMMIT", []) {
            Ok(_) => Ok(()),
            Err(error) => self.resolve(prepared, before, rolled_back(error, known)),
        }
    }

    /// Writes the counts and the head of the log if anything changed.
    fn write_changes(&mut self, prepared: &mut Prepared<'_>, before: &Head) -> rusqlite::Result<()> {
        if self.head.live_sessions != before.live_sessions {
            write_count(prepared, "live_sessions", self.head.live_sessions)?;
        }
        let changes = Some(prepared.changes());
        if changes != self.changes {
            self.head.transactions += 1;
            write_count(prepared, TRANSACTIONS, self.head.transactions)?;
            self.head.log.rows = self.rows.sums();
            write_head(prepared, &self.head.log, &self.keys.seal)?;
            // the last two statements changed a row each
            self.changes = changes.map(|changes| changes + 2);
        }
        Ok(())
    }

    /// Looks the transaction up whose COMMIT failed. `Ok` if it is stored.
    ///
    /// After a failed `fsync` it is not visible, but a later recovery may find it in the write-ahead log. Another
    /// transaction in its place, which is made durable, makes sure that it does not.
    fn resolve(
        &self,
        prepared: &mut Prepared<'_>,
        before: &(Head, RowState),
        fault: StoreErrorKind,
    ) -> Result<(), StoreErrorKind> {
        let number = self.head.transactions;
        let outcome = roll_back(prepared).and_then(|()| {
            let is_stored = last_transaction(prepared)? == number;
            if !is_stored && fault == StoreErrorKind::Poisoned {
                prepared.execute("BEGIN IMMEDIATE", [])?;
                self.rows.restore(before.1);
                write_count(prepared, TRANSACTIONS, number.saturating_add(1))?;
                let mut log = before.0.log.clone();
                log.rows = self.rows.sums();
                write_head(prepared, &log, &self.keys.seal)?;
                prepared.execute("COMMIT", [])?;
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

/// Whether the store is closed after this outcome.
fn is_permanent(outcome: Result<(), StoreErrorKind>) -> bool {
    matches!(
        outcome,
        Err(StoreErrorKind::Poisoned | StoreErrorKind::OutcomeUnknown)
    )
}

/// Name of the count of transactions that changed something.
const TRANSACTIONS: &str = "transactions";

/// The number of the last transaction that changed something.
pub(super) fn last_transaction(prepared: &mut Prepared<'_>) -> rusqlite::Result<u64> {
    let sql = "SELECT value FROM counts WHERE name = ?1";
    let number = prepared.row(sql, [TRANSACTIONS], |row| row.get::<_, i64>(0))?;
    // a store that was created by an earlier version has no such row
    Ok(number.unwrap_or_default().unsigned_abs())
}

fn write_count(prepared: &mut Prepared<'_>, name: &str, value: u64) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO counts VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    prepared.execute(sql, params![name, i64::try_from(value).unwrap_or(i64::MAX)])
}

/// Logs the error of a transaction that is rolled back, unless a passing fault is known, and returns its kind.
fn rolled_back(error: rusqlite::Error, known: Option<StoreErrorKind>) -> StoreErrorKind {
    if known.is_none() {
        tracing::warn!(%error, "a transaction of the store is rolled back");
    }
    fault(&error)
}

/// Rolls back the open transaction. SQLite does that by itself after some errors.
fn roll_back(prepared: &mut Prepared<'_>) -> rusqlite::Result<()> {
    if prepared.in_transaction() {
        prepared.execute("ROLLBACK", [])?;
    }
    Ok(())
}

/// The kind of a passing fault that a change can meet until the operator ends it.
fn unwritable(kind: StoreErrorKind) -> Option<StoreErrorKind> {
    matches!(kind, StoreErrorKind::Full | StoreErrorKind::Unavailable).then_some(kind)
}

/// Bytes that are free again when a full disk or file is used. Our choice: more than most changes need.
const PROBE: i64 = 65_536;

/// Wait for the next units of callers that were just answered. Our choice: 100 µs with the slack of Linux's timers, less
/// than the `fsync` that it saves.
const GATHERING: Duration = Duration::from_micros(50);

/// Largest number of units of one transaction. Our choice: the cost of one `fsync` per unit is then small.
const LARGEST_BATCH: usize = 256;

/// The current transaction.
pub(super) struct Transaction<'t, 'c> {
    pub(super) prepared: &'t mut Prepared<'c>,
    pub(super) keys: &'t Keys,
    pub(super) limits: &'t Limits,
    pub(super) head: &'t mut Head,
    pub(super) rows: &'t Rows,
    pub(super) guests: &'t mut LiveGuests,
    pub(super) turns: &'t mut Turns,
    /// Additions to totals that are not written yet. They are written once a transaction.
    pub(super) totals: BTreeMap<String, u64>,
    /// Whether a session was erased.
    pub(super) erased: bool,
    /// The error of a unit because of which the transaction must be rolled back.
    pub(super) failed: Option<StoreErrorKind>,
    /// The passing fault of the last change.
    pub(super) fault: &'t mut Option<StoreErrorKind>,
}

impl<'c> Transaction<'_, 'c> {
    /// A reader within the transaction, for a store in memory.
    pub(super) fn reader(&mut self) -> Reader<'_, 'c> {
        Reader {
            prepared: self.prepared,
            keys: self.keys,
        }
    }

    /// Runs a unit. One that fails before it changes a row leaves the transaction as it was.
    pub(super) fn unit<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        let before = (self.head.clone(), self.rows.state());
        let (changed_guests, changes) = (self.guests.changes(), self.prepared.changes());
        let result = work(self).map_err(StoreError::from);
        if let Err(error) = &result {
            *self.head = before.0;
            self.rows.restore(before.1);
            self.guests.roll_back(changed_guests);
            let is_known = self.fault.is_some();
            *self.fault = unwritable(error.kind()).or(*self.fault);
            // SQLite rolls back the whole transaction after some errors, as when the disk is full
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
}

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
        let before = (head.clone(), rows.state());
        let mut prepared = Prepared::new(&connection);
        let mut writer = Writer::new(
            keys,
            Limits::default(),
            head,
            rows,
            LiveGuests::default(),
            Turns::default(),
            Wal::default(),
        );
        writer.head.transactions = 5;
        let full = Err(StoreErrorKind::Full);
        assert_eq!(writer.resolve(&mut prepared, &before, StoreErrorKind::Full), full);
        assert_eq!(last_transaction(&mut prepared).unwrap(), 0);
        let poisoned = Err(StoreErrorKind::Poisoned);
        assert_eq!(
            writer.resolve(&mut prepared, &before, StoreErrorKind::Poisoned),
            poisoned
        );
        assert_eq!(
            last_transaction(&mut prepared).unwrap(),
            6,
            "another transaction is in its place"
        );
        writer.head.transactions = 6;
        assert_eq!(
            writer.resolve(&mut prepared, &before, StoreErrorKind::Unavailable),
            Ok(())
        );
        let unknown = Err(StoreErrorKind::OutcomeUnknown);
        assert_eq!(
            writer.resolve(&mut prepared, &before, StoreErrorKind::Poisoned),
            unknown,
            "visible, and perhaps not durable"
        );
        connection.execute_batch("DROP TABLE counts").unwrap();
        let mut prepared = Prepared::new(&connection);
        assert_eq!(
            writer.resolve(&mut prepared, &before, StoreErrorKind::Full),
            unknown
        );
    }
}
