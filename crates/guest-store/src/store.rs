//! The trait `Store` and its types.

use std::fmt::Debug;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use audit::{Draft, Entry, Hash, Pseudonym, VerifierKey};
use genesys_api::{GuestId, IdempotencyKey, SessionId, WebhookId};
use time::OffsetDateTime;

use crate::{
    Delivery, DeliveryQuery, Event, KeyedRequest, Leases, Replay, Session, Settlement, SharedToken, Stats,
    StoreError, StoreErrorKind, StoredRequest, Webhook,
};

/// The future of a store's operation. Dropping it before the operation is queued stores nothing; later it does not
/// cancel the operation.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Sessions, webhooks, the outbox and the audit log.
///
/// A [`Unit`] is one transaction: its change, entries and events are stored together or not at all. It is durable
/// before the future resolves, and later reads see it.
///
/// Every operation can fail with [`StoreErrorKind::Unavailable`](crate::StoreErrorKind::Unavailable), one that writes also
/// with `Poisoned` or `OutcomeUnknown`. Of these, only `OutcomeUnknown` leaves open whether the unit is stored. Further errors are listed at each operation.
pub trait Store: Debug + Send + Sync {
    /// Stores a unit of work in one transaction.
    ///
    /// Each webhook has a queue of its own, and a full queue refuses no unit. An event that finds no room
    /// joins the [`Payload::Snapshot`](crate::Payload::Snapshot) of its session. The queue of a disabled webhook waits until it
    /// is enabled.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`](crate::StoreErrorKind::Conflict), `NotFound`, `Invalid` and `TooManyWebhooks`
    /// concern this unit, of which nothing was stored. `Unavailable` and `Poisoned` concern the store.
    fn commit(&self, unit: Unit) -> StoreFuture<'_, Committed>;

    /// Returns the first `limit` sessions of a query, at most 1,000.
    ///
    /// A session whose row cannot be read is skipped and logged as an error. It does not count toward the limit: a page
    /// that is not full is the last one.
    fn sessions(&self, query: SessionQuery, limit: usize) -> StoreFuture<'_, Vec<Session>>;

    /// Returns the request of `owner` with this key, and what it created.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt) if a row cannot be read.
    fn request(&self, owner: &str, key: &IdempotencyKey) -> StoreFuture<'_, Option<StoredRequest>>;

    /// Returns the token with this name, or its lease. One whose row cannot be read is logged as an error and not returned.
    fn shared_token(&self, name: &str) -> StoreFuture<'_, Option<SharedToken>>;

    /// Returns all webhooks in the order of their ids. One whose row cannot be read is skipped and logged as an error.
    fn webhooks(&self) -> StoreFuture<'_, Vec<Webhook>>;

    /// Leases at most 1,000 deliveries that are due at `now` to the caller, until `now + lease`.
    ///
    /// The owner with the fewest leases comes first. Of its webhooks it is the one with the fewest leases, then the one with
    /// the oldest last turn, then the one with the oldest due delivery. None is leased before the `rest_until` of its
    /// webhook. The leases of an owner and of a webhook are limited: see [`Limits`]. A webhook begins with four, and
    /// [`Settlement::pace`] changes their number. An endpoint that does not answer therefore delays no other endpoint.
    ///
    /// The cost of a call does not grow with the number of webhooks.
    ///
    /// Snapshots and erasures wait until a delivery to their webhook succeeds, the webhook is enabled, or its queue is
    /// empty. Then four of a webhook are due at a time.
    ///
    /// A delivery that is not settled in time is due again when its lease ends. An event that cannot be read joins the
    /// snapshot of its session, and a webhook that cannot be read is disabled. Both are logged as errors.
    ///
    /// Without a settlement or another unit, no delivery becomes due before [`Leases::next_due`]. The queries stay in the
    /// store rather than in a schedule of the process: the order of webhooks depends on all queues, and several processes
    /// may lease from one store.
    fn lease_deliveries(&self, now: OffsetDateTime, lease: Duration, limit: usize)
    -> StoreFuture<'_, Leases>;

    /// Returns the first `limit` deliveries of a query, at most 1,000. A webhook has the last
    /// [`Limits::webhook_deliveries`] attempted ones in each [`DeliveryState`](crate::DeliveryState), and all that wait.
    fn deliveries(&self, query: DeliveryQuery, limit: usize) -> StoreFuture<'_, Vec<Delivery>>;

