//! Checkpoints of the write-ahead log.
//!
//! SQLite's automatic checkpoint hides its errors, and a second `fsync` may report success after a failed one has lost
//! data ("fsyncgate", 2018). Therefore the writer makes the checkpoints itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::schema::BUSY;
use crate::StoreErrorKind;
use crate::sql::error::SqlError;
use crate::sql::prepared::Prepared;

/// Pages in the log from which a checkpoint is made. Our choice: 16 MiB, which a few batches at full load reach. SQLite's
/// own 1,000 would make one, with two calls of `fsync`, after almost every batch.
const PAGES: i32 = 4_000;
/// Longest wait of the writer for readers before the log is truncated. Our choice: a read of a page takes less.
const WAIT: Duration = Duration::from_millis(100);

/// The state of the write-ahead log.
#[derive(Debug, Default)]
pub(super) struct Wal {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicI32>,
    /// Whether the log holds pages of an erased session and must be truncated.
    pub(super) truncate: bool,
    /// Whether the last truncation failed because of a reader.
    blocked: bool,
}

impl Wal {
    /// Watches the log of this connection, which makes no automatic checkpoints from here on.
    pub(super) fn watch(connection: &mut Connection) -> rusqlite::Result<Self> {
        // a process that was killed may have left pages of an erased session
        let wal = Self {
            truncate: true,
            ..Self::default()
        };
        let pages = Arc::clone(&wal.pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            pages.store(count, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(wal)
    }

    /// Truncates the log after an erasure, or moves its pages to the database if it is long. If a reader prevents either,
    /// it is tried again after the next transaction.
    ///
    /// # Errors
    /// If the disk failed permanently.
    pub(super) fn checkpoint_if_due(
        &mut self,
        connection: &Connection,
        prepared: &mut Prepared<'_>,
    ) -> Result<(), StoreErrorKind> {
        if self.truncate {
            let wait = if self.blocked { Duration::ZERO } else { WAIT };
            let done = connection
                .busy_timeout(wait)
                .map_err(SqlError::from)
                .and_then(|()| checkpoint(prepared, "PRAGMA wal_checkpoint(TRUNCATE)"));
            let restored = connection.busy_timeout(BUSY).map_err(SqlError::from);
            self.blocked = !handle(restored.and(done))?;
            self.truncate = self.blocked;
        } else if self.pages.load(Ordering::Relaxed) >= PAGES {
            handle(checkpoint(prepared, "PRAGMA wal_checkpoint(PASSIVE)"))?;
        }
        Ok(())
    }
}

/// Returns whether the checkpoint was completed.
fn checkpoint(prepared: &mut Prepared<'_>, sql: &'static str) -> Result<bool, SqlError> {
    let busy = prepared.row(sql, (), |row| row.get::<i64>(0))?;
    Ok(busy == Some(0))
}

fn handle(done: Result<bool, SqlError>) -> Result<bool, StoreErrorKind> {
    match done {
        Ok(done) => Ok(done),
        Err(error) if error.fault() == StoreErrorKind::Poisoned => {
            tracing::error!(%error, "a checkpoint of the write-ahead log failed");
            Err(StoreErrorKind::Poisoned)
        }
        Err(error) => {
            tracing::warn!(%error, "a checkpoint of the write-ahead log failed and is repeated");
            Ok(false)
        }
    }
}
