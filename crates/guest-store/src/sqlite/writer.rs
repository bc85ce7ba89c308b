//! The thread that writes: group commit.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::error::SqliteError;
use super::prepared::Prepared;
use super::reader::Reader;
use super::usage::OutboxUsage;
use super::{Keys, Reply, Write};
use crate::audit_log::LogHead;
use crate::{Limits, StoreError, StoreErrorKind};

/// Counters and heads that the writer holds in memory.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) log: LogHead,
    pub(super) live_sessions: u64,
    pub(super) outbox: OutboxUsage,
}

pub(super) struct Writer {
    keys: Arc<Keys>,
    limits: Limits,
    head: Head,
}

impl Writer {
    pub(super) fn new(keys: Arc<Keys>, limits: Limits, head: Head) -> Self {
        Self { keys, limits, head }
    }

    /// Commits writes until the channel closes or a commit fails.
    ///
    /// While a transaction becomes durable, the units of the next one queue in the inbox.
    pub(super) fn run(mut self, connection: &Connection, mut inbox: mpsc::Receiver<Write>) {
        let mut prepared = Prepared::new(connection);
        let (mut batch, mut answers) = (Vec::new(), Vec::new());
        while inbox.blocking_recv_many(&mut batch, LARGEST_BATCH) > 0 {
            match self.store(&mut prepared, batch.drain(..), &mut answers) {
                Ok(()) => answers.drain(..).for_each(|answer| answer()),
                Err(BatchError::Refused(error)) => {
                    tracing::warn!(%error, "a transaction of the store was rolled back");
                    answers.clear();
                }
                Err(BatchError::Unknown(error)) => {
                    tracing::error!(%error, "the store accepts no more units: its last commit failed");
                    // before the replies are dropped, so that their callers see the closed channel
                    inbox.close();
                    return;
                }
            }
        }
    }

    /// Commits a batch in one transaction, and collects the replies to send once it is durable. A dropped reply is an
    /// error at its caller.
    fn store(
        &mut self,
        prepared: &mut Prepared<'_>,
        batch: impl Iterator<Item = Write>,
        answers: &mut Vec<Reply>,
    ) -> Result<(), BatchError> {
        let before = self.head.clone();
        prepared
            .execute("BEGIN IMMEDIATE", [])
            .map_err(BatchError::Refused)?;
        let mut transaction = Transaction {
            prepared,
            keys: &self.keys,
            limits: &self.limits,
            head: &mut self.head,
            broken: None,
        };
        for write in batch {
            answers.push(write(&mut transaction));
            if let Some(error) = transaction.broken {
                self.head = before;
                // SQLite rolls back by itself when the disk is full
                if prepared.in_transaction() {
                    prepared.execute("ROLLBACK", []).map_err(BatchError::Unknown)?;
                }
                return Err(BatchError::Refused(error));
            }
        }
        prepared.execute("COMMIT", []).map_err(BatchError::Unknown)?;
        Ok(())
    }
}

/// Failures of a batch.
enum BatchError {
    /// The transaction was rolled back.
    Refused(rusqlite::Error),
    /// The outcome on disk is unknown. A second try may report success and lose data ("fsyncgate", 2018).
    Unknown(rusqlite::Error),
}

/// Largest number of units of one transaction. Our choice: the cost of one `fsync` per unit is then small.
const LARGEST_BATCH: usize = 256;

/// The current transaction.
pub(super) struct Transaction<'t, 'c> {
    pub(super) prepared: &'t mut Prepared<'c>,
    pub(super) keys: &'t Keys,
    pub(super) limits: &'t Limits,
    pub(super) head: &'t mut Head,
    /// Set if a savepoint failed, so the transaction must be rolled back.
    broken: Option<rusqlite::Error>,
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
            return Err(self.abort(error));
        }
        let result = work(self);
        if result.is_err() {
            *self.head = before;
            if let Err(error) = self.prepared.execute("ROLLBACK TO unit", []) {
                return Err(self.abort(error));
            }
        }
        if let Err(error) = self.prepared.execute("RELEASE unit", []) {
            return Err(self.abort(error));
        }
        result.map_err(StoreError::from)
    }

    fn abort(&mut self, error: rusqlite::Error) -> StoreError {
        self.broken = Some(error);
        StoreErrorKind::Unavailable.into()
    }
}
