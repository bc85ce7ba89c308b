//! What is said, whichever contract carries it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::wire::{Length, RawFrame};

/// Longest text of the guest, in bytes of UTF-8; Genesys Cloud answers 4011 to a longer one.
pub const TEXT_LIMIT: usize = 4096;

/// Names one message of the guest for good: its tracing id at Genesys Cloud, its `id` at the gateway.
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
        // the other forms that the parser takes would come back written differently
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
        let text = crate::wire::Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is no message id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a message id is a UUID with hyphens, 36 characters long")]
pub struct MessageIdError;

/// Something that was said to the guest, or by the guest elsewhere. `Debug` shows lengths: it is personal data.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Tells it from any other, live or in the history.
    pub id: String,
    /// What is said; empty if the message is content only.
    pub text: String,
    /// By whom.
    pub from: Author,
    /// When, by the service's clock; by ours if it gave no time.
    pub at: OffsetDateTime,
    /// To the guest, or from another socket of the same guest.
    pub direction: Direction,
    /// Answers to choose.
    pub quick_replies: Vec<QuickReply>,
    /// Content that this version has no type for.
    pub other_content: Vec<RawFrame>,
    /// Its number, where the contract numbers events.
    pub sequence: Option<u64>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("text", &Length(&self.text))
            .field("from", &self.from)
            .field("at", &self.at)
            .field("direction", &self.direction)
            .field("quick_replies", &self.quick_replies)
            .field("other_content", &self.other_content)
            .field("sequence", &self.sequence)
            .finish()
    }
}

/// Who speaks. `Debug` does not show the name.
#[derive(Clone, Eq, PartialEq)]
pub struct Author {
    /// What they are.
    pub kind: AuthorKind,
    /// What they are called.
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

/// What an author is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthorKind {
    /// A program.
    Bot,
    /// The guest, on another socket of the same session.
    Guest,
    /// A person.
    Human,
}

/// Which way a message goes, as the service sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the guest.
    Inbound,
    /// To the guest.
    Outbound,
}

/// An answer to choose. `Debug` shows lengths.
#[derive(Clone, Eq, PartialEq)]
pub struct QuickReply {
    /// What the guest reads.
    pub text: String,
    /// What the bot gets.
    pub payload: String,
}

impl fmt::Debug for QuickReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuickReply")
            .field("text", &Length(&self.text))
            .field("payload", &Length(&self.payload))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_has_one_spelling() {
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
