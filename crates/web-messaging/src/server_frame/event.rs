//! The events of a message of type `Event`.

use serde::{Deserialize, Deserializer};

use super::parse;
use genesys_api::wire::{RawJson, SecretText, Text};

/// One event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MessageEvent<'a> {
    /// The agent offers to look at the page together.
    CoBrowse(CoBrowse<'a>),
    /// A type, or an event, that this version has no type for.
    Other {
        /// Its type.
        event_type: Option<Text<'a>>,
        /// The event as it came.
        item: RawJson<'a>,
    },
    /// Somebody comes or goes.
    Presence(Presence<'a>),
    /// A reaction to a message, as it came: nothing public says what it holds.
    Reactions(RawJson<'a>),
    /// Somebody is typing.
    Typing(Typing<'a>),
    /// The agent offers video.
    Video(Video<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for MessageEvent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let item = RawJson::deserialize(deserializer)?;
        let Some(fields) = parse::<Fields<'a>>(item.as_str()) else {
            return Ok(Self::Other {
                event_type: None,
                item,
            });
        };
        let known = match fields.event_type.as_deref() {
            Some("CoBrowse") => read(fields.co_browse).map(Self::CoBrowse),
            Some("Presence") => read(fields.presence).map(Self::Presence),
            Some("Reactions") => Some(Self::Reactions(item)),
            Some("Typing") => read(fields.typing).map(Self::Typing),
            Some("Video") => read(fields.video).map(Self::Video),
            _ => None,
        };
        let event_type = fields.event_type;
        Ok(known.unwrap_or(Self::Other { event_type, item }))
    }
}

/// Somebody comes or goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Presence<'a> {
    /// What they do.
    #[serde(borrow, rename = "type")]
    pub kind: PresenceKind<'a>,
    /// What to show with it; nothing public says what it holds.
    #[serde(borrow)]
    pub received_message: Option<RawJson<'a>>,
    /// What to show with the answer.
    #[serde(borrow)]
    pub reply_message: Option<RawJson<'a>>,
}

/// How somebody comes or goes.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[non_exhaustive]
pub enum PresenceKind<'a> {
    /// The guest is asked to sign in.
    Authenticate,
    /// The guest did not want to.
    AuthenticateCancel,
    /// It failed.
    AuthenticateFailure,
    /// The guest cleared the conversation.
    Clear,
    /// The agent or the bot ended it.
    Disconnect,
    /// The guest joined.
    Join,
    /// The session expired.
    SessionExpired,
    /// The guest signed in.
    SignIn,
    /// Newer than this version.
    #[serde(untagged)]
    Other(#[serde(borrow)] Text<'a>),
}

/// Somebody is typing.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Typing<'a> {
    /// `On`; tests of Genesys' SDK also show `Off`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// How long to show it, in milliseconds; some senders write `durationMs`.
    #[serde(alias = "durationMs")]
    pub duration: Option<u64>,
}

/// An offer to look at the page together.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CoBrowse<'a> {
    /// What became of the offer.
    #[serde(borrow, rename = "type")]
    pub offer: Offer<'a>,
    /// The session to join.
    #[serde(borrow)]
    pub session_id: Option<Text<'a>>,
    /// What lets the guest in: a secret.
    #[serde(borrow)]
    pub session_join_token: Option<SecretText<'a>>,
}

/// An offer of video.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Video<'a> {
    /// What became of the offer.
    #[serde(borrow, rename = "type")]
    pub offer: Offer<'a>,
    /// Which offer.
    #[serde(borrow)]
    pub offering_id: Option<Text<'a>>,
    /// What lets the guest in: a secret.
    #[serde(borrow)]
    pub jwt: Option<SecretText<'a>>,
}

/// What became of an offer.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[non_exhaustive]
pub enum Offer<'a> {
    /// It is made.
    Offering,
    /// The guest accepted.
    OfferingAccepted,
    /// It ran out.
    OfferingExpired,
    /// The guest declined.
    OfferingRejected,
    /// Newer than this version.
    #[serde(untagged)]
    Other(#[serde(borrow)] Text<'a>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    event_type: Option<Text<'a>>,
    #[serde(borrow)]
    co_browse: Option<RawJson<'a>>,
    #[serde(borrow)]
    presence: Option<RawJson<'a>>,
    #[serde(borrow)]
    typing: Option<RawJson<'a>>,
    #[serde(borrow)]
    video: Option<RawJson<'a>>,
}

fn read<'a, T: Deserialize<'a>>(field: Option<RawJson<'a>>) -> Option<T> {
    parse(field?.as_str())
}
