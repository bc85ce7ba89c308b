//! What is said, whichever contract carries it.

mod id;
mod said;

use std::fmt;

use time::OffsetDateTime;

pub use self::id::{MessageId, MessageIdError};
pub use self::said::{Answer, Choice, Said};
pub use crate::content::{
    Attachment, ButtonKind, ButtonResponse, Card, CardAction, Content, DatePicker, DateSlot, Form, ListItem,
    ListPicker, ListSection, Media, QuickReply,
};
use genesys_api::wire::Length;

/// Longest text of the guest, in bytes of UTF-8; Genesys Cloud answers 4011 to a longer one.
pub const TEXT_LIMIT: usize = genesys_api::limits::TEXT_BYTES;

/// Something that was said to the guest, or by the guest elsewhere. `Debug` shows lengths: it is personal data.
#[derive(Clone)]
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
    /// What it holds beside the text, in its order.
    pub content: Vec<Content>,
    /// Its number, where the contract numbers events.
    pub sequence: Option<u64>,
}

impl Message {
    /// The answers to choose, if it offers any.
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
