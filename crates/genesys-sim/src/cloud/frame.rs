//! Frames from the server: one envelope around every body.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::json;

use crate::cloud::Usage;

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

pub(crate) fn envelope(
    kind: &'static str,
    class: &'static str,
    code: u16,
    tracing_id: Option<&str>,
    body: impl Serialize,
) -> String {
    let envelope = Envelope {
        kind,
        class,
        code,
        tracing_id,
        body,
    };
    serde_json::to_string(&envelope).expect("frames consist of texts, numbers and JSON values")
}

pub(crate) fn reply(class: &'static str, tracing_id: Option<&str>, body: &impl Serialize) -> String {
    envelope("response", class, 200, tracing_id, body)
}

pub(crate) fn event(class: &'static str, tracing_id: Option<&str>, body: &impl Serialize) -> String {
    envelope("message", class, 200, tracing_id, body)
}

/// Refusal of an action, as an error frame. Clients match on codes. Texts without a source in Genesys are ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    Coded(u16, Cow<'static, str>),
    /// By a fault, in the form of this class.
    Simulated(u16, &'static str),
    TooMany(FrameLimit, u64),
}

/// A rate limit: the error code of its refusal, and its text. Both codes have been seen, 429 for `configureSession`.
pub(crate) type FrameLimit = (u16, &'static str);

pub(crate) const CONFIGURES: FrameLimit = (429, "ConfigureSession rate too high for this session");
pub(crate) const ECHOES: FrameLimit = (4029, "Health check rate too high for this connection");
pub(crate) const MESSAGES: FrameLimit = (4029, "Message rate too high for this session");
pub(crate) const REQUESTS: FrameLimit = (4029, "Request rate too high for this connection");

impl Refusal {
    pub(crate) const ATTACHMENT_EXPIRED: Self = Self::fixed(4008, "Attachment has expired");
    /// Clients match the beginnings of the next two.
    pub(crate) const AUTHENTICATE_AGAIN: Self =
        Self::fixed(403, "Try to authenticate again: the refresh token has expired");
    pub(crate) const AUTHENTICATION_FAILED: Self = Self::fixed(
        403,
        "Session authentication failed: the user is signed out, or another one",
    );
    pub(crate) const DOWNGRADE: Self = Self::fixed(
        4017,
        "Cannot downgrade an authenticated session to an unauthenticated one",
    );
    pub(crate) const FAILED: Self = Self::fixed(400, "Request failed.");
    pub(crate) const NO_ATTACHMENT: Self = Self::fixed(4009, "Attachment not found");
    pub(crate) const NO_CLEAR: Self =
        Self::fixed(403, "Presence events Conversation Clear are not supported");
    pub(crate) const NOT_FOUND: Self = Self::fixed(4007, "Session not found");
    pub(crate) const NOT_UPLOADED: Self = Self::fixed(4010, "Attachment was not successfully uploaded");
    pub(crate) const READ_ONLY: Self = Self::fixed(409, "Session is read-only, no new messages allowed");
    pub(crate) const SWITCHED_OFF: Self =
        Self::fixed(403, "Turn on the Feature Toggle or fix the configuration.");
    pub(crate) const UNAUTHORIZED: Self = Self::fixed(401, "The JWT is invalid or has expired");

    const fn fixed(code: u16, text: &'static str) -> Self {
        Self::Coded(code, Cow::Borrowed(text))
    }

    pub(crate) fn coded(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self::Coded(code, text.into())
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::coded(4020, format!("Missing parameter: {parameter}"))
    }

    pub(crate) fn too_many(limited: FrameLimit) -> impl Fn(Usage) -> Self {
        move |usage| Self::TooMany(limited, usage.reset)
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
                let body = match *class {
                    "Error" => json!({"errorCode": code, "errorMessage": text, "name": "MissingParameter",
                        "message": text, "stack": "simulated", "tracingId": tracing_id.unwrap_or_default()}),
                    "ErrorMessage" => json!({"errorCode": code, "errorMessage": text}),
                    _ => json!(text),
                };
                (*class, *code, body)
            }
            Self::TooMany((code, text), retry_after) => {
                let body = json!({"retryAfter": retry_after, "errorCode": code, "errorMessage": text});
                ("TooManyRequestsErrorMessage", 429, body)
            }
        };
        // the documented objects have no tracing id in the envelope
        let tracing_id = tracing_id.filter(|_| !matches!(class, "Error" | "ErrorMessage"));
        envelope("response", class, code, tracing_id, body)
    }
}
