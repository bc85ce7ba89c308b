//! The preparation of a file before it is used.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::migrate;
use super::row_sums::Rows;
use super::schema::{APPLICATION, VERSION, check_keys, create};
use super::schema_check;
use crate::sql::error::SqlError;
use crate::sql::log::write_head;
use crate::sql::memory::Head;
use crate::sql::outbox::QueueCounts;
use crate::sql::prepared::Prepared;
use crate::sql::reader::Reader;
use crate::sql::shared_tokens;
use crate::sql::writer::{LIVE_SESSIONS, count, last_transaction};
use crate::{Keys, StoreError, StoreErrorKind};

/// Creates or checks the tables, reads the head of the log, and counts the rows that this connection changes.
pub(super) fn prepare(connection: &Connection, keys: &Keys) -> Result<(Head, Rows), SqlError> {
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version) {
        (0, 0) if tables == 0 => create(connection, keys)?,
        (APPLICATION, VERSION) => check_keys(connection, keys, VERSION)?,
        (APPLICATION, earlier @ 1..VERSION) => {
            check_keys(connection, keys, earlier)?;
            migrate::from(connection, keys, earlier)?;
        }
        (APPLICATION, found) if found > VERSION => {
            return Err(StoreErrorKind::NewerSchema {
                found,
                known: VERSION,
            }
            .into());
        }
        // a file of another program
        _ => return Err(StoreErrorKind::Corrupt.into()),
    }
    schema_check::refuse_differences(connection)?;
    let mut log = Reader {
        prepared: &mut Prepared::new(connection),
        keys,
    }
    .read_head()?;
    let rows = Rows::watch(connection, &keys.seal, log.rows)?;
    // this process alone has the file, so no lease is held
    let sql = "UPDATE outbox SET due_at = at, leased = 0, fence = fence + 1 WHERE leased = 1";
    let transaction = connection.unchecked_transaction()?;
    if transaction.execute(sql, [])? > 0 {
        log.rows = rows.sums();
        write_head(&mut Prepared::new(&transaction), &log, &keys.seal)?;
    }
    shared_tokens::release_leases(&mut Prepared::new(&transaction), &keys.seal)?;
    transaction.commit()?;
    if migrate::vacuum_is_due(connection)? {
        tracing::warn!(
            "the store was migrated and may hold old ids in unused pages: stop the gateway at a quiet time and run \
             `guest-gateway store vacuum`"
        );
    }
    let transactions = last_transaction(&mut Prepared::new(connection))?;
    tracing::info!(transactions, "the store is open");
    let head = Head {
        log,
        live_sessions: live_sessions(&mut Prepared::new(connection))?,
        transactions,
        queues: QueueCounts::default(),
        overflowing: BTreeSet::new(),
    };
    Ok((head, rows))
}

/// The count of live sessions.
///
/// # Errors
/// `Corrupt` if it is missing.
pub(super) fn live_sessions(prepared: &mut Prepared<'_>) -> Result<u64, SqlError> {
    count(prepared, LIVE_SESSIONS)?.ok_or_else(|| {
        let source = "the row live_sessions of the table counts is missing";
        StoreError::new(StoreErrorKind::Corrupt, source).into()
    })
}
