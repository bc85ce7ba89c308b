//! Messages of a conversation.

mod fallback_text;
mod id;
mod outgoing;

use std::fmt;

use time::OffsetDateTime;

pub use self::id::{MessageId, MessageIdError};
pub use self::outgoing::{Answer, Choice, OutgoingMessage};
pub use crate::content::{
    Attachment, ButtonKind, ButtonResponse, Card, CardAction, Content, DatePicker, DateSlot, Form, ListItem,
    ListPicker, ListSection, Media, QuickReply,
};
use genesys_api::wire::Length;

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
