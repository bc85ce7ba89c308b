//! Frames of the gateway.

use genesys_api::SessionId;
use serde::{Deserialize, Serialize};

use genesys_api::wire::Text;
use web_messaging::message::MessageId;

/// A frame of the gateway.
///
/// `sequence` numbers the events of a session. It grows by one, and by more across a restart of the gateway. Frames
/// without it are not replayed.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum ServerFrame<'a> {
    /// A refusal. If it is final, the socket is closed with 1008 next.
    Error {
        /// Stable error code.
        #[serde(borrow)]
        code: Text<'a>,
        /// Description and remedy, for people.
        #[serde(borrow)]
        message: Text<'a>,
        /// Wait in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// A change of the session.
    Event {
        /// Sequence number.
        sequence: u64,
        /// The change.
        name: SessionEventName,
        /// Described at each [`SessionEventName`].
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        detail: Option<Text<'a>>,
    },
    /// The session is configured at Genesys Cloud.
    #[serde(rename = "handshake.accepted")]
    HandshakeAccepted {
        /// The session.
        guest_session_id: SessionId,
        /// Whether Genesys Cloud created a new one.
        new_session: bool,
        /// Whether no more messages may be sent.
        read_only: bool,
        /// Sequence number of the last event.
        sequence: u64,
    },
    /// A message to the guest.
    Message {
        /// Sequence number.
        sequence: u64,
        /// Unique id.
        #[serde(borrow)]
        id: Text<'a>,
        /// Text.
        #[serde(borrow)]
        text: Text<'a>,
        /// Sender.
        #[serde(borrow)]
        from: Sender<'a>,
        /// RFC 3339.
        #[serde(borrow)]
        timestamp: Text<'a>,
        /// Suggested replies.
        #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
        quick_replies: Vec<SuggestedReply<'a>>,
    },
    /// Genesys Cloud received the guest's message.
    #[serde(rename = "message.accepted")]
    MessageAccepted {
        /// Id that the client assigned.
        id: MessageId,
        /// Sequence number.
        sequence: u64,
        /// RFC 3339, by Genesys' clock.
        #[serde(borrow)]
        timestamp: Text<'a>,
    },
    /// The guest's message was not delivered.
    #[serde(rename = "message.failed")]
    MessageFailed {
        /// Id that the client assigned.
        id: MessageId,
        /// Stable error code.
        #[serde(borrow)]
        code: Text<'a>,
        /// Description and remedy, for people.
        #[serde(borrow)]
        message: Text<'a>,
    },
    /// The response to a `ping`.
    Pong {
        /// Id of the ping.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        id: Option<Text<'a>>,
    },
    /// The session has ended. The socket is closed with 1000 next.
    #[serde(rename = "session.ended")]
    SessionEnded {
        /// Reason, as in `GET …/guest-sessions/{id}`.
        #[serde(borrow)]
        reason: Text<'a>,
        /// Sequence number.
        sequence: u64,
    },
    /// The sender is typing: shown for 5 s, or until the next message.
    Typing {
        /// Sequence number.
        sequence: u64,
        /// Sender.
        #[serde(borrow)]
        from: Sender<'a>,
    },
}

impl<'a> ServerFrame<'a> {
    /// Parses a frame. `None` if its type is unknown. Unknown fields are ignored.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of `type`.
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

    /// A refusal without a wait.
    #[must_use]
    pub fn error(code: &'a str, message: &'a str) -> Self {
        Self::Error {
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// The frame as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames are plain structs with text keys")
    }
}

/// The name of a change of the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub enum SessionEventName {
    /// The agent or the bot ended the conversation. `detail` is `read-only` if no more messages may be sent.
    #[serde(rename = "conversation.ended")]
    ConversationEnded,
    /// The session expires soon. `detail` is its expiry in RFC 3339.
    #[serde(rename = "session.expiring")]
    SessionExpiring,
    /// The gateway lost its connection to Genesys Cloud and reconnects. Messages wait.
    #[serde(rename = "session.reconnecting")]
    SessionReconnecting,
    /// The gateway is connected to Genesys Cloud again.
    #[serde(rename = "session.restored")]
    SessionRestored,
}

/// The sender of a message to the guest.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Sender<'a> {
    /// Kind.
    pub kind: SenderKind,
    /// Display name.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
}

/// The kind of a sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SenderKind {
    /// A person.
    Agent,
    /// A program.
    Bot,
}

/// A suggested reply.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct SuggestedReply<'a> {
    /// Text that the guest sees.
    #[serde(borrow)]
    pub text: Text<'a>,
    /// Text that the bot receives.
    #[serde(borrow)]
    pub payload: Text<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_frame_round_trips() {
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
                name: SessionEventName::ConversationEnded,
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
    fn unknown_frame_is_none_and_unknown_field_is_ignored() {
        let extended = r#"{"type":"pong","id":"7","novelty":{"x":1}}"#;
        assert_eq!(
            ServerFrame::parse(extended),
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
