//! A store in one SQLite file, or in memory.

mod changes;
mod deliveries;
mod delivery_log;
mod error;
mod keyed_requests;
mod live_guests;
mod log;
mod maintenance;
mod migrate;
mod migrate_outbox;
mod outbox;
mod personal;
mod prepared;
mod reader;
mod rekey;
mod row_sums;
mod rows;
mod schema;
mod schema_check;
mod shared_tokens;
mod startup;
mod subjects;
mod turns;
mod wal;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::future::ready;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audit::{Signer, VerifierKey};
use genesys_api::{IdempotencyKey, entropy};
use rusqlite::Connection;
use time::OffsetDateTime;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    CheckpointQuery, Committed, Delivery, DeliveryQuery, EntryQuery, Leases, Limits, SealKey, Session,
    SessionQuery, SharedToken, Stats, Store, StoreError, StoreErrorKind, StoreFuture, StoredCheckpoint,
    StoredEntry, StoredRequest, Unit, Webhook,
};
use error::SqliteError;
use live_guests::LiveGuests;
use reader::Reader;
use wal::Wal;
use writer::{Transaction, Writer};

pub use rekey::Rekey;

/// The keys of a store. Keep them apart from its file and its backups.
#[derive(Debug)]
pub struct Keys {
    /// Seals secrets, documents and bodies.
    pub seal: SealKey,
    /// Signs the log. Its name is the name of the log.
    pub signer: Signer,
}

impl Keys {
    /// Random keys, for a store in memory. A later process cannot open what they seal.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self {
            seal: SealKey::new(&entropy::bytes()),
            signer: Signer::from_seed("guest-store/memory", &entropy::bytes())
                .expect("the name and the length of the seed are valid"),
        }
    }
}

/// A store in one SQLite file, which one process has open at a time, or in memory.
///
/// One thread writes: it commits all queued units in one transaction and answers when that is durable. Another thread
/// reads. Dropping the store joins both threads after the current transaction.
#[derive(Debug)]
pub struct SqliteStore {
    keys: Arc<Keys>,
    writer: Option<mpsc::Sender<Write>>,
    writing: Option<JoinHandle<()>>,
    /// `None` in memory, where only the connection of the writer sees the tables.
    reader: Option<mpsc::Sender<Read>>,
    reading: Option<JoinHandle<()>>,
    /// Held while the writer compares the rows with their sums.
    comparing: Mutex<()>,
    /// Held while the store is open.
    _lock: Option<[File; 2]>,
}

/// A write. It runs again if its transaction is rolled back because of another write.
type Write = Box<dyn FnMut(Step<'_, '_, '_>) + Send>;

/// A step of a write.
enum Step<'s, 't, 'c> {
    /// Runs in the transaction.
    Run(&'s mut Transaction<'t, 'c>),
    /// Replies, once the transaction is durable or rolled back.
    Reply(Result<(), StoreErrorKind>),
}

type Read = Box<dyn FnOnce(&mut Reader<'_, '_>) + Send>;

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
            return Self::start(schema::open_in_memory()?, keys, limits);
        }
        let path = create(path).map_err(unavailable)?;
        let lock = lock(&path)?;
        Self::open_locked(&path, lock, keys, limits)
    }

    fn open_locked(path: &Path, lock: [File; 2], keys: Keys, limits: Limits) -> Result<Self, StoreError> {
        let connection = schema::open(path)?;
        schema::limit_size(&connection, limits.file_bytes)?;
        let mut store = Self::start(connection, keys, limits)?;
        store._lock = Some(lock);
        let connection = schema::open_to_read(path)?;
        let (reader, inbox) = mpsc::channel(limits.queue.max(1));
        let keys = store.keys.clone();
        let reading = spawn("guest-store-read", move || reader::run(&connection, &keys, inbox))?;
        (store.reader, store.reading) = (Some(reader), Some(reading));
        Ok(store)
    }

    /// Checks the tables and starts the thread that writes.
    fn start(mut connection: Connection, keys: Keys, limits: Limits) -> Result<Self, StoreError> {
        let (head, rows) = startup::prepare(&connection, &keys)?;
        let wal = Wal::watch(&mut connection).map_err(SqliteError::from)?;
        let guests = LiveGuests::read(&connection).map_err(SqliteError::from)?;
        let turns = startup::turns(&connection).map_err(SqliteError::from)?;
        let keys = Arc::new(keys);
        let (writer, inbox) = mpsc::channel(limits.queue.max(1));
        let thread = Writer::new(keys.clone(), limits, head, rows, guests, turns, wal);
        let writing = spawn("guest-store-write", move || thread.run(&connection, inbox))?;
        Ok(Self {
            keys,
            writer: Some(writer),
            writing: Some(writing),
            reader: None,
            reading: None,
            comparing: Mutex::default(),
            _lock: None,
        })
    }

    /// Runs `work` in the next transaction of the writer, and resolves when that is durable.
    fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Transaction<'_, '_>) -> Result<T, SqliteError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            let writer = self.writer.as_ref().ok_or(StoreErrorKind::Unavailable)?;
            let (reply, answer) = oneshot::channel();
            let mut reply = Some(reply);
            let mut result = Err(StoreErrorKind::Unavailable.into());
            let write: Write = Box::new(move |step| match step {
                Step::Run(transaction) => result = transaction.unit(&mut work),
                Step::Reply(outcome) => {
                    let result = std::mem::replace(&mut result, Err(StoreErrorKind::Unavailable.into()));
                    let result = outcome.map_err(StoreError::from).and(result);
                    // the caller may have dropped the future
                    if let Some(reply) = reply.take() {
                        drop(reply.send(result));
                    }
                }
            });
            writer.send(write).await.map_err(|_| StoreErrorKind::Poisoned)?;
            // a unit in the queue of a closed store was dropped
            answer.await.map_err(|_| StoreErrorKind::Poisoned)?
        })
    }

    fn read<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Reader<'_, '_>) -> Result<T, SqliteError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let Some(reader) = &self.reader else {
            return self.write(move |transaction| work(&mut transaction.reader()));
        };
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let read: Read = Box::new(move |reader| drop(reply.send(work(reader))));
            reader.send(read).await.map_err(|_| StoreErrorKind::Unavailable)?;
            let result = answer.await.map_err(|_| StoreErrorKind::Unavailable)?;
            result.map_err(StoreError::from)
        })
    }
}

