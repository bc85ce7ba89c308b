//! What a message holds beside its text.

use serde::{Deserialize, Deserializer};

use super::loose::{null_as_empty, number};
use super::parse;
use genesys_api::wire::{RawJson, SecretText, Text};

/// An item of content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content<'a> {
    /// A file.
    Attachment(Attachment<'a>),
    /// What the guest chose.
    ButtonResponse(ButtonResponse<'a>),
    /// A card.
    Card(Card<'a>),
    /// Several cards.
    Carousel(Carousel<'a>),
    /// Times to choose from.
    DatePicker(DatePicker<'a>),
    /// A form to fill in, or one that was filled in.
    Form(Form<'a>),
    /// Items to choose from.
    ListPicker(ListPicker<'a>),
    /// A type, or an item, that this version has no type for: `Location`, `Story` and a dozen others of the schema.
    Other {
        /// Its type.
        content_type: Option<Text<'a>>,
        /// The item as it came.
        item: RawJson<'a>,
    },
    /// `QuickReplyV2`: answers to choose, with a title.
    QuickReplies(QuickReplies<'a>),
    /// An answer to choose.
    QuickReply(QuickReply<'a>),
    /// Text.
    Text(TextContent<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let item = RawJson::deserialize(deserializer)?;
        let Some(fields) = parse::<Fields<'a>>(item.as_str()) else {
            return Ok(Self::Other {
                content_type: None,
                item,
            });
        };
        let known = match fields.content_type.as_deref() {
            Some("Attachment") => read(fields.attachment).map(Self::Attachment),
            Some("ButtonResponse") => read(fields.button_response).map(Self::ButtonResponse),
            Some("Card") => read(fields.card).map(Self::Card),
            Some("Carousel") => read(fields.carousel).map(Self::Carousel),
            Some("DatePicker") => read(fields.date_picker).map(Self::DatePicker),
            Some("Form") => read(fields.form).map(Self::Form),
            Some("ListPicker") => read(fields.list_picker).map(Self::ListPicker),
            Some("QuickReply") => read(fields.quick_reply).map(Self::QuickReply),
            Some("QuickReplyV2") => read(fields.quick_reply_v2).map(Self::QuickReplies),
            Some("Text") => read(fields.text).map(Self::Text),
            _ => None,
        };
        let content_type = fields.content_type;
        Ok(known.unwrap_or(Self::Other { content_type, item }))
    }
}

/// A file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Attachment<'a> {
    /// Its id.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// Where it can be seen for about ten minutes: a secret.
    #[serde(borrow)]
    pub url: Option<SecretText<'a>>,
    /// Its name.
    #[serde(borrow)]
    pub filename: Option<Text<'a>>,
    /// `Image`, `Video`, `Audio`, `File` or `Link`.
    #[serde(borrow)]
    pub media_type: Option<Text<'a>>,
    /// Its size in bytes; some of the server's types write `contentSizeBytes`.
    #[serde(default, alias = "contentSizeBytes", deserialize_with = "number")]
    pub file_size: Option<i64>,
    /// Its media type.
    #[serde(borrow)]
    pub mime: Option<Text<'a>>,
    /// SHA-256 of it, in hexadecimal.
    #[serde(borrow)]
    pub sha256: Option<Text<'a>>,
    /// What it is about.
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
}

/// What the guest chose.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ButtonResponse<'a> {
    /// `Button`, `QuickReply`, `DatePicker`, `ListPicker` or `Form`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// What the guest read.
    #[serde(borrow)]
    pub text: Text<'a>,
    /// What the bot gets.
    #[serde(borrow)]
    pub payload: Text<'a>,
    /// The message that offered it.
    #[serde(borrow)]
    pub originating_message_id: Option<Text<'a>>,
    /// Deprecated.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
}

/// A card.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Card<'a> {
    /// Its title.
    #[serde(borrow)]
    pub title: Text<'a>,
    /// Text below the title.
    #[serde(borrow)]
    pub description: Option<Text<'a>>,
    /// URL of a picture.
    #[serde(borrow)]
    pub image: Option<Text<'a>>,
    /// URL of a video.
    #[serde(borrow)]
    pub video: Option<Text<'a>>,
    /// What a press on the card itself does.
    #[serde(borrow)]
    pub default_action: Option<CardAction<'a>>,
    /// Its buttons.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub actions: Vec<CardAction<'a>>,
}

/// What a press does.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct CardAction<'a> {
    /// `Link` or `Postback`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// What the guest reads.
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
    /// Where a link leads.
    #[serde(borrow)]
    pub url: Option<Text<'a>>,
    /// What the bot gets.
    #[serde(borrow)]
    pub payload: Option<Text<'a>>,
}

/// Several cards.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Carousel<'a> {
    /// The cards.
    #[serde(borrow)]
    pub cards: Vec<Card<'a>>,
}

/// Times to choose from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DatePicker<'a> {
    /// Its title.
    #[serde(borrow)]
    pub title: Option<Text<'a>>,
    /// Text below the title.
    #[serde(borrow)]
    pub subtitle: Option<Text<'a>>,
    /// URL of a picture.
    #[serde(borrow)]
    pub image_url: Option<Text<'a>>,
    /// The times.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub available_times: Vec<DateSlot<'a>>,
    /// The earliest time, RFC 3339.
    #[serde(borrow)]
    pub date_minimum: Option<Text<'a>>,
    /// The latest time, RFC 3339.
    #[serde(borrow)]
    pub date_maximum: Option<Text<'a>>,
    /// Where; nothing public says what it holds.
    #[serde(borrow)]
    pub location: Option<RawJson<'a>>,
}

/// A time to choose.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DateSlot<'a> {
    /// When, RFC 3339: what the answer repeats.
    #[serde(borrow)]
    pub date_time: Text<'a>,
    /// How long, in seconds.
    #[serde(default, deserialize_with = "number")]
    pub duration: Option<i64>,
}

