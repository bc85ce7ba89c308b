//! Visit and action that led to a session, for Genesys' journey analytics.

use genesys_api::wire::{OwnedText, SecretText};
use secrecy::SecretString;
use serde::{Serialize, Serializer};

/// The journey that a session belongs to. It is analytics: send it only for a guest who has consented.
///
/// It is sent when a guest is configured, or for a signed-in guest with the [`Exchange`](crate::rest::sign_in::Exchange).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JourneyContext {
    /// Cookie by which Genesys' tracking identifies the visitor.
    #[serde(rename = "customer", serialize_with = "customer")]
    pub cookie: SecretString,
    /// The visit. Genesys' mobile SDK omits it until its tracking has an id for it; the schema requires it.
    #[serde(rename = "customerSession", skip_serializing_if = "Option::is_none")]
    pub session: Option<JourneySession>,
    /// Action of the guest that led to the conversation.
    #[serde(rename = "triggeringAction", skip_serializing_if = "Option::is_none")]
    pub action: Option<JourneyAction>,
}

/// A visit.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum JourneySession {
    /// In an app.
    App {
        /// Its id.
        id: OwnedText,
    },
    /// In a browser.
    Web {
        /// Its id.
        id: OwnedText,
    },
}

/// An action of Genesys' tracking, such as an offer to chat.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JourneyAction {
    /// Its id.
    pub id: OwnedText,
    /// The rule that caused it.
    pub action_map: ActionMap,
}

/// A rule of Genesys' tracking.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ActionMap {
    /// Its id.
    pub id: OwnedText,
    /// Its version.
    pub version: u32,
}

fn customer<S: Serializer>(cookie: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Customer<'a> {
        id: SecretText<'a>,
        id_type: &'static str,
    }
    Customer {
        id: cookie.into(),
        id_type: "cookie",
    }
    .serialize(serializer)
}
