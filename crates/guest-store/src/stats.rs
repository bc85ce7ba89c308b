//! Counts of the contents of a store.

use std::collections::BTreeMap;

use genesys_api::WebhookId;
use time::OffsetDateTime;

use crate::StoreErrorKind;

/// Counts of the contents of a store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Live sessions.
    pub live_sessions: u64,
    /// Pending deliveries of events.
    pub outbox_pending: u64,
    /// Time of the oldest event that was not delivered, also of one that joined a snapshot.
    pub outbox_oldest: Option<OffsetDateTime>,
    /// The first end of a session that is stored.
    pub oldest_end: Option<OffsetDateTime>,
    /// Time of the oldest request whose key is stored.
    pub oldest_request: Option<OffsetDateTime>,
    /// Time of the oldest attempt in the log of deliveries.
    pub oldest_attempt: Option<OffsetDateTime>,
    /// Snapshots and erasures that were not delivered.
    pub snapshots_pending: u64,
    /// The queues of all webhooks with something to deliver.
    pub queues: BTreeMap<WebhookId, QueueStats>,
    /// Entries of the log.
    pub audit_entries: u64,
    /// The named totals: the sums of what all units have added. They outlast the sessions.
    pub totals: BTreeMap<String, u64>,
    /// The passing fault because of which changes are refused: [`Full`](StoreErrorKind::Full) or
    /// [`Unavailable`](StoreErrorKind::Unavailable).
    pub fault: Option<StoreErrorKind>,
}

/// Counts of the queue of one webhook.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Pending deliveries of events.
    pub pending: u64,
    /// Snapshots and erasures that were not delivered.
    pub snapshots: u64,
    /// Time of the oldest event that was not delivered, also of one that joined a snapshot.
    pub oldest: Option<OffsetDateTime>,
}
