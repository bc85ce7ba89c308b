//! The outbox: what has to be delivered to webhooks.

use std::ops::RangeInclusive;
use std::sync::Arc;

use genesys_api::SessionId;
use time::OffsetDateTime;

use crate::{DeliveryAttempt, Webhook};

/// An event of a session, for every webhook of its owner that subscribes to its name.
///
/// It has no body. The session is read when the event is sent, so that a queue holds nothing about a guest.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its unique id.
    pub id: String,
    /// Its owner.
    pub owner: String,
    /// The session, which is stored and has the same owner.
    pub session: SessionId,
    /// Its sequence number, which grows with each event of the session.
    pub sequence: u64,
    /// Its name, as in `webmessaging.guestsession.created`.
    pub name: String,
    /// Time of the event. It is due at once.
    pub at: OffsetDateTime,
}

/// A delivery that the caller holds until its lease ends.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Its id, the `webhook-id` of Standard Webhooks. It is the same for every attempt. A snapshot has another one when
    /// its range has grown.
    pub id: String,
    /// The fencing token: it grows with every lease, and only the latest lease can settle the delivery.
    pub fence: u64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Its receiver.
    pub webhook: Arc<Webhook>,
    /// The content.
    pub payload: Payload,
    /// Time of the event, of the oldest one of a snapshot, or of the erasure.
    pub at: OffsetDateTime,
}

/// Leased deliveries, and the time of the next ones.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Leases {
    /// The deliveries.
    pub deliveries: Vec<Leased>,
    /// When the next delivery is due, or a lease ends. It can be past: leases and a
    /// call have limits. `None` if nothing has a time.
    pub next_due: Option<OffsetDateTime>,
}

impl Leased {
    /// The settlement of this lease, without a pause.
    #[must_use]
    pub fn settlement(&self, settled: Settled, at: OffsetDateTime) -> Settlement {
        Settlement {
            delivery: self.id.clone(),
            fence: self.fence,
            at,
            settled,
            pace: Pace::Same,
            rest_until: None,
            disable_webhook: false,
            attempt: None,
        }
    }
}

/// The content of a delivery.
///
/// A range has the first and the last sequence number of events that were not delivered. Events between them may have
/// been.
///
/// An ordered webhook has one event of a session due or under lease at a time. The next one, by sequence number, is due
/// when it is settled other than by [`Settled::RetryAt`] or [`Settled::NotSent`]. A snapshot waits for the queued events
/// before the end of its range, and no event waits for a snapshot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Payload {
    /// The removal of a session. It stands for all events of the session that were not delivered.
    Erased {
        /// The session.
        session: SessionId,
        /// Its range. The last number is that of the removal.
        range: RangeInclusive<u64>,
    },
    /// An event.
    Event {
        /// The session, to be read when the event is sent.
        session: SessionId,
        /// Its name.
        name: String,
        /// Its sequence number.
        sequence: u64,
    },
    /// The state of a session at the time of sending. It stands for events that found no room in the queue, were given
    /// up, or waited too long for a disabled webhook. A webhook has at most one of each stored session.
    Snapshot {
        /// The session, to be read when the snapshot is sent.
        session: SessionId,
        /// Its range.
        range: RangeInclusive<u64>,
    },
}

/// The outcome of a leased delivery.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Id of the delivery.
    pub delivery: String,
    /// The fencing token of its lease.
    pub fence: u64,
    /// Time of the settlement.
    pub at: OffsetDateTime,
    /// The outcome. A failure is counted at the webhook and sets its `failing_since`, which a success clears.
    pub settled: Settled,
    /// The change of the number of deliveries that the endpoint gets at a time.
    pub pace: Pace,
    /// Time before which no delivery to the webhook is leased, if the endpoint requested a pause. It never shortens one.
    pub rest_until: Option<OffsetDateTime>,
    /// Whether the webhook is disabled. What it has not received waits.
    pub disable_webhook: bool,
    /// The attempt for the log of deliveries, if one was made.
    pub attempt: Option<DeliveryAttempt>,
}

/// A change of the number of deliveries to one webhook under lease at a time. The store keeps the number in memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Pace {
    /// One more.
    Faster,
    /// As many.
    #[default]
    Same,
    /// Half as many.
    Slower,
    /// One.
    Stopped,
}

/// Outcomes of a delivery attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Settled {
    /// It failed and is given up: an event joins the snapshot of its session, and a snapshot waits until the webhook
    /// recovers.
    Dead,
    /// The receiver accepted it. A snapshot whose range has grown meanwhile is kept, and its next attempt has another id.
    Delivered,
    /// It was not sent and is due again at this time. The health of the webhook does not change.
    NotSent(OffsetDateTime),
    /// It failed and is due again at this time.
    RetryAt(OffsetDateTime),
    /// The webhook does not want it: it was not sent and is removed. A snapshot whose range has grown meanwhile is kept. The
    /// health of the webhook does not change.
    Unwanted,
}

/// The id of the delivery of an event to a webhook, which is the same for every attempt.
///
/// It begins with the time of the event's id, if that is a UUID of version 7, so that new ids are neighbors in an index.
#[cfg(any(test, feature = "sqlite"))]
pub(crate) fn event_id(webhook: &str, event: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, [event, webhook].join("\0").as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_ref()[..16]);
    if let Some(time) = crate::secrets::uuid_v7_time(event) {
        id[..6].copy_from_slice(&time);
    }
    delivery_id(id)
}

/// A random id of the delivery of a range of sequence numbers. Nothing of the session can be computed from it.
#[cfg(any(test, feature = "sqlite"))]
pub(crate) fn range_id() -> String {
    delivery_id(genesys_api::entropy::bytes())
}

/// The text of a delivery's id. It holds no dot, as Standard Webhooks requires.
#[cfg(any(test, feature = "sqlite"))]
fn delivery_id(bytes: [u8; 16]) -> String {
    format!("msg_{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_id_is_stable_and_unique() {
        let ids = [
            event_id("w", "e"),
            event_id("w", "f"),
            event_id("x", "e"),
            range_id(),
            range_id(),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(
                id.starts_with("msg_") && id.len() == 36 && !id.contains('.'),
                "{id}"
            );
            assert!(!ids[..index].contains(id), "{id}");
        }
        assert_eq!(event_id("w", "e"), ids[0]);
        let ordered = "0193fbb5-c5f6-7000-8000-0123456789ab";
        assert!(event_id("w", ordered).starts_with("msg_0193fbb5c5f6"));
        assert_ne!(event_id("w", ordered), event_id("x", ordered));
    }
}
