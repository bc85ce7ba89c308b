//! Frames of the gateway.

use genesys_api::SessionId;
use serde::{Deserialize, Serialize};

use genesys_api::wire::Text;
use web_messaging::message::MessageId;

/// A frame of the gateway.
///
/// `sequence` numbers the events of a session, each higher than the one before, by one as long as the gateway runs; after
/// a restart it goes on higher. Frames without it are not sent again.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum ServerFrame<'a> {
    /// Something was refused. If that is final, the socket is closed with 1008 next.
    Error {
        /// The machine's name for it.
        #[serde(borrow)]
        code: Text<'a>,
        /// What happened and what to do, for people.
        #[serde(borrow)]
        message: Text<'a>,
        /// How long to wait, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// Something happened to the session.
    Event {
        /// Its number.
        sequence: u64,
        /// What.
        name: EventName,
        /// See [`EventName`].
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        detail: Option<Text<'a>>,
    },
    /// The session is configured at Genesys Cloud.
    #[serde(rename = "handshake.accepted")]
    HandshakeAccepted {
        /// The session.
        guest_session_id: SessionId,
        /// Whether Genesys Cloud began a new one.
        new_session: bool,
        /// Whether nothing more may be said in it.
        read_only: bool,
        /// Number of the last event that exists.
        sequence: u64,
    },
    /// Somebody says something to the guest.
    Message {
        /// Its number.
        sequence: u64,
        /// Tells it from any other.
        #[serde(borrow)]
        id: Text<'a>,
        /// What is said.
        #[serde(borrow)]
        text: Text<'a>,
        /// By whom.
        #[serde(borrow)]
        from: Sender<'a>,
        /// RFC 3339.
        #[serde(borrow)]
        timestamp: Text<'a>,
        /// Answers to choose.
        #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
        quick_replies: Vec<SuggestedReply<'a>>,
    },
    /// Genesys Cloud has the guest's message.
    #[serde(rename = "message.accepted")]
    MessageAccepted {
        /// The client's id of it.
        id: MessageId,
        /// The event's number.
        sequence: u64,
        /// RFC 3339, by Genesys' clock.
        #[serde(borrow)]
        timestamp: Text<'a>,
    },
    /// The guest's message will not arrive.
    #[serde(rename = "message.failed")]
    MessageFailed {
        /// The client's id of it.
        id: MessageId,
        /// The machine's name for why.
        #[serde(borrow)]
        code: Text<'a>,
        /// Why and what to do, for people.
        #[serde(borrow)]
        message: Text<'a>,
    },
    /// Answers a `ping`.
    Pong {
        /// That of the ping.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        id: Option<Text<'a>>,
    },
    /// The session is over; the socket is closed with 1000 next.
    #[serde(rename = "session.ended")]
    SessionEnded {
        /// Why, as in `GET …/guest-sessions/{id}`.
        #[serde(borrow)]
        reason: Text<'a>,
        /// The event's number.
        sequence: u64,
    },
    /// Somebody is typing; show it for 5 s, or until the next message.
    Typing {
        /// Its number.
        sequence: u64,
        /// Who.
        #[serde(borrow)]
        from: Sender<'a>,
    },
}

impl<'a> ServerFrame<'a> {
    /// Reads a frame. `None` if this version does not know it; unknown fields are ignored.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Event { .. } => "event",
            Self::HandshakeAccepted { .. } => "handshake.accepted",
            Self::Message { .. } => "message",
            Self::MessageAccepted { .. } => "message.accepted",
            Self::MessageFailed { .. } => "message.failed",
            Self::Pong { .. } => "pong",
            Self::SessionEnded { .. } => "session.ended",
            Self::Typing { .. } => "typing",
        }
    }

    /// A refusal that names no time to wait.
    #[must_use]
    pub fn error(code: &'a str, message: &'a str) -> Self {
        Self::Error {
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// The frame as it travels.
    ///
    /// # Panics
    /// Never: every field can be JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames are plain structs with text keys")
    }
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub enum EventName {
    /// The agent or the bot ended the conversation. `detail` is `read-only` if nothing more may be said.
    #[serde(rename = "conversation.ended")]
    ConversationEnded,
    /// The session expires soon; `detail` is when, in RFC 3339.
    #[serde(rename = "session.expiring")]
    SessionExpiring,
    /// The gateway lost Genesys Cloud and tries again; messages wait.
    #[serde(rename = "session.reconnecting")]
    SessionReconnecting,
    /// The gateway has Genesys Cloud again.
    #[serde(rename = "session.restored")]
    SessionRestored,
}

/// Who speaks to the guest.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Sender<'a> {
    /// A person or a bot.
    pub kind: SenderKind,
    /// What they are called.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
}

/// A person or a bot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SenderKind {
    /// A person.
    Agent,
    /// A program.
    Bot,
}

/// An answer to choose.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct SuggestedReply<'a> {
    /// What the guest reads.
    #[serde(borrow)]
    pub text: Text<'a>,
    /// What the bot gets.
    #[serde(borrow)]
    pub payload: Text<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_read_as_it_was_written() {
        let id: MessageId = "c0ffee00-0000-4000-8000-000000000001".parse().unwrap();
        let frames = [
            ServerFrame::HandshakeAccepted {
                guest_session_id: "gs-1".parse().unwrap(),
                new_session: true,
                read_only: false,
                sequence: 0,
            },
            ServerFrame::MessageAccepted {
                id,
                sequence: 1,
                timestamp: "2026-11-22T12:00:00.000Z".into(),
            },
            ServerFrame::MessageFailed {
                id,
                code: "message.too.long".into(),
                message: "x".into(),
            },
            ServerFrame::Message {
                sequence: 2,
                id: "m-1".into(),
                text: "Which colour?".into(),
                from: Sender {
                    kind: SenderKind::Bot,
                    name: Some("Robot Friend".into()),
                },
                timestamp: "2026-11-22T12:00:01.000Z".into(),
                quick_replies: vec![SuggestedReply {
                    text: "Red".into(),
                    payload: "RED".into(),
                }],
            },
            ServerFrame::Typing {
                sequence: 3,
                from: Sender {
                    kind: SenderKind::Agent,
                    name: None,
                },
            },
            ServerFrame::Event {
                sequence: 4,
                name: EventName::ConversationEnded,
                detail: Some("read-only".into()),
            },
            ServerFrame::Error {
                code: "bad.frame".into(),
                message: "x".into(),
                retry_after: None,
            },
            ServerFrame::SessionEnded {
                reason: "guest.left".into(),
                sequence: 5,
            },
            ServerFrame::Pong { id: None },
        ];
        let golden = include_str!("../tests/golden/server-frames.jsonl");
        assert_eq!(golden.lines().count(), frames.len());
        for (frame, line) in frames.iter().zip(golden.lines()) {
            assert_eq!(frame.to_json(), line);
            assert_eq!(ServerFrame::parse(line).as_ref(), Some(frame));
        }
    }

    #[test]
    fn a_newer_gateway_does_not_break_the_client() {
        let grown = r#"{"type":"pong","id":"7","novelty":{"x":1}}"#;
        assert_eq!(
            ServerFrame::parse(grown),
            Some(ServerFrame::Pong { id: Some("7".into()) })
        );
        for text in [
            r#"{"type":"novelty"}"#,
            r#"{"type":"event","sequence":1,"name":"novelty"}"#,
            "",
            "null",
        ] {
            assert_eq!(ServerFrame::parse(text), None, "{text}");
        }
    }
}
