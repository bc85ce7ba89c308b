//! Messages, events and echoes, live or in the history.

use serde::Deserialize;

use super::event::MessageEvent;
use super::loose::{flag, null_as_empty, number};
use crate::content::{Content, items};
use genesys_api::wire::Text;

/// A message, an event, or the echo of one. An entity of the history has the same form.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StructuredMessage<'a> {
    /// The service's id.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    /// `Text`, `Structured`, `Event` or, in the history, `Receipt`.
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
    /// The message that this one answers.
    #[serde(borrow)]
    pub originating_message_id: Option<Text<'a>>,
    /// Who, when and where.
    #[serde(borrow)]
    pub channel: Option<Channel<'a>>,
    /// Quick replies, cards, attachments and so on.
    #[serde(default, deserialize_with = "items")]
    pub content: Vec<Content>,
    /// The events of an `Event`.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub events: Vec<MessageEvent<'a>>,
    /// Whatever else the service notes.
    #[serde(borrow)]
    pub metadata: Option<Metadata<'a>>,
    /// Of a `Receipt`: `Sent`, `Delivered`, `Read`, `Failed`, `Published` or `Removed`.
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    /// Of a `Receipt`: why it failed.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub reasons: Vec<ReceiptReason<'a>>,
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
    /// `Private` or `Public`.
    #[serde(borrow, rename = "type")]
    pub kind: Option<Text<'a>>,
    /// The sender.
    #[serde(borrow)]
    pub from: Option<Participant<'a>>,
    /// The receiver.
    #[serde(borrow)]
    pub to: Option<Participant<'a>>,
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
    /// URL of a picture.
    #[serde(borrow)]
    pub image: Option<Text<'a>>,
}

/// What the service notes beside a message. It writes flags and numbers as text here; both forms are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Metadata<'a> {
    /// The conversation has ended, and nothing more may be said in it.
    #[serde(deserialize_with = "flag")]
    pub read_only: bool,
    /// The guest is signed in.
    #[serde(deserialize_with = "flag")]
    pub authenticated: bool,
    /// Lifetime of the session after its last message, in seconds.
    #[serde(deserialize_with = "number")]
    pub duration_seconds: Option<i64>,
    /// When the session expires, in seconds since 1970.
    #[serde(deserialize_with = "number")]
    pub expiration_date: Option<i64>,
    /// Names the message in Genesys' own logs.
    #[serde(borrow)]
    pub correlation_id: Option<Text<'a>>,
}

/// Why a message was not delivered.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ReceiptReason<'a> {
    /// The machine's name for it.
    #[serde(borrow)]
    pub code: Option<Text<'a>>,
    /// For people.
    #[serde(borrow)]
    pub message: Option<Text<'a>>,
}
