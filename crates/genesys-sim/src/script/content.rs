//! Structured content of agents: as scripts write it, and as Genesys does.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Step;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuickReplies {
    text: String,
    replies: Vec<Choice>,
}

/// A label that is its own payload, or both.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Choice {
    Label(String),
    Reply {
        text: String,
        payload: String,
        image: Option<String>,
    },
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
    text: Option<String>,
    items: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatePicker {
    title: String,
    subtitle: Option<String>,
    times: Vec<Slot>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    /// ISO 8601.
    at: String,
    #[serde(deserialize_with = "super::span")]
    duration: Duration,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListPicker {
    title: String,
    sections: Vec<Section>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Section {
    title: String,
    #[serde(default, rename(serialize = "multipleSelection"))]
    multiple: bool,
    items: Vec<Item>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Item {
    id: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
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

impl Step {
    pub(crate) fn content(&self) -> (Option<String>, Vec<Value>) {
        let item = |kind, name: &str, value| json!({"contentType": kind, name: without_null(value)});
        match self {
            Self::Card(card) => (None, vec![item("Card", "card", card.body())]),
            Self::Carousel(cards) => {
                let cards: Vec<_> = cards.iter().map(|card| without_null(card.body())).collect();
                (None, vec![item("Carousel", "carousel", json!({"cards": cards}))])
            }
            Self::Content(content) => (content.text.clone(), content.items.clone()),
            Self::DatePicker(DatePicker {
                title,
                subtitle,
                times,
            }) => {
                let slot = |slot: &Slot| json!({"dateTime": slot.at, "duration": slot.duration.as_secs()});
                let times: Vec<_> = times.iter().map(slot).collect();
                let picker = json!({"title": title, "subtitle": subtitle, "availableTimes": times});
                (
                    Some(title.clone()),
                    vec![item("DatePicker", "datePicker", picker)],
                )
            }
            Self::Form(form) => {
                let form = json!({
                    "cannedResponseId": form.id, "introduction": form.introduction, "formPages": form.pages,
                });
                (None, vec![item("Form", "form", form)])
            }
            Self::ListPicker(ListPicker { title, sections }) => {
                let picker = json!({
                    "sections": sections,
                    "receivedMessage": {"title": title},
                    "replyMessage": {"title": title},
                });
                (
                    Some(title.clone()),
                    vec![item("ListPicker", "listPicker", picker)],
                )
            }
            Self::QuickReplies(QuickReplies { text, replies }) => {
                let replies = replies
                    .iter()
                    .map(|choice| item("QuickReply", "quickReply", choice.body()));
                (Some(text.clone()), replies.collect())
            }
            _ => (None, Vec::new()),
        }
    }
}

impl Choice {
    fn body(&self) -> Value {
        let (text, payload, image) = match self {
            Self::Label(label) => (label, label, None),
            Self::Reply { text, payload, image } => (text, payload, image.as_ref()),
        };
        json!({"text": text, "payload": payload, "action": "Message", "image": image})
    }
}

impl Card {
    fn body(&self) -> Value {
        let action = |Action { text, payload, url }: &Action| {
            let kind = if url.is_some() { "Link" } else { "Postback" };
            without_null(json!({"type": kind, "text": text, "url": url, "payload": payload}))
        };
        let actions: Vec<_> = self.actions.iter().map(action).collect();
        json!({
            "title": self.title, "description": self.description, "image": self.image, "actions": actions,
        })
    }
}

fn without_null(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}
