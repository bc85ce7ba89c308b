//! What Genesys Cloud sends: an envelope, and a body that its class names.
//!
//! Both are read without copying: text is borrowed from the frame, and a body is read once its class is known.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::wire::{RawJson, SecretText, Text};

/// One frame of the service.
#[derive(Clone, Debug)]
pub struct ServerFrame<'a> {
    /// Whether it answers a request of this socket.
    pub kind: FrameKind,
    /// 200, or why the request was refused: an HTTP status or one of Genesys' own from 4000 on.
    pub code: i64,
    /// That of the request that caused it, if one did.
    pub tracing_id: Option<Text<'a>>,
    /// What it says.
    pub body: Body<'a>,
}

impl<'a> ServerFrame<'a> {
    /// Reads a frame. A class that is not known, and a body that is not what its class promises, are
    /// [`Body::Unknown`]; only a frame without an envelope is an error.
    ///
    /// # Errors
    /// If the text is no JSON object with `type`, `class` and `code`.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        let envelope: Envelope<'a> =
            serde_json::from_str(text).map_err(|_| FrameError { bytes: text.len() })?;
        Ok(Self {
            kind: envelope.kind,
            code: envelope.code,
            tracing_id: envelope.tracing_id,
            body: Body::read(envelope.class, envelope.body),
        })
    }
}

/// The text is no frame of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a frame of {bytes} bytes has no envelope of type, class and code: check that the host speaks web-messaging"
)]
pub struct FrameError {
    /// Length of the text.
    pub bytes: usize,
}

/// Whether a frame answers or announces.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FrameKind {
    /// Pushed to all sockets of the session, the echo of the guest's own message included.
    Message,
    /// The answer to a request of this socket.
    Response,
    /// Neither: newer than this version.
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
    /// `ConnectionClosedEvent`: this socket is being dropped, and why.
    ConnectionClosed {
        /// `reason` in Genesys' mobile SDK, `reasonCode` in its schema; both are read.
        reason: Option<Text<'a>>,
    },
    /// `ErrorMessage` and `Error`.
    Error(ErrorBody<'a>),
    /// `JwtResponse`.
    Jwt(Jwt<'a>),
    /// `LogoutEvent`: the signed-in guest was logged out everywhere.
    LoggedOut,
    /// `string`: mostly an error's text.
    Plain(Text<'a>),
    /// `SessionClearedEvent`: the conversation was cleared.
    SessionCleared,
    /// `SessionExpiredEvent`: the session's lifetime has passed.
    SessionExpired,
    /// `SessionResponse`: the answer to configuring and closing.
    Session(SessionResponse),
    /// `StructuredMessage`: a message, an event, or the echo of one.
    Structured(StructuredMessage<'a>),
    /// `TooManyRequestsErrorMessage`.
    TooManyRequests(TooManyRequests<'a>),
    /// A class, or a body, that this version has no type for.
    Unknown {
        /// Its class.
        class: Text<'a>,
        /// The body as it came.
        body: Option<RawJson<'a>>,
    },
}

impl<'a> Body<'a> {
    fn read(class: Text<'a>, body: Option<RawJson<'a>>) -> Self {
        let json = body.map_or("{}", |body| body.as_str());
        let known = match &*class {
            "ConnectionClosedEvent" => parse::<Closed<'_>>(json).map(|closed| Self::ConnectionClosed {
                reason: closed.reason.or(closed.reason_code),
            }),
            "Error" | "ErrorMessage" => parse(json).map(Self::Error),
            "JwtResponse" => parse(json).map(Self::Jwt),
            "LogoutEvent" => Some(Self::LoggedOut),
            "SessionClearedEvent" => Some(Self::SessionCleared),
            "SessionExpiredEvent" => Some(Self::SessionExpired),
            "SessionResponse" => parse(json).map(Self::Session),
            "StructuredMessage" => parse(json).map(Self::Structured),
            "TooManyRequestsErrorMessage" => parse(json).map(Self::TooManyRequests),
            "string" => parse(json).map(Self::Plain),
            _ => None,
        };
        known.unwrap_or(Self::Unknown { class, body })
    }
}

/// The session as the service knows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionResponse {
    /// `false` after `closeSession`.
    pub connected: bool,
    /// The token was unknown, expired, or a new conversation was asked for.
    #[serde(default)]
    pub new_session: bool,
    /// The conversation has ended, and nothing more may be said in it.
    #[serde(default)]
    pub read_only: bool,
    /// Signing in removed an older session of the same guest.
    #[serde(default)]
    pub cleared_existing_session: bool,
    /// Most bytes of custom attributes.
    #[serde(default, deserialize_with = "number")]
    pub max_custom_data_bytes: Option<i64>,
    /// Lifetime after the last message, in seconds.
    #[serde(default, deserialize_with = "number")]
    pub duration_seconds: Option<i64>,
    /// When it expires, in seconds since 1970.
    #[serde(default, deserialize_with = "number")]
    pub expiration_date: Option<i64>,
}

/// A message, an event, or the echo of one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StructuredMessage<'a> {
    /// The service's id.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    /// `Text`, `Structured` or `Event`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// `Inbound` from the guest, `Outbound` to the guest.
    #[serde(borrow)]
    pub direction: Text<'a>,
    /// What is said.
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
    /// `Human` or `Bot`, outbound only.
    #[serde(borrow)]
    pub originating_entity: Option<Text<'a>>,
    /// Who, when and where.
    #[serde(borrow)]
    pub channel: Option<Channel<'a>>,
    /// Quick replies, cards, attachments and so on, as they came: see [`Content::parse`].
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub content: Vec<RawJson<'a>>,
    /// The events of an `Event`.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub events: Vec<MessageEvent<'a>>,
    /// Whatever else the service notes.
    pub metadata: Option<Metadata>,
}

