//! Frames of Genesys Cloud: an envelope, and a body of the class that the envelope names.
//!
//! Text is borrowed from the frame. The body is parsed when its class is known. The frequent class is detected early and
//! parsed in one pass.

mod attachment;
mod event;
pub(crate) mod lenient;
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
    /// Its class. `None` if this version does not know class or body.
    pub class: Option<&'static str>,
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
        let Envelope { class, body, .. } = envelope;
        let json = body.map_or("{}", |body| body.as_str());
        let known = CLASSES.iter().find(|(name, _)| *name == &*class);
        let known = known.and_then(|(name, parse)| Some((*name, parse(json)?)));
        Ok(Self {
            kind: envelope.kind,
            class: known.as_ref().map(|(name, _)| *name),
            code: envelope.code,
            tracing_id: envelope.tracing_id,
            body: known.map_or(Body::Unknown { class, body }, |(_, body)| body),
        })
    }

    /// Parses a message whose class stands at the start of the frame.
    fn parse_structured(text: &'a str) -> Option<Self> {
        if !text.get(..64)?.contains(STRUCTURED) {
            return None;
        }
        let envelope: Envelope<'a, StructuredMessage<'a>> = parse(text)?;
        Some(Self {
            kind: envelope.kind,
            class: Some(STRUCTURED),
            code: envelope.code,
            tracing_id: envelope.tracing_id,
            body: Body::Structured(envelope.body.filter(|_| &*envelope.class == STRUCTURED)?),
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
    reason = "a frame is on the stack for one turn, and the large one is the frequent one"
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

/// Parses the body of a class.
type Parse = for<'a> fn(&'a str) -> Option<Body<'a>>;

const CLASSES: [(&str, Parse); 18] = [
    ("AttachmentDeletedResponse", |json| {
        parse(json).map(|Deleted { attachment_id }| Body::AttachmentDeleted { attachment_id })
    }),
    ("ConnectionClosedEvent", |json| {
        parse(json).map(|closed: Closed<'_>| Body::ConnectionClosed {
            reason: closed.reason.or(closed.reason_code),
        })
    }),
    ("Error", |json| parse(json).map(Body::Error)),
    ("ErrorMessage", |json| parse(json).map(Body::Error)),
    ("GenerateUrlError", |json| parse(json).map(Body::GenerateUrlError)),
    ("GetConfigurationResponse", |json| {
        parse(json).map(Body::Configuration)
    }),
    ("JwtResponse", |json| parse(json).map(Body::Jwt)),
    ("LogoutEvent", |_| Some(Body::LoggedOut)),
    ("PresignedUrlResponse", |json| parse(json).map(Body::PresignedUrl)),
    ("ResumeTokenResponse", |json| parse(json).map(Body::ResumeToken)),
    ("SessionClearedEvent", |_| Some(Body::SessionCleared)),
    ("SessionExpiredEvent", |_| Some(Body::SessionExpired)),
    ("SessionResponse", |json| parse(json).map(Body::Session)),
    (STRUCTURED, |json| parse(json).map(Body::Structured)),
    ("TooManyRequestsErrorMessage", |json| {
        parse(json).map(Body::TooManyRequests)
    }),
    ("UploadFailureEvent", |json| parse(json).map(Body::UploadFailure)),
    ("UploadSuccessEvent", |json| parse(json).map(Body::UploadSuccess)),
    ("string", |json| parse(json).map(Body::Plain)),
];

const STRUCTURED: &str = "StructuredMessage";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a, B: Deserialize<'de>"))]
struct Envelope<'a, B> {
    #[serde(rename = "type")]
    kind: FrameKind,
    class: Text<'a>,
    code: i64,
    tracing_id: Option<Text<'a>>,
    body: Option<B>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Closed<'a> {
    reason: Option<Text<'a>>,
    reason_code: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Deleted<'a> {
    attachment_id: Text<'a>,
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok()
}
