//! Work on the file of a store: backup, restore, check, vacuum.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use genesys_api::error_chain;
use rusqlite::Connection;

use super::migrate::VACUUM_DUE;
use super::{SqliteStore, lock, lock_name, private, row_sums, schema, schema_check, startup, try_lock};
use crate::seal::Aead;
use crate::sql::error::SqlError;
use crate::sql::outbox::ERASED;
use crate::sql::prepared::Prepared;
use crate::sql::reader::Reader;
use crate::sql::rows::{select_sessions, session, subject_key, webhook};
use crate::sql::threads::unavailable;
use crate::sql::values::Row;
use crate::sql::{delivery_log, keyed_requests};
use crate::{Keys, StoreError, StoreErrorKind};

impl SqliteStore {
    /// Copies the store at `path` to the new file `to`, which only its owner can read. Another process may have the store
    /// open: the copy is of one moment, and that process goes on.
    ///
    /// The copy holds no unused pages. The keys are not in it.
    ///
    /// # Errors
    /// `Unavailable` if a file cannot be read or written, or `to` exists.
    pub fn backup(path: &Path, to: &Path) -> Result<(), StoreError> {
        let partial = beside(to, ".partial");
        let file = private().create(true).truncate(false).open(&partial);
        let file = file.map_err(unavailable)?;
        // held while it is written, so that another backup does not take it for a leftover
        try_lock(&file)?;
        let copied = match to.exists() {
            true => Err(unavailable(io::ErrorKind::AlreadyExists.into())),
            false => file.set_len(0).map_err(unavailable).and_then(|()| {
                remove(&beside(&partial, "-journal"))?;
                copy(path, &partial)?;
                publish(&partial, to)
            }),
        };
        if copied.is_err() {
            let _gone = remove(&partial).and_then(|()| remove(&beside(&partial, "-journal")));
        }
        copied
    }

    /// Puts a backup in the place of the store at `path`, which no process has open. A store with contents is replaced
    /// only by `force`.
    ///
    /// The backup is opened with the keys first, so a damaged or foreign one changes nothing. One of an earlier version is
    /// migrated.
    ///
    /// # Errors
    /// `NotEmpty`, and the errors of [`SqliteStore::open`].
    pub fn restore(backup: &Path, path: &Path, keys: &Keys, force: bool) -> Result<(), StoreError> {
        if backup.metadata().map_err(unavailable)?.len() == 0 {
            return Err(StoreErrorKind::Corrupt.into());
        }
        if beside(backup, "-wal").metadata().is_ok_and(|log| log.len() > 0) {
            let source = "a write-ahead log is beside it, so it is no backup: make one with `guest-gateway store backup`";
            return Err(StoreError::new(StoreErrorKind::Corrupt, source));
        }
        // a link stays, and its target is replaced
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let _locks = match path.exists() {
            true => (Some(lock(path)?), None),
            false => (None, Some(lock_name(path)?)),
        };
        if !force && path.metadata().is_ok_and(|store| store.len() > 0) {
            return Err(StoreErrorKind::NotEmpty.into());
        }
        let partial = beside(path, ".restore");
        let restored = remove_leftovers(&partial).and_then(|()| fill(backup, &partial, keys));
        let restored = restored.and_then(|()| {
            File::open(&partial)
                .and_then(|file| file.sync_all())
                .map_err(unavailable)?;
            empty_log(path);
            // pages of an old log must not be applied to the new file
            for ending in ["-wal", "-shm"] {
                remove(&beside(path, ending))?;
            }
            publish(&partial, path)
        });
        if restored.is_err() {
            let _gone = remove_leftovers(&partial);
        }
        restored
    }

    /// Checks the file of the store at `path`: the structure, each sealed value, each entry of the log, and the sums of the
    /// rows. Another
    /// process may have the store open. Returns one text per fault.
    ///
    /// # Errors
    /// `WrongKey`, `Corrupt` if the file is no store of this version, or `Unavailable`.
    pub fn check(path: &Path, keys: &Keys) -> Result<Vec<String>, StoreError> {
        let connection = schema::open(path)?;
        let faults = check(&connection, keys)?;
        Ok(faults)
    }