impl StructuredMessage<'_> {
    /// What tells this message from any other, live or in the history: `channel.messageId`, else `id`.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        let channel = self.channel.as_ref();
        channel
            .and_then(|channel| channel.message_id.as_deref())
            .or(self.id.as_deref())
    }
}

/// Who, when and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Channel<'a> {
    /// RFC 3339.
    #[serde(borrow)]
    pub time: Option<Text<'a>>,
    /// The message's id in the history; inbound only.
    #[serde(borrow)]
    pub message_id: Option<Text<'a>>,
    /// The sender.
    #[serde(borrow)]
    pub from: Option<Participant<'a>>,
}

/// A person or a bot.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Participant<'a> {
    /// What the agent is called in the chat.
    #[serde(borrow)]
    pub nickname: Option<Text<'a>>,
    /// First name.
    #[serde(borrow)]
    pub first_name: Option<Text<'a>>,
    /// Last name.
    #[serde(borrow)]
    pub last_name: Option<Text<'a>>,
}

/// An item of content whose type is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "contentType", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Content<'a> {
    /// An answer to choose.
    QuickReply {
        /// The answer.
        #[serde(borrow)]
        quick_reply: QuickReply<'a>,
    },
}

impl<'a> Content<'a> {
    /// Reads an item; `None` if its type is not known.
    #[must_use]
    pub fn parse(item: RawJson<'a>) -> Option<Self> {
        parse(item.as_str())
    }
}

/// An answer to choose.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct QuickReply<'a> {
    /// What the guest reads.
    #[serde(borrow)]
    pub text: Text<'a>,
    /// What the bot gets.
    #[serde(borrow)]
    pub payload: Text<'a>,
}

/// One event; what a new type of it holds is not kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MessageEvent<'a> {
    /// `Typing`, `Presence`, `CoBrowse`, `Video` and so on.
    #[serde(borrow)]
    pub event_type: Text<'a>,
    /// Of a `Presence`.
    #[serde(borrow)]
    pub presence: Option<Presence<'a>>,
    /// Of a `Typing`.
    #[serde(borrow)]
    pub typing: Option<Typing<'a>>,
}

/// Somebody comes or goes.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Presence<'a> {
    /// `Join`, `Disconnect`, `Clear`, `SignIn` and so on.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
}

/// Somebody is typing.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Typing<'a> {
    /// `On`; tests of Genesys' SDK also show `Off`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// How long to show it, in milliseconds; some senders write `durationMs`.
    #[serde(alias = "durationMs")]
    pub duration: Option<u64>,
}

