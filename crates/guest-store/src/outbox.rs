//! The outbox: deliveries that are still to be made.

use std::fmt;
use std::sync::Arc;

use audit::Draft;
use bytes::Bytes;
use genesys_api::WebhookId;
use ring::digest::{Context, SHA256};
use time::OffsetDateTime;

use crate::Webhook;

/// Something that happened, for every enabled webhook of its owner that asks for it by name.
#[derive(Clone)]
pub struct Event {
    /// Its id, which no other event has.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// Its name, as in `webmessaging.guestsession.created`.
    pub name: String,
    /// The exact bytes to deliver. Sealed at rest.
    pub body: Bytes,
    /// When it happened; it is due at once.
    pub at: OffsetDateTime,
}

impl Event {
    /// The id of the delivery of this event to one webhook: the same for every attempt, and for no other pair.
    /// Standard Webhooks wants it without a dot.
    #[must_use]
    pub fn delivery_id(&self, webhook: &WebhookId) -> String {
        let mut context = Context::new(&SHA256);
        context.update(self.id.as_bytes());
        context.update(&[0]);
        context.update(webhook.as_str().as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&context.finish().as_ref()[..16]);
        format!("msg_{:032x}", u128::from_be_bytes(first))
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("name", &self.name)
            .field("bytes", &self.body.len())
            .field("at", &self.at)
            .finish()
    }
}

/// A delivery that is the caller's to make until its lease ends.
#[derive(Clone)]
pub struct Leased {
    /// Its id, the `webhook-id` of Standard Webhooks: the same for every attempt.
    pub id: String,
    /// Grows with every lease of this delivery: only the latest lease can settle it.
    pub fence: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Where it goes.
    pub webhook: Arc<Webhook>,
    /// The name of the event.
    pub event: String,
    /// The exact bytes to deliver.
    pub body: Bytes,
    /// When the event happened.
    pub at: OffsetDateTime,
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("id", &self.id)
            .field("fence", &self.fence)
            .field("attempt", &self.attempt)
            .field("webhook", &self.webhook.id)
            .field("event", &self.event)
            .field("bytes", &self.body.len())
            .field("at", &self.at)
            .finish()
    }
}

/// How a delivery went.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which delivery.
    pub delivery: String,
    /// The fence of its lease.
    pub fence: u64,
    /// When it was settled.
    pub at: OffsetDateTime,
    /// How it went. A failure marks the webhook as failing since `at`, if it was not yet, and counts; a success ends
    /// that.
    pub settled: Settled,
    /// Until when nothing more of the webhook is to be leased, if the endpoint asked for a rest. Never shortens one.
    pub rest_until: Option<OffsetDateTime>,
    /// Whether the webhook is to be switched off, and what is waiting for it given up.
    pub disable_webhook: bool,
    /// What is to be logged with it.
    pub entries: Vec<Draft>,
}

/// How a delivery went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Settled {
    /// It was given up. Its body is forgotten.
    Dead,
    /// The receiver took it.
    Delivered,
    /// It failed, and is due again at this time.
    RetryAt(OffsetDateTime),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_id_is_stable_and_unique_for_the_pair() {
        let event = |id: &str| Event {
            id: id.to_owned(),
            owner: "o".to_owned(),
            name: "n".to_owned(),
            body: Bytes::from_static(b"canary"),
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
    }
}
