//! The trait `Store` and its types.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use audit::{Draft, Hash, Pseudonym, VerifierKey};
use genesys_api::{SessionId, WebhookId};
use time::OffsetDateTime;

use crate::{Event, Leased, Session, Settlement, StoreError, Webhook};

/// The future of a store's operation. Dropping it does not cancel the operation.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Sessions, webhooks, the outbox and the audit log.
///
/// A [`Unit`] is one transaction: its change, entries and events are stored together or not at all. It is durable
/// before the future resolves, and later reads see it.
///
/// Every operation can fail with [`StoreErrorKind::Unavailable`](crate::StoreErrorKind::Unavailable), one that writes also
/// with `Poisoned`. Further errors are listed at each operation.
pub trait Store: Debug + Send + Sync {
    /// Stores a unit of work in one transaction.
    ///
    /// If the outbox or the owner's share of it is full, a unit that creates a session is refused. In any other unit
    /// the delivery becomes a dead letter without a body and is counted in [`Committed::dropped`].
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`](crate::StoreErrorKind::Conflict), `NotFound`, `Invalid`, `OutboxFull` and
    /// `TooManyWebhooks` concern this unit, of which nothing was stored. `Unavailable` and `Poisoned` concern the
    /// store.
    fn commit(&self, unit: Unit) -> StoreFuture<'_, Committed>;

    /// Returns the session with this id.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt) if its row cannot be read.
    fn session(&self, id: &SessionId) -> StoreFuture<'_, Option<Session>>;

    /// Returns the first `limit` sessions of a query, at most 1,000.
    ///
    /// A session whose row cannot be read is skipped and logged as an error. It does not count toward the limit: a page
    /// that is not full is the last one.
    fn sessions(&self, query: SessionQuery, limit: usize) -> StoreFuture<'_, Vec<Session>>;

    /// Returns all webhooks in the order of their ids. One whose row cannot be read is skipped and logged as an error.
    fn webhooks(&self) -> StoreFuture<'_, Vec<Webhook>>;

    /// Leases at most 1,000 deliveries that are due at `now` to the caller, until `now + lease`.
    ///
    /// A webhook has at most four deliveries under lease, and none before its `rest_until`. The webhook with the fewest
    /// leases comes first, then the one with the oldest last turn, then the one with the oldest due delivery. An
    /// endpoint that does not answer therefore delays no other endpoint.
    ///
    /// A delivery that is not settled in time is due again when its lease ends. A delivery that cannot be read becomes a
    /// dead letter, and a webhook that cannot be read is disabled. Both are logged as errors.
    fn lease_deliveries(
        &self,
        now: OffsetDateTime,
        lease: Duration,
        limit: usize,
    ) -> StoreFuture<'_, Vec<Leased>>;

    /// Settles a delivery and logs its entries, in one transaction.
    ///
    /// # Errors
    /// [`StoreErrorKind::Fenced`](crate::StoreErrorKind::Fenced) if the caller no longer holds its lease: it was leased
    /// again or settled, or its webhook was disabled or removed.
    fn settle_delivery(&self, settlement: Settlement) -> StoreFuture<'_, ()>;

    /// Returns a page of at most 1,000 entries from sequence number `from`, of one subject or of all. An empty page is
    /// the end.
    fn audit_lines(
        &self,
        from: u64,
        limit: usize,
        subject: Option<&Pseudonym>,
    ) -> StoreFuture<'_, Vec<StoredEntry>>;

    /// Signs the current head of the log, stores the signed note and returns it. Without new entries it returns the last
    /// note.
    ///
    /// The store also signs after every 256 entries.
    fn checkpoint(&self) -> StoreFuture<'_, StoredCheckpoint>;

    /// Returns a page of at most 1,000 checkpoints over at least `from` entries, smallest first.
    fn checkpoints(&self, from: u64, limit: usize) -> StoreFuture<'_, Vec<StoredCheckpoint>>;

    /// Returns the counts of the store's contents.
    ///
    /// The cost does not grow with the contents, and the writer answers. It suits a readiness check with a timeout: an
    /// error means that nothing can be stored.
    fn stats(&self) -> StoreFuture<'_, Stats>;

    /// Returns the named totals: the sums of what all units have added. They outlast the sessions.
    fn totals(&self) -> StoreFuture<'_, BTreeMap<String, u64>>;

    /// Returns the key that verifies the log.
    fn verifier_key(&self) -> &VerifierKey;
}

/// A unit of work: one change, its audit entries, its outgoing events, and what it adds to totals.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// The change, if there is one.
    pub change: Option<Change>,
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

/// A change. Its `version` must equal the stored one (0 for a new row). The commit increments it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A new session.
    CreateSession(Session),
    /// A new webhook (version 0) or a changed one of the same owner. Pending deliveries to a disabled one become dead
    /// letters.
    PutWebhook(Webhook),
    /// Removal of a session, which should have ended.
    RemoveSession(SessionId),
    /// Removal of a webhook with its deliveries.
    RemoveWebhook(WebhookId),
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
    /// Number of deliveries of the events.
    pub deliveries: usize,
    /// Number of deliveries that were dropped because the outbox is full.
    pub dropped: usize,
}

/// A query of sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionQuery {
    /// All sessions after this one, in a fixed order: by time of creation if their ids are UUIDs of version 7.
    All(Option<SessionId>),
    /// Live sessions whose idle timeout has passed at this time, oldest deadline first.
    DueBefore(OffsetDateTime),
    /// Sessions that ended at this time or before, oldest end first.
    EndedBefore(OffsetDateTime),
    /// Live sessions after this one, in the same order.
    Live(Option<SessionId>),
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

/// A checkpoint of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredCheckpoint {
    /// Number of entries under it.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// Counts of the contents of a store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Live sessions.
    pub live_sessions: u64,
    /// Pending deliveries.
    pub outbox_pending: u64,
    /// The bytes of their bodies.
    pub outbox_bytes: u64,
    /// Time of the oldest event with a pending delivery.
    pub outbox_oldest: Option<OffsetDateTime>,
    /// Dead letters.
    pub outbox_dead: u64,
    /// Entries of the log.
    pub audit_entries: u64,
}

/// Limits of a store. An owner that exceeds a share affects no other owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Pending deliveries. Default: 100,000.
    pub outbox_rows: u64,
    /// Bytes of their bodies. Default: 256 MiB.
    pub outbox_bytes: u64,
    /// Dead letters. The oldest are removed first. Default: 10,000.
    pub outbox_dead: u64,
    /// Pending deliveries of one owner. Default: 10,000.
    pub owner_outbox_rows: u64,
    /// Bytes of their bodies. Default: 32 MiB.
    pub owner_outbox_bytes: u64,
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
            outbox_rows: 100_000,
            outbox_bytes: 256 * 1024 * 1024,
            outbox_dead: 10_000,
            owner_outbox_rows: 10_000,
            owner_outbox_bytes: 32 * 1024 * 1024,
            owner_webhooks: 20,
            webhooks: 1_000,
            queue: 1_024,
        }
    }
}

/// Largest number of rows of a page.
pub(crate) const PAGE: usize = 1_000;