/// What the service notes beside a message. It writes flags and numbers as text here; both forms are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Metadata {
    /// The conversation has ended, and nothing more may be said in it.
    #[serde(deserialize_with = "flag")]
    pub read_only: bool,
    /// When the session expires, in seconds since 1970.
    #[serde(deserialize_with = "number")]
    pub expiration_date: Option<i64>,
}

/// The token that reads the history; it lives for one minute.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Jwt<'a> {
    /// The token.
    #[serde(borrow)]
    pub jwt: SecretText<'a>,
    /// When it expires, in seconds since 1970.
    pub exp: i64,
}

/// Why a request was refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ErrorBody<'a> {
    /// More exact than the envelope's code, if there.
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// For people; some errors write `message`.
    #[serde(borrow, alias = "message")]
    pub error_message: Option<Text<'a>>,
}

/// A limit was exceeded.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TooManyRequests<'a> {
    /// How long to wait, in seconds.
    #[serde(default, deserialize_with = "number")]
    pub retry_after: Option<i64>,
    /// 4029, or 429: both are seen.
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// Which limit, for people.
    #[serde(borrow)]
    pub error_message: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: FrameKind,
    #[serde(borrow)]
    class: Text<'a>,
    code: i64,
    #[serde(borrow)]
    tracing_id: Option<Text<'a>>,
    #[serde(borrow)]
    body: Option<RawJson<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Closed<'a> {
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    reason_code: Option<Text<'a>>,
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok()
}

fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Loose<'a> {
    Flag(bool),
    Number(i64),
    Text(#[serde(borrow)] Text<'a>),
    Other(IgnoredAny),
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Flag(flag) => flag,
        Loose::Text(text) => text.eq_ignore_ascii_case("true"),
        Loose::Number(_) | Loose::Other(_) => false,
    })
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Number(number) => Some(number),
        Loose::Text(text) => text.parse().ok(),
        Loose::Flag(_) | Loose::Other(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    macro_rules! golden {
        ($name:literal) => {
            ServerFrame::parse(include_str!(concat!(
                "../../tests/golden/server/",
                $name,
                ".json"
            )))
            .unwrap()
        };
    }

    #[test]
    fn a_session_response_has_its_figures() {
        let frame = golden!("session-response");
        assert_eq!(
            (frame.kind, frame.code, frame.tracing_id.as_deref()),
            (FrameKind::Response, 200, Some("5b0e"))
        );
        let Body::Session(session) = frame.body else {
            panic!("{frame:?}")
        };
        assert!(session.connected && session.new_session && !session.read_only);
        assert_eq!(session.expiration_date, Some(1_791_139_139));
        assert_eq!(session.max_custom_data_bytes, Some(2048));
    }

    #[test]
    fn messages_are_told_apart_by_direction_and_kind() {
        for (frame, kind, direction, entity, key) in [
            (golden!("own-echo"), "Text", "Inbound", None, "m-1"),
            (
                golden!("agent-text"),
                "Text",
                "Outbound",
                Some("Human"),
                "5befde6373a23f32f20b59b4e1cba0e6",
            ),
            (
                golden!("disconnect-read-only"),
                "Event",
                "Outbound",
                Some("Bot"),
                "d-1",
            ),
            (
                golden!("quick-replies"),
                "Structured",
                "Outbound",
                Some("Bot"),
                "q-1",
            ),
        ] {
            let Body::Structured(message) = frame.body else {
                panic!("{frame:?}")
            };
            assert_eq!(
                (
                    &*message.kind,
                    &*message.direction,
                    message.originating_entity.as_deref()
                ),
                (kind, direction, entity)
            );
            assert_eq!(message.key(), Some(key));
        }
    }

    #[test]
    fn numbers_and_flags_in_metadata_may_be_text() {
        let Body::Structured(answer) = golden!("health-check-answer").body else {
            panic!()
        };
        assert_eq!(answer.metadata.unwrap().expiration_date, Some(1_791_139_139));
        let Body::Structured(end) = golden!("disconnect-read-only").body else {
            panic!()
        };
        assert!(end.metadata.unwrap().read_only);
        assert_eq!(&*end.events[0].presence.as_ref().unwrap().kind, "Disconnect");
        let metadata: Metadata =
            serde_json::from_str(r#"{"readOnly":true,"expirationDate":5,"correlationId":"x"}"#).unwrap();
        assert!(metadata.read_only && metadata.expiration_date == Some(5));
        let odd = r#"{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true,"expirationDate":"17","durationSeconds":1.5}}"#;
        let Body::Session(session) = ServerFrame::parse(odd).unwrap().body else {
            panic!()
        };
        assert_eq!(
            (session.expiration_date, session.duration_seconds),
            (Some(17), None)
        );
        let metadata: Metadata =
            serde_json::from_str(r#"{"readOnly":null,"expirationDate":{"x":1}}"#).unwrap();
        assert!(!metadata.read_only && metadata.expiration_date.is_none());
    }

    #[test]
    fn every_shape_of_error_is_read() {
        let Body::TooManyRequests(limit) = golden!("too-many-4029").body else {
            panic!()
        };
        assert_eq!((limit.retry_after, limit.error_code), (Some(3), Some(4029)));
        let Body::TooManyRequests(limit) = golden!("too-many-429").body else {
            panic!()
        };
        assert_eq!((limit.retry_after, limit.error_code), (Some(3), Some(429)));
        let frame = golden!("error-message");
        assert!(
            matches!(&frame.body, Body::Error(error) if error.error_message.as_deref() == Some("Request failed."))
        );
        let frame = golden!("error-string");
        assert_eq!(frame.code, 4011);
        assert!(matches!(&frame.body, Body::Plain(text) if &**text == "message too long"));
    }

    #[test]
    fn lifecycle_events_are_read_under_both_names_of_the_reason() {
        for frame in [
            golden!("connection-closed-reason"),
            golden!("connection-closed-reason-code"),
        ] {
            assert!(
                matches!(&frame.body, Body::ConnectionClosed { reason: Some(reason) } if &**reason == "signedIn")
            );
        }
        assert!(matches!(
            golden!("connection-closed").body,
            Body::ConnectionClosed { reason: None }
        ));
        assert!(matches!(golden!("session-expired").body, Body::SessionExpired));
        assert!(matches!(golden!("session-cleared").body, Body::SessionCleared));
        assert!(matches!(golden!("logout").body, Body::LoggedOut));
        let bare = r#"{"type":"message","class":"ConnectionClosedEvent","code":200}"#;
        assert!(matches!(
            ServerFrame::parse(bare).unwrap().body,
            Body::ConnectionClosed { reason: None }
        ));
    }

    #[test]
    fn what_is_not_known_is_kept_and_never_an_error() {
        for frame in [golden!("unknown-class"), golden!("presigned-url")] {
            assert!(
                matches!(&frame.body, Body::Unknown { body: Some(_), .. }),
                "{frame:?}"
            );
        }
        let Body::Structured(message) = golden!("unknown-fields").body else {
            panic!()
        };
        assert_eq!(message.text.as_deref(), Some("a \"quoted\" word"));
        let wrong_body =
            r#"{"type":"message","class":"SessionResponse","code":200,"body":{"connected":"maybe"}}"#;
        assert!(matches!(
            ServerFrame::parse(wrong_body).unwrap().body,
            Body::Unknown { .. }
        ));
        let newer_kind = r#"{"type":"whisper","class":"LogoutEvent","code":200,"body":{}}"#;
        assert_eq!(ServerFrame::parse(newer_kind).unwrap().kind, FrameKind::Other);
        for text in ["", "hello", "[]", "{}", r#"{"type":"message"}"#] {
            assert!(ServerFrame::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn content_of_a_known_type_is_read_and_the_rest_is_left() {
        let Body::Structured(message) = golden!("quick-replies").body else {
            panic!()
        };
        let known: Vec<_> = message
            .content
            .iter()
            .map(|item| Content::parse(*item).is_some())
            .collect();
        assert_eq!(known, [true, true, false]);
    }

    #[test]
    fn a_jwt_does_not_show() {
        let frame = golden!("jwt-response");
        assert!(matches!(&frame.body, Body::Jwt(jwt) if jwt.exp == 1_623_675_564));
        assert!(!format!("{frame:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in any::<String>(), class in "[A-Za-z]{0,20}", body in "[\\[\\]{}\",:0-9a-z]{0,40}") {
            let _ = ServerFrame::parse(&text);
            let framed = format!(r#"{{"type":"message","class":"{class}","code":200,"body":{body}}}"#);
            let _ = ServerFrame::parse(&framed);
        }
    }
}
