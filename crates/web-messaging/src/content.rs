//! The content model: items of a message beside its text.
//!
//! The types parse the shapes of Genesys Cloud, serialize to them, and own their text. `Debug` shows lengths, since
//! content may be personal.

mod fallback_text;

use std::collections::BTreeMap;

use genesys_api::wire::{OwnedText, RawFrame, RawJson};
use secrecy::{ExposeSecret, SecretString};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::server_frame::lenient::{Tagged, null_as_default, number};

/// An item of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// A file.
    Attachment(Attachment),
    /// The guest's choice, in an echo or in the history.
    ButtonResponse(ButtonResponse),
    /// A card.
    Card(Card),
    /// Several cards, side by side.
    Carousel(Vec<Card>),
    /// Times to choose from.
    DatePicker(DatePicker),
    /// A form, empty or filled in.
    Form(Form),
    /// Items to choose from.
    ListPicker(ListPicker),
    /// Content of a type that this version does not know, with that type as its class: `Location`, `Story` and a dozen
    /// others of the schema.
    Other(RawFrame),
    /// An answer to choose.
    QuickReply(QuickReply),
    /// Text beside the message's own.
    Text(OwnedText),
}

impl Content {
    /// Its type, as in `contentType`. `None` for content without one.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        Some(match self {
            Self::Attachment(_) => "Attachment",
            Self::ButtonResponse(_) => "ButtonResponse",
            Self::Card(_) => "Card",
            Self::Carousel(_) => "Carousel",
            Self::DatePicker(_) => "DatePicker",
            Self::Form(_) => "Form",
            Self::ListPicker(_) => "ListPicker",
            Self::Other(item) => return item.class(),
            Self::QuickReply(_) => "QuickReply",
            Self::Text(_) => "Text",
        })
    }

    /// Whether a reader can rely on its type: it is known and has the shape of its type, or it is of another type.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        match self {
            Self::Other(item) => item.class().is_some_and(|class| !KNOWN.contains(&class)),
            _ => true,
        }
    }
}

/// The types with a shape of their own.
const KNOWN: [&str; 10] = [
    "Attachment",
    "ButtonResponse",
    "Card",
    "Carousel",
    "DatePicker",
    "Form",
    "ListPicker",
    "QuickReply",
    "QuickReplyV2",
    "Text",
];

/// A file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Attachment {
    /// Its id.
    pub id: OwnedText,
    /// Download link: a secret that expires after about ten minutes.
    #[serde(
        default,
        deserialize_with = "secret",
        serialize_with = "expose",
        skip_serializing_if = "Option::is_none"
    )]
    pub url: Option<SecretString>,
    /// Its name.
    #[serde(rename = "filename", skip_serializing_if = "Option::is_none")]
    pub name: Option<OwnedText>,
    /// Its class.
    #[serde(rename = "mediaType", default, deserialize_with = "null_as_default")]
    pub media: Media,
    /// Its size in bytes.
    #[serde(
        rename = "fileSize",
        alias = "contentSizeBytes",
        default,
        deserialize_with = "size",
        skip_serializing_if = "Option::is_none"
    )]
    pub size: Option<u64>,
    /// Its media type.
    #[serde(rename = "mime", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<OwnedText>,
    /// SHA-256 of the file, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<OwnedText>,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<OwnedText>,
}

/// The class of a file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
pub enum Media {
    /// Audio.
    Audio,
    /// A picture.
    Image,
    /// A link.
    Link,
    /// A video.
    Video,
    /// A file to download, or a class that this version does not know.
    #[default]
    #[serde(other)]
    File,
}

/// A choice of the guest.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ButtonResponse {
    /// Content that offered the choice.
    #[serde(rename = "type")]
    pub kind: ButtonKind,
    /// Label that the guest read.
    pub text: OwnedText,
    /// Value for the bot.
    pub payload: OwnedText,
    /// Id of the message that offered it, if known.
    #[serde(rename = "originatingMessageId", skip_serializing_if = "Option::is_none")]
    pub question: Option<OwnedText>,
}

/// Content that offers a choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
pub enum ButtonKind {
    /// A card.
    Button,
    /// A date picker.
    DatePicker,
    /// A form.
    Form,
    /// A list picker.
    ListPicker,
    /// Quick replies.
    QuickReply,
    /// Content that this version does not know.
    #[serde(other)]
    Other,
}

