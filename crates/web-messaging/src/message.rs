//! Messages of a conversation.

mod answer;
mod outgoing;

use std::fmt;
use std::str::FromStr;

use genesys_api::wire::{Length, Text};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::answer::{AnswerError, AnswerItem, FilledField, FilledForm, PressedButton};
pub use self::outgoing::{Answer, Choice, OutgoingMessage};
pub use crate::content::{
    Attachment, ButtonKind, ButtonResponse, Card, CardAction, Content, DatePicker, DateSlot, Form, ListItem,
    ListPicker, ListSection, Media, QuickReply,
};

/// Longest text of the guest, in bytes of UTF-8; Genesys Cloud answers 4011 to a longer one.
pub const TEXT_LIMIT: usize = genesys_api::limits::TEXT_BYTES;

/// A message to the guest, or of the guest on another socket. `Debug` shows lengths, since messages are personal data.
#[derive(Clone)]
pub struct Message {
    /// Unique id, live and in the history.
    pub id: String,
    /// Its text; empty if the message has content only.
    pub text: String,
    /// Its author.
    pub from: Author,
    /// Time of the service's clock; of the local clock if the service gave none.
    pub at: OffsetDateTime,
    /// Its direction.
    pub direction: Direction,
    /// Content beside the text, in order.
    pub content: Vec<Content>,
    /// Sequence number, in a contract that numbers events.
    pub sequence: Option<u64>,
}

impl Message {
    /// Quick replies that it offers.
    pub fn quick_replies(&self) -> impl Iterator<Item = &QuickReply> {
        self.content.iter().filter_map(|item| match item {
            Content::QuickReply(reply) => Some(reply),
            _ => None,
        })
    }

    /// The message's text. If it is empty, the titles, names or labels of its content, one a line, or else the type of
    /// each item in brackets. Never empty.
    #[must_use]
    pub fn fallback_text(&self) -> Text<'_> {
        if !self.text.trim().is_empty() {
            return self.text.as_str().into();
        }
        let lines: Vec<_> = self.content.iter().map(Content::fallback_text).collect();
        match lines.is_empty() {
            true => "[empty]".into(),
            false => lines.join("\n").into(),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("text", &Length(&self.text))
            .field("from", &self.from)
            .field("at", &self.at)
            .field("direction", &self.direction)
            .field("content", &self.content)
            .field("sequence", &self.sequence)
            .finish()
    }
}

/// The author of a message. `Debug` does not show the name.
#[derive(Clone, Eq, PartialEq)]
pub struct Author {
    /// Person or program.
    pub kind: AuthorKind,
    /// Display name.
    pub name: Option<String>,
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Author")
            .field("kind", &self.kind)
            .field("name", &self.name.as_deref().map(Length))
            .finish()
    }
}

/// The kind of an author.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthorKind {
    /// A program.
    Bot,
    /// The guest, on another socket of the same session.
    Guest,
    /// A person.
    Human,
}

/// The direction of a message, from the service's point of view.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the guest.
    Inbound,
    /// To the guest.
    Outbound,
}

/// The permanent id of a message of the guest: its tracing id at Genesys Cloud, its `id` at the gateway.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId(Uuid);

impl From<Uuid> for MessageId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        // the other forms that the parser accepts would be returned in another spelling
        if text.len() != uuid::fmt::Hyphenated::LENGTH {
            return Err(MessageIdError);
        }
        Uuid::parse_str(text).map(Self).map_err(|_| MessageIdError)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not a message id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid message id: use a UUID with hyphens, 36 characters long")]
pub struct MessageIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_id_has_one_spelling() {
        let id: MessageId = "C0FFEE00-0000-4000-8000-000000000001".parse().unwrap();
        assert_eq!(id.to_string(), "c0ffee00-0000-4000-8000-000000000001");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<MessageId>(&json).unwrap(), id);
        for text in [
            "",
            "x",
            "c0ffee00000040008000000000000001",
            "{c0ffee00-0000-4000-8000-000000000001}",
        ] {
            assert_eq!(text.parse::<MessageId>(), Err(MessageIdError), "{text}");
        }
    }
}
