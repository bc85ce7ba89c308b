//! What a message holds beside its text. `Debug` shows lengths.

use secrecy::SecretString;

use genesys_api::wire::{RawFrame, Text};

/// An item of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// A file.
    Attachment(Attachment),
    /// What the guest chose, in an echo or in the history.
    ButtonResponse(ButtonResponse),
    /// A card.
    Card(Card),
    /// Several cards, side by side.
    Carousel(Vec<Card>),
    /// Times to choose from.
    DatePicker(DatePicker),
    /// A form to fill in, or one that was filled in.
    Form(Form),
    /// Items to choose from.
    ListPicker(ListPicker),
    /// Content that this version has no type for; its class is the name that the service gives it.
    Other(RawFrame),
    /// An answer to choose.
    QuickReply(QuickReply),
    /// Text beside the message's own.
    Text(Text<'static>),
}

/// A file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attachment {
    /// Its id.
    pub id: Text<'static>,
    /// Where it can be seen. The link is a secret, and soon expires.
    pub url: Option<SecretString>,
    /// Its name.
    pub name: Option<Text<'static>>,
    /// How to show it.
    pub media: Media,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its media type.
    pub media_type: Option<Text<'static>>,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: Option<Text<'static>>,
    /// What it is about.
    pub text: Option<Text<'static>>,
}

/// How to show a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Media {
    /// Something to hear.
    Audio,
    /// Something to download, or something newer than this version.
    File,
    /// A picture.
    Image,
    /// A link.
    Link,
    /// Something to watch.
    Video,
}

/// What the guest chose.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ButtonResponse {
    /// Of what.
    pub kind: ButtonKind,
    /// What the guest read.
    pub text: Text<'static>,
    /// What the bot gets.
    pub payload: Text<'static>,
    /// Id of the message that offered it, if known.
    pub question: Option<Text<'static>>,
}

/// What was chosen from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    /// Newer than this version.
    Other,
    /// Quick replies.
    QuickReply,
}

/// A card.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Card {
    /// Its title.
    pub title: Text<'static>,
    /// Text below the title.
    pub description: Option<Text<'static>>,
    /// URL of a picture.
    pub image: Option<Text<'static>>,
    /// URL of a video.
    pub video: Option<Text<'static>>,
    /// What a press on the card itself does.
    pub default_action: Option<CardAction>,
    /// Its buttons.
    pub actions: Vec<CardAction>,
}

/// What a press does.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CardAction {
    /// Opens a page; the service is told nothing.
    Link {
        /// What the guest reads.
        text: Text<'static>,
        /// Where it leads.
        url: Text<'static>,
    },
    /// Something newer than this version: show the text.
    Other {
        /// What the guest reads.
        text: Text<'static>,
    },
    /// Answers: see [`Said::Button`](crate::message::Said::Button).
    Postback {
        /// What the guest reads.
        text: Text<'static>,
        /// What the bot gets.
        payload: Text<'static>,
    },
}

/// Times to choose from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DatePicker {
    /// Its title.
    pub title: Option<Text<'static>>,
    /// Text below the title.
    pub subtitle: Option<Text<'static>>,
    /// URL of a picture.
    pub image: Option<Text<'static>>,
    /// The times.
    pub slots: Vec<DateSlot>,
    /// The earliest time, as the service wrote it.
    pub earliest: Option<Text<'static>>,
    /// The latest time, as the service wrote it.
    pub latest: Option<Text<'static>>,
    /// Where, as it came.
    pub location: Option<RawFrame>,
}

/// A time to choose.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DateSlot {
    /// When, RFC 3339, as the service wrote it: the answer repeats it.
    pub at: Text<'static>,
    /// How long, in seconds.
    pub seconds: Option<u64>,
}

/// Items to choose from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListPicker {
    /// The items, in groups.
    pub sections: Vec<ListSection>,
    /// What to show with it, as it came.
    pub introduction: Option<RawFrame>,
    /// What to show with the answer, as it came.
    pub conclusion: Option<RawFrame>,
}

/// A group of items.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListSection {
    /// Its title.
    pub title: Option<Text<'static>>,
    /// Whether more than one may be chosen.
    pub multiple: bool,
    /// The items.
    pub items: Vec<ListItem>,
}

/// An item to choose.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListItem {
    /// What the answer repeats.
    pub id: Text<'static>,
    /// What the guest reads.
    pub title: Text<'static>,
    /// Text below the title.
    pub subtitle: Option<Text<'static>>,
    /// URL of a picture.
    pub image: Option<Text<'static>>,
}

/// A form. What nothing public describes is kept as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Form {
    /// Which form: the answer repeats it.
    pub id: Text<'static>,
    /// What to show first.
    pub introduction: Option<RawFrame>,
    /// The pages with their fields.
    pub pages: Option<RawFrame>,
    /// What to show with it.
    pub received: Option<RawFrame>,
    /// What to show with the answer.
    pub conclusion: Option<RawFrame>,
    /// Whether to show a summary before it is sent.
    pub summary: bool,
    /// The answers, in a form that was filled in.
    pub answers: Option<RawFrame>,
    /// Id of the message that offered it, in a form that was filled in.
    pub question: Option<Text<'static>>,
}

/// An answer to choose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QuickReply {
    /// What the guest reads.
    pub text: Text<'static>,
    /// What the bot gets.
    pub payload: Text<'static>,
    /// URL of a picture.
    pub image: Option<Text<'static>>,
}
