//! Visit and action that led to a session, for Genesys' journey analytics.

use std::fmt;

use secrecy::SecretString;
use serde::{Serialize, Serializer};

use genesys_api::wire::SecretText;
use genesys_api::wire::Text;

/// The journey that a session belongs to. It is analytics: send it only to a guest who has consented.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JourneyContext {
    customer: Customer,
    customer_session: JourneySession,
    #[serde(skip_serializing_if = "Option::is_none")]
    triggering_action: Option<JourneyAction>,
}

impl JourneyContext {
    /// A journey of the session alone, as in Genesys' mobile SDK: the session's token identifies the customer.
    #[must_use]
    pub fn of_session(token: &SecretString) -> Self {
        Self::of_visitor(token, JourneySession::web(""))
    }

    /// The journey of a visitor that Genesys' tracking identifies by a cookie.
    #[must_use]
    pub fn of_visitor(cookie: &SecretString, session: JourneySession) -> Self {
        Self {
            customer: Customer {
                id: cookie.clone(),
                id_type: "cookie",
            },
            customer_session: session,
            triggering_action: None,
        }
    }

    /// Adds the action of the guest that led to the conversation.
    #[must_use]
    pub fn with_action(mut self, action: JourneyAction) -> Self {
        self.triggering_action = Some(action);
        self
    }
}

impl fmt::Debug for JourneyContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JourneyContext")
            .field("session", &self.customer_session)
            .field("action", &self.triggering_action)
            .finish_non_exhaustive()
    }
}

/// A visit.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct JourneySession {
    id: Text<'static>,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl JourneySession {
    /// In an app.
    #[must_use]
    pub fn app(id: impl Into<Text<'static>>) -> Self {
        Self {
            id: id.into(),
            kind: "app",
        }
    }

    /// In a browser.
    #[must_use]
    pub fn web(id: impl Into<Text<'static>>) -> Self {
        Self {
            id: id.into(),
            kind: "web",
        }
    }
}

/// An action of Genesys' tracking, such as an offer to chat.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JourneyAction {
    id: Text<'static>,
    action_map: ActionMap,
}

impl JourneyAction {
    /// An action, and the version of the rule that caused it.
    #[must_use]
    pub fn new(id: impl Into<Text<'static>>, map: impl Into<Text<'static>>, version: u32) -> Self {
        Self {
            id: id.into(),
            action_map: ActionMap {
                id: map.into(),
                version,
            },
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct ActionMap {
    id: Text<'static>,
    version: u32,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Customer {
    #[serde(serialize_with = "exposed")]
    id: SecretString,
    id_type: &'static str,
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    SecretText::from(secret).serialize(serializer)
}
