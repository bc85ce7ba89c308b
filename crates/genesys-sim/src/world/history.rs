//! Messages: as frames, and as the history keeps them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use genesys_api::rfc3339;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::world::frame;
use crate::world::record::Said;
use crate::world::seed::Seed;

/// Most messages kept of one session; the oldest go first. Our choice.
const LONGEST: usize = 1_000;

/// One message or event of a conversation.
#[derive(Debug)]
pub(crate) struct Message {
    /// The id in live frames.
    id: String,
    /// The id in history is another one: `channel.messageId` joins the two, or there the live id.
    kept_id: String,
    kind: Kind,
    author: Author,
    text: Option<String>,
    content: Vec<Value>,
    events: Vec<Value>,
    metadata: BTreeMap<String, String>,
    time: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Kind {
    Event,
    Structured,
    Text,
}

#[derive(Debug)]
enum Author {
    Agent {
        nickname: String,
        bot: bool,
        picture: Option<String>,
    },
    Guest {
        message_id: String,
        /// Who signed in.
        from: Option<Value>,
    },
}

/// What a guest sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) text: Option<String>,
    pub(crate) content: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) from: Option<Value>,
}

impl Message {
    /// The id in live frames.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether any of its ids is `id`.
    pub(crate) fn is_named(&self, id: &str) -> bool {
        let other = matches!(&self.author, Author::Guest { message_id, .. } if message_id == id);
        other || self.id == id || self.kept_id == id
    }

    pub(crate) fn guest(seed: &mut Seed, kind: Kind, sent: Sent, time: OffsetDateTime) -> Self {
        let mut metadata = sent.metadata;
        metadata.insert("correlationId".to_owned(), seed.uuid().to_string());
        Self {
            id: seed.uuid().to_string(),
            kept_id: seed.hex(),
            kind,
            author: Author::Guest {
                message_id: seed.uuid().to_string(),
                from: sent.from,
            },
            text: sent.text,
            content: sent.content,
            events: sent.events,
            metadata,
            time,
        }
    }

    pub(crate) fn agent_text(seed: &mut Seed, name: &str, text: String, time: OffsetDateTime) -> Self {
        let metadata = BTreeMap::from([("correlationId".to_owned(), seed.uuid().to_string())]);
        Self {
            text: Some(text),
            metadata,
            ..Self::agent(seed, name, Kind::Text, time)
        }
    }

    /// A text, if any, with something to press, choose or fetch.
    pub(crate) fn agent_content(
        seed: &mut Seed,
        name: &str,
        text: Option<String>,
        content: Vec<Value>,
        time: OffsetDateTime,
    ) -> Self {
        let metadata = BTreeMap::from([("correlationId".to_owned(), seed.uuid().to_string())]);
        Self {
            text,
            content,
            metadata,
            ..Self::agent(seed, name, Kind::Structured, time)
        }
    }

    /// The same from a bot, or from a person, with a picture.
    pub(crate) fn by(mut self, (is_bot, shown): (bool, Option<String>)) -> Self {
        if let Author::Agent { bot, picture, .. } = &mut self.author {
            (*bot, *picture) = (is_bot, shown);
        }
        self
    }

    /// An event as Genesys writes it.
    pub(crate) fn agent_event(seed: &mut Seed, name: &str, event: Value, time: OffsetDateTime) -> Self {
        Self {
            events: vec![event],
            ..Self::agent(seed, name, Kind::Event, time)
        }
    }

    pub(crate) fn agent_typing(seed: &mut Seed, name: &str, time: OffsetDateTime, shown: Duration) -> Self {
        let shown = u64::try_from(shown.as_millis()).unwrap_or(u64::MAX);
        let event = json!({"eventType": "Typing", "typing": {"type": "On", "duration": shown}});
        Self::agent_event(seed, name, event, time)
    }

    pub(crate) fn agent_left(seed: &mut Seed, name: &str, read_only: bool, time: OffsetDateTime) -> Self {
        Self {
            events: vec![json!({"eventType": "Presence", "presence": {"type": "Disconnect"}})],
            metadata: BTreeMap::from([("readOnly".to_owned(), read_only.to_string())]),
            ..Self::agent(seed, name, Kind::Event, time)
        }
    }

    fn agent(seed: &mut Seed, name: &str, kind: Kind, time: OffsetDateTime) -> Self {
        Self {
            id: seed.hex(),
            kept_id: seed.hex(),
            kind,
            author: Author::Agent {
                nickname: name.to_owned(),
                bot: false,
                picture: None,
            },
            text: None,
            content: Vec::new(),
            events: Vec::new(),
            metadata: BTreeMap::new(),
            time,
        }
    }

