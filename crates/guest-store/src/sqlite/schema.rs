//! The tables, and the checks before a file is used.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::row_sums;
use crate::audit_log::LogHead;
use crate::sql::error::SqlError;
use crate::{Keys, SealKey, StoreError, StoreErrorKind};

/// Marks the file as a guest store (`PRAGMA application_id`): "gst1" in ASCII.
pub(super) const APPLICATION: i32 = 0x6773_7431;
/// The version of the tables (`PRAGMA user_version`).
pub(super) const VERSION: i32 = 7;

/// Tables that every version has, with other counts of `webhooks`.
const TABLES: &str = "
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT;

    CREATE TABLE webhooks (
        id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        events TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        failing_since INTEGER,
        failures INTEGER NOT NULL,
        rest_until INTEGER,
        version INTEGER NOT NULL,
        secrets BLOB NOT NULL,
        document BLOB NOT NULL,
        -- when something was leased of it last
        last_turn INTEGER,
        -- its pending events, and its snapshots and erasures
        pending INTEGER NOT NULL DEFAULT 0,
        snapshots INTEGER NOT NULL DEFAULT 0,
        UNIQUE (owner, name)
    ) STRICT;

";

/// The tables of the audit log. A trigger guards against a mistake of this program; the MACs against a change by
/// another one.
pub(super) const LOG_TABLES: &str = "
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY,
        subject BLOB,
        subject_index INTEGER,
        bytes BLOB NOT NULL,
        mac BLOB NOT NULL
    ) STRICT;
    CREATE INDEX entries_subject ON entries (subject, seq) WHERE subject IS NOT NULL;

    CREATE TABLE checkpoints (
        size INTEGER PRIMARY KEY,
        previous INTEGER,
        note TEXT NOT NULL,
        mac BLOB NOT NULL
    ) STRICT;
";

/// The guards of the entries.
pub(super) const LOG_TRIGGERS: &str = "
    CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
        BEGIN SELECT raise(ABORT, 'entries are never changed'); END;
    CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
        BEGIN SELECT raise(ABORT, 'entries are never deleted'); END;
";