    /// Returns a page of the first `limit` entries of a query, at most 1,000. An empty page is the end.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt), whose source names the entry, if a row of the page
    /// was altered, removed or inserted.
    fn entries(&self, query: EntryQuery, limit: usize) -> StoreFuture<'_, Vec<StoredEntry>>;

    /// Returns a page of the first `limit` checkpoints of a query, at most 1,000.
    ///
    /// The store signs the head of the log after every 256 entries, and for [`CheckpointQuery::Head`].
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt) if one was altered, removed or inserted.
    fn checkpoints(&self, query: CheckpointQuery, limit: usize) -> StoreFuture<'_, Vec<StoredCheckpoint>>;

    /// Returns the counts of the store's contents.
    ///
    /// The cost does not grow with the contents, and the writer answers. It suits a readiness check with a timeout: an
    /// error means that nothing can be stored.
    fn stats(&self) -> StoreFuture<'_, Stats>;

    /// Verifies that the rows of sessions, webhooks, deliveries and counts are those that units have written. An older copy
    /// of a row is detected too. Units run meanwhile.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt), whose source names the table.
    fn verify_rows(&self) -> StoreFuture<'_, ()>;

    /// Returns the key that verifies the log.
    fn verifier_key(&self) -> &VerifierKey;

    /// Returns the session with this id.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt) if its row cannot be read.
    fn session<'a>(&'a self, id: &SessionId) -> StoreFuture<'a, Option<Session>> {
        let found = self.sessions(SessionQuery::Id(id.clone()), 1);
        Box::pin(async { Ok(found.await?.pop()) })
    }

    /// Signs the current head of the log, stores the signed note and returns it. Without new entries it returns the last
    /// note.
    fn checkpoint(&self) -> StoreFuture<'_, StoredCheckpoint> {
        let signed = self.checkpoints(CheckpointQuery::Head, 1);
        Box::pin(async { signed.await?.pop().ok_or_else(|| StoreErrorKind::Corrupt.into()) })
    }
}

/// A unit of work: a shared token, one change, its audit entries, its outgoing events, and what it adds to totals.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// A changed token that processes share, or its lease.
    pub token: Option<SharedToken>,
    /// The change, if there is one.
    pub change: Option<Change>,
    /// The request that led to the change, a new session or webhook. Its key must be new.
    pub request: Option<KeyedRequest>,
    /// Audit entries in their order.
    pub entries: Vec<Draft>,
    /// Outgoing events.
    pub events: Vec<Event>,
    /// Additions to named totals.
    pub totals: Vec<(String, u64)>,
}

impl From<Change> for Unit {
    fn from(change: Change) -> Self {
        Self {
            change: Some(change),
            ..Self::default()
        }
    }
}

impl From<SharedToken> for Unit {
    fn from(token: SharedToken) -> Self {
        Self {
            token: Some(token),
            ..Self::default()
        }
    }
}

impl From<Draft> for Unit {
    fn from(entry: Draft) -> Self {
        Self {
            entries: vec![entry],
            ..Self::default()
        }
    }
}

/// A change. Its `version` must equal the stored one (0 for a new row). The commit increments it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A new session.
    CreateSession(Session),
    /// A new webhook (version 0) or a changed one of the same owner. What waits for one that was disabled is due again when
    /// it is enabled, with a schedule of its own. Its health is not read from here: the store keeps it, and resets it if the
    /// webhook is enabled by this change or its document changed.
    PutWebhook(Webhook),
    /// Removal of deliveries from the log, at most 10,000. The older events of disabled webhooks join the snapshots of their
    /// sessions.
    RemoveOldDeliveries {
        /// Deliveries that were attempted later, and later events, stay.
        before: OffsetDateTime,
    },
    /// Removal of the oldest requests with keys, at most 10,000.
    RemoveRequests {
        /// Later requests stay.
        before: OffsetDateTime,
    },
    /// Removal of a session, which should have ended. Every webhook of its owner gets one [`Payload::Erased`] in place
    /// of the events of the session that were not delivered to it.
    ///
    /// [`Payload::Erased`]: crate::Payload::Erased
    RemoveSession {
        /// The session.
        id: SessionId,
        /// Time of the removal.
        at: OffsetDateTime,
    },
    /// Removal of a webhook with its deliveries.
    RemoveWebhook(WebhookId),
    /// The outcome of a leased delivery.
    ///
    /// The error is [`StoreErrorKind::Fenced`](crate::StoreErrorKind::Fenced) if the caller no longer holds the lease: it was leased
    /// again or settled, its webhook or its session was removed.
    Settle(Settlement),
    /// Repetition of deliveries of the log whose sessions are stored, with their ids. An event is queued again if the queue
    /// has room. A snapshot stands again for its range, with another id. [`Committed`] has the number of both.
    ReplayDeliveries {
        /// The webhook.
        webhook: WebhookId,
        /// The deliveries.
        replay: Replay,
    },
    /// A changed session.
    UpdateSession(Session),
}

