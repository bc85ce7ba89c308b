//! Frames of the guest's client.

use genesys_api::wire::{SecretText, Text};
use genesys_api::{SessionId, parse_rfc3339};
use serde::{Deserialize, Serialize};
use web_messaging::message::{AnswerError, AnswerItem, MessageId, OutgoingMessage};

use crate::FILES_PER_MESSAGE;

/// Longest epoch, and longest id of a message in a handshake, in characters. Our choice.
const POSITION_LIMIT: usize = 256;

/// A frame of the guest's client.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    tag = "type",
    rename_all = "lowercase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[non_exhaustive]
pub enum ClientFrame<'a> {
    /// Clears the conversation: it ends for the agent, and its history is deleted.
    #[serde(rename = "conversation.clear")]
    ConversationClear {},
    /// Starts a new conversation after a read-only one.
    #[serde(rename = "conversation.start")]
    ConversationStart {},
    /// The first frame.
    Handshake {
        /// The session of the URL.
        guest_session_id: SessionId,
        /// Time of sending in RFC 3339, for people.
        #[serde(borrow)]
        timestamp: Text<'a>,
        /// The access token, unless it came with the upgrade.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        access_token: Option<SecretText<'a>>,
        /// Epoch of the last received event.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        epoch: Option<Text<'a>>,
        /// Sequence number of the last received event. Later ones are replayed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_sequence: Option<u64>,
        /// Id of the last received message of an agent or a bot. In another epoch it shows whether a message was missed.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        last_message_id: Option<Text<'a>>,
    },
    /// A message of the guest.
    #[serde(borrow)]
    Message(GuestMessage<'a>),
    /// A ping that is answered with a `pong`. Browsers cannot send the protocol's own ping.
    Ping {
        /// Repeated in the answer.
        #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
        id: Option<Text<'a>>,
    },
    /// The guest is typing. Sent at most once in 5 s.
    Typing {},
}

impl<'a> ClientFrame<'a> {
    /// Parses a frame strictly.
    ///
    /// # Errors
    /// See [`BadFrame`]. No error repeats the text.
    pub fn parse(text: &'a str) -> Result<Self, BadFrame> {
        let frame = serde_json::from_str(text).map_err(|_| BadFrame::of(text))?;
        match &frame {
            Self::Message(message) => message.check()?,
            Self::Handshake {
                timestamp,
                epoch,
                last_message_id,
                ..
            } => {
                let is_long =
                    |id: &Option<Text<'_>>| id.as_ref().is_some_and(|id| id.chars().count() > POSITION_LIMIT);
                if parse_rfc3339(timestamp).is_none() || is_long(epoch) || is_long(last_message_id) {
                    return Err(BadFrame::of(text));
                }
            }
            _ => {}
        }
        Ok(frame)
    }

    /// The frame as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames are plain structs with text keys")
    }
}

/// A message of the guest: a text, or an answer to content.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GuestMessage<'a> {
    /// Assigned by the client. A second frame with the same id is the same message.
    pub id: MessageId,
    /// 1 to [`TEXT_LIMIT`](web_messaging::message::TEXT_LIMIT) bytes. May be absent beside a file.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    /// Ids of uploaded files.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    attachments: Option<Vec<Text<'a>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    content: Option<Vec<AnswerItem<'a>>>,
}

impl<'a> GuestMessage<'a> {
    /// The frame of a message. The gateway takes the text of a form from its answers.
    #[must_use]
    pub fn new(id: MessageId, message: &'a OutgoingMessage) -> Self {
        let attachments = message.attachments();
        let is_text = matches!(message, OutgoingMessage::Text { .. });
        let has_text = is_text && (attachments.is_empty() || !message.text().is_empty());
        let ids = || attachments.iter().map(|id| Text::from(&**id)).collect();
        Self {
            id,
            text: has_text.then(|| message.text()),
            attachments: (!attachments.is_empty()).then(ids),
            content: (!is_text).then(|| message.content()),
        }
    }

    fn check(&self) -> Result<(), BadFrame> {
        match (&self.text, &self.attachments, &self.content) {
            (Some(_), None, None) => Ok(()),
            _ => self.message().map(drop),
        }
    }

    /// The message.
    ///
    /// # Errors
    /// If it has neither a text, a file nor content, or content beside one of those, or the content is no answer.
    pub fn message(&self) -> Result<OutgoingMessage, BadFrame> {
        match (&self.text, &self.attachments, &self.content) {
            (Some(text), None, None) => Ok(OutgoingMessage::new(&**text)),
            (text, Some(files), None) if (1..=FILES_PER_MESSAGE).contains(&files.len()) => {
                Ok(OutgoingMessage::Text {
                    text: text.as_deref().unwrap_or_default().into(),
                    attachments: files.iter().map(|id| (**id).into()).collect(),
                })
            }
            (None, None, Some(content)) => Ok(OutgoingMessage::try_from(&**content)?),
            _ => Err(MESSAGE),
        }
    }
}

