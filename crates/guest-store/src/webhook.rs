//! A webhook subscription as it is stored.

use std::fmt;

use bytes::Bytes;
use genesys_api::WebhookId;
use secrecy::SecretString;
use time::OffsetDateTime;

/// A webhook subscription.
#[derive(Clone)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its name, which no other webhook of its owner has.
    pub name: String,
    /// Whose it is, for good. It gets the events of this owner only.
    pub owner: String,
    /// The names of the events that it gets.
    pub events: Vec<String>,
    /// Whether it gets any. When it is switched off, what is waiting for it is given up.
    pub enabled: bool,
    /// Since when every delivery to it has failed. The store sets it when a delivery is settled.
    pub failing_since: Option<OffsetDateTime>,
    /// How many deliveries to it have failed since the last one that did not. The store counts.
    pub failures: u32,
    /// Until when nothing of it is leased. The store sets it when a delivery is settled.
    pub rest_until: Option<OffsetDateTime>,
    /// How often it was written: 0 for one that is new. A commit answers with the next one.
    pub version: u64,
    /// What no one may read: its signing keys. Sealed at rest.
    pub secrets: SecretString,
    /// Bytes that the store does not interpret: its address, its headers. Sealed at rest.
    pub document: Bytes,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("owner", &self.owner)
            .field("events", &self.events)
            .field("enabled", &self.enabled)
            .field("failing_since", &self.failing_since)
            .field("failures", &self.failures)
            .field("rest_until", &self.rest_until)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