/// Tables that version 2 has too. They have no id of a session or a guest in plain text.
pub(super) const TABLES_2: &str = "
    -- sealed subject keys, overwritten in place
    CREATE TABLE subjects (
        slot INTEGER PRIMARY KEY,
        key BLOB NOT NULL,
        free INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX subjects_free ON subjects (slot) WHERE free = 1;

    -- key and guest are keyed hashes; personal is sealed under the subject key
    CREATE TABLE sessions (
        key BLOB NOT NULL UNIQUE,
        slot INTEGER NOT NULL REFERENCES subjects (slot),
        owner TEXT NOT NULL,
        guest BLOB NOT NULL,
        channel TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        idle_deadline INTEGER NOT NULL,
        ended_at INTEGER,
        access BLOB NOT NULL,
        refresh BLOB NOT NULL,
        previous_refresh BLOB,
        generation INTEGER NOT NULL,
        version INTEGER NOT NULL,
        personal BLOB NOT NULL
    ) STRICT;
";

/// The indexes of the sessions.
///
/// None begins with a hash of a guest: each new session would then change a page of its own, and a unit would cost the
/// more the larger the index is. The writer holds the hashes of live guests in memory. The sessions of a guest are found
/// by reading two indexes that have the hash beside their key.
pub(super) const SESSION_INDEXES: &str = "
    CREATE INDEX sessions_live ON sessions (key, guest) WHERE ended_at IS NULL;
    CREATE INDEX sessions_ended ON sessions (ended_at, key, guest) WHERE ended_at IS NOT NULL;
";

/// The requests with idempotency keys.
pub(super) const REQUESTS: &str = "
    -- hash is a keyed hash of owner and key; key and digest are sealed; number counts the requests of the owner
    CREATE TABLE requests (
        hash BLOB NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        number INTEGER NOT NULL,
        key BLOB NOT NULL,
        digest BLOB NOT NULL,
        at INTEGER NOT NULL,
        session BLOB,
        webhook TEXT,
        UNIQUE (owner, number)
    ) STRICT;
    CREATE INDEX requests_at ON requests (at);
    CREATE INDEX requests_session ON requests (session) WHERE session IS NOT NULL;
";

/// The aggregates, which change in the transaction of what they count.
pub(super) const COUNTS: &str = "
    CREATE TABLE counts (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT;
    INSERT INTO counts VALUES ('live_sessions', 0);
";

/// The outbox.
///
/// An event (kind 0) has its sequence number as `first` and `last`. Neither it nor a snapshot (kind 1) has a body: the
/// session is read when they are sent. An erasure (kind 2) has random bytes in place of the key of the session. Its body is
/// the id of the session, sealed under the subject key in its own slot.
pub(super) const OUTBOX: &str = "
    -- due_at is when a delivery may be leased next, so a lease moves it to its end; NULL waits for a success, or for an
    -- earlier event of its session
    CREATE TABLE outbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
        session BLOB NOT NULL,
        kind INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        event TEXT NOT NULL DEFAULT '',
        at INTEGER NOT NULL,
        due_at INTEGER,
        leased INTEGER NOT NULL DEFAULT 0,
        fence INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        -- whether the range has grown since the last lease, so that the next one has another id
        grown INTEGER NOT NULL DEFAULT 0,
        slot INTEGER REFERENCES subjects (slot),
        body BLOB NOT NULL DEFAULT x''
    ) STRICT;
    -- also leads from a webhook that goes to all that goes with it
    CREATE INDEX outbox_due ON outbox (webhook, due_at, position);
    CREATE INDEX outbox_leased ON outbox (webhook, due_at) WHERE leased = 1;
    CREATE INDEX outbox_oldest ON outbox (webhook, at);
    CREATE UNIQUE INDEX outbox_snapshot ON outbox (webhook, session) WHERE kind > 0;
    CREATE INDEX outbox_released ON outbox (webhook) WHERE kind > 0 AND (leased = 1 OR due_at = at);
";

/// The order of the events of a session, since version 7. A row that `waits` has no `due_at` until an earlier event of its
/// session is settled. `waits` is 0 or 1, or the time of its retry if a snapshot has failed.
pub(super) const ORDER: &str = "
    ALTER TABLE webhooks ADD COLUMN ordered INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX outbox_session ON outbox (session, webhook, waits, first);
    CREATE INDEX outbox_held ON outbox (webhook, position) WHERE due_at IS NULL AND waits = 0;
";

/// The log of deliveries. `session` and `kind` are those of the outbox. `state` is 0 of a delivery that waits, 1 of a
/// delivered one, 2 of a dead one, and `number` counts the rows of a webhook in a state.
pub(super) const DELIVERIES: &str = "
    -- attempts are sealed under the subject key of the session
    CREATE TABLE deliveries (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
        session BLOB NOT NULL,
        kind INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        event TEXT NOT NULL,
        at INTEGER NOT NULL,
        state INTEGER NOT NULL,
        number INTEGER NOT NULL,
        attempted_at INTEGER NOT NULL,
        attempts BLOB NOT NULL
    ) STRICT;
    CREATE INDEX deliveries_id ON deliveries (id);
    CREATE INDEX deliveries_session ON deliveries (session);
    CREATE UNIQUE INDEX deliveries_number ON deliveries (webhook, state, number);
";

/// Opens the file for writing. With WAL and `synchronous=FULL` a commit is durable before it is answered.
pub(super) fn open(path: &Path) -> Result<Connection, SqlError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // a file of another program is not changed
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && tables > 0 {
        return Err(StoreErrorKind::Corrupt.into());
    }
    let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreErrorKind::Unavailable.into());
    }
    connection.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;
         PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;",
    )?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_LIMIT)?;
    Ok(connection)
}

/// Limits the size of the file. One that is larger does not grow.
pub(super) fn limit_size(connection: &Connection, bytes: u64) -> Result<(), SqlError> {
    let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let pages = (bytes / u64::from(page.max(1))).clamp(1, MAX_PAGES);
    let sql = format!("PRAGMA max_page_count = {pages}");
    Ok(connection.query_row(&sql, [], |_| Ok(()))?)
}