    /// Rewrites the file of the store at `path`, which no process has open, without unused pages.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`], and `Full`: the work needs space for two copies of the file.
    pub fn vacuum(path: &Path, keys: &Keys) -> Result<(), StoreError> {
        let path = &path.canonicalize().map_err(unavailable)?;
        let _lock = lock(path)?;
        let connection = schema::open(path)?;
        startup::prepare(&connection, keys)?;
        vacuum(&connection)?;
        Ok(())
    }
}

fn vacuum(connection: &Connection) -> Result<(), SqlError> {
    // the copy need not fit into memory
    connection.execute_batch("PRAGMA temp_store=FILE; VACUUM;")?;
    truncate_log(connection)?;
    connection.execute("DELETE FROM meta WHERE name = ?1", [VACUUM_DUE])?;
    Ok(())
}

/// Removes a file, unless there is none.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(error)),
        _ => Ok(()),
    }
}

/// Removes what an interrupted restore left.
fn remove_leftovers(partial: &Path) -> Result<(), StoreError> {
    ["", "-wal", "-shm", "-journal"]
        .iter()
        .try_for_each(|ending| remove(&beside(partial, ending)))
}

/// Moves the write-ahead log into the file and truncates it.
pub(super) fn truncate_log(connection: &Connection) -> Result<(), SqlError> {
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))?;
    if busy != 0 {
        let source = "another program reads the file: end it, then repeat the command";
        return Err(StoreError::new(StoreErrorKind::Busy, source).into());
    }
    Ok(())
}

fn copy(path: &Path, to: &Path) -> Result<(), StoreError> {
    let connection = schema::open(path)?;
    schema::check_is_store(&connection)?;
    let name = to
        .to_str()
        .ok_or_else(|| unavailable(io::ErrorKind::InvalidFilename.into()))?;
    let copied = connection.execute("VACUUM INTO ?1", [name]);
    copied.map(drop).map_err(SqlError::from)?;
    Ok(())
}

/// Copies a backup and opens the copy with the keys.
fn fill(backup: &Path, partial: &Path, keys: &Keys) -> Result<(), StoreError> {
    let mut to = private()
        .create(true)
        .truncate(true)
        .open(partial)
        .map_err(unavailable)?;
    let mut from = File::open(backup).map_err(unavailable)?;
    io::copy(&mut from, &mut to).map_err(unavailable)?;
    drop(to);
    let connection = schema::open(partial)?;
    schema::check_is_store(&connection)?;
    startup::prepare(&connection, keys)?;
    if let Some(fault) = check(&connection, keys)?.into_iter().next() {
        return Err(StoreError::new(StoreErrorKind::Corrupt, fault));
    }
    // the last connection moves the log into the file
    connection
        .close()
        .map_err(|(_, error)| SqlError::from(error).into())
}