impl Store for SqliteStore {
    fn commit(&self, unit: Unit) -> StoreFuture<'_, Committed> {
        self.write(move |transaction| transaction.commit(&unit))
    }

    fn sessions(&self, query: SessionQuery, limit: usize) -> StoreFuture<'_, Vec<Session>> {
        self.read(move |reader| reader.sessions(&query, limit))
    }

    fn request(&self, owner: &str, key: &IdempotencyKey) -> StoreFuture<'_, Option<StoredRequest>> {
        let (owner, key) = (owner.to_owned(), key.clone());
        self.read(move |reader| reader.request(&owner, &key))
    }

    fn shared_token(&self, name: &str) -> StoreFuture<'_, Option<SharedToken>> {
        let name = name.to_owned();
        self.read(move |reader| reader.shared_token(&name))
    }

    fn webhooks(&self) -> StoreFuture<'_, Vec<Webhook>> {
        self.read(|reader| reader.webhooks())
    }

    fn lease_deliveries(
        &self,
        now: OffsetDateTime,
        lease: Duration,
        limit: usize,
    ) -> StoreFuture<'_, Leases> {
        if limit == 0 {
            return Box::pin(ready(Ok(Leases::default())));
        }
        self.write(move |transaction| transaction.lease(now, lease, limit))
    }

    fn deliveries(&self, query: DeliveryQuery, limit: usize) -> StoreFuture<'_, Vec<Delivery>> {
        self.read(move |reader| reader.deliveries(&query, limit))
    }

    fn entries(&self, query: EntryQuery, limit: usize) -> StoreFuture<'_, Vec<StoredEntry>> {
        self.read(move |reader| reader.entries(&query, limit))
    }

    fn checkpoints(&self, query: CheckpointQuery, limit: usize) -> StoreFuture<'_, Vec<StoredCheckpoint>> {
        match query {
            CheckpointQuery::From(from) => self.read(move |reader| reader.checkpoints(from, limit)),
            CheckpointQuery::Head => self.write(|transaction| Ok(vec![transaction.checkpoint()?])),
        }
    }

    fn stats(&self) -> StoreFuture<'_, Stats> {
        self.write(|transaction| transaction.stats())
    }

    fn verify_rows(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let _only_one = self.comparing.lock().await;
            let mut is_first = true;
            while !self
                .write(move |transaction| transaction.compare_rows(is_first))
                .await?
            {
                is_first = false;
            }
            Ok(())
        })
    }

    fn verifier_key(&self) -> &VerifierKey {
        self.keys.signer.verifier_key()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // the last connection that closes checkpoints the write-ahead log into the file, which a reader cannot
        self.reader = None;
        let _panicked = self.reading.take().map(JoinHandle::join);
        self.writer = None;
        let _panicked = self.writing.take().map(JoinHandle::join);
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

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(unavailable)
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, error)
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
