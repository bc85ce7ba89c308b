//! Frames of the guest: one flat JSON object with an `action` each.

mod guest_message;

use genesys_api::DeploymentId;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

pub use self::guest_message::GuestMessage;
use super::JourneyContext;
use genesys_api::wire::{SecretText, Text};

/// A frame of the guest. `token` is the session itself, a bearer secret; `tracingId` is returned in the response.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ClientFrame<'a> {
    /// Leaves a read-only conversation, so that a new one can be configured on the same socket.
    CloseSession {
        /// The session.
        token: SecretText<'a>,
        /// Whether the session's other sockets are closed as well.
        close_all_connections: bool,
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// As [`ClientFrame::ConfigureSession`], for a signed-in guest. On a socket that is configured already it signs
    /// its guest in, where the deployment allows that (`auth.allowSessionUpgrade`).
    ConfigureAuthenticatedSession {
        /// The session.
        token: SecretText<'a>,
        /// Its deployment.
        deployment_id: &'a DeploymentId,
        /// `true` only for a fresh conversation after a read-only one.
        start_new: bool,
        /// The JWT of the sign-in. It is sent as `data.code`, although it is not a code.
        #[serde(rename = "data", serialize_with = "as_code")]
        jwt: SecretText<'a>,
        /// Visit and action that led to the session.
        #[serde(skip_serializing_if = "Option::is_none")]
        journey_context: Option<&'a JourneyContext>,
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// The first frame of a socket: creates or resumes the session. At most 60 a minute for a session.
    ConfigureSession {
        /// The session.
        token: SecretText<'a>,
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
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// Deletes an upload that was not sent.
    DeleteAttachment {
        /// The session.
        token: SecretText<'a>,
        /// The file.
        attachment_id: Text<'a>,
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// Disconnects the guest. Only the schema has it: that it needs no more than these fields is an inference.
    DisconnectCustomer {
        /// The session.
        token: SecretText<'a>,
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// The service's own health check, at most 2 a minute on a connection. The response has the session's new expiry.
    Echo {
        /// The session.
        token: SecretText<'a>,
        /// Returned in the response.
        tracing_id: Text<'a>,
        /// Any text.
        message: GuestMessage<'a>,
    },
    /// Requests a download link, which is valid for about ten minutes.
    GetAttachment {
        /// The session.
        token: SecretText<'a>,
        /// The file.
        attachment_id: Text<'a>,
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// Requests the limits of a deployment; allowed before the session is configured.
    GetConfiguration {
        /// The session.
        token: SecretText<'a>,
        /// The deployment.
        deployment_id: &'a DeploymentId,
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// Requests the token that reads the history; it is valid for one minute.
    GetJwt {
        /// The session.
        token: SecretText<'a>,
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// Requests an upload URL for a file.
    OnAttachment {
        /// The session.
        token: SecretText<'a>,
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
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
    /// A message or an event of the guest.
    OnMessage {
        /// The session.
        token: SecretText<'a>,
        /// Returned in the echo, which is the only acknowledgement of delivery.
        tracing_id: Text<'a>,
        /// The message.
        message: GuestMessage<'a>,
    },
    /// Requests a resume token. Only the schema has it: that it needs no more than these fields is an inference.
    ResumeToken {
        /// The session.
        token: SecretText<'a>,
        /// Returned in the response.
        tracing_id: Text<'a>,
    },
}

impl ClientFrame<'_> {
    /// The value of `action`.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::CloseSession { .. } => "closeSession",
            Self::ConfigureAuthenticatedSession { .. } => "configureAuthenticatedSession",
            Self::ConfigureSession { .. } => "configureSession",
            Self::DeleteAttachment { .. } => "deleteAttachment",
            Self::DisconnectCustomer { .. } => "disconnectCustomer",
            Self::Echo { .. } => "echo",
            Self::GetAttachment { .. } => "getAttachment",
            Self::GetConfiguration { .. } => "getConfiguration",
            Self::GetJwt { .. } => "getJwt",
            Self::OnAttachment { .. } => "onAttachment",
            Self::OnMessage { .. } => "onMessage",
            Self::ResumeToken { .. } => "resumeToken",
        }
    }

    /// Serializes the frame.
    ///
    /// # Panics
    /// Never: every field is serializable.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames are plain structs with text keys")
    }
}

fn as_code<S: Serializer>(jwt: &SecretText<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut data = serializer.serialize_struct("Data", 1)?;
    data.serialize_field("code", jwt)?;
    data.end()
}
