//! What a guest sends: one flat JSON object with an `action`.

mod guest_message;

use genesys_api::DeploymentId;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

pub use self::guest_message::GuestMessage;
use super::JourneyContext;
use genesys_api::wire::{SecretText, Text};

/// A frame of the guest. `token` is the session itself, a bearer secret; `tracingId` comes back in the answer.
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
        /// Comes back in the answer.
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
        /// The JWT of the sign-in. It travels as `data.code`, although it is no code.
        #[serde(rename = "data", serialize_with = "as_code")]
        jwt: SecretText<'a>,
        /// What led the guest here.
        #[serde(skip_serializing_if = "Option::is_none")]
        journey_context: Option<&'a JourneyContext>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// The first frame of a socket: makes or resumes the session. At most 60 a minute a session.
    ConfigureSession {
        /// The session.
        token: SecretText<'a>,
        /// Its deployment.
        deployment_id: &'a DeploymentId,
        /// `true` only for a fresh conversation after a read-only one.
        start_new: bool,
        /// What led the guest here.
        #[serde(skip_serializing_if = "Option::is_none")]
        journey_context: Option<&'a JourneyContext>,
        /// Only the schema has it; no official client sends it.
        #[serde(skip_serializing_if = "Option::is_none")]
        resume_token: Option<SecretText<'a>>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// Takes an upload back, before it was sent.
    DeleteAttachment {
        /// The session.
        token: SecretText<'a>,
        /// The file.
        attachment_id: Text<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// Disconnects the guest. Only the schema has it: that it needs no more than these fields is an inference.
    DisconnectCustomer {
        /// The session.
        token: SecretText<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// The service's own health check, at most 2 a minute a connection. The answer has the session's new expiry.
    Echo {
        /// The session.
        token: SecretText<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
        /// Any text.
        message: GuestMessage<'a>,
    },
    /// Asks for a fresh download link, which lives for about ten minutes.
    GetAttachment {
        /// The session.
        token: SecretText<'a>,
        /// The file.
        attachment_id: Text<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// Asks for the limits of a deployment; may come before the session is configured.
    GetConfiguration {
        /// The session.
        token: SecretText<'a>,
        /// The deployment.
        deployment_id: &'a DeploymentId,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// Asks for the token that reads the history; it lives for one minute.
    GetJwt {
        /// The session.
        token: SecretText<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// Asks where to upload a file.
    OnAttachment {
        /// The session.
        token: SecretText<'a>,
        /// A UUID of ours for the file; the service draws one if there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        attachment_id: Option<Text<'a>>,
        /// Its name with its ending, shorter than 1,024 characters.
        file_name: Text<'a>,
        /// Its media type.
        file_type: Text<'a>,
        /// Its size in bytes.
        file_size: u64,
        /// MD5 of it in Base64. The schema requires it, and no official client sends it.
        #[serde(skip_serializing_if = "Option::is_none")]
        file_md5: Option<Text<'a>>,
        /// Whether a refusal comes as `GenerateUrlError`, as the mobile SDK asks for, or as plain text.
        errors_as_json: bool,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
    /// A message or an event of the guest.
    OnMessage {
        /// The session.
        token: SecretText<'a>,
        /// Comes back in the echo, which is the only acknowledgement of delivery.
        tracing_id: Text<'a>,
        /// The message.
        message: GuestMessage<'a>,
    },
    /// Asks for a resume token. Only the schema has it: that it needs no more than these fields is an inference.
    ResumeToken {
        /// The session.
        token: SecretText<'a>,
        /// Comes back in the answer.
        tracing_id: Text<'a>,
    },
}

impl ClientFrame<'_> {
    /// The frame as it travels.
    ///
    /// # Panics
    /// Never: every field can be JSON.
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
