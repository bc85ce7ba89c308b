//! Frames of the gateway.

use std::borrow::Cow;

use genesys_api::wire::Text;
use genesys_api::{SessionId, rfc3339};
use serde::{Deserialize, Deserializer, Serialize};
use web_messaging::content::items;
use web_messaging::message::{Author, AuthorKind, Content, Message, MessageId};

use crate::client_frame::BadFrame;
use crate::{ConversationStatus, ErrorCode};

/// A frame of the gateway.
///
/// `sequence` numbers the events of an epoch, from 1 and by one. The epoch changes when the gateway restarts, or opens the
/// conversation anew. Frames without a number are not replayed.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
        /// Id of the refused message, which has failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
    },
    /// The state of the conversation.
    Conversation(ConversationStatus),
    /// The delivery status of a message of the guest.
    Delivery {
        /// Id that the client assigned.
        id: MessageId,
        /// The status.
        #[serde(borrow, flatten)]
        status: DeliveryBody<'a>,
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
        /// The run of the gateway to which the sequence numbers belong.
        #[serde(borrow)]
        epoch: Text<'a>,
        /// Sequence number of the last event.
        sequence: u64,
    },
    /// A message of the conversation.
    #[serde(skip_deserializing)]
    Message {
        /// Sequence number.
        sequence: u64,
        /// The message.
        #[serde(flatten)]
        message: MessageBody<'a>,
    },
    /// The response to a `ping`.
    Pong {
        /// Id of the ping.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        id: Option<Text<'a>>,
    },
    /// Messages are missing here. They are in the history.
    #[serde(rename = "replay.incomplete")]
    ReplayIncomplete {
        /// Sequence number, unless the gap is that of one client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sequence: Option<u64>,
        /// Id of the last message before the gap: the history is to be read from it on. `None` before the first message.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        read_from: Option<Text<'a>>,
        /// Id of the first message after the gap, if it is known.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        read_until: Option<Text<'a>>,
        /// Reason and remedy, for people.
        #[serde(borrow)]
        message: Text<'a>,
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
    /// The gateway is about to stop: reconnect after a random wait. The socket is closed with 1001 next.
    #[serde(rename = "session.moved")]
    SessionMoved {},
    /// The sender is typing.
    Typing {
        /// Sender.
        #[serde(borrow)]
        from: Sender<'a>,
        /// Time in milliseconds for which to show it, unless a message arrives before.
        duration: u64,
    },
}

impl<'a> ServerFrame<'a> {
    /// Parses a frame. `None` if its type is unknown. Unknown fields are ignored.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let Tag { kind, sequence } = serde_json::from_str(text).ok()?;
        if &*kind == "message" {
            // content keeps its unknown items as they are, which a tagged enum cannot parse
            let message = serde_json::from_str(text).ok()?;
            let sequence = sequence?;
            return Some(Self::Message { sequence, message });
        }
        serde_json::from_str(text).ok()
    }

    /// The value of `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Conversation(_) => "conversation",
            Self::Delivery { .. } => "delivery",
            Self::HandshakeAccepted { .. } => "handshake.accepted",
            Self::Message { .. } => "message",
            Self::Pong { .. } => "pong",
            Self::ReplayIncomplete { .. } => "replay.incomplete",
            Self::SessionEnded { .. } => "session.ended",
            Self::SessionMoved {} => "session.moved",
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
            id: None,
        }
    }

    /// The refusal of an invalid frame, with its id if it is a message's.
    #[must_use]
    pub fn bad_frame(problem: &'a str, frame: &str) -> Self {
        Self::Error {
            code: ErrorCode::BadFrame.as_str().into(),
            message: problem.into(),
            retry_after: None,
            id: BadFrame::message_id(frame),
        }
    }

    /// The frame as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames are plain structs with text keys")
    }
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    sequence: Option<u64>,
}

/// A delivery status, as frames have it. Only `Sent` has a number. The others are not replayed: a message that is sent again
/// under its id is answered with its status, and one that failed is sent anew.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "state", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum DeliveryBody<'a> {
    /// It was not delivered.
    Failed {
        /// Stable error code.
        #[serde(borrow)]
        code: Text<'a>,
        /// Description and remedy, for people.
        #[serde(borrow)]
        message: Text<'a>,
    },
    /// It waits to be sent to Genesys Cloud.
    Queued,
    /// It is sent to Genesys Cloud, after it waited.
    Sending,
    /// Genesys Cloud received it.
    Sent {
        /// Sequence number.
        sequence: u64,
        /// RFC 3339, by Genesys' clock.
        #[serde(borrow)]
        timestamp: Text<'a>,
        /// Id of the message in the history.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        message_id: Option<Text<'a>>,
        /// Its text, or one in its place, for the other clients of the session.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        text: Option<Text<'a>>,
    },
    /// It was sent and not acknowledged: it may have arrived.
    Unknown {
        /// Stable error code.
        #[serde(borrow)]
        code: Text<'a>,
        /// Description, for people.
        #[serde(borrow)]
        message: Text<'a>,
    },
}

/// A message of the conversation, as frames have it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MessageBody<'a> {
    /// Unique id. That of a guest's message is the one that the client assigned, if the gateway sent it.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// The text, or one in its place for a client that does not show the content. Never empty.
    #[serde(borrow)]
    pub text: Text<'a>,
    /// Content beside the text, in the shapes of Genesys Cloud.
    #[serde(
        default,
        deserialize_with = "content",
        skip_serializing_if = "<[_]>::is_empty"
    )]
    pub content: Cow<'a, [Content]>,
    /// Sender.
    #[serde(borrow)]
    pub from: Sender<'a>,
    /// RFC 3339.
    #[serde(borrow)]
    pub timestamp: Text<'a>,
}