    /// The frame that tells of it. The sender's own carries the tracing id.
    pub(crate) fn frame(&self, tracing_id: Option<&str>) -> String {
        let (direction, channel, entity) = match &self.author {
            Author::Agent {
                nickname,
                bot,
                picture,
            } => (
                "Outbound",
                Channel {
                    message_id: None,
                    from: Some(appearance(nickname, picture.as_deref())),
                    to: Some(json!({})),
                    kind: Some("Private"),
                    time: rfc3339(self.time),
                },
                Some(entity_of(*bot)),
            ),
            Author::Guest { message_id, from } => (
                "Inbound",
                Channel {
                    message_id: Some(message_id),
                    // live, only the event of signing in names the guest (inference)
                    from: from.clone().filter(|_| matches!(self.kind, Kind::Event)),
                    to: None,
                    kind: None,
                    time: rfc3339(self.time),
                },
                None,
            ),
        };
        frame::pushed(
            "StructuredMessage",
            tracing_id,
            &Body {
                text: self.text.as_deref(),
                kind: self.kind,
                direction,
                id: &self.id,
                channel,
                content: (!self.content.is_empty()).then_some(&self.content),
                events: (!self.events.is_empty()).then_some(&self.events),
                metadata: Some(&self.metadata),
                originating_entity: entity,
            },
        )
    }

    /// The entity that history shows.
    fn entity(&self) -> Body<'_> {
        let (direction, message_id, from, entity) = match &self.author {
            Author::Agent {
                nickname,
                bot,
                picture,
            } => (
                "Outbound",
                &self.id,
                appearance(nickname, picture.as_deref()),
                Some(entity_of(*bot)),
            ),
            Author::Guest { message_id, from } => (
                "Inbound",
                message_id,
                from.clone().unwrap_or_else(|| json!({})),
                None,
            ),
        };
        Body {
            text: self.text.as_deref(),
            kind: self.kind,
            direction,
            id: &self.kept_id,
            channel: Channel {
                message_id: Some(message_id),
                from: Some(from),
                to: Some(json!({})),
                kind: None,
                time: rfc3339(self.time),
            },
            content: Some(&self.content),
            events: (!self.events.is_empty()).then_some(&self.events),
            metadata: Some(&self.metadata),
            originating_entity: entity,
        }
    }
}

fn appearance(nickname: &str, picture: Option<&str>) -> Value {
    match picture {
        Some(picture) => json!({"nickname": nickname, "image": picture}),
        None => json!({"nickname": nickname}),
    }
}

fn entity_of(bot: bool) -> &'static str {
    if bot { "Bot" } else { "Human" }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a BTreeMap<String, String>>,
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

/// The messages of one session, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Message>);

impl History {
    pub(crate) fn push(&mut self, message: Message) {
        if self.0.len() == LONGEST {
            self.0.pop_front();
        }
        self.0.push_back(message);
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Message> {
        self.0.iter().find(|message| message.is_named(id))
    }

    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    pub(crate) fn said(&self) -> Vec<Said> {
        let said = self.0.iter().filter_map(|message| {
            Some(Said {
                by_guest: matches!(message.author, Author::Guest { .. }),
                text: message.text.clone()?,
                // as precise as the wire
                at: message.time.truncate_to_millisecond(),
            })
        });
        said.collect()
    }

    /// A page, newest first; `number` counts from 1.
    pub(crate) fn page(&self, size: usize, number: usize) -> Value {
        let skipped = number.saturating_sub(1).saturating_mul(size);
        let entities: Vec<_> = self
            .0
            .iter()
            .rev()
            .skip(skipped)
            .take(size)
            .map(Message::entity)
            .collect();
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
    use crate::world::tests::now;

    #[test]
    fn history_keeps_the_last_thousand() {
        let mut seed = Seed::new([0; 32]);
        let mut history = History::default();
        for number in 0..LONGEST + 3 {
            history.push(Message::agent_text(
                &mut seed,
                "Ann",
                number.to_string(),
                now().utc,
            ));
        }
        let page = history.page(100, 10);
        assert_eq!((&page["total"], &page["pageCount"]), (&json!(1000), &json!(10)));
        assert_eq!(page["entities"][99]["text"], "3", "the three oldest are gone");
        assert_eq!(history.page(100, 11)["entities"], json!([]));
        assert_eq!(history.page(100, usize::MAX)["entities"], json!([]));
    }
}
