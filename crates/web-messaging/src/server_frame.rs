//! Frames of Genesys Cloud: an envelope, and a body of the class that the envelope names.
//!
//! Text is borrowed from the frame. The body is parsed when its class is known. The frequent class is detected early and
//! parsed in one pass.

mod attachment;
mod event;
pub(crate) mod loose;
mod session;
mod structured;

use genesys_api::wire::{RawJson, Text};
use serde::Deserialize;

pub use self::attachment::{ErrorBody, PresignedUrl, UploadSuccess};
pub use self::event::{MessageEvent, Offer, OfferState, Presence, PresenceKind, Typing};
pub use self::session::{AllowedMedia, Configuration, FileType, IssuedToken, MediaRules, SessionResponse};
pub use self::structured::{Channel, Metadata, Participant, ReceiptReason, StructuredMessage};

/// One frame of the service.
#[derive(Clone, Debug)]
pub struct ServerFrame<'a> {
    /// Response to a request of this socket, or not.
    pub kind: FrameKind,
    /// 200, or the code of a refusal: an HTTP status, or one of Genesys' own from 4000 on.
    pub code: i64,
    /// Tracing id of the request that caused it.
    pub tracing_id: Option<Text<'a>>,
    /// Its body.
    pub body: Body<'a>,
}

impl<'a> ServerFrame<'a> {
    /// Parses a frame. An unknown class, and a body that does not match its class, are [`Body::Unknown`]; only a frame
    /// without an envelope is an error.
    ///
    /// # Errors
    /// If the text is not a JSON object with `type`, `class` and `code`.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        if let Some(frame) = Self::parse_structured(text) {
            return Ok(frame);
        }
        let envelope: Envelope<'a, RawJson<'a>> =
            serde_json::from_str(text).map_err(|_| FrameError { bytes: text.len() })?;
        Ok(Self {
            kind: envelope.kind,
            code: envelope.code,
            tracing_id: envelope.tracing_id,
            body: Body::read(envelope.class, envelope.body),
        })
    }

    /// Parses a message whose class stands at the start of the frame.
    fn parse_structured(text: &'a str) -> Option<Self> {
        const CLASS: &str = "StructuredMessage";
        if !text.get(..64)?.contains(CLASS) {
            return None;
        }
        let envelope: Envelope<'a, StructuredMessage<'a>> = parse(text)?;
        Some(Self {
            kind: envelope.kind,
            code: envelope.code,
            tracing_id: envelope.tracing_id,
            body: Body::Structured(envelope.body.filter(|_| &*envelope.class == CLASS)?),
        })
    }
}

/// A text that is not a frame of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "invalid frame of {bytes} bytes: no envelope with type, class and code; check that the host serves web messaging"
)]
pub struct FrameError {
    /// Length of the text.
    pub bytes: usize,
}

/// The type of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FrameKind {
    /// Pushed to all sockets of the session, the echo of the guest's own message included.
    Message,
    /// A response to a request of this socket.
    Response,
    /// A type that this version does not know.
    #[serde(other)]
    Other,
}

