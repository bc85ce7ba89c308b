//! Structured content of agents: as scripts write it, and as Genesys does.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::Step;
use crate::json::without_null;

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

/// Text and description default to the title, because other clients need them: the web-messaging tester fails at a
/// structured message without a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    title: String,
    #[serde(default)]
    text: Fallback,
    #[serde(default)]
    description: Fallback,
    image: Option<String>,
    actions: Vec<Action>,
}

/// A text that defaults to another one. `null` leaves it out.
#[derive(Clone, Debug, Default)]
enum Fallback {
    #[default]
    Absent,
    Given(Option<String>),
}

impl<'de> Deserialize<'de> for Fallback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::Given)
    }
}

impl Fallback {
    fn or<'a>(&'a self, default: &'a str) -> Option<&'a str> {
        match self {
            Self::Absent => Some(default),
            Self::Given(text) => text.as_deref(),
        }
    }
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

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatePicker {
    title: String,
    subtitle: Option<String>,
    #[serde(rename(serialize = "availableTimes"))]
    times: Vec<Slot>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    /// ISO 8601.
    #[serde(rename(serialize = "dateTime"))]
    at: String,
    #[serde(deserialize_with = "super::span", serialize_with = "seconds")]
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

/// Pages and introduction are passed on unchanged: no source describes their shape. The text defaults to the title of the
/// introduction, as that of a card does to its title.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    #[serde(default, skip_serializing)]
    text: Fallback,
    #[serde(rename(serialize = "cannedResponseId"))]
    id: String,
    #[serde(default)]
    introduction: Value,
    #[serde(default, rename(serialize = "formPages"))]
    pages: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) media_type: String,
    pub(crate) body: String,
    pub(crate) text: Option<String>,
}

impl Step {
    pub(crate) fn content(&self) -> (Option<String>, Vec<Value>) {
        let item = |kind, name: &str, value| json!({"contentType": kind, name: without_null(value)});
        let (text, item) = match self {
            Self::Card(card) => {
                let text = card.text.or(&card.title).map(str::to_owned);
                return (text, vec![item("Card", "card", card.body())]);
            }
            Self::Carousel(cards) => {
                let texts: Vec<_> = cards
                    .iter()
                    .filter_map(|card| card.text.or(&card.title))
                    .collect();
                let text = (!texts.is_empty()).then(|| texts.join("\n"));
                let cards: Vec<_> = cards.iter().map(Card::body).collect();
                return (text, vec![item("Carousel", "carousel", json!({"cards": cards}))]);
            }
            Self::Content(content) => return (content.text.clone(), content.items.clone()),
            Self::DatePicker(picker) => (
                Some(&picker.title),
                item("DatePicker", "datePicker", json!(picker)),
            ),
            Self::Form(form) => {
                let title = form.introduction["title"].as_str().unwrap_or("Form");
                let text = form.text.or(title).map(str::to_owned);
                return (text, vec![item("Form", "form", json!(form))]);
            }
            Self::ListPicker(ListPicker { title, sections }) => {
                let message = json!({"title": title});
                let picker =
                    json!({"sections": sections, "receivedMessage": message, "replyMessage": message});
                (Some(title), item("ListPicker", "listPicker", picker))
            }
            Self::QuickReplies(QuickReplies { text, replies }) => {
                let reply = |choice: &Choice| item("QuickReply", "quickReply", choice.body());
                return (Some(text.clone()), replies.iter().map(reply).collect());
            }
            _ => return (None, Vec::new()),
        };
        (text.cloned(), vec![item])
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
        without_null(json!({
            "title": self.title, "description": self.description.or(&self.title), "image": self.image, "actions": actions,
        }))
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}
