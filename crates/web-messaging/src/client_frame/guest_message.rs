//! The `message` of a frame of the guest.

use std::collections::BTreeMap;

use genesys_api::wire::{OwnedText, Text};
use serde::{Serialize, Serializer};

use crate::CustomAttributes;
use crate::message::{Answer, Choice, OutgoingMessage};

/// A message or an event of the guest.
///
/// Choices are sent in more than one form. Quick replies and dates are sent as Genesys' mobile SDK sends them (type
/// `Text`, without text), buttons, lists and forms as its browser SDK does (type `Structured`, with text).
/// Attributes are sent inside the message, as both SDKs do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GuestMessage<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    /// Id of the message that this one answers.
    #[serde(
        rename = "metadata",
        serialize_with = "as_metadata",
        skip_serializing_if = "Option::is_none"
    )]
    parent: Option<&'a OwnedText>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<[GuestEvent; 1]>,
    /// Genesys' own clients send it inside `message`, and others beside it; the schema has both places.
    #[serde(
        rename = "channel",
        serialize_with = "as_channel",
        skip_serializing_if = "Option::is_none"
    )]
    attributes: Option<&'a CustomAttributes>,
}

impl<'a> GuestMessage<'a> {
    /// Text, at most [`TEXT_LIMIT`](crate::message::TEXT_LIMIT) bytes, with attributes.
    #[must_use]
    pub fn text(text: &'a str, attributes: Option<&'a CustomAttributes>) -> Self {
        Self {
            text: Some(text.into()),
            attributes,
            ..Self::default()
        }
    }

    /// Any message of the guest, with attributes.
    #[must_use]
    pub fn message(message: &'a OutgoingMessage, attributes: Option<&'a CustomAttributes>) -> Self {
        let (kind, text, content) = match message {
            OutgoingMessage::Button(choice) => {
                let button = Item::chosen("Button", choice, None);
                (Kind::Structured, (&*choice.text).into(), vec![button])
            }
            OutgoingMessage::Date { question, choice } => {
                let date = Item::chosen("DatePicker", choice, Some(question));
                (Kind::Text, Text::default(), vec![date])
            }
            OutgoingMessage::Form {
                question,
                form,
                text,
                answers,
            } => {
                let form = Item::filled_in(question, form, answers);
                (Kind::Structured, (&**text).into(), vec![form])
            }
            OutgoingMessage::Items { question, choices } => {
                let items = choices.iter();
                let items = items.map(|choice| Item::chosen("ListPicker", choice, Some(question)));
                (Kind::Structured, message.text(), items.collect())
            }
            OutgoingMessage::QuickReply { question, choice } => {
                let reply = Item::chosen("QuickReply", choice, question.as_ref());
                (Kind::Text, Text::default(), vec![reply])
            }
            OutgoingMessage::Text { text, attachments } => {
                let files = attachments.iter().map(|id| Item::Attachment {
                    attachment: (&**id).into(),
                });
                (Kind::Text, (&**text).into(), files.collect())
            }
        };
        let parent = match message {
            OutgoingMessage::Items { question, .. } => Some(question),
            _ => None,
        };
        Self {
            kind,
            text: Some(text),
            parent,
            content,
            events: None,
            attributes,
        }
    }

    /// A typing indicator; at most one in 5 s.
    #[must_use]
    pub fn typing() -> Self {
        let typing = State { state: "On" };
        Self::event(GuestEvent::Typing { typing }, None)
    }

    /// A join event: starts the conversation before any text, where the deployment has autostart enabled.
    #[must_use]
    pub fn join(attributes: Option<&'a CustomAttributes>) -> Self {
        let presence = State { state: "Join" };
        Self::event(GuestEvent::Presence { presence }, attributes)
    }

    /// A clear event: the conversation ends, and its history is deleted. The deployment must allow it.
    #[must_use]
    pub fn clear() -> Self {
        let presence = State { state: "Clear" };
        Self::event(GuestEvent::Presence { presence }, None)
    }

    fn event(event: GuestEvent, attributes: Option<&'a CustomAttributes>) -> Self {
        Self {
            kind: Kind::Event,
            events: Some([event]),
            attributes,
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
enum Kind {
    Event,
    Structured,
    #[default]
    Text,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "contentType", rename_all_fields = "camelCase")]
enum Item<'a> {
    Attachment {
        #[serde(serialize_with = "as_attachment")]
        attachment: Text<'a>,
    },
    ButtonResponse {
        button_response: ButtonResponse<'a>,
    },
    Form {
        form: FilledIn<'a>,
    },
}

impl<'a> Item<'a> {
    fn chosen(kind: &'static str, choice: &'a Choice, question: Option<&'a OwnedText>) -> Self {
        Self::ButtonResponse {
            button_response: ButtonResponse {
                kind,
                text: (&*choice.text).into(),
                payload: (&*choice.payload).into(),
                originating_message_id: question.map(|id| (&**id).into()),
            },
        }
    }

    fn filled_in(question: &'a OwnedText, form: &'a OwnedText, answers: &'a [Answer]) -> Self {
        Self::Form {
            form: FilledIn {
                originating_message_id: (&**question).into(),
                canned_response_id: (&**form).into(),
                response: answers
                    .iter()
                    .map(|answer| Field {
                        id: (&*answer.field).into(),
                        component: Item::chosen("Form", &answer.choice, None),
                    })
                    .collect(),
            },
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ButtonResponse<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: Text<'a>,
    payload: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    originating_message_id: Option<Text<'a>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FilledIn<'a> {
    originating_message_id: Text<'a>,
    canned_response_id: Text<'a>,
    response: Vec<Field<'a>>,
}

#[derive(Clone, Debug, Serialize)]
struct Field<'a> {
    id: Text<'a>,
    component: Item<'a>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "eventType")]
enum GuestEvent {
    Presence { presence: State },
    Typing { typing: State },
}

#[derive(Clone, Debug, Serialize)]
struct State {
    #[serde(rename = "type")]
    state: &'static str,
}

fn as_attachment<S: Serializer>(id: &Text<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    BTreeMap::from([("id", id)]).serialize(serializer)
}

fn as_channel<S: Serializer>(
    attributes: &Option<&CustomAttributes>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let metadata = BTreeMap::from([("customAttributes", attributes)]);
    BTreeMap::from([("metadata", metadata)]).serialize(serializer)
}

fn as_metadata<S: Serializer>(parent: &Option<&OwnedText>, serializer: S) -> Result<S::Ok, S::Error> {
    BTreeMap::from([("parentMessageId", parent)]).serialize(serializer)
}