/// The bodies, by class.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a frame lives on the stack for one turn, and the large one is the frequent one"
)]
#[non_exhaustive]
pub enum Body<'a> {
    /// `AttachmentDeletedResponse`: an upload was deleted.
    AttachmentDeleted {
        /// Id of the file.
        attachment_id: Text<'a>,
    },
    /// `GetConfigurationResponse`.
    Configuration(Configuration<'a>),
    /// `ConnectionClosedEvent`: the service drops this socket.
    ConnectionClosed {
        /// `reason` in Genesys' mobile SDK, `reasonCode` in its schema; both are parsed.
        reason: Option<Text<'a>>,
    },
    /// `ErrorMessage` and `Error`.
    Error(ErrorBody<'a>),
    /// `GenerateUrlError`: a file may not be uploaded.
    GenerateUrlError(ErrorBody<'a>),
    /// `JwtResponse`.
    Jwt(IssuedToken<'a>),
    /// `LogoutEvent`: the signed-in guest was logged out everywhere.
    LoggedOut,
    /// `string`: mostly an error's text.
    Plain(Text<'a>),
    /// `PresignedUrlResponse`: a URL for the upload or the download of a file.
    PresignedUrl(PresignedUrl<'a>),
    /// `ResumeTokenResponse`.
    ResumeToken(IssuedToken<'a>),
    /// `SessionClearedEvent`: the conversation was cleared.
    SessionCleared,
    /// `SessionExpiredEvent`: the session has expired.
    SessionExpired,
    /// `SessionResponse`: the response to configuring and closing.
    Session(SessionResponse<'a>),
    /// `StructuredMessage`: a message, an event, or the echo of one.
    Structured(StructuredMessage<'a>),
    /// `TooManyRequestsErrorMessage`.
    TooManyRequests(ErrorBody<'a>),
    /// A class or a body that this version does not know.
    Unknown {
        /// Its class.
        class: Text<'a>,
        /// The body, unparsed.
        body: Option<RawJson<'a>>,
    },
    /// `UploadFailureEvent`: an uploaded file was refused.
    UploadFailure(ErrorBody<'a>),
    /// `UploadSuccessEvent`: an uploaded file was accepted and may be sent.
    UploadSuccess(UploadSuccess<'a>),
}

impl<'a> Body<'a> {
    /// The class of the frame. `None` if this version does not know it.
    #[must_use]
    pub fn class(&self) -> Option<&'static str> {
        Some(match self {
            Self::AttachmentDeleted { .. } => "AttachmentDeletedResponse",
            Self::Configuration(_) => "GetConfigurationResponse",
            Self::ConnectionClosed { .. } => "ConnectionClosedEvent",
            Self::Error(_) => "ErrorMessage",
            Self::GenerateUrlError(_) => "GenerateUrlError",
            Self::Jwt(_) => "JwtResponse",
            Self::LoggedOut => "LogoutEvent",
            Self::Plain(_) => "string",
            Self::PresignedUrl(_) => "PresignedUrlResponse",
            Self::ResumeToken(_) => "ResumeTokenResponse",
            Self::SessionCleared => "SessionClearedEvent",
            Self::SessionExpired => "SessionExpiredEvent",
            Self::Session(_) => "SessionResponse",
            Self::Structured(_) => "StructuredMessage",
            Self::TooManyRequests(_) => "TooManyRequestsErrorMessage",
            Self::UploadFailure(_) => "UploadFailureEvent",
            Self::UploadSuccess(_) => "UploadSuccessEvent",
            Self::Unknown { .. } => return None,
        })
    }

    fn read(class: Text<'a>, body: Option<RawJson<'a>>) -> Self {
        let json = body.map_or("{}", |body| body.as_str());
        let known = match &*class {
            "AttachmentDeletedResponse" => {
                parse::<Deleted<'_>>(json).map(|deleted| Self::AttachmentDeleted {
                    attachment_id: deleted.attachment_id,
                })
            }
            "ConnectionClosedEvent" => parse::<Closed<'_>>(json).map(|closed| Self::ConnectionClosed {
                reason: closed.reason.or(closed.reason_code),
            }),
            "Error" | "ErrorMessage" => parse(json).map(Self::Error),
            "GenerateUrlError" => parse(json).map(Self::GenerateUrlError),
            "GetConfigurationResponse" => parse(json).map(Self::Configuration),
            "JwtResponse" => parse(json).map(Self::Jwt),
            "LogoutEvent" => Some(Self::LoggedOut),
            "PresignedUrlResponse" => parse(json).map(Self::PresignedUrl),
            "ResumeTokenResponse" => parse(json).map(Self::ResumeToken),
            "SessionClearedEvent" => Some(Self::SessionCleared),
            "SessionExpiredEvent" => Some(Self::SessionExpired),
            "SessionResponse" => parse(json).map(Self::Session),
            "StructuredMessage" => parse(json).map(Self::Structured),
            "TooManyRequestsErrorMessage" => parse(json).map(Self::TooManyRequests),
            "UploadFailureEvent" => parse(json).map(Self::UploadFailure),
            "UploadSuccessEvent" => parse(json).map(Self::UploadSuccess),
            "string" => parse(json).map(Self::Plain),
            _ => None,
        };
        known.unwrap_or(Self::Unknown { class, body })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, B> {
    #[serde(rename = "type")]
    kind: FrameKind,
    #[serde(borrow)]
    class: Text<'a>,
    code: i64,
    #[serde(borrow)]
    tracing_id: Option<Text<'a>>,
    body: Option<B>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Closed<'a> {
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    reason_code: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deleted<'a> {
    #[serde(borrow)]
    attachment_id: Text<'a>,
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok()
}
