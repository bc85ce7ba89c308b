//! The thread that writes: group commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::error::SqlError;
use super::memory::{Head, Memory};
use super::prepared::Prepared;
use super::threads::{Step, Write};
use super::transaction::Transaction;
use super::values::params;
use crate::{Keys, Limits, StoreError, StoreErrorKind};

/// The transactions of a database. Only one writer is in a transaction at a time.
pub(crate) trait Database {
    /// Begins a transaction, in which no other writer is, and brings the memory up to date.
    fn begin(&mut self, prepared: &mut Prepared<'_>, memory: &mut Memory) -> Result<(), SqlError>;

    /// Commits the transaction with its counts. Looks it up if the COMMIT failed.
    fn commit(
        &mut self,
        prepared: &mut Prepared<'_>,
        memory: &mut Memory,
        before: &Head,
    ) -> Result<(), StoreErrorKind>;

    /// Rolls back the transaction, if one is open.
    fn roll_back(&mut self, prepared: &mut Prepared<'_>) -> Result<(), SqlError>;

    /// Whether the store is closed after this outcome.
    fn is_permanent(&self, outcome: StoreErrorKind) -> bool;

    /// Begins a unit, to whose beginning [`undo_unit`](Self::undo_unit) returns.
    fn begin_unit(&mut self) {}

    /// Handles the failure of a unit that has changed no row.
    fn undo_unit(&mut self) {}

    /// Does what is due between two transactions. `has_erased` is whether the last one erased a key.
    ///
    /// # Errors
    /// If the disk failed permanently.
    fn maintain(&mut self, _: &mut Prepared<'_>, _has_erased: bool) -> Result<(), StoreErrorKind> {
        Ok(())
    }

    /// Compares a page of rows with what units have written. Returns whether all rows are compared.
    fn compare_rows(
        &mut self,
        prepared: &mut Prepared<'_>,
        keys: &Keys,
        is_first: bool,
    ) -> Result<bool, SqlError>;
}

pub(crate) struct Writer<D> {
    keys: Arc<Keys>,
    limits: Limits,
    database: D,
    memory: Memory,
    /// Units of the next transaction: of callers that wait, and of those that were just answered, which would otherwise
    /// alternate in two transactions.
    expected: usize,
}

impl<D: Database> Writer<D> {
    pub(crate) fn new(keys: Arc<Keys>, limits: Limits, database: D, memory: Memory) -> Self {
        Self {
            keys,
            limits,
            database,
            memory,
            expected: 0,
        }
    }

    /// Commits writes until the channel closes or the disk fails.
    ///
    /// While a transaction becomes durable, the units of the next one queue in the inbox.
    pub(crate) fn run(mut self, mut prepared: Prepared<'_>, mut inbox: mpsc::Receiver<Write>) {
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
        let (outcome, has_erased) = match self.commit(prepared, batch) {
            Ok(Ran::Whole { has_erased }) => (Ok(()), has_erased),
            Ok(Ran::Halfway) if batch.len() > 1 => {
                let (first, second) = batch.split_at_mut(batch.len() / 2);
                return self.store(prepared, first, inbox) && self.store(prepared, second, inbox);
            }
            // the unit has its own error
            Ok(Ran::Halfway) => (Ok(()), false),
            Err(fault) => (Err(fault), false),
        };
        let closed = outcome.err().is_some_and(|kind| self.database.is_permanent(kind))
            || self.database.maintain(prepared, has_erased).is_err();
        if closed {
            tracing::error!("the store accepts no more units: the disk failed");
            // before the replies, so that their callers see the closed channel
            inbox.close();
        }
        self.expected = batch.len() + inbox.len();
        batch.iter_mut().for_each(|write| write(Step::Reply(outcome)));
        !closed
    }

    /// Commits a batch in one transaction, unless a unit fails halfway.
    fn commit(&mut self, prepared: &mut Prepared<'_>, batch: &mut [Write]) -> Result<Ran, StoreErrorKind> {
        let begun = self.database.begin(prepared, &mut self.memory);
        let before = self.memory.head.clone();
        let ran = begun
            .map_err(|error| self.memory.rolled_back(&error))
            .and_then(|()| self.run_all(prepared, batch));
        let stored = match ran {
            Ok(Ran::Whole { has_erased }) => {
                let committed = self.database.commit(prepared, &mut self.memory, &before);
                committed.map(|()| Ran::Whole { has_erased })
            }
            failed => failed,
        };
        if let Ok(Ran::Whole { .. }) = stored {
            self.memory.commit();
            return stored;
        }
        self.memory.roll_back(before, stored.err());
        if let Err(error) = self.database.roll_back(prepared) {
            tracing::warn!(%error, "a rollback failed and is repeated before the next transaction");
        }
        stored
    }

    /// Runs the units of a batch until one fails halfway.
    fn run_all(&mut self, prepared: &mut Prepared<'_>, batch: &mut [Write]) -> Result<Ran, StoreErrorKind> {
        let mut transaction = Transaction {
            prepared,
            keys: &self.keys,
            limits: &self.limits,
            database: &mut self.database,
            memory: &mut self.memory,
            totals: BTreeMap::new(),
            has_erased: false,
            failed: None,
        };
        for write in batch {
            write(Step::Run(&mut transaction));
            match transaction.failed {
                Some(StoreErrorKind::Poisoned) => return Err(StoreErrorKind::Poisoned),
                Some(_) => return Ok(Ran::Halfway),
                None => {}
            }
        }
        transaction
            .write_counts()
            .map_err(|error| StoreError::from(error).kind())?;
        Ok(Ran::Whole {
            has_erased: transaction.has_erased,
        })
    }
}

/// Progress of the units of a batch.
#[derive(Clone, Copy)]
enum Ran {
    /// All are in the transaction. `has_erased` is whether one erased a key.
    Whole { has_erased: bool },
    /// One failed after it had changed a row, so the transaction has to be rolled back.
    Halfway,
}

/// Writes the counts of the head that changed, and the number of the transaction.
pub(crate) fn write_changes(
    prepared: &mut Prepared<'_>,
    head: &mut Head,
    before: &Head,
) -> Result<(), SqlError> {
    if head.live_sessions != before.live_sessions {
        write_count(prepared, LIVE_SESSIONS, head.live_sessions)?;
    }
    head.transactions += 1;
    write_count(prepared, TRANSACTIONS, head.transactions)?;
    Ok(())
}

/// Name of the count of live sessions.
pub(crate) const LIVE_SESSIONS: &str = "live_sessions";
/// Name of the count of transactions that changed something.
pub(crate) const TRANSACTIONS: &str = "transactions";

/// The number of the last transaction that changed something.
pub(crate) fn last_transaction(prepared: &mut Prepared<'_>) -> Result<u64, SqlError> {
    // a store that was created by an earlier version has no such row
    Ok(count(prepared, TRANSACTIONS)?.unwrap_or_default())
}

pub(crate) fn count(prepared: &mut Prepared<'_>, name: &str) -> Result<Option<u64>, SqlError> {
    let sql = "SELECT value FROM counts WHERE name = ?1";
    let count = prepared.row(sql, [name], |row| row.get::<i64>(0))?;
    Ok(count.map(i64::unsigned_abs))
}

pub(crate) fn write_count(prepared: &mut Prepared<'_>, name: &str, value: u64) -> Result<(), SqlError> {
    let sql = "INSERT INTO counts VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    prepared.write(sql, params![name, i64::try_from(value).unwrap_or(i64::MAX)])
}

/// Wait for the next units of callers that were just answered. Our choice: 100 µs with the slack of Linux's timers, less
/// than the `fsync` that it saves.
const GATHERING: Duration = Duration::from_micros(50);

/// Largest number of units of one transaction. Our choice: the cost of one `fsync` per unit is then small.
const LARGEST_BATCH: usize = 256;