/// Moves the write-ahead log of a store into its file, so that the file is whole if it is not replaced after all. A damaged
/// store stays as it is.
fn empty_log(path: &Path) {
    if path.exists()
        && let Ok(connection) = schema::open(path)
    {
        let _moved = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

/// Makes the file durable, gives it its name, and makes the name durable.
fn publish(partial: &Path, path: &Path) -> Result<(), StoreError> {
    let published = || {
        File::open(partial)?.sync_all()?;
        fs::rename(partial, path)?;
        let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
        // a directory can be opened on Unix only
        match cfg!(unix) {
            true => File::open(directory.unwrap_or(Path::new(".")))?.sync_all(),
            false => Ok(()),
        }
    };
    published().map_err(unavailable)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Returns the faults of the file, one text each.
pub(super) fn check(connection: &Connection, keys: &Keys) -> Result<Vec<String>, SqlError> {
    schema::check_is_current(connection, keys)?;
    let mut prepared = Prepared::new(connection);
    // one moment for all reads
    prepared.execute("BEGIN", ())?;
    let integrity = prepared.rows("PRAGMA integrity_check", (), |row| row.get::<String>(0))?;
    let mut faults: Vec<_> = integrity.into_iter().filter(|text| text != "ok").collect();
    let differences = schema_check::differences(connection)?;
    let is_readable = differences.is_empty();
    faults.extend(differences);
    match check_rows(connection, &mut prepared, keys, &mut faults) {
        // of a table or column that is missing
        Err(_) if !is_readable => {}
        checked => checked?,
    }
    prepared.execute("COMMIT", ())?;
    Ok(faults)
}

fn check_rows(
    connection: &Connection,
    prepared: &mut Prepared<'_>,
    keys: &Keys,
    faults: &mut Vec<String>,
) -> Result<(), SqlError> {
    let seal = &keys.seal;
    faults.extend(prepared.rows("PRAGMA foreign_key_check", (), |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        let row = row.get::<Option<i64>>(1)?.unwrap_or_default();
        Ok(format!(
            "row {row} of {table} refers to a missing row of {parent}"
        ))
    })?);
    let sql = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    let live = prepared
        .row(sql, (), |row| row.get::<i64>(0))?
        .unwrap_or_default();
    match startup::live_sessions(prepared) {
        Ok(count) if count == live.unsigned_abs() => {}
        Ok(count) => faults.push(format!("{live} sessions are live, but {count} are counted")),
        Err(error) => push_corrupt(faults, error)?,
    }
    let mut add = |kind: &str, unreadable: Vec<String>| {
        faults.extend(
            unreadable
                .into_iter()
                .map(|id| format!("{kind} {id} cannot be read")),
        );
    };
    let sql = select_sessions!("ORDER BY sessions.rowid");
    let sessions = unreadable(prepared, sql, |row| session(row, 0, seal).map(drop))?;
    let mut rows = Vec::new();
    for key in sessions {
        // the id of a session is in what cannot be read
        let sql = "SELECT rowid FROM sessions WHERE key = unhex(?1)";
        let row = prepared.row(sql, [key], |row| row.get::<i64>(0))?;
        rows.extend(row.map(|row| row.to_string()));
    }
    add("the session in row", rows);
    let sql = "SELECT * FROM webhooks";
    add(
        "webhook",
        unreadable(prepared, sql, |row| webhook(row, seal).map(drop))?,
    );
    let sql = "SELECT rowid || '', owner, key, digest FROM requests";
    add(
        "the request in row",
        unreadable(prepared, sql, |row| keyed_requests::check(row, seal))?,
    );
    // only an erasure has a body
    let sql = "SELECT id, slot, key, body FROM outbox LEFT JOIN subjects USING (slot) WHERE kind = 2";
    let body = |row: &Row<'_>| {
        let subject_key = subject_key(seal, row.get(1)?, row.get(2)?)?;
        let body = Aead::of_subject(&subject_key).open(ERASED, row.get(3)?);
        body.map(drop).ok_or_else(|| StoreErrorKind::Corrupt.into())
    };
    add("delivery", unreadable(prepared, sql, body)?);
    let sql = delivery_log::CHECKED;
    add(
        "the attempts of delivery",
        unreadable(prepared, sql, |row| delivery_log::check(row, seal))?,
    );
    let mut reader = Reader { prepared, keys };
    if let Err(error) = reader.verify_log() {
        push_corrupt(faults, error)?;
    }
    // a log whose head is altered is a fault already
    if let Ok(head) = reader.log_head() {
        faults.extend(row_sums::differences(connection, seal, &head.rows)?);
    }
    Ok(())
}

/// Adds the error of a damaged row to the faults.
fn push_corrupt(faults: &mut Vec<String>, error: SqlError) -> Result<(), SqlError> {
    if !error.is_corrupt() {
        return Err(error);
    }
    let error = StoreError::from(error);
    faults.push(match std::error::Error::source(&error) {
        Some(source) => error_chain(source),
        None => error.to_string(),
    });
    Ok(())
}

/// Ids of the rows that cannot be read.
fn unreadable(
    prepared: &mut Prepared<'_>,
    sql: &'static str,
    mut read: impl FnMut(&Row<'_>) -> Result<(), SqlError>,
) -> Result<Vec<String>, SqlError> {
    let found = prepared.rows(sql, (), |row| match read(row) {
        Ok(()) => Ok(None),
        Err(error) if error.is_corrupt() => Ok(Some(row.get::<String>(0)?)),
        Err(error) => Err(error),
    })?;
    Ok(found.into_iter().flatten().collect())
}