/// A card.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Card {
    /// Its title.
    pub title: OwnedText,
    /// Text below the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<OwnedText>,
    /// URL of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<OwnedText>,
    /// URL of a video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<OwnedText>,
    /// Action of the card itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_action: Option<CardAction>,
    /// Its buttons.
    #[serde(default, deserialize_with = "null_as_default")]
    pub actions: Vec<CardAction>,
}

/// The action of a card or a button.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum CardAction {
    /// Opens a page; nothing is sent to the service.
    Link {
        /// Label.
        #[serde(default, deserialize_with = "null_as_default")]
        text: OwnedText,
        /// URL of the page.
        url: OwnedText,
    },
    /// Sends an answer: see [`OutgoingMessage::Choices`](crate::message::OutgoingMessage::Choices).
    Postback {
        /// Label.
        #[serde(default, deserialize_with = "null_as_default")]
        text: OwnedText,
        /// Value for the bot.
        payload: OwnedText,
    },
    /// An action that this version does not know: display the label.
    #[serde(untagged)]
    Other {
        /// Label.
        #[serde(default, deserialize_with = "null_as_default")]
        text: OwnedText,
    },
}

/// Times to choose from.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DatePicker {
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<OwnedText>,
    /// Text below the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<OwnedText>,
    /// URL of a picture.
    #[serde(rename = "imageUrl", skip_serializing_if = "Option::is_none")]
    pub image: Option<OwnedText>,
    /// The times.
    #[serde(rename = "availableTimes", default, deserialize_with = "null_as_default")]
    pub slots: Vec<DateSlot>,
    /// The earliest time, as the service wrote it.
    #[serde(rename = "dateMinimum", skip_serializing_if = "Option::is_none")]
    pub earliest: Option<OwnedText>,
    /// The latest time, as the service wrote it.
    #[serde(rename = "dateMaximum", skip_serializing_if = "Option::is_none")]
    pub latest: Option<OwnedText>,
    /// The place, unparsed: nothing public describes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<RawFrame>,
}

/// A time to choose.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DateSlot {
    /// Start, RFC 3339, as the service wrote it: the answer repeats it.
    #[serde(rename = "dateTime")]
    pub at: OwnedText,
    /// Duration in seconds.
    #[serde(
        rename = "duration",
        default,
        deserialize_with = "size",
        skip_serializing_if = "Option::is_none"
    )]
    pub seconds: Option<u64>,
}

/// Items to choose from.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ListPicker {
    /// The items, in groups.
    pub sections: Vec<ListSection>,
    /// Text to display with it, unparsed.
    #[serde(rename = "receivedMessage", skip_serializing_if = "Option::is_none")]
    pub introduction: Option<RawFrame>,
    /// Text to display with the answer, unparsed.
    #[serde(rename = "replyMessage", skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<RawFrame>,
}

/// A group of items.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ListSection {
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<OwnedText>,
    /// Whether more than one may be chosen.
    #[serde(rename = "multipleSelection", default)]
    pub multiple: bool,
    /// The items.
    #[serde(default, deserialize_with = "null_as_default")]
    pub items: Vec<ListItem>,
}

/// An item to choose.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ListItem {
    /// Id, which the answer repeats.
    pub id: OwnedText,
    /// Label.
    pub title: OwnedText,
    /// Text below the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<OwnedText>,
    /// URL of a picture.
    #[serde(rename = "imageUrl", skip_serializing_if = "Option::is_none")]
    pub image: Option<OwnedText>,
}

/// A form. Parts that nothing public describes are unparsed.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Form {
    /// Id of the form, which the answer repeats.
    #[serde(rename = "cannedResponseId")]
    pub id: OwnedText,
    /// Text to display first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introduction: Option<RawFrame>,
    /// The pages with their fields.
    #[serde(rename = "formPages", skip_serializing_if = "Option::is_none")]
    pub pages: Option<RawFrame>,
    /// Text to display with it.
    #[serde(rename = "receivedMessage", skip_serializing_if = "Option::is_none")]
    pub received: Option<RawFrame>,
    /// Text to display with the answer.
    #[serde(rename = "replyMessage", skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<RawFrame>,
    /// Whether a summary is displayed before it is sent.
    #[serde(rename = "showSummary", default, skip_serializing_if = "std::ops::Not::not")]
    pub summary: bool,
    /// The answers, in a form that was filled in.
    #[serde(rename = "response", skip_serializing_if = "Option::is_none")]
    pub answers: Option<RawFrame>,
    /// Id of the message that offered it, in a form that was filled in.
    #[serde(rename = "originatingMessageId", skip_serializing_if = "Option::is_none")]
    pub question: Option<OwnedText>,
}