impl<'a> From<&'a Message> for MessageBody<'a> {
    /// Content that does not have the shape of its type is left out: see [`Content::is_well_formed`].
    fn from(message: &'a Message) -> Self {
        let mut content = Cow::Borrowed(&message.content[..]);
        if !content.iter().all(Content::is_well_formed) {
            content.to_mut().retain(Content::is_well_formed);
        }
        Self {
            id: message.id.as_str().into(),
            text: message.fallback_text(),
            content,
            from: (&message.from).into(),
            timestamp: rfc3339(message.at).into(),
        }
    }
}

fn content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, [Content]>, D::Error> {
    items(deserializer).map(Cow::Owned)
}

/// The sender of a message.
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
    /// The guest.
    Guest,
}

impl<'a> From<&'a Author> for Sender<'a> {
    fn from(author: &'a Author) -> Self {
        Self {
            kind: match author.kind {
                AuthorKind::Bot => SenderKind::Bot,
                AuthorKind::Guest => SenderKind::Guest,
                AuthorKind::Human => SenderKind::Agent,
            },
            name: author.name.as_deref().map(Into::into),
        }
    }
}

impl From<&Sender<'_>> for Author {
    fn from(sender: &Sender<'_>) -> Self {
        Self {
            kind: match sender.kind {
                SenderKind::Agent => AuthorKind::Human,
                SenderKind::Bot => AuthorKind::Bot,
                SenderKind::Guest => AuthorKind::Guest,
            },
            name: sender.name.as_deref().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttachmentRules, ConversationState, GuestAction, Outage, OutageReason};

    const CONTENT: &str = r#"[{"contentType":"QuickReply","quickReply":{"text":"Red","payload":"RED"}},{"contentType":"Story","story":{"url":"x"}}]"#;

    #[test]
    fn server_frame_round_trips() {
        let id: MessageId = "c0ffee00-0000-4000-8000-000000000001".parse().unwrap();
        let delivery = |status| ServerFrame::Delivery { id, status };
        let frames = [
            ServerFrame::HandshakeAccepted {
                guest_session_id: "gs-1".parse().unwrap(),
                new_session: true,
                read_only: false,
                epoch: "e-1".into(),
                sequence: 0,
            },
            delivery(DeliveryBody::Queued),
            delivery(DeliveryBody::Sending),
            delivery(DeliveryBody::Sent {
                sequence: 1,
                timestamp: "2026-11-22T12:00:00.000Z".into(),
                message_id: Some("m-0".into()),
                text: Some("hi".into()),
            }),
            delivery(DeliveryBody::Failed {
                code: "message.too.long".into(),
                message: "x".into(),
            }),
            delivery(DeliveryBody::Unknown {
                code: "in.doubt".into(),
                message: "x".into(),
            }),
            ServerFrame::Message {
                sequence: 2,
                message: MessageBody {
                    id: "m-1".into(),
                    text: "Which colour?".into(),
                    content: content(&mut serde_json::Deserializer::from_str(CONTENT)).unwrap(),
                    from: Sender {
                        kind: SenderKind::Bot,
                        name: Some("Robot Friend".into()),
                    },
                    timestamp: "2026-11-22T12:00:01.000Z".into(),
                },
            },
            ServerFrame::Typing {
                from: Sender {
                    kind: SenderKind::Agent,
                    name: None,
                },
                duration: 5_000,
            },
            ServerFrame::Conversation(ConversationStatus {
                state: ConversationState::ReadOnly,
                actions: vec![GuestAction::StartNew, GuestAction::Clear],
                expires_at: Some("2026-11-22T12:05:00.000Z".into()),
                attachments: Some(AttachmentRules {
                    media_types: vec!["image/*".into()],
                    blocked_extensions: vec!["exe".into()],
                    max_bytes: 10_485_760,
                }),
                signed_in: true,
                outage: Some(Outage {
                    reason: OutageReason::Unreachable,
                    since: "2026-11-22T12:00:00.000Z".into(),
                    next_attempt_at: Some("2026-11-22T12:00:30.000Z".into()),
                }),
            }),
            ServerFrame::Error {
                code: "bad.frame".into(),
                message: "x".into(),
                retry_after: None,
                id: None,
            },
            ServerFrame::SessionEnded {
                reason: "guest.left".into(),
                sequence: 5,
            },
            ServerFrame::Pong { id: None },
            ServerFrame::ReplayIncomplete {
                sequence: Some(6),
                read_from: Some("m-1".into()),
                read_until: None,
                message: "x".into(),
            },
            ServerFrame::SessionMoved {},
        ];
        let golden = include_str!("../tests/golden/server-frames.jsonl");
        assert_eq!(golden.lines().count(), frames.len());
        for (frame, line) in frames.iter().zip(golden.lines()) {
            assert_eq!(frame.to_json(), line);
            assert_eq!(ServerFrame::parse(line).unwrap().to_json(), line);
        }
    }

    #[test]
    fn unknown_frame_is_none_and_unknown_field_is_ignored() {
        let extended = r#"{"type":"pong","id":"7","novelty":{"x":1}}"#;
        assert!(matches!(
            ServerFrame::parse(extended),
            Some(ServerFrame::Pong { id: Some(id) }) if &*id == "7"
        ));
        for text in [
            r#"{"type":"novelty"}"#,
            r#"{"type":"conversation","state":"novelty","actions":[]}"#,
            "",
            "null",
        ] {
            assert!(ServerFrame::parse(text).is_none(), "{text}");
        }
    }
}