/// Items to choose from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ListPicker<'a> {
    /// The items, in groups.
    #[serde(borrow)]
    pub sections: Vec<ListSection<'a>>,
    /// What to show with it; nothing public says what it holds.
    #[serde(borrow)]
    pub received_message: Option<RawJson<'a>>,
    /// What to show with the answer.
    #[serde(borrow)]
    pub reply_message: Option<RawJson<'a>>,
}

/// A group of items.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ListSection<'a> {
    /// Its title.
    #[serde(borrow)]
    pub title: Option<Text<'a>>,
    /// Whether more than one may be chosen.
    #[serde(default)]
    pub multiple_selection: bool,
    /// The items.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub items: Vec<ListItem<'a>>,
}

/// An item to choose.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ListItem<'a> {
    /// What the answer repeats.
    #[serde(borrow)]
    pub id: Text<'a>,
    /// What the guest reads.
    #[serde(borrow)]
    pub title: Text<'a>,
    /// Text below the title.
    #[serde(borrow)]
    pub subtitle: Option<Text<'a>>,
    /// URL of a picture.
    #[serde(borrow)]
    pub image_url: Option<Text<'a>>,
}

/// A form. What nothing public describes is kept as it came.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Form<'a> {
    /// Which form: the answer repeats it.
    #[serde(borrow)]
    pub canned_response_id: Text<'a>,
    /// What to show first.
    #[serde(borrow)]
    pub introduction: Option<RawJson<'a>>,
    /// The pages with their fields.
    #[serde(borrow)]
    pub form_pages: Option<RawJson<'a>>,
    /// What to show with it.
    #[serde(borrow)]
    pub received_message: Option<RawJson<'a>>,
    /// What to show with the answer.
    #[serde(borrow)]
    pub reply_message: Option<RawJson<'a>>,
    /// Whether to show a summary before it is sent.
    #[serde(default)]
    pub show_summary: bool,
    /// The answers, in a form that was filled in.
    #[serde(borrow)]
    pub response: Option<RawJson<'a>>,
    /// The message that offered it, in a form that was filled in.
    #[serde(borrow)]
    pub originating_message_id: Option<Text<'a>>,
}

/// An answer to choose.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct QuickReply<'a> {
    /// What the guest reads.
    #[serde(borrow)]
    pub text: Text<'a>,
    /// What the bot gets.
    #[serde(borrow)]
    pub payload: Text<'a>,
    /// `Message`.
    #[serde(borrow)]
    pub action: Option<Text<'a>>,
    /// URL of a picture.
    #[serde(borrow)]
    pub image: Option<Text<'a>>,
}

/// Answers to choose, with a title.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct QuickReplies<'a> {
    /// The question.
    #[serde(borrow)]
    pub title: Text<'a>,
    /// The answers.
    #[serde(borrow)]
    pub actions: Vec<QuickReply<'a>>,
}

/// Text as an item.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct TextContent<'a> {
    /// What is said.
    #[serde(borrow)]
    pub body: Text<'a>,
    /// Nothing public says which there are.
    #[serde(borrow, rename = "type")]
    pub kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    content_type: Option<Text<'a>>,
    #[serde(borrow)]
    attachment: Option<RawJson<'a>>,
    #[serde(borrow)]
    button_response: Option<RawJson<'a>>,
    #[serde(borrow)]
    card: Option<RawJson<'a>>,
    #[serde(borrow)]
    carousel: Option<RawJson<'a>>,
    #[serde(borrow)]
    date_picker: Option<RawJson<'a>>,
    #[serde(borrow)]
    form: Option<RawJson<'a>>,
    #[serde(borrow)]
    list_picker: Option<RawJson<'a>>,
    #[serde(borrow)]
    quick_reply: Option<RawJson<'a>>,
    #[serde(borrow)]
    quick_reply_v2: Option<RawJson<'a>>,
    #[serde(borrow)]
    text: Option<RawJson<'a>>,
}

fn read<'a, T: Deserialize<'a>>(field: Option<RawJson<'a>>) -> Option<T> {
    parse(field?.as_str())
}
