//! Messages, events and echoes, live or in the history.

use genesys_api::parse_rfc3339;
use genesys_api::wire::Text;
use serde::Deserialize;
use time::OffsetDateTime;

use super::event::MessageEvent;
use super::lenient::{flag, null_as_default, number, time};
use crate::content::{Content, items};
use crate::message::{Author, AuthorKind, Direction, Message};

/// A message, an event, or the echo of one. An entity of the history has the same form.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct StructuredMessage<'a> {
    /// The service's id.
    pub id: Option<Text<'a>>,
    /// `Text`, `Structured`, `Event` or, in the history, `Receipt`.
    #[serde(rename = "type")]
    pub kind: Text<'a>,
    /// `Inbound` from the guest, `Outbound` to the guest.
    pub direction: Text<'a>,
    /// Its text.
    pub text: Option<Text<'a>>,
    /// `Human` or `Bot`, outbound only.
    pub originating_entity: Option<Text<'a>>,
    /// Id of the message that this one answers.
    pub originating_message_id: Option<Text<'a>>,
    /// Sender, receiver and time.
    pub channel: Option<Channel<'a>>,
    /// Quick replies, cards, attachments and so on.
    #[serde(default, deserialize_with = "items")]
    pub content: Vec<Content>,
    /// The events of an `Event`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub events: Vec<MessageEvent<'a>>,
    /// Further data of the service.
    pub metadata: Option<Metadata<'a>>,
    /// Of a `Receipt`: `Sent`, `Delivered`, `Read`, `Failed`, `Published` or `Removed`.
    pub status: Option<Text<'a>>,
    /// Of a `Receipt`: reasons of a failure.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reasons: Vec<ReceiptReason<'a>>,
}

impl StructuredMessage<'_> {
    /// The message, live or of the history. `None` for an event, a receipt, and a direction that this version does not
    /// know. A message without a time gets that of its `arrival`.
    #[must_use]
    pub fn to_message(&self, arrival: OffsetDateTime) -> Option<Message> {
        if matches!(&*self.kind, "Event" | "Receipt") {
            return None;
        }
        let direction = self.direction()?;
        let time = self.channel.as_ref().and_then(|channel| channel.time.as_deref());
        Some(Message {
            id: self.key().unwrap_or_default().to_owned(),
            text: self.text.as_deref().unwrap_or_default().to_owned(),
            from: self.author(),
            at: time.and_then(parse_rfc3339).unwrap_or(arrival),
            direction,
            content: self.content.clone(),
            sequence: None,
        })
    }

    /// Its direction; `None` if this version does not know it.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        match &*self.direction {
            "Inbound" => Some(Direction::Inbound),
            "Outbound" => Some(Direction::Outbound),
            _ => None,
        }
    }

    /// Its author.
    #[must_use]
    pub fn author(&self) -> Author {
        let from = self.channel.as_ref().and_then(|channel| channel.from.as_ref());
        let name = from.and_then(|from| {
            let full_name = || {
                let parts = [from.first_name.as_deref(), from.last_name.as_deref()];
                let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
                (!name.is_empty()).then_some(name)
            };
            from.nickname.as_deref().map(str::to_owned).or_else(full_name)
        });
        let kind = match self.originating_entity.as_deref() {
            _ if self.direction() == Some(Direction::Inbound) => AuthorKind::Guest,
            Some("Bot") => AuthorKind::Bot,
            _ => AuthorKind::Human,
        };
        Author { kind, name }
    }

    /// Unique id, live and in the history: `channel.messageId`, else `id`.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        let channel = self.channel.as_ref();
        channel
            .and_then(|channel| channel.message_id.as_deref())
            .or(self.id.as_deref())
    }
}

/// Sender, receiver and time.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct Channel<'a> {
    /// Time, RFC 3339.
    pub time: Option<Text<'a>>,
    /// The message's id in the history; inbound only.
    pub message_id: Option<Text<'a>>,
    /// `Private` or `Public`.
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
    /// The sender.
    pub from: Option<Participant<'a>>,
    /// The receiver.
    pub to: Option<Participant<'a>>,
}

/// A person or a bot.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct Participant<'a> {
    /// Display name in the chat.
    pub nickname: Option<Text<'a>>,
    /// First name.
    pub first_name: Option<Text<'a>>,
    /// Last name.
    pub last_name: Option<Text<'a>>,
    /// URL of a picture.
    pub image: Option<Text<'a>>,
}

/// Further data of a message. The service writes some flags and numbers as text; both forms are parsed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct Metadata<'a> {
    /// The conversation has ended and is read-only.
    #[serde(deserialize_with = "flag")]
    pub read_only: bool,
    /// The guest is signed in.
    #[serde(deserialize_with = "flag")]
    pub authenticated: bool,
    /// Lifetime of the session after its last message, in seconds.
    #[serde(deserialize_with = "number")]
    pub duration_seconds: Option<i64>,
    /// Expiry of the session.
    #[serde(rename = "expirationDate", deserialize_with = "time")]
    pub expires_at: Option<OffsetDateTime>,
    /// Id of the message in Genesys' own logs.
    pub correlation_id: Option<Text<'a>>,
}

/// A reason of a failed delivery.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct ReceiptReason<'a> {
    /// Symbolic code.
    pub code: Option<Text<'a>>,
    /// Text of the reason.
    pub message: Option<Text<'a>>,
}
