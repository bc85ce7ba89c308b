//! The wire shape of `/api/v2/webhooks` in the `guest-sessions` contract.
//!
//! The contract is ours, after the founding tutorial: Genesys Cloud has no such resource.

mod body;
mod call;

use bytes::Bytes;
use genesys_api::WebhookId;
use serde_json::{Value, json};

pub use body::{BodyError, LARGEST_BODY, parse};
pub use call::{Fetch, List, Register, Registered, Remove, Replace};

use crate::{Secret, Subscription};

/// A subscription that a server keeps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Webhook {
    /// Its id, given by the server.
    pub id: WebhookId,
    /// What it asks for.
    pub subscription: Subscription,
}

/// What [`parse`] reads back, for a store.
#[must_use]
pub fn body(subscription: &Subscription) -> Value {
    body::value(subscription)
}

impl Webhook {
    /// The body of an answer. `secret` is given in the one answer that creates the webhook, or changes its secret.
    #[must_use]
    pub fn render(&self, secret: Option<&Secret>) -> Bytes {
        let mut body = self.value();
        if let Some(secret) = secret {
            body["secret"] = secret.expose().into();
        }
        body.to_string().into()
    }

    /// The body of the answer to [`List`].
    #[must_use]
    pub fn render_list<'a>(webhooks: impl IntoIterator<Item = &'a Self>) -> Bytes {
        let entities: Vec<Value> = webhooks.into_iter().map(Self::value).collect();
        json!({ "total": entities.len(), "entities": entities })
            .to_string()
            .into()
    }

    fn value(&self) -> Value {
        let mut body = body::value(&self.subscription);
        body["id"] = self.id.as_str().into();
        body
    }
}
