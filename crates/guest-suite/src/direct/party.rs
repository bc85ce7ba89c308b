//! The parties that change sessions and webhooks.

use audit::Actor;
use guest_store::{Session, Webhook};

/// The party that changes a session, and the actor of the audit entry.
#[derive(Clone, Copy, Debug)]
pub enum Party<'a> {
    /// The API client that owns the session, by its id.
    Client(&'a str),
    /// The guest, from a page that the gateway admitted.
    Guest {
        /// The id of the API client that owns the session.
        owner: &'a str,
    },
}

impl<'a> Party<'a> {
    pub(super) fn owner(self) -> &'a str {
        match self {
            Self::Client(owner) | Self::Guest { owner } => owner,
        }
    }

    pub(super) fn actor(self, session: &Session) -> Actor {
        match self {
            Self::Client(owner) => Actor::client(owner),
            Self::Guest { .. } => Actor::guest(session.pseudonym()),
        }
    }
}

/// An API client, by its id.
impl<'a> From<&'a str> for Party<'a> {
    fn from(client: &'a str) -> Self {
        Self::Client(client)
    }
}

/// An API client, by its id.
impl<'a> From<&'a String> for Party<'a> {
    fn from(client: &'a String) -> Self {
        Self::Client(client)
    }
}

/// The party that manages a webhook, and the actor of the audit entry.
#[derive(Clone, Copy, Debug)]
pub enum WebhookParty<'a> {
    /// The API client that owns the webhook, by its id.
    Client(&'a str),
    /// An operator by name, who manages the webhooks of all API clients.
    Operator(&'a str),
}

impl WebhookParty<'_> {
    pub(super) fn manages(self, webhook: &Webhook) -> bool {
        match self {
            Self::Client(owner) => webhook.owner == owner,
            Self::Operator(_) => true,
        }
    }

    pub(super) fn actor(self) -> Actor {
        match self {
            Self::Client(owner) => Actor::client(owner),
            Self::Operator(name) => Actor::operator(name),
        }
    }
}

/// An API client, by its id.
impl<'a> From<&'a str> for WebhookParty<'a> {
    fn from(client: &'a str) -> Self {
        Self::Client(client)
    }
}

/// An API client, by its id.
impl<'a> From<&'a String> for WebhookParty<'a> {
    fn from(client: &'a String) -> Self {
        Self::Client(client)
    }
}
