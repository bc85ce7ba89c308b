//! The threads of a store: one writes, one reads.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audit::VerifierKey;
use genesys_api::IdempotencyKey;
use time::OffsetDateTime;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::error::SqlError;
use super::prepared::Prepared;
use super::reader::Reader;
use super::transaction::Transaction;
use crate::{
    CheckpointQuery, Committed, Delivery, DeliveryQuery, EntryQuery, Keys, Leases, Session, SessionQuery,
    SharedToken, Stats, Store, StoreError, StoreErrorKind, StoreFuture, StoredCheckpoint, StoredEntry,
    StoredRequest, Unit, Webhook,
};

/// A write. It runs again if its transaction is rolled back because of another write.
pub(crate) type Write = Box<dyn FnMut(Step<'_, '_, '_>) + Send>;

/// A step of a write.
pub(crate) enum Step<'s, 't, 'c> {
    /// Runs in the transaction.
    Run(&'s mut Transaction<'t, 'c>),
    /// Replies, once the transaction is durable or rolled back.
    Reply(Result<(), StoreErrorKind>),
}

pub(crate) type Read = Box<dyn FnOnce(&mut Reader<'_, '_>) + Send>;

/// The threads that write and read. Dropping it joins them after the current transaction.
#[derive(Debug)]
pub struct Threads {
    keys: Arc<Keys>,
    writer: Option<mpsc::Sender<Write>>,
    writing: Option<JoinHandle<()>>,
    /// `None` in memory, where only the connection of the writer sees the tables.
    reader: Option<mpsc::Sender<Read>>,
    reading: Option<JoinHandle<()>>,
    /// Held while the writer compares the rows with what units have written.
    comparing: Mutex<()>,
}

impl Threads {
    /// Starts the thread that writes, with `run`. Its queue holds this many writes.
    pub(crate) fn start(
        keys: Arc<Keys>,
        queue: usize,
        run: impl FnOnce(mpsc::Receiver<Write>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (writer, inbox) = mpsc::channel(queue.max(1));
        let writing = spawn("guest-store-write", move || run(inbox))?;
        Ok(Self {
            keys,
            writer: Some(writer),
            writing: Some(writing),
            reader: None,
            reading: None,
            comparing: Mutex::default(),
        })
    }

    /// Starts the thread that reads, with the connection that `connect` makes in it.
    pub(crate) fn start_to_read(
        &mut self,
        queue: usize,
        run: impl FnOnce(mpsc::Receiver<Read>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let (reader, inbox) = mpsc::channel(queue.max(1));
        self.reading = Some(spawn("guest-store-read", move || run(inbox))?);
        self.reader = Some(reader);
        Ok(())
    }

    /// Runs `work` in the next transaction of the writer, and resolves when that is durable.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Transaction<'_, '_>) -> Result<T, SqlError> + Send + 'static,
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
        mut work: impl FnMut(&mut Reader<'_, '_>) -> Result<T, SqlError> + Send + 'static,
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

/// A store whose statements run in [`Threads`].
pub trait Backed: std::fmt::Debug + Send + Sync {
    /// Its threads.
    fn threads(&self) -> &Threads;
}

impl<T: Backed> Store for T {
    fn commit(&self, unit: Unit) -> StoreFuture<'_, Committed> {
        self.threads().write(move |transaction| transaction.commit(&unit))
    }

    fn sessions(&self, query: SessionQuery, limit: usize) -> StoreFuture<'_, Vec<Session>> {
        self.threads().read(move |reader| reader.sessions(&query, limit))
    }

    fn request(&self, owner: &str, key: &IdempotencyKey) -> StoreFuture<'_, Option<StoredRequest>> {
        let (owner, key) = (owner.to_owned(), key.clone());
        self.threads().read(move |reader| reader.request(&owner, &key))
    }

    fn shared_token(&self, name: &str) -> StoreFuture<'_, Option<SharedToken>> {
        let name = name.to_owned();
        self.threads().read(move |reader| reader.shared_token(&name))
    }

    fn webhooks(&self) -> StoreFuture<'_, Vec<Webhook>> {
        self.threads().read(|reader| reader.webhooks())
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
        self.threads()
            .write(move |transaction| transaction.lease(now, lease, limit))
    }

    fn deliveries(&self, query: DeliveryQuery, limit: usize) -> StoreFuture<'_, Vec<Delivery>> {
        self.threads()
            .read(move |reader| reader.deliveries(&query, limit))
    }

    fn entries(&self, query: EntryQuery, limit: usize) -> StoreFuture<'_, Vec<StoredEntry>> {
        self.threads().read(move |reader| reader.entries(&query, limit))
    }

    fn checkpoints(&self, query: CheckpointQuery, limit: usize) -> StoreFuture<'_, Vec<StoredCheckpoint>> {
        match query {
            CheckpointQuery::From(from) => self.threads().read(move |reader| reader.checkpoints(from, limit)),
            CheckpointQuery::Head => self
                .threads()
                .write(|transaction| Ok(vec![transaction.checkpoint()?])),
        }
    }

    fn stats(&self) -> StoreFuture<'_, Stats> {
        self.threads().write(|transaction| transaction.stats())
    }

    fn verify_rows(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let _only_one = self.threads().comparing.lock().await;
            let mut is_first = true;
            while !self
                .threads()
                .write(move |transaction| transaction.compare_rows(is_first))
                .await?
            {
                is_first = false;
            }
            Ok(())
        })
    }

    fn verifier_key(&self) -> &VerifierKey {
        self.threads().keys.signer.verifier_key()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // the last connection that closes checkpoints the write-ahead log into the file, which a reader cannot
        self.reader = None;
        let _panicked = self.reading.take().map(JoinHandle::join);
        self.writer = None;
        let _panicked = self.writing.take().map(JoinHandle::join);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(unavailable)
}

pub(crate) fn unavailable(error: io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, error)
}

/// Executes reads until the channel closes.
pub(crate) fn read_all(mut prepared: Prepared<'_>, keys: &Keys, mut inbox: mpsc::Receiver<Read>) {
    while let Some(read) = inbox.blocking_recv() {
        read(&mut Reader {
            prepared: &mut prepared,
            keys,
        });
    }
}
