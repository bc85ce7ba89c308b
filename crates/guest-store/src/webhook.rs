//! The row of a webhook subscription.

use genesys_api::WebhookId;
use secrecy::SecretString;
use time::OffsetDateTime;

use crate::Opaque;

/// A webhook subscription.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its name, unique among the webhooks of its owner.
    pub name: String,
    /// Its owner, which never changes. It receives the events of this owner only.
    pub owner: String,
    /// Names of the events that it subscribes to.
    pub events: Vec<String>,
    /// Whether it receives events. What occurs while it is disabled waits.
    pub enabled: bool,
    /// Whether it receives the events of a session one after another. See [`Payload`](crate::Payload).
    pub ordered: bool,
    /// Time of the first failure after the last success. The store sets it when a delivery is settled.
    pub failing_since: Option<OffsetDateTime>,
    /// Failures since the last success. The store counts them.
    pub failures: u32,
    /// Time before which no delivery is leased. The store sets it when a delivery is settled.
    pub rest_until: Option<OffsetDateTime>,
    /// Version for compare-and-swap: 0 for a new webhook. A commit returns the next one.
    pub version: u64,
    /// Its signing keys. Sealed at rest.
    pub secrets: SecretString,
    /// Its address and its headers.
    pub document: Opaque,
}
