//! The `message` of a frame of the guest.

use std::collections::BTreeMap;

use genesys_api::wire::{OwnedText, Text};
use serde::{Serialize, Serializer};

use crate::CustomAttributes;
use crate::message::{AnswerItem, ButtonKind, OutgoingMessage};

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
    content: Vec<AnswerItem<'a>>,
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
        let (kind, text) = match message {
            OutgoingMessage::Choices {
                kind: ButtonKind::DatePicker | ButtonKind::QuickReply,
                ..
            } => (Kind::Text, Text::default()),
            OutgoingMessage::Choices { .. } | OutgoingMessage::Form { .. } => {
                (Kind::Structured, message.text())
            }
            OutgoingMessage::Text { text, .. } => (Kind::Text, (&**text).into()),
        };
        let parent = match message {
            OutgoingMessage::Choices {
                kind: ButtonKind::ListPicker,
                question,
                ..
            } => question.as_ref(),
            _ => None,
        };
        Self {
            kind,
            text: Some(text),
            parent,
            content: message.content(),
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
