//! The thread that writes: group commit.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::failed::Failed;
use super::prepared::Prepared;
use super::reader::Reader;
use super::tally::Tally;
use super::{Keys, Reply, Write};
use crate::journal::Journal;
use crate::{Limits, StoreError, StoreErrorKind};

/// What the writer knows of the file without asking it.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) journal: Journal,
    pub(super) live_sessions: u64,
    pub(super) outbox: Tally,
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

    /// Stores what comes, until nothing can come any more or the disk fails.
    ///
    /// While one transaction is being made durable, the units of the next one gather in the inbox.
    pub(super) fn run(mut self, connection: &Connection, mut inbox: mpsc::Receiver<Write>) {
        let mut prepared = Prepared::new(connection);
        let (mut batch, mut answers) = (Vec::new(), Vec::new());
        while inbox.blocking_recv_many(&mut batch, LARGEST_BATCH) > 0 {
            match self.store(&mut prepared, batch.drain(..), &mut answers) {
                Ok(()) => answers.drain(..).for_each(|answer| answer()),
                Err(Broken::Refused(error)) => {
                    tracing::warn!(%error, "a transaction of the guest store was refused, and nothing of it stored");
                    answers.clear();
                }
                Err(Broken::Unknown(error)) => {
                    tracing::error!(%error, "the guest store accepts nothing more, for its last commit failed");
                    // before the answers go, so that whoever waits for one knows why it does not come
                    inbox.close();
                    return;
                }
            }
        }
    }

    /// Stores a batch in one transaction, and collects the answers that are due once it is on disk. To drop an answer
    /// tells the caller that there is none.
    fn store(
        &mut self,
        prepared: &mut Prepared<'_>,
        batch: impl Iterator<Item = Write>,
        answers: &mut Vec<Reply>,
    ) -> Result<(), Broken> {
        let before = self.head.clone();
        prepared.execute("BEGIN IMMEDIATE", []).map_err(Broken::Refused)?;
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
                // it may be gone already: SQLite rolls back by itself when the disk is full
                if prepared.in_transaction() {
                    prepared.execute("ROLLBACK", []).map_err(Broken::Unknown)?;
                }
                return Err(Broken::Refused(error));
            }
        }
        prepared.execute("COMMIT", []).map_err(Broken::Unknown)?;
        Ok(())
    }
}

/// Why a batch was not stored.
enum Broken {
    /// It was not, and that is certain.
    Refused(rusqlite::Error),
    /// What is on disk is unknown: a second try may report success and lose data ("fsyncgate", 2018).
    Unknown(rusqlite::Error),
}

/// Most units of one transaction. Our choice: enough to spread the cost of one `fsync` thin.
const LARGEST_BATCH: usize = 256;

/// The transaction at hand.
pub(super) struct Transaction<'t, 'c> {
    pub(super) prepared: &'t mut Prepared<'c>,
    pub(super) keys: &'t Keys,
    pub(super) limits: &'t Limits,
    pub(super) head: &'t mut Head,
    /// Set if a savepoint could not be left in good order, so the transaction must not be committed.
    broken: Option<rusqlite::Error>,
}

impl<'c> Transaction<'_, 'c> {
    /// Reads within the transaction, which a store in memory does for want of a second connection.
    pub(super) fn reader(&mut self) -> Reader<'_, 'c> {
        Reader {
            prepared: self.prepared,
            keys: self.keys,
        }
    }

    /// Does `work`, all of it or nothing.
    pub(super) fn unit<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Failed>,
    ) -> Result<T, StoreError> {
        let before = self.head.clone();
        if let Err(error) = self.prepared.execute("SAVEPOINT unit", []) {
            return Err(self.give_up(error));
        }
        let result = work(self);
        if result.is_err() {
            *self.head = before;
            if let Err(error) = self.prepared.execute("ROLLBACK TO unit", []) {
                return Err(self.give_up(error));
            }
        }
        if let Err(error) = self.prepared.execute("RELEASE unit", []) {
            return Err(self.give_up(error));
        }
        result.map_err(StoreError::from)
    }

    fn give_up(&mut self, error: rusqlite::Error) -> StoreError {
        self.broken = Some(error);
        StoreErrorKind::Unavailable.into()
    }
}
