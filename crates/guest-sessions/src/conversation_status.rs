//! The state of a conversation, and the actions that it allows.

use genesys_api::wire::OwnedText;
use serde::{Deserialize, Serialize};

use crate::AttachmentRules;

/// The state of a conversation. The gateway sends it after the handshake, and again whenever it changes.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConversationStatus {
    /// The state.
    pub state: ConversationState,
    /// Actions that the guest can take now.
    pub actions: Vec<GuestAction>,
    /// Expiry of the session in RFC 3339, if it is less than 5 minutes away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<OwnedText>,
    /// The rules for files, if the guest can attach some now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<AttachmentRules>,
    /// Whether the guest is signed in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed_in: bool,
    /// The outage of Genesys Cloud, if there is one. Messages wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
}

/// The state of a conversation at Genesys Cloud.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationState {
    /// The guest cleared it: remove what is shown of it.
    Cleared,
    /// The agent or the bot ended it. A message of the guest continues it.
    Ended,
    /// Messages can be sent.
    #[default]
    Open,
    /// The agent or the bot ended it, and no more messages can be sent.
    ReadOnly,
}

/// An action of the guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestAction {
    /// Clear the conversation, which ends it and deletes its history.
    Clear,
    /// Send messages.
    Send,
    /// Start a new conversation after a read-only one.
    StartNew,
}

/// A time in which a session cannot be configured at Genesys Cloud.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outage {
    /// Cause.
    pub reason: OutageReason,
    /// Begin, RFC 3339.
    pub since: OwnedText,
    /// Time of the next attempt, RFC 3339. Without it an attempt is under way, or the guest's next sign-in is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<OwnedText>,
}

/// The cause of an outage.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub enum OutageReason {
    /// Genesys Cloud refuses the deployment, its origin or its configuration.
    #[serde(rename = "genesys.refused")]
    Refused,
    /// Genesys Cloud limits the rate.
    #[serde(rename = "genesys.throttled")]
    Throttled,
    /// Genesys Cloud does not answer.
    #[serde(rename = "genesys.unreachable")]
    Unreachable,
    /// Genesys Cloud no longer accepts the sign-in of the guest, who can sign in again.
    #[serde(rename = "sign.in.lost")]
    SignInLost,
}

impl OutageReason {
    /// The stable code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "genesys.refused",
            Self::Throttled => "genesys.throttled",
            Self::Unreachable => "genesys.unreachable",
            Self::SignInLost => "sign.in.lost",
        }
    }
}
