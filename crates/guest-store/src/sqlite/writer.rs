//! The thread that writes: group commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::error::{SqliteError, fault};
use super::log::write_head;
use super::prepared::Prepared;
use super::reader::Reader;
use super::wal::Wal;
use super::{Keys, Reply, Write};
use crate::audit_log::LogHead;
use crate::{Limits, StoreError, StoreErrorKind};

/// Counters and heads that the writer holds in memory.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) log: LogHead,
    pub(super) live_sessions: u64,
    /// Webhooks whose full queue was logged. They are logged again after their last snapshot was delivered.
    pub(super) overflowing: BTreeSet<String>,
}

pub(super) struct Writer {
    keys: Arc<Keys>,
    limits: Limits,
    head: Head,
    wal: Wal,
}

impl Writer {
    pub(super) fn new(keys: Arc<Keys>, limits: Limits, head: Head, wal: Wal) -> Self {
        Self {
            keys,
            limits,
            head,
            wal,
        }
    }

    /// Commits writes until the channel closes or the disk fails.
    ///
    /// While a transaction becomes durable, the units of the next one queue in the inbox.
    pub(super) fn run(mut self, connection: &Connection, mut inbox: mpsc::Receiver<Write>) {
        let mut prepared = Prepared::new(connection);
        let (mut batch, mut answers) = (Vec::new(), Vec::new());
        while inbox.blocking_recv_many(&mut batch, LARGEST_BATCH) > 0 {
            let outcome = self.store(&mut prepared, batch.drain(..), &mut answers);
            let closed = outcome == Err(StoreErrorKind::Poisoned)
                || self.wal.checkpoint_if_due(&mut prepared).is_err();
            if closed {
                tracing::error!("the store accepts no more units: the disk failed");
                // before the answers, so that their callers see the closed channel
                inbox.close();
            }
            answers.drain(..).for_each(|answer| answer(outcome));
            if closed {
                return;
            }
        }
    }

    /// Commits a batch in one transaction, and collects the replies to send once the outcome is known.
    fn store(
        &mut self,
        prepared: &mut Prepared<'_>,
        batch: impl Iterator<Item = Write>,
        answers: &mut Vec<Reply>,
    ) -> Result<(), StoreErrorKind> {
        let before = self.head.clone();
        let begun = roll_back(prepared).and_then(|()| prepared.execute("BEGIN IMMEDIATE", []));
        let mut sound = begun.map(drop).map_err(rolled_back);
        let mut transaction = Transaction {
            prepared,
            keys: &self.keys,
            limits: &self.limits,
            head: &mut self.head,
            erased: false,
            broken: None,
        };
        for write in batch {
            answers.push(write(sound.map(|()| &mut transaction)));
            if let Some(fault) = transaction.broken {
                sound = Err(fault);
            }
        }
        let erased = transaction.erased;
        let committed = sound.and_then(|()| {
            let live = (self.head.live_sessions != before.live_sessions).then_some(self.head.live_sessions);
            if self.head.log != before.log {
                write_head(prepared, &self.head.log, &self.keys.seal).map_err(rolled_back)?;
            }
            commit(prepared, live).map_err(rolled_back)
        });
        if let Err(fault) = committed {
            self.head = before;
            if let Err(error) = roll_back(prepared) {
                tracing::warn!(%error, "a rollback failed and is repeated before the next transaction");
            }
            return Err(fault);
        }
        self.wal.truncate |= erased;
        Ok(())
    }
}

/// Commits the open transaction, with the number of live sessions if it changed.
fn commit(prepared: &mut Prepared<'_>, live_sessions: Option<u64>) -> rusqlite::Result<()> {
    if let Some(live) = live_sessions {
        let sql = "UPDATE counts SET value = ?1 WHERE name = 'live_sessions'";
        prepared.execute(sql, [i64::try_from(live).unwrap_or(i64::MAX)])?;
    }
    prepared.execute("COMMIT", []).map(drop)
}

/// Logs the error of a transaction that is rolled back, and returns its kind.
fn rolled_back(error: rusqlite::Error) -> StoreErrorKind {
    tracing::warn!(%error, "a transaction of the store is rolled back");
    fault(&error)
}

/// Rolls back the open transaction. SQLite does that by itself after some errors.
fn roll_back(prepared: &mut Prepared<'_>) -> rusqlite::Result<()> {
    if prepared.in_transaction() {
        prepared.execute("ROLLBACK", [])?;
    }
    Ok(())
}

/// Largest number of units of one transaction. Our choice: the cost of one `fsync` per unit is then small.
const LARGEST_BATCH: usize = 256;

/// The current transaction.
pub(super) struct Transaction<'t, 'c> {
    pub(super) prepared: &'t mut Prepared<'c>,
    pub(super) keys: &'t Keys,
    pub(super) limits: &'t Limits,
    pub(super) head: &'t mut Head,
    /// Whether a session was erased.
    pub(super) erased: bool,
    /// The fault because of which the transaction must be rolled back.
    pub(super) broken: Option<StoreErrorKind>,
}

impl<'c> Transaction<'_, 'c> {
    /// A reader within the transaction, for a store in memory.
    pub(super) fn reader(&mut self) -> Reader<'_, 'c> {
        Reader {
            prepared: self.prepared,
            keys: self.keys,
        }
    }

    /// Runs `work` in a savepoint.
    pub(super) fn unit<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        let before = self.head.clone();
        if let Err(error) = self.prepared.execute("SAVEPOINT unit", []) {
            return Err(self.abort(rolled_back(error)));
        }
        let result = work(self).map_err(StoreError::from);
        if let Err(error) = &result {
            *self.head = before;
            // SQLite rolls back the whole transaction after some errors, as when the disk is full
            if !self.prepared.in_transaction() {
                tracing::warn!(%error, "a transaction of the store was rolled back");
                return Err(self.abort(match error.kind() {
                    kind @ (StoreErrorKind::Full | StoreErrorKind::Poisoned) => kind,
                    _ => StoreErrorKind::Unavailable,
                }));
            }
            if let Err(error) = self.prepared.execute("ROLLBACK TO unit", []) {
                return Err(self.abort(rolled_back(error)));
            }
        }
        if let Err(error) = self.prepared.execute("RELEASE unit", []) {
            return Err(self.abort(rolled_back(error)));
        }
        result
    }

    fn abort(&mut self, fault: StoreErrorKind) -> StoreError {
        self.broken = Some(fault);
        fault.into()
    }
}