const MESSAGE: BadFrame = BadFrame::Fields {
    kind: "message",
    fields: "id (a UUID) and either text and attachments (a list of 1 to 10 ids), or one of them, or content (a list of \
             button responses, or of one form)",
};

/// An invalid frame of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// The content of a message is no answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// A field is missing, unknown or of another type.
    #[error("invalid {kind} frame: send {fields}, and nothing else")]
    Fields {
        /// The frame's type.
        kind: &'static str,
        /// Its fields.
        fields: &'static str,
    },
    /// Not a JSON object with a text named `type`.
    #[error("invalid frame: it must be a JSON object with a type")]
    NotAFrame,
    /// A type that the contract does not have.
    #[error(
        "invalid frame: its type is unknown, send handshake, message, typing, ping, conversation.start or conversation.clear"
    )]
    UnknownType,
}

impl BadFrame {
    /// Id of a message's frame, however invalid the other fields are.
    pub(crate) fn message_id(text: &str) -> Option<MessageId> {
        let MessageTag { kind, id } = serde_json::from_str(text).ok()?;
        (*kind == *"message").then_some(id)
    }

    fn of(text: &str) -> Self {
        let Ok(Tag { kind }) = serde_json::from_str(text) else {
            return Self::NotAFrame;
        };
        let (kind, fields) = match &*kind {
            "handshake" => (
                "handshake",
                "guestSessionId (text), timestamp (RFC 3339), accessToken (text, optional), epoch (at most 256 \
                 characters, optional), lastSequence (number, optional) and lastMessageId (at most 256 characters, optional)",
            ),
            "message" => return MESSAGE,
            "ping" => ("ping", "id (text, optional)"),
            "conversation.clear" => ("conversation.clear", "its type"),
            "conversation.start" => ("conversation.start", "its type"),
            "typing" => ("typing", "its type"),
            _ => return Self::UnknownType,
        };
        Self::Fields { kind, fields }
    }
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
}

