//! The log of deliveries: each with its attempts.

use std::ops::RangeInclusive;
use std::time::Duration;

use genesys_api::{SessionId, WebhookId};
use time::OffsetDateTime;

use crate::Opaque;

/// A delivery to a webhook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Its id, the `webhook-id` of Standard Webhooks.
    pub id: String,
    /// Its state.
    pub state: DeliveryState,
    /// Its content.
    pub kind: DeliveryKind,
    /// Its session. `None` of an erasure, whose session is erased.
    pub session: Option<SessionId>,
    /// The sequence numbers that it stands for. Those of an event are equal.
    pub range: RangeInclusive<u64>,
    /// Time of the event, of the oldest one of a snapshot, or of the erasure.
    pub at: OffsetDateTime,
    /// When it may be sent next, while it waits. `None` of a snapshot that waits for a success, and of what waits for an
    /// earlier event of its session.
    pub due_at: Option<OffsetDateTime>,
    /// The delivery whose settlement it waits for, at an ordered webhook: an event of the same session.
    pub waits_for: Option<String>,
    /// The last ten attempts, oldest first.
    pub attempts: Vec<DeliveryAttempt>,
    /// Its place among the deliveries of its webhook and state, for the query of the next page.
    pub place: (i64, i64),
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum DeliveryState {
    /// It will be sent, or sent again.
    Waiting,
    /// The receiver accepted it.
    Delivered,
    /// It was given up. The snapshot of its session stands for it.
    Dead,
}

/// The content of a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeliveryKind {
    /// An event of this name.
    Event(String),
    /// The state of a session, in place of events.
    Snapshot,
    /// The erasure of a session.
    Erasure,
}

/// An attempt of a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryAttempt {
    /// Time of its end.
    pub at: OffsetDateTime,
    /// Time from sending to the outcome, in whole milliseconds.
    pub latency: Duration,
    /// HTTP status, if the receiver answered.
    pub status: Option<u16>,
    /// The error, if it did not.
    pub error: Option<String>,
    /// The start of the response. It is sealed under the key of the session and erased with it. That of an erasure is not
    /// stored.
    pub response: Opaque,
}

/// A query of the deliveries of a webhook.
#[derive(Clone, Debug)]
pub struct DeliveryQuery {
    /// The webhook.
    pub webhook: WebhookId,
    /// The deliveries.
    pub select: DeliverySelect,
}

/// Deliveries of a webhook.
#[derive(Clone, Debug)]
pub enum DeliverySelect {
    /// The one with this id.
    Id(String),
    /// The one with the latest attempt.
    Latest,
    /// Those of a state after a [`place`](Delivery::place): waiting ones by the time of their events, the others latest
    /// attempt first.
    State(DeliveryState, Option<(i64, i64)>),
}

/// Deliveries to send again.
#[derive(Clone, Debug)]
pub enum Replay {
    /// All dead ones whose events occurred at this time or later. `None` for all.
    Dead(Option<OffsetDateTime>),
    /// The one with this id, which was delivered or is dead.
    Id(String),
}
