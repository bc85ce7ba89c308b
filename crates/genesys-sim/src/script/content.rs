//! Structured content of agents: as scripts write it, and as Genesys does.

use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuickReplies {
    pub(crate) text: String,
    replies: Vec<Choice>,
}

/// A label that is its own payload, or both.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Choice {
    Label(String),
    Reply(Reply),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    text: String,
    payload: String,
    image: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    title: String,
    description: Option<String>,
    image: Option<String>,
    actions: Vec<Action>,
}

/// With a `payload` it is a button, with a `url` a link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    text: String,
    payload: Option<String>,
    url: Option<String>,
}

/// Items as Genesys writes them, for content without a step of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    pub(crate) text: Option<String>,
    pub(crate) items: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatePicker {
    pub(crate) title: String,
    subtitle: Option<String>,
    times: Vec<Slot>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    /// ISO 8601.
    at: String,
    duration: super::Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListPicker {
    pub(crate) title: String,
    sections: Vec<Section>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    title: String,
    #[serde(default)]
    multiple: bool,
    items: Vec<Item>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    id: String,
    title: String,
    subtitle: Option<String>,
}

/// Pages and introduction are passed on unchanged: no source describes their shape.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    id: String,
    #[serde(default)]
    introduction: Value,
    #[serde(default)]
    pages: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) media_type: String,
    /// The file's content.
    pub(crate) body: String,
    /// Text of the message.
    pub(crate) text: Option<String>,
}

impl QuickReplies {
    pub(crate) fn content(&self) -> Vec<Value> {
        let reply = |choice: &Choice| {
            let (text, payload, image) = match choice {
                Choice::Label(label) => (label, label, None),
                Choice::Reply(reply) => (&reply.text, &reply.payload, reply.image.as_ref()),
            };
            let reply =
                without_null(json!({"text": text, "payload": payload, "action": "Message", "image": image}));
            json!({"contentType": "QuickReply", "quickReply": reply})
        };
        self.replies.iter().map(reply).collect()
    }
}

impl Card {
    pub(crate) fn content(&self) -> Vec<Value> {
        vec![json!({"contentType": "Card", "card": self.card()})]
    }

    pub(crate) fn carousel(cards: &[Self]) -> Vec<Value> {
        let cards: Vec<_> = cards.iter().map(Self::card).collect();
        vec![json!({"contentType": "Carousel", "carousel": {"cards": cards}})]
    }

    fn card(&self) -> Value {
        let action = |action: &Action| {
            let kind = if action.url.is_some() { "Link" } else { "Postback" };
            without_null(
                json!({"type": kind, "text": action.text, "url": action.url, "payload": action.payload}),
            )
        };
        let actions: Vec<_> = self.actions.iter().map(action).collect();
        without_null(json!({
            "title": self.title, "description": self.description, "image": self.image, "actions": actions,
        }))
    }
}

impl DatePicker {
    pub(crate) fn content(&self) -> Vec<Value> {
        let slot = |slot: &Slot| json!({"dateTime": slot.at, "duration": slot.duration.0.as_secs()});
        let times: Vec<_> = self.times.iter().map(slot).collect();
        let picker =
            without_null(json!({"title": self.title, "subtitle": self.subtitle, "availableTimes": times}));
        vec![json!({"contentType": "DatePicker", "datePicker": picker})]
    }
}

impl ListPicker {
    pub(crate) fn content(&self) -> Vec<Value> {
        let item = |item: &Item| {
            without_null(json!({"id": item.id, "title": item.title, "subtitle": item.subtitle}))
        };
        let section = |section: &Section| {
            let items: Vec<_> = section.items.iter().map(item).collect();
            json!({"title": section.title, "multipleSelection": section.multiple, "items": items})
        };
        let sections: Vec<_> = self.sections.iter().map(section).collect();
        let picker = json!({
            "sections": sections,
            "receivedMessage": {"title": self.title},
            "replyMessage": {"title": self.title},
        });
        vec![json!({"contentType": "ListPicker", "listPicker": picker})]
    }
}

impl Form {
    pub(crate) fn content(&self) -> Vec<Value> {
        let form = without_null(json!({
            "cannedResponseId": self.id, "introduction": self.introduction, "formPages": self.pages,
        }));
        vec![json!({"contentType": "Form", "form": form})]
    }
}

fn without_null(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}
