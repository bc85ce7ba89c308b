//! Frames of the guest: one flat JSON object with an `action` each.

mod guest_message;

use std::collections::BTreeMap;

use genesys_api::DeploymentId;
use genesys_api::wire::{SecretText, Text};
use serde::{Serialize, Serializer};

pub use self::guest_message::GuestMessage;
use super::JourneyContext;

/// A frame of the guest.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientFrame<'a> {
    /// The action, and its own fields.
    #[serde(flatten)]
    pub action: ClientAction<'a>,
    /// The session itself: a bearer secret.
    pub token: SecretText<'a>,
    /// Returned in the response, and in the echo of a message.
    pub tracing_id: Text<'a>,
}

/// The action of a frame.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ClientAction<'a> {
    /// Leaves a read-only conversation, so that a new one can be configured on the same socket.
    CloseSession {
        /// Whether the session's other sockets are closed as well.
        close_all_connections: bool,
    },
    /// As [`ClientAction::ConfigureSession`], for a signed-in guest. On a socket that is configured already it signs
    /// its guest in, where the deployment allows that (`auth.allowSessionUpgrade`). It has no journey: that belongs to the
    /// [`Exchange`](crate::rest::sign_in::Exchange).
    ConfigureAuthenticatedSession {
        /// Its deployment.
        deployment_id: &'a DeploymentId,
        /// `true` only for a fresh conversation after a read-only one.
        start_new: bool,
        /// The JWT of the sign-in. It is sent as `data.code`, although it is not a code.
        #[serde(rename = "data", serialize_with = "as_code")]
        jwt: SecretText<'a>,
        /// Only the schema has it; no official client sends it.
        #[serde(skip_serializing_if = "Option::is_none")]
        resume_token: Option<SecretText<'a>>,
    },
    /// The first frame of a socket: creates or resumes the session. At most 60 a minute for a session.
    ConfigureSession {
        /// Its deployment.
        deployment_id: &'a DeploymentId,
        /// `true` only for a fresh conversation after a read-only one.
        start_new: bool,
        /// Visit and action that led to the session.
        #[serde(skip_serializing_if = "Option::is_none")]
        journey_context: Option<&'a JourneyContext>,
        /// Only the schema has it; no official client sends it.
        #[serde(skip_serializing_if = "Option::is_none")]
        resume_token: Option<SecretText<'a>>,
    },
    /// Deletes an upload that was not sent.
    DeleteAttachment {
        /// The file.
        attachment_id: Text<'a>,
    },
    /// Disconnects the guest. Only the schema has it: that it needs no more than these fields is an inference.
    DisconnectCustomer,
    /// The service's own health check, at most 2 a minute on a connection. The response has the session's new expiry.
    Echo {
        /// Any text.
        message: GuestMessage<'a>,
    },
    /// Requests a download link, which is valid for about ten minutes.
    GetAttachment {
        /// The file.
        attachment_id: Text<'a>,
    },
    /// Requests the limits of a deployment; allowed before the session is configured.
    GetConfiguration {
        /// The deployment.
        deployment_id: &'a DeploymentId,
    },
    /// Requests the token that reads the history; it is valid for one minute.
    GetJwt,
    /// Requests an upload URL for a file.
    OnAttachment {
        /// The client's UUID for the file; the service generates one if it is missing.
        #[serde(skip_serializing_if = "Option::is_none")]
        attachment_id: Option<Text<'a>>,
        /// File name with extension, shorter than 1,024 characters.
        file_name: Text<'a>,
        /// Media type.
        file_type: Text<'a>,
        /// Size in bytes.
        file_size: u64,
        /// MD5 in Base64. The schema requires it, and no official client sends it.
        #[serde(skip_serializing_if = "Option::is_none")]
        file_md5: Option<Text<'a>>,
        /// Whether a refusal arrives as `GenerateUrlError`, which the mobile SDK requests, or as plain text.
        errors_as_json: bool,
    },
    /// A message or an event of the guest. Its echo is the only acknowledgement of delivery.
    OnMessage {
        /// The message.
        message: GuestMessage<'a>,
    },
    /// Requests a resume token. Only the schema has it: that it needs no more than these fields is an inference.
    ResumeToken,
}

impl ClientFrame<'_> {
    /// Serializes the frame.
    ///
    /// # Panics
    /// Never: every field is serializable.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames are plain structs with text keys")
    }
}

impl ClientAction<'_> {
    /// The name, as in `onMessage`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CloseSession { .. } => "closeSession",
            Self::ConfigureAuthenticatedSession { .. } => "configureAuthenticatedSession",
            Self::ConfigureSession { .. } => "configureSession",
            Self::DeleteAttachment { .. } => "deleteAttachment",
            Self::DisconnectCustomer => "disconnectCustomer",
            Self::Echo { .. } => "echo",
            Self::GetAttachment { .. } => "getAttachment",
            Self::GetConfiguration { .. } => "getConfiguration",
            Self::GetJwt => "getJwt",
            Self::OnAttachment { .. } => "onAttachment",
            Self::OnMessage { .. } => "onMessage",
            Self::ResumeToken => "resumeToken",
        }
    }
}

fn as_code<S: Serializer>(jwt: &SecretText<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    BTreeMap::from([("code", jwt)]).serialize(serializer)
}
