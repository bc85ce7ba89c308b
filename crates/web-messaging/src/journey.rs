//! What led the guest here, for Genesys' journey analytics.

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
    /// No journey but the session's own, as Genesys' mobile SDK says it: the customer is named by the session's token.
    #[must_use]
    pub fn of_session(token: &SecretString) -> Self {
        Self::of_visitor(token, JourneySession::web(""))
    }

    /// The journey of a visitor whom Genesys' tracking knows by a cookie.
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

    /// What the guest did that led to the conversation.
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

/// Something that Genesys' tracking did, such as an offer to chat.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JourneyAction {
    id: Text<'static>,
    action_map: ActionMap,
}

impl JourneyAction {
    /// The action, and the rule in its version that led to it.
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
