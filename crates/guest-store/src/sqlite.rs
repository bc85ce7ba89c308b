//! A store in one SQLite file, or in memory.

mod database;
mod error;
mod maintenance;
mod migrate;
mod migrate_outbox;
mod rekey;
mod row_sums;
pub(crate) mod schema;
mod schema_check;
#[cfg(feature = "postgres")]
mod source;
mod startup;
mod statements;
mod wal;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::sql::error::SqlError;
use crate::sql::live_guests::LiveGuests;
use crate::sql::memory::{Head, Memory};
use crate::sql::prepared::Prepared;
use crate::sql::threads::{Backed, Threads, read_all, unavailable};
use crate::sql::turns::Turns;
use crate::sql::writer::Writer;
use crate::{Keys, Limits, StoreError, StoreErrorKind};
use database::SqliteDatabase;
use row_sums::Rows;
use wal::Wal;

pub use rekey::Rekey;
#[cfg(feature = "postgres")]
pub(crate) use source::Source;
pub(crate) use statements::Statements;

/// A store in one SQLite file, which one process has open at a time, or in memory.
///
/// One thread writes: it commits all queued units in one transaction and answers when that is durable. Another thread
/// reads. Dropping the store joins both threads after the current transaction.
#[derive(Debug)]
pub struct SqliteStore {
    threads: Threads,
    /// Held while the store is open.
    _lock: Option<[File; 2]>,
}

impl Backed for SqliteStore {
    fn threads(&self) -> &Threads {
        &self.threads
    }
}

impl SqliteStore {
    /// Opens the store in the file at `path`, or creates it. The path `:memory:` opens an empty store in memory.
    ///
    /// The call blocks while it reads the guests of live sessions. A lock of the file and of `<path>.lock` excludes other
    /// processes. Locks of network file systems are not reliable, so do not put the file on one.
    ///
    /// A file of an earlier version is migrated, and leases that a dead process held are released.
    ///
    /// # Errors
    /// [`Locked`](StoreErrorKind::Locked), [`Linked`](StoreErrorKind::Linked), [`WrongKey`](StoreErrorKind::WrongKey),
    /// [`NewerSchema`](StoreErrorKind::NewerSchema), [`SchemaDiffers`](StoreErrorKind::SchemaDiffers),
    /// [`Corrupt`](StoreErrorKind::Corrupt) if the log does not match its last checkpoint, [`Unavailable`](StoreErrorKind::Unavailable) if the file cannot be opened.
    pub fn open(path: impl AsRef<Path>, keys: Keys, limits: Limits) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if path == Path::new(":memory:") {
            return Self::start(schema::open_in_memory()?, Arc::new(keys), limits);
        }
        let path = create(path).map_err(unavailable)?;
        let lock = lock(&path)?;
        Self::open_locked(&path, lock, keys, limits)
    }

    fn open_locked(path: &Path, lock: [File; 2], keys: Keys, limits: Limits) -> Result<Self, StoreError> {
        let connection = schema::open(path)?;
        schema::limit_size(&connection, limits.file_bytes)?;
        let keys = Arc::new(keys);
        let mut store = Self::start(connection, keys.clone(), limits)?;
        store._lock = Some(lock);
        let connection = schema::open_to_read(path)?;
        store.threads.start_to_read(limits.queue, move |inbox| {
            read_all(Prepared::new(&connection), &keys, inbox);
        })?;
        Ok(store)
    }

    /// Checks the tables and starts the thread that writes.
    fn start(mut connection: Connection, keys: Arc<Keys>, limits: Limits) -> Result<Self, StoreError> {
        let prepared = startup::prepare(&connection, &keys)?;
        let wal = Wal::watch(&mut connection).map_err(SqlError::from)?;
        Self::start_with(connection, prepared, keys, limits, wal)
    }

    fn start_with(
        connection: Connection,
        (head, rows): (Head, Rows),
        keys: Arc<Keys>,
        limits: Limits,
        wal: Wal,
    ) -> Result<Self, StoreError> {
        let mut prepared = Prepared::new(&connection);
        let memory = Memory {
            head,
            guests: Some(LiveGuests::read(&mut prepared)?),
            turns: Turns::read(&mut prepared)?,
            fault: None,
        };
        drop(prepared);
        let threads = Threads::start(keys.clone(), limits.queue, move |inbox| {
            let database = SqliteDatabase::new(&connection, keys.clone(), rows, wal);
            Writer::new(keys, limits, database, memory).run(Prepared::new(&connection), inbox);
        })?;
        Ok(Self { threads, _lock: None })
    }
}

/// Creates the file, readable by its owner only, unless it exists. Returns its canonical path.
fn create(path: &Path) -> io::Result<PathBuf> {
    // an existing file is not opened: to close it again would drop SQLite's locks of this process
    match private().create_new(true).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let path = path.canonicalize()?;
    // the name of a new file must be durable too; on Unix only, a directory can be opened
    if let Some(directory) = path.parent().filter(|_| cfg!(unix)) {
        File::open(directory)?.sync_all()?;
    }
    Ok(path)
}

/// Locks the name of a store and its file, so that neither another name of the file nor another file of the name is used.
fn lock(path: &Path) -> Result<[File; 2], StoreError> {
    let name = lock_name(path)?;
    #[cfg(unix)]
    {
        let links = std::os::unix::fs::MetadataExt::nlink(&path.metadata().map_err(unavailable)?);
        if links > 1 {
            let name = path.display();
            let source = format!("{name} is one of {links} names of its file");
            return Err(StoreError::new(StoreErrorKind::Linked, source));
        }
    }
    let file = private().open(path).map_err(unavailable)?;
    match try_lock(&file) {
        Ok(()) => Ok([name, file]),
        Err(error) => {
            // to close it would release the locks that SQLite has on the file in this process (POSIX `fcntl`)
            std::mem::forget(file);
            Err(error)
        }
    }
}

/// Locks `<path>.lock`.
fn lock_name(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private().create(true).truncate(false).open(Path::new(&name));
    let file = file.map_err(unavailable)?;
    try_lock(&file)?;
    Ok(file)
}

/// Locks a file. A child that this process is starting has its open files until it executes, so a lock that was just
/// released is tried again for 100 ms.
fn try_lock(file: &File) -> Result<(), StoreError> {
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        }
    }
    Err(StoreErrorKind::Locked.into())
}

/// Options of a file that only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests;
