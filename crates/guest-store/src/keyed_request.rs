//! Requests with an idempotency key, and what they created.

use genesys_api::{IdempotencyKey, WebhookId};
use time::OffsetDateTime;

use crate::Session;

/// A request with an idempotency key. It is stored with the session or webhook that its unit creates, and holds no token.
#[derive(Clone, Debug)]
pub struct KeyedRequest {
    /// The owner, who chose the key.
    pub owner: String,
    /// The key.
    pub key: IdempotencyKey,
    /// Digest of the request: another request has another one.
    pub digest: [u8; 32],
    /// Time of the request.
    pub at: OffsetDateTime,
}

/// A stored request, and what it created.
#[derive(Clone, Debug)]
pub struct StoredRequest {
    /// Digest of the request. `None` if its session was erased.
    pub digest: Option<[u8; 32]>,
    /// Time of the request.
    pub at: OffsetDateTime,
    /// The created session or webhook, as it is now.
    pub resource: Resource,
}

/// The creation of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Resource {
    /// It was removed.
    Gone,
    /// A session.
    Session(Box<Session>),
    /// A webhook.
    Webhook(WebhookId),
}
