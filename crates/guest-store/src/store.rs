//! What every store does.

use std::fmt::Debug;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use audit::{Draft, Hash, Pseudonym, VerifierKey};
use genesys_api::{SessionId, WebhookId};
use time::OffsetDateTime;

use crate::{Event, Leased, Session, Settlement, StoreError, Webhook};

/// The answer of a store, some time later. To drop it does not take back what was asked for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Sessions, webhooks, the outbox and the audit log.
///
/// Whatever belongs together is written together: a [`Unit`] is stored whole, entries and outgoing events included,
/// or not at all, and it is on disk before the answer comes. Whoever reads afterwards sees it.
pub trait Store: Debug + Send + Sync {
    /// Stores a unit of work, all of it or nothing.
    ///
    /// A full outbox holds back new sessions, and nothing that is under way: a unit that creates a session is refused
    /// if there is no room for one of its deliveries, be it in the owner's share or at all. In any other unit such a
    /// delivery is dropped: it counts as given up, without its body, and in [`Committed::dropped`].
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`](crate::StoreErrorKind::Conflict), `NotFound`, `Invalid`, `OutboxFull` and
    /// `TooManyWebhooks` are about this unit, and nothing of it was stored. `Unavailable` and `Poisoned` are about
    /// the store.
    fn commit(&self, unit: Unit) -> Answer<'_, Committed>;

    /// The session with this id.
    ///
    /// # Errors
    /// [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt) if its row cannot be read.
    fn session(&self, id: &SessionId) -> Answer<'_, Option<Session>>;

    /// Some sessions; at most 1,000 whatever the query's limit.
    ///
    /// One whose row cannot be read is left out, and logged as an error, so that it keeps nobody from the others. It
    /// takes no place of the limit: a page that is not full is the last one.
    fn sessions(&self, query: SessionQuery) -> Answer<'_, Vec<Session>>;

    /// All webhooks, in the order of their ids. One whose row cannot be read is left out, and logged as an error.
    fn webhooks(&self) -> Answer<'_, Vec<Webhook>>;

    /// Takes deliveries that are due at `now` for the caller alone until `now + lease`; at most 1,000 whatever the
    /// limit.
    ///
    /// A webhook has at most four under lease at once, and none while it rests. Of those that have some due, the one
    /// with the fewest under lease comes next, then the one whose last turn was the longest ago, then the one that
    /// has waited the longest: so an endpoint that does not answer keeps no other one waiting.
    ///
    /// Who does not settle a delivery in time loses it: it is due again when the lease ends. A delivery that cannot
    /// be read is given up, a webhook that cannot be read is switched off, and both are logged as errors.
    fn lease_deliveries(&self, now: OffsetDateTime, lease: Duration, limit: usize)
    -> Answer<'_, Vec<Leased>>;

    /// Settles a delivery, with what is to be logged about it, all of it or nothing.
    ///
    /// # Errors
    /// [`StoreErrorKind::Fenced`](crate::StoreErrorKind::Fenced) if it is no longer the caller's: leased anew,
    /// settled, given up as its webhook was switched off, or gone with it.
    fn settle_delivery(&self, settlement: Settlement) -> Answer<'_, ()>;

    /// Entries of the log from number `from` on, of one subject or of all; at most 1,000 whatever the limit. None
    /// are left when the answer is empty.
    fn audit_lines(
        &self,
        from: u64,
        limit: usize,
        subject: Option<&Pseudonym>,
    ) -> Answer<'_, Vec<StoredEntry>>;

    /// Signs the log as it stands, stores the signed note and gives it. The same note again, if nothing was logged
    /// since.
    ///
    /// The store also does this by itself, after every 256 entries.
    fn checkpoint(&self) -> Answer<'_, StoredCheckpoint>;

    /// The checkpoints over at least `from` entries, smallest first; at most 1,000 whatever the limit.
    fn checkpoints(&self, from: u64, limit: usize) -> Answer<'_, Vec<StoredCheckpoint>>;

    /// How much there is of everything.
    ///
    /// Cheap, however much there is, and answered by what writes: fit for a check of health, within a time that the
    /// caller sets. An error means that nothing can be stored.
    fn stats(&self) -> Answer<'_, Stats>;

    /// The key that verifies the log.
    fn verifier_key(&self) -> &VerifierKey;
}

/// A unit of work: what changes, what is logged about it, and what is sent out about it.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// What changes, if anything does.
    pub change: Option<Change>,
    /// What is logged, in this order.
    pub entries: Vec<Draft>,
    /// What is sent out.
    pub events: Vec<Event>,
}

/// What changes. Its `version` must be the one that is stored (0 for what is new), and grows by one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A new session.
    CreateSession(Session),
    /// A new webhook (version 0), or one that changes; its owner stays. What is waiting for one that is switched off
    /// is given up.
    PutWebhook(Webhook),
    /// A session goes for good; it should have ended.
    RemoveSession(SessionId),
    /// A webhook goes, with what is waiting for it.
    RemoveWebhook(WebhookId),
    /// A session changes.
    UpdateSession(Session),
}

/// What was stored.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Committed {
    /// The version that the session or webhook has now.
    pub version: Option<u64>,
    /// The numbers of the entries.
    pub entries: Range<u64>,
    /// How many deliveries the events made.
    pub deliveries: usize,
    /// How many deliveries were dropped, for there was no room for them.
    pub dropped: usize,
}

/// Which sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionQuery {
    /// All, in the order of their ids.
    All {
        /// Those after this id.
        after: Option<SessionId>,
        /// At most so many.
        limit: usize,
    },
    /// Those that have not ended and whose `lapses_at` is not after `time`, the longest due first.
    DueBefore {
        /// Until when.
        time: OffsetDateTime,
        /// At most so many.
        limit: usize,
    },
    /// Those that ended not after `time`, the longest ended first.
    EndedBefore {
        /// Until when.
        time: OffsetDateTime,
        /// At most so many.
        limit: usize,
    },
    /// Those that have not ended, in the order of their ids.
    Live {
        /// Those after this id.
        after: Option<SessionId>,
        /// At most so many.
        limit: usize,
    },
}

/// One entry of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEntry {
    /// Its number, from 0.
    pub seq: u64,
    /// The hash of its leaf.
    pub leaf: Hash,
    /// Its canonical bytes, a JSON object.
    pub bytes: Vec<u8>,
}

/// One checkpoint of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredCheckpoint {
    /// How many entries it is over.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// How much there is of everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions that have not ended.
    pub live_sessions: u64,
    /// Deliveries that are still to be made.
    pub outbox_pending: u64,
    /// The bytes of their bodies.
    pub outbox_bytes: u64,
    /// When the event of the oldest of them happened.
    pub outbox_oldest: Option<OffsetDateTime>,
    /// Deliveries that were given up or dropped, as many as are remembered.
    pub outbox_dead: u64,
    /// Entries of the log.
    pub audit_entries: u64,
}

/// How much a store takes. An owner who is over a share of their own is held back alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most deliveries that are still to be made. 100,000 unless told.
    pub outbox_rows: u64,
    /// Most bytes of their bodies. 256 MiB unless told.
    pub outbox_bytes: u64,
    /// Most deliveries that are remembered after they were given up or dropped; the oldest go first. 10,000 unless told.
    pub outbox_dead: u64,
    /// Most deliveries of one owner that are still to be made. 10,000 unless told.
    pub owner_outbox_rows: u64,
    /// Most bytes of their bodies. 32 MiB unless told.
    pub owner_outbox_bytes: u64,
    /// Most webhooks of one owner. 20 unless told.
    pub owner_webhooks: u64,
    /// Most webhooks. 1,000 unless told.
    pub webhooks: u64,
    /// Most units that wait to be stored; who comes then waits before the queue. 1,024 unless told.
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

/// Most rows of one answer.
pub(crate) const PAGE: usize = 1_000;
