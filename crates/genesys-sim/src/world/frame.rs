//! Frames from the server: one envelope around every body.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::json;

use crate::world::limits::Usage;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, B> {
    #[serde(rename = "type")]
    kind: &'static str,
    class: &'static str,
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracing_id: Option<&'a str>,
    body: B,
}

impl<B: Serialize> Envelope<'_, B> {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("frames are made of texts, numbers and JSON values")
    }
}

/// The answer to a socket's own request.
pub(crate) fn answer(class: &'static str, tracing_id: Option<&str>, body: &impl Serialize) -> String {
    Envelope {
        kind: "response",
        class,
        code: 200,
        tracing_id,
        body,
    }
    .text()
}

/// An event that the server pushes.
pub(crate) fn pushed(class: &'static str, tracing_id: Option<&str>, body: &impl Serialize) -> String {
    Envelope {
        kind: "message",
        class,
        code: 200,
        tracing_id,
        body,
    }
    .text()
}

/// Why an action is not done, as its error frame says it. Clients match on codes; texts without a source in
/// Genesys' clients or documentation are ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    Coded(u16, Cow<'static, str>),
    /// What no rule of the world asks for, in the form of this class.
    Simulated(u16, ErrorClass),
    TooMany(Limited, u64),
    /// What went wrong with an attachment, for whoever asked for errors as JSON.
    Upload {
        code: u16,
        text: Cow<'static, str>,
        attachment_id: Option<String>,
    },
}

/// The forms in which Genesys' clients, documents and schema have errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ErrorClass {
    /// Of the schema.
    Error,
    /// Of the documents.
    ErrorMessage,
    /// What clients meet.
    String,
}

impl ErrorClass {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::ErrorMessage => "ErrorMessage",
            Self::String => "string",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let mut all = [Self::Error, Self::ErrorMessage, Self::String].into_iter();
        all.find(|class| class.name() == name)
    }
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Limited {
    Configure,
    Echo,
    Messages,
    Requests,
}

impl Refusal {
    pub(crate) const ATTACHMENT_EXPIRED: Self = Self::Coded(4008, Cow::Borrowed("Attachment has expired"));
    /// Clients match the beginnings of the next two.
    pub(crate) const AUTHENTICATE_AGAIN: Self = Self::Coded(
        403,
        Cow::Borrowed("Try to authenticate again: the refresh token has expired"),
    );
    pub(crate) const AUTHENTICATION_FAILED: Self = Self::Coded(
        403,
        Cow::Borrowed("Session authentication failed: the user is signed out, or another one"),
    );
    pub(crate) const DEPLOYMENT: Self = Self::Coded(400, Cow::Borrowed("Deployment not found"));
    pub(crate) const DOWNGRADE: Self = Self::Coded(
        4017,
        Cow::Borrowed("Cannot downgrade an authenticated session to an unauthenticated one"),
    );
    pub(crate) const EXPIRED: Self = Self::Coded(4006, Cow::Borrowed("Session has expired"));
    pub(crate) const FAILED: Self = Self::Coded(400, Cow::Borrowed("Request failed."));
    pub(crate) const FULL: Self = Self::Coded(5000, Cow::Borrowed("The simulator holds its most sessions"));
    pub(crate) const NO_ATTACHMENT: Self = Self::Coded(4009, Cow::Borrowed("Attachment not found"));
    pub(crate) const NO_CLEAR: Self = Self::Coded(
        403,
        Cow::Borrowed("Presence events Conversation Clear are not supported"),
    );
    pub(crate) const NOT_FOUND: Self = Self::Coded(4007, Cow::Borrowed("Session not found"));
    pub(crate) const NOT_UPLOADED: Self =
        Self::Coded(4010, Cow::Borrowed("Attachment was not successfully uploaded"));
    pub(crate) const READ_ONLY: Self = Self::Coded(
        409,
        Cow::Borrowed("Session is read-only, no new messages allowed"),
    );
    pub(crate) const SWITCHED_OFF: Self = Self::Coded(
        403,
        Cow::Borrowed("Turn on the Feature Toggle or fix the configuration."),
    );
    pub(crate) const UNAUTHORIZED: Self =
        Self::Coded(401, Cow::Borrowed("The JWT is invalid or has expired"));
    pub(crate) const UPLOADS_OFF: Self = Self::Coded(4000, Cow::Borrowed("File upload is unavailable"));

    pub(crate) fn coded(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self::Coded(code, text.into())
    }

    pub(crate) fn attributes_too_large(limit: usize) -> Self {
        let text = format!("Custom Attributes in channel metadata is larger than {limit} bytes");
        Self::Coded(4013, text.into())
    }

    pub(crate) fn message_too_long(bytes: usize, limit: usize) -> Self {
        let text = format!("Message length {bytes} is larger than {limit}");
        Self::Coded(4011, text.into())
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::Coded(4020, format!("Missing parameter: {parameter}").into())
    }

    pub(crate) fn too_many(limited: Limited, usage: Usage) -> Self {
        Self::TooMany(limited, usage.reset)
    }

    pub(crate) fn frame(&self, tracing_id: Option<&str>) -> String {
        let (class, code, body) = match self {
            Self::Coded(code, text) => ("string", *code, json!(text)),
            Self::Simulated(code, class) => {
                let text = match code {
                    408 => "Request timed out",
                    429 => "Request rate too high for this connection",
                    _ => "A simulated fault",
                };
                let body = match class {
                    ErrorClass::String => json!(text),
                    ErrorClass::ErrorMessage => json!({"errorCode": code, "errorMessage": text}),
                    ErrorClass::Error => {
                        json!({"errorCode": code, "errorMessage": text, "name": "MissingParameter",
                        "message": text, "stack": "simulated", "tracingId": tracing_id.unwrap_or_default()})
                    }
                };
                (class.name(), *code, body)
            }
            Self::TooMany(limited, retry_after) => {
                // both error codes have been seen, the second in a capture of a configureSession
                let (error_code, what) = match limited {
                    Limited::Configure => (429, "ConfigureSession rate too high for this session"),
                    Limited::Echo => (4029, "Health check rate too high for this connection"),
                    Limited::Messages => (4029, "Message rate too high for this session"),
                    Limited::Requests => (4029, "Request rate too high for this connection"),
                };
                let body = json!({"retryAfter": retry_after, "errorCode": error_code, "errorMessage": what});
                ("TooManyRequestsErrorMessage", 429, body)
            }
            Self::Upload {
                code,
                text,
                attachment_id,
            } => {
                let mut body = json!({"errorCode": code, "errorMessage": text});
                if let Some(id) = attachment_id {
                    body["attachmentId"] = json!(id);
                }
                ("GenerateUrlError", 400, body)
            }
        };
        Envelope {
            kind: "response",
            class,
            code,
            // the objects that are documented have none
            tracing_id: tracing_id.filter(|_| !matches!(class, "Error" | "ErrorMessage")),
            body,
        }
        .text()
    }
}
