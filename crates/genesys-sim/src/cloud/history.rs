//! Messages of a conversation, as live frames and as entities of the history.

use std::collections::{BTreeMap, VecDeque};

use genesys_api::rfc3339;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cloud::{SeededRng, Sender, frame};
use crate::config::User;

/// Limit of messages kept for one session; the oldest are dropped first. Our choice.
const MAX_MESSAGES: usize = 1_000;

pub(crate) struct Message {
    pub(crate) id: String,
    /// The id in the history, a different one: `channel.messageId` joins the two, or is the live id.
    history_id: String,
    author: Author,
    content: MessageContent,
    time: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) enum Kind {
    Event,
    Structured,
    #[default]
    Text,
}

enum Author {
    Agent(Sender),
    /// The user if one has signed in.
    Guest {
        message_id: String,
        user: Option<User>,
    },
}

/// Parts of a message that its author chooses.
#[derive(Debug, Default)]
pub(crate) struct MessageContent {
    pub(crate) kind: Kind,
    pub(crate) text: Option<String>,
    pub(crate) items: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl MessageContent {
    pub(crate) fn event(event: Value) -> Self {
        Self {
            kind: Kind::Event,
            events: vec![event],
            ..Self::default()
        }
    }

    pub(crate) fn presence(kind: &str) -> Self {
        Self::event(json!({"eventType": "Presence", "presence": {"type": kind}}))
    }

    /// A text if there are no items, else structured content.
    pub(crate) fn new(text: Option<String>, items: Vec<Value>) -> Self {
        let kind = if items.is_empty() {
            Kind::Text
        } else {
            Kind::Structured
        };
        Self {
            kind,
            text,
            items,
            ..Self::default()
        }
    }

    pub(crate) fn with_metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Message {
    fn has_id(&self, id: &str) -> bool {
        let other = matches!(&self.author, Author::Guest { message_id, .. } if message_id == id);
        other || self.id == id || self.history_id == id
    }

    pub(crate) fn from_guest(
        rng: &mut SeededRng,
        content: MessageContent,
        user: Option<User>,
        time: OffsetDateTime,
    ) -> Self {
        let message_id = rng.uuid().to_string();
        Self {
            id: rng.uuid().to_string(),
            history_id: rng.hex(),
            author: Author::Guest { message_id, user },
            content: content.with_metadata("correlationId", &rng.uuid().to_string()),
            time,
        }
    }

    /// A message or an event of an agent. Messages have a correlation id.
    pub(crate) fn from_agent(
        rng: &mut SeededRng,
        mut content: MessageContent,
        sender: &Sender,
        time: OffsetDateTime,
    ) -> Self {
        if content.kind != Kind::Event {
            content = content.with_metadata("correlationId", &rng.uuid().to_string());
        }
        Self {
            id: rng.hex(),
            history_id: rng.hex(),
            author: Author::Agent(sender.clone()),
            content,
            time,
        }
    }

    pub(crate) fn frame(&self, tracing_id: Option<&str>) -> String {
        frame::event("StructuredMessage", tracing_id, &self.body(true))
    }

    fn body(&self, live: bool) -> Body<'_> {
        let (message_id, from, entity) = match &self.author {
            Author::Agent(Sender { from, entity }) => {
                ((!live).then_some(&self.id), Some(from.clone()), Some(*entity))
            }
            Author::Guest { message_id, user } => {
                let name = user.as_ref().map(User::name);
                // live, only the event of a sign-in names the guest (inference)
                let from = if live {
                    name.filter(|_| self.content.kind == Kind::Event)
                } else {
                    Some(name.unwrap_or_else(|| json!({})))
                };
                (Some(message_id), from, None)
            }
        };
        let by_agent = entity.is_some();
        let content = &self.content;
        Body {
            text: content.text.as_deref(),
            kind: content.kind,
            direction: if by_agent { "Outbound" } else { "Inbound" },
            id: if live { &self.id } else { &self.history_id },
            channel: Channel {
                time: rfc3339(self.time),
                message_id: message_id.map(String::as_str),
                kind: (live && by_agent).then_some("Private"),
                from,
                to: (by_agent || !live).then(|| json!({})),
            },
            content: (!live || !content.items.is_empty()).then_some(&content.items),
            events: (!content.events.is_empty()).then_some(&content.events),
            originating_entity: entity,
            metadata: &content.metadata,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(rename = "type")]
    kind: Kind,
    direction: &'static str,
    id: &'a str,
    channel: Channel<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'a Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    originating_entity: Option<&'static str>,
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Channel<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Value>,
}

/// One message in the history of the simulated cloud.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TranscriptEntry {
    /// Whether the guest sent it, and not the agent.
    pub by_guest: bool,
    /// The text as sent.
    pub text: String,
    /// Time by the cloud's clock, equal to `channel.time` of its frame.
    pub at: OffsetDateTime,
}

#[derive(Default)]
pub(crate) struct History(VecDeque<Message>);

impl History {
    pub(crate) fn push(&mut self, message: Message) {
        if self.0.len() == MAX_MESSAGES {
            self.0.pop_front();
        }
        self.0.push_back(message);
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|message| message.has_id(id))
    }

    pub(crate) fn transcript(&self) -> Vec<TranscriptEntry> {
        let entry = |message: &Message| {
            Some(TranscriptEntry {
                by_guest: matches!(message.author, Author::Guest { .. }),
                text: message.content.text.clone()?,
                // as precise as the frame
                at: message.time.truncate_to_millisecond(),
            })
        };
        self.0.iter().filter_map(entry).collect()
    }

    /// A page, newest first. `number` counts from 1.
    pub(crate) fn page(&self, size: usize, number: usize) -> Value {
        let skipped = number.saturating_sub(1).saturating_mul(size);
        let newest_first = self.0.iter().rev().skip(skipped).take(size);
        let entities: Vec<_> = newest_first.map(|message| message.body(false)).collect();
        json!({
            "entities": entities,
            "pageSize": size,
            "pageNumber": number,
            "total": self.0.len(),
            "pageCount": self.0.len().div_ceil(size.max(1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::tests::now;

    #[test]
    fn history_keeps_the_last_thousand() {
        let mut rng = SeededRng::new([0; 32]);
        let mut history = History::default();
        let sender = Sender {
            from: json!({"nickname": "Ann"}),
            entity: "Human",
        };
        for number in 0..MAX_MESSAGES + 3 {
            let content = MessageContent::new(Some(number.to_string()), Vec::new());
            let time = now().utc;
            history.push(Message::from_agent(&mut rng, content, &sender, time));
        }
        let page = history.page(100, 10);
        assert_eq!((&page["total"], &page["pageCount"]), (&json!(1000), &json!(10)));
        assert_eq!(page["entities"][99]["text"], "3", "the three oldest are gone");
        assert_eq!(history.page(100, 11)["entities"], json!([]));
        assert_eq!(history.page(100, usize::MAX)["entities"], json!([]));
    }
}