/// Other fields are skipped without a check of their escapes.
#[derive(Deserialize)]
struct MessageTag<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    id: MessageId,
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};

    use super::*;

    #[test]
    fn frame_round_trips() {
        let token = SecretString::from("canary");
        let frame = ClientFrame::Handshake {
            guest_session_id: "gs-1".parse().unwrap(),
            timestamp: "2026-11-22T12:00:00.000Z".into(),
            access_token: Some((&token).into()),
            epoch: Some("e-1".into()),
            last_sequence: Some(7),
            last_message_id: Some("m-1".into()),
        };
        assert!(!format!("{frame:?}").contains("canary"));
        let json = frame.to_json();
        assert_eq!(json, include_str!("../tests/golden/handshake.json").trim_end());
        let Ok(ClientFrame::Handshake {
            access_token: Some(read),
            last_sequence: Some(7),
            ..
        }) = ClientFrame::parse(&json)
        else {
            panic!()
        };
        assert_eq!(read.to_secret().expose_secret(), "canary");
    }

    #[test]
    fn handshake_of_the_tutorial_is_accepted() {
        let text = r#"{"type": "handshake", "guestSessionId": "gs-1", "timestamp": "2026-11-22T12:00:00.123456+00:00"}"#;
        assert!(matches!(
            ClientFrame::parse(text),
            Ok(ClientFrame::Handshake {
                access_token: None,
                last_sequence: None,
                ..
            })
        ));
    }

    #[test]
    fn message_is_a_text_or_an_answer() {
        let parse = |fields: &str| {
            let text = format!(r#"{{"type":"message","id":"c0ffee00-0000-4000-8000-000000000001"{fields}}}"#);
            let ClientFrame::Message(message) = ClientFrame::parse(&text)? else {
                panic!("{text}")
            };
            let message = message.message()?;
            let id = "c0ffee00-0000-4000-8000-000000000001".parse().unwrap();
            assert_eq!(
                ClientFrame::Message(GuestMessage::new(id, &message)).to_json(),
                text
            );
            Ok(message)
        };
        assert_eq!(parse(r#","text":"hi""#), Ok(OutgoingMessage::new("hi")));
        for fields in [
            r#","text":"hi","attachments":["a","b"]"#,
            r#","attachments":["a"]"#,
        ] {
            let message = parse(fields).unwrap();
            assert_eq!(message.text().is_empty(), !fields.contains("text"), "{fields}");
            assert_eq!(&*message.attachments()[0], "a");
        }
        let button = r#"{"contentType":"ButtonResponse","buttonResponse":{"type":"QuickReply","text":"Red","payload":"RED"}}"#;
        let chosen = parse(&format!(r#","content":[{button},{button}]"#)).unwrap();
        assert!(matches!(chosen, OutgoingMessage::Choices { choices, .. } if choices.len() == 2));
        for (fields, error) in [
            (String::new(), MESSAGE),
            (format!(r#","text":"hi","content":[{button}]"#), MESSAGE),
            (format!(r#","attachments":["a"],"content":[{button}]"#), MESSAGE),
            (r#","text":"hi","attachments":[]"#.to_owned(), MESSAGE),
            (r#","attachments":"a""#.to_owned(), MESSAGE),
            (
                format!(r#","attachments":[{}"a"]"#, r#""a","#.repeat(FILES_PER_MESSAGE)),
                MESSAGE,
            ),
            (r#","content":{}"#.to_owned(), MESSAGE),
            (r#","content":[{"contentType":"Card"}]"#.to_owned(), MESSAGE),
            (r#","content":[]"#.to_owned(), AnswerError::Empty.into()),
        ] {
            assert_eq!(parse(&fields), Err(error), "{fields}");
        }
    }

    #[test]
    fn error_of_a_bad_message_frame_names_its_id() {
        let id = "c0ffee00-0000-4000-8000-000000000001";
        for rest in [r#""text":"bad \ud800 half""#, r#""text":7"#, r#""content":[]"#] {
            let text = format!(r#"{{"type":"message",{rest},"id":"{id}"}}"#);
            assert!(ClientFrame::parse(&text).is_err(), "{text}");
            assert_eq!(BadFrame::message_id(&text), id.parse().ok(), "{text}");
        }
        for text in [
            r#"{"type":"ping","id":"c0ffee00-0000-4000-8000-000000000001","x":1}"#,
            r#"{"type":"message","id":7}"#,
            r#"{"type":"message"}"#,
            "",
        ] {
            assert_eq!(BadFrame::message_id(text), None, "{text}");
        }
    }

    /// A handshake with such a field.
    fn position(field: &str, length: usize) -> String {
        let id = "é".repeat(length);
        format!(
            r#"{{"type":"handshake","guestSessionId":"a","timestamp":"2026-11-22T12:00:00Z","{field}":"{id}"}}"#
        )
    }

    #[test]
    fn error_of_a_bad_frame_names_the_fields() {
        assert!(ClientFrame::parse(&position("epoch", 256)).is_ok());
        for (text, kind) in [
            (r#"{"type":"message","id":"x","text":"hi"}"#, "message"),
            (
                r#"{"type":"message","id":"c0ffee00-0000-4000-8000-000000000001","text":7}"#,
                "message",
            ),
            (
                r#"{"type":"message","id":"c0ffee00-0000-4000-8000-000000000001","text":"hi","to":"x"}"#,
                "message",
            ),
            (r#"{"type":"typing","on":true}"#, "typing"),
            (r#"{"type":"conversation.clear","on":true}"#, "conversation.clear"),
            (r#"{"type":"conversation.start","id":"x"}"#, "conversation.start"),
            (r#"{"type":"ping","id":7}"#, "ping"),
            (
                r#"{"type":"handshake","guestSessionId":"a b","timestamp":""}"#,
                "handshake",
            ),
            (r#"{"type":"handshake","timestamp":""}"#, "handshake"),
            (
                r#"{"type":"handshake","guestSessionId":"a","timestamp":"now"}"#,
                "handshake",
            ),
            (&position("epoch", 257), "handshake"),
            (&position("lastMessageId", 257), "handshake"),
        ] {
            assert!(
                matches!(ClientFrame::parse(text), Err(BadFrame::Fields { kind: named, .. }) if named == kind),
                "{text}"
            );
        }
        for text in ["", "hello", "[]", "7", "{}", r#"{"type":7}"#, r#"{"type":"ping""#] {
            assert_eq!(
                ClientFrame::parse(text).unwrap_err(),
                BadFrame::NotAFrame,
                "{text}"
            );
        }
        assert_eq!(
            ClientFrame::parse(r#"{"type":"shout"}"#).unwrap_err(),
            BadFrame::UnknownType
        );
        for frame in [
            ClientFrame::ConversationClear {},
            ClientFrame::ConversationStart {},
            ClientFrame::Typing {},
        ] {
            let json = frame.to_json();
            assert_eq!(ClientFrame::parse(&json).unwrap().to_json(), json);
        }
        assert!(matches!(
            ClientFrame::parse(r#"{"type":"ping"}"#),
            Ok(ClientFrame::Ping { id: None })
        ));
    }
}
