//! The outbox: deliveries that are pending.

use std::sync::Arc;

use audit::Draft;
use time::OffsetDateTime;

use crate::{Opaque, Webhook};

/// An event, for every enabled webhook of its owner that subscribes to its name.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its unique id.
    pub id: String,
    /// Its owner.
    pub owner: String,
    /// Its name, as in `webmessaging.guestsession.created`.
    pub name: String,
    /// The exact bytes to deliver.
    pub body: Opaque,
    /// Time of the event. It is due at once.
    pub at: OffsetDateTime,
}

impl Event {
    /// The id of the delivery of this event to one webhook, which is the same for every attempt.
    ///
    /// It begins with the time of the event's id, if that is a UUID of version 7, so that new ids are neighbors in an
    /// index. It holds no dot, as Standard Webhooks requires.
    #[must_use]
    #[cfg(any(test, feature = "sqlite"))]
    pub(crate) fn delivery_id(&self, webhook: &genesys_api::WebhookId) -> String {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(self.id.as_bytes());
        context.update(&[0]);
        context.update(webhook.as_str().as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&context.finish().as_ref()[..16]);
        if let Some(time) = crate::seal::uuid_v7_time(&self.id) {
            first[..6].copy_from_slice(&time);
        }
        format!("msg_{:032x}", u128::from_be_bytes(first))
    }
}

/// A delivery that the caller holds until its lease ends.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Its id, the `webhook-id` of Standard Webhooks. It is the same for every attempt.
    pub id: String,
    /// The fencing token: it grows with every lease, and only the latest lease can settle the delivery.
    pub fence: u64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Its receiver.
    pub webhook: Arc<Webhook>,
    /// The name of the event.
    pub event: String,
    /// The exact bytes to deliver.
    pub body: Opaque,
    /// Time of the event.
    pub at: OffsetDateTime,
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
    /// Time before which no delivery to the webhook is leased, if the endpoint asked for a pause. It never shortens one.
    pub rest_until: Option<OffsetDateTime>,
    /// Whether the webhook is disabled and its pending deliveries become dead letters.
    pub disable_webhook: bool,
    /// Audit entries to log with it.
    pub entries: Vec<Draft>,
}

/// Outcomes of a delivery attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Settled {
    /// It becomes a dead letter, without its body.
    Dead,
    /// The receiver accepted it.
    Delivered,
    /// It failed and is due again at this time.
    RetryAt(OffsetDateTime),
}

#[cfg(test)]
mod tests {
    use genesys_api::WebhookId;

    use super::*;

    #[test]
    fn delivery_id_is_stable_and_unique_per_event_and_webhook() {
        let event = |id: &str| Event {
            id: id.to_owned(),
            owner: "o".to_owned(),
            name: "n".to_owned(),
            body: "canary".into(),
            at: OffsetDateTime::UNIX_EPOCH,
        };
        let webhook = |id: &str| id.parse::<WebhookId>().unwrap();
        let id = event("e").delivery_id(&webhook("w"));
        assert_eq!(id, event("e").delivery_id(&webhook("w")));
        assert_ne!(id, event("f").delivery_id(&webhook("w")));
        assert_ne!(id, event("e").delivery_id(&webhook("x")));
        assert!(
            id.starts_with("msg_") && id.len() == 36 && !id.contains('.'),
            "{id}"
        );
        assert!(!format!("{:?}", event("e")).contains("canary"));
        let ordered = event("0193fbb5-c5f6-7000-8000-0123456789ab");
        let id = ordered.delivery_id(&webhook("w"));
        assert!(id.starts_with("msg_0193fbb5c5f6") && id.len() == 36, "{id}");
        assert_ne!(id, ordered.delivery_id(&webhook("x")));
    }
}