/// The result of a commit.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Committed {
    /// The new version of the session or webhook.
    pub version: Option<u64>,
    /// Sequence numbers of the entries.
    pub entries: Range<u64>,
    /// Number of deliveries that were queued, also again.
    pub deliveries: usize,
    /// Number of deliveries for which the queue has no room. New ones joined a snapshot.
    pub overflowed: usize,
}

/// A query of sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionQuery {
    /// All sessions after this one, in a fixed order: by time of creation if their ids are UUIDs of version 7.
    All(Option<SessionId>),
    /// Sessions that ended at this time or before, oldest end first.
    EndedBefore(OffsetDateTime),
    /// The session with this id. A row that cannot be read is the error
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt).
    Id(SessionId),
    /// Live sessions after this one, in the same order.
    Live(Option<SessionId>),
    /// The sessions of a guest, also ended ones, in the order of [`SessionQuery::All`]. The cost grows with all sessions.
    /// A row that cannot be read is the error [`StoreErrorKind::Unreadable`](crate::StoreErrorKind::Unreadable).
    OfGuest {
        /// The guest.
        guest: GuestId,
        /// The owner of the sessions. `None` for those of all owners, which reads the owner of every session first.
        owner: Option<String>,
        /// The session before the page.
        after: Option<SessionId>,
    },
}

/// A query of checkpoints.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CheckpointQuery {
    /// Those over at least this number of entries, smallest first.
    From(u64),
    /// The one over all entries, which is signed if it is not.
    Head,
}

/// A query of audit entries.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EntryQuery {
    /// All entries from this sequence number, oldest first.
    From(u64),
    /// The entries of a subject, newest first.
    ///
    /// A missing entry is an error, but for the newest one: only a verification of the whole log detects that its
    /// subject was altered.
    OfSubject {
        /// The pseudonym of the subject.
        subject: Pseudonym,
        /// The sequence number of the entry before which the page begins, the last one of the page before.
        before: Option<u64>,
    },
}

/// An entry of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEntry {
    /// Its sequence number, from 0.
    pub seq: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Its canonical bytes, a JSON object.
    pub bytes: Vec<u8>,
}

impl StoredEntry {
    /// Parses the bytes.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`] if they are no entry.
    pub fn parse(&self) -> Result<Entry, StoreError> {
        Entry::parse(&self.bytes).map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error))
    }
}

/// A checkpoint of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredCheckpoint {
    /// Number of entries under it.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// Limits of a store. A webhook whose queue is full affects no other webhook.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of the file. A unit that needs more fails with `Full`. Pages that erasure frees are used again. The
    /// write-ahead log is apart: up to 16 MiB and a transaction. Default: no limit.
    pub file_bytes: u64,
    /// Deliveries of all webhooks under lease at a time. An owner gets no more leases than are free, so that owners whose
    /// endpoints hang leave some to the others. Default: 256.
    pub leases: usize,
    /// Deliveries of one webhook in each state whose attempts are kept. Default: 1,000.
    pub webhook_deliveries: u64,
    /// Deliveries of one webhook under lease at a time, at most: as many as its endpoint handles. Default: 16.
    pub webhook_leases: usize,
    /// Pending events of one webhook. Later ones join the snapshots of their sessions. Default: 5,000.
    pub webhook_queue_rows: u64,
    /// Requests of one owner whose keys are kept. Default: 100,000.
    pub owner_requests: u64,
    /// Deliveries of all webhooks of one owner under lease at a time. Default: 64.
    pub owner_leases: usize,
    /// Webhooks of one owner. Default: 20.
    pub owner_webhooks: u64,
    /// Webhooks of all owners. Default: 1,000.
    pub webhooks: u64,
    /// Units in the queue of the writer. A full queue applies backpressure. Default: 1,024.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: u64::MAX,
            leases: 256,
            webhook_deliveries: 1_000,
            webhook_queue_rows: 5_000,
            owner_requests: 100_000,
            owner_leases: 64,
            owner_webhooks: 20,
            webhook_leases: 16,
            webhooks: 1_000,
            queue: 1_024,
        }
    }
}

/// Largest number of rows of a page.
pub(crate) const PAGE: usize = 1_000;
