//! The `message` of a frame of the guest.

use serde::Serialize;

use super::super::CustomAttributes;
use crate::message::{Answer, Choice, OutgoingMessage};
use genesys_api::wire::Text;

/// A message or an event of the guest.
///
/// Choices are sent in more than one form. Quick replies and dates are sent as Genesys' mobile SDK sends them (type
/// `Text`, without text), buttons, lists and forms as its browser SDK does (type `Structured`, with text).
/// Attributes are sent inside the message, as both SDKs do.
#[derive(Clone, Debug, Serialize)]
pub struct GuestMessage<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<MessageMetadata<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<[GuestEvent; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Channel<'a>>,
}

impl<'a> GuestMessage<'a> {
    /// Text, at most [`TEXT_LIMIT`](crate::message::TEXT_LIMIT) bytes, with attributes.
    #[must_use]
    pub fn text(text: &'a str, attributes: Option<&'a CustomAttributes>) -> Self {
        Self {
            text: Some(text.into()),
            channel: attributes.map(Channel::new),
            ..Self::of(Kind::Text)
        }
    }

    /// Any message of the guest, with attributes.
    #[must_use]
    pub fn message(message: &'a OutgoingMessage, attributes: Option<&'a CustomAttributes>) -> Self {
        let message = match message {
            OutgoingMessage::Button(choice) => Self {
                text: Some(choice.text.borrowed()),
                content: vec![Item::chosen("Button", choice, None)],
                ..Self::of(Kind::Structured)
            },
            OutgoingMessage::Date { question, choice } => Self {
                text: Some(Text::default()),
                content: vec![Item::chosen("DatePicker", choice, Some(question))],
                ..Self::of(Kind::Text)
            },
            OutgoingMessage::Form {
                question,
                form,
                text,
                answers,
            } => Self {
                text: Some(text.borrowed()),
                content: vec![Item::filled_in(question, form, answers)],
                ..Self::of(Kind::Structured)
            },
            OutgoingMessage::Items { question, choices } => Self {
                text: Some(message.text()),
                metadata: Some(MessageMetadata {
                    parent_message_id: question.clone(),
                }),
                content: choices
                    .iter()
                    .map(|choice| Item::chosen("ListPicker", choice, Some(question)))
                    .collect(),
                ..Self::of(Kind::Structured)
            },
            OutgoingMessage::QuickReply { question, choice } => Self {
                text: Some(Text::default()),
                content: vec![Item::chosen("QuickReply", choice, question.as_ref())],
                ..Self::of(Kind::Text)
            },
            OutgoingMessage::Text { text, attachments } => Self {
                text: Some(text.borrowed()),
                content: attachments.iter().map(Item::attachment).collect(),
                ..Self::of(Kind::Text)
            },
        };
        Self {
            channel: attributes.map(Channel::new),
            ..message
        }
    }

    /// A typing indicator; at most one in 5 s.
    #[must_use]
    pub fn typing() -> Self {
        Self {
            events: Some([GuestEvent::Typing {
                typing: State { state: "On" },
            }]),
            ..Self::of(Kind::Event)
        }
    }

    /// A join event: starts the conversation before any text, where the deployment has autostart enabled.
    #[must_use]
    pub fn join(attributes: Option<&'a CustomAttributes>) -> Self {
        Self {
            events: Some([GuestEvent::Presence {
                presence: State { state: "Join" },
            }]),
            channel: attributes.map(Channel::new),
            ..Self::of(Kind::Event)
        }
    }

    /// A clear event: the conversation ends, and its history is deleted. The deployment must allow it.
    #[must_use]
    pub fn clear() -> Self {
        Self {
            events: Some([GuestEvent::Presence {
                presence: State { state: "Clear" },
            }]),
            ..Self::of(Kind::Event)
        }
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            text: None,
            metadata: None,
            content: Vec::new(),
            events: None,
            channel: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
enum Kind {
    Event,
    Structured,
    Text,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageMetadata<'a> {
    parent_message_id: Text<'a>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "contentType", rename_all_fields = "camelCase")]
enum Item<'a> {
    Attachment { attachment: AttachmentId<'a> },
    ButtonResponse { button_response: ButtonResponse<'a> },
    Form { form: FilledIn<'a> },
}

impl<'a> Item<'a> {
    fn attachment(id: &Text<'a>) -> Self {
        Self::Attachment {
            attachment: AttachmentId { id: id.clone() },
        }
    }

    fn chosen(kind: &'static str, choice: &Choice, question: Option<&Text<'a>>) -> Self {
        Self::ButtonResponse {
            button_response: ButtonResponse {
                kind,
                text: choice.text.clone(),
                payload: choice.payload.clone(),
                originating_message_id: question.cloned(),
            },
        }
    }

    fn filled_in(question: &Text<'a>, form: &Text<'a>, answers: &[Answer]) -> Self {
        Self::Form {
            form: FilledIn {
                originating_message_id: question.clone(),
                canned_response_id: form.clone(),
                response: answers
                    .iter()
                    .map(|answer| Field {
                        id: answer.field.clone(),
                        component: Item::chosen("Form", &answer.choice, None),
                    })
                    .collect(),
            },
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct AttachmentId<'a> {
    id: Text<'a>,
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

/// Genesys' own clients put it inside `message`, and others beside it; the schema has both places.
#[derive(Clone, Debug, Serialize)]
struct Channel<'a> {
    metadata: ChannelMetadata<'a>,
}

impl<'a> Channel<'a> {
    fn new(custom_attributes: &'a CustomAttributes) -> Self {
        Self {
            metadata: ChannelMetadata { custom_attributes },
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelMetadata<'a> {
    custom_attributes: &'a CustomAttributes,
}