/// The largest number of pages of an SQLite file.
const MAX_PAGES: u64 = 0xffff_fffe;

/// Opens an empty database that only this connection sees.
pub(crate) fn open_in_memory() -> Result<Connection, SqlError> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch("PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;")?;
    Ok(connection)
}

pub(super) fn open_to_read(path: &Path) -> Result<Connection, SqlError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Bytes to which the write-ahead log is cut when it starts anew. Our choice.
const JOURNAL_LIMIT: i64 = 16 * 1024 * 1024;

/// Longest wait for another program, such as a backup, that locks the file. Our choice.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// Fails unless the file is a store, of any version.
pub(super) fn check_is_store(connection: &Connection) -> Result<(), SqlError> {
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    match application {
        APPLICATION => Ok(()),
        _ => Err(StoreErrorKind::Corrupt.into()),
    }
}

/// Fails unless the file is a store of this version with these keys.
pub(super) fn check_is_current(connection: &Connection, keys: &Keys) -> Result<(), SqlError> {
    check_is_store(connection)?;
    let found: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        VERSION => check_keys(connection, keys, VERSION),
        newer if newer > VERSION => Err(StoreErrorKind::NewerSchema {
            found,
            known: VERSION,
        }
        .into()),
        _ => {
            let source =
                format!("schema {found}: start the gateway once, which migrates the file to {VERSION}");
            Err(StoreError::new(StoreErrorKind::Corrupt, source).into())
        }
    }
}

pub(super) fn create(connection: &Connection, keys: &Keys) -> Result<(), SqlError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    create_tables(connection)?;
    let log = keys.signer.verifier_key().to_string().into_bytes();
    let seal = keys.seal.seal(seal_aad(VERSION), b"");
    let head = LogHead {
        rows: row_sums::sums(connection, &keys.seal)?,
        ..LogHead::default()
    };
    let head = head.seal(&keys.seal);
    let sql = "INSERT INTO meta VALUES ('log', ?1), ('seal', ?2), ('head', ?3)";
    connection.execute(sql, (log, seal, head))?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(connection.execute_batch("COMMIT")?)
}

/// Creates the tables, indexes and triggers.
pub(crate) fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    [
        TABLES,
        TABLES_2,
        SESSION_INDEXES,
        COUNTS,
        REQUESTS,
        OUTBOX,
        ORDER,
        DELIVERIES,
        LOG_TABLES,
        LOG_TRIGGERS,
    ]
    .iter()
    .try_for_each(|tables| connection.execute_batch(tables))
}

/// Associated data of the value that proves the seal key. It has the version of the tables, so that a file whose version
/// was changed is not migrated again, which would authenticate its rows anew.
pub(super) fn seal_aad(version: i32) -> &'static str {
    match version {
        1 => "meta/seal/value",
        2 => "meta/seal/value/2",
        3 => "meta/seal/value/3",
        4 => "meta/seal/value/4",
        5 => "meta/seal/value/5",
        6 => "meta/seal/value/6",
        _ => "meta/seal/value/7",
    }
}

/// Whether the file is a store of this version that `key` seals.
pub(super) fn is_sealed_by(connection: &Connection, key: &SealKey) -> Result<bool, SqlError> {
    check_is_store(connection)?;
    let sql = "SELECT value FROM meta WHERE name = 'seal'";
    let proof = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    Ok(proof.is_some_and(|proof| key.open(seal_aad(VERSION), proof).is_some()))
}

pub(super) fn check_keys(connection: &Connection, keys: &Keys, version: i32) -> Result<(), SqlError> {
    let meta = |name: &str| -> Result<Vec<u8>, SqlError> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        let value = connection.query_row(sql, [name], |row| row.get(0)).optional()?;
        value.ok_or_else(|| StoreErrorKind::Corrupt.into())
    };
    let same_log = meta("log")? == keys.signer.verifier_key().to_string().as_bytes();
    let same_seal = keys.seal.open(seal_aad(version), meta("seal")?).is_some();
    if same_log && same_seal {
        Ok(())
    } else {
        Err(StoreErrorKind::WrongKey.into())
    }
}