/// An answer to choose.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuickReply {
    /// Label.
    pub text: OwnedText,
    /// Value for the bot.
    pub payload: OwnedText,
    /// URL of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<OwnedText>,
}

/// Parses the items of a message, for `deserialize_with`. `QuickReplyV2`, a title with answers, becomes a text and its
/// answers.
///
/// # Errors
/// If it is not a list. An item in another shape is [`Content::Other`].
pub fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Content>, D::Error> {
    let items = Option::<Vec<RawJson<'de>>>::deserialize(deserializer)?.unwrap_or_default();
    let mut content = Vec::with_capacity(items.len());
    for item in items {
        let tagged = Tagged::find(item, "contentType");
        let class = tagged.kind.as_deref();
        if class == Some("QuickReplyV2")
            && let Some(QuickReplies { title, actions }) = tagged.value()
        {
            content.push(Content::Text(title));
            content.extend(actions.into_iter().map(Content::QuickReply));
            continue;
        }
        let known = match class {
            Some("Attachment") => tagged.value().map(Content::Attachment),
            Some("ButtonResponse") => tagged.value().map(Content::ButtonResponse),
            Some("Card") => tagged.value().map(Content::Card),
            Some("Carousel") => tagged.value().map(|Carousel { cards }| Content::Carousel(cards)),
            Some("DatePicker") => tagged.value().map(Content::DatePicker),
            Some("Form") => tagged.value().map(Content::Form),
            Some("ListPicker") => tagged.value().map(Content::ListPicker),
            Some("QuickReply") => tagged.value().map(Content::QuickReply),
            Some("Text") => tagged.value().map(|TextItem { body }| Content::Text(body)),
            _ => None,
        };
        content.push(known.unwrap_or_else(|| Content::Other(RawFrame::new(class, item.as_str()))));
    }
    Ok(content)
}

#[derive(Deserialize)]
struct Carousel {
    cards: Vec<Card>,
}

#[derive(Deserialize)]
struct QuickReplies {
    title: OwnedText,
    actions: Vec<QuickReply>,
}

#[derive(Deserialize)]
struct TextItem {
    body: OwnedText,
}

impl Serialize for Content {
    /// The item in the shape of Genesys Cloud, with the secret link of a file.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Attachment(file) => tagged("Attachment", "attachment", file, serializer),
            Self::ButtonResponse(choice) => tagged("ButtonResponse", "buttonResponse", choice, serializer),
            Self::Card(card) => tagged("Card", "card", card, serializer),
            Self::Carousel(cards) => {
                let carousel = BTreeMap::from([("cards", cards)]);
                tagged("Carousel", "carousel", &carousel, serializer)
            }
            Self::DatePicker(picker) => tagged("DatePicker", "datePicker", picker, serializer),
            Self::Form(form) => tagged("Form", "form", form, serializer),
            Self::ListPicker(picker) => tagged("ListPicker", "listPicker", picker, serializer),
            Self::Other(item) => item.serialize(serializer),
            Self::QuickReply(reply) => tagged("QuickReply", "quickReply", reply, serializer),
            Self::Text(body) => tagged("Text", "text", &BTreeMap::from([("body", body)]), serializer),
        }
    }
}

fn tagged<S: Serializer>(
    class: &str,
    key: &str,
    value: &impl Serialize,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut item = serializer.serialize_map(Some(2))?;
    item.serialize_entry("contentType", class)?;
    item.serialize_entry(key, value)?;
    item.end()
}

fn expose<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret
        .as_ref()
        .map(ExposeSecret::expose_secret)
        .serialize(serializer)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let secret = Option::<String>::deserialize(deserializer)?;
    Ok(secret.map(SecretString::from))
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(number(deserializer)?.and_then(|number| u64::try_from(number).ok()))
}
