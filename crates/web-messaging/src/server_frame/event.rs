//! The events of a message of type `Event`.

use serde::{Deserialize, Deserializer};

use super::parse;
use genesys_api::wire::{RawJson, SecretText, Text};

/// One event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MessageEvent<'a> {
    /// An offer of co-browsing.
    CoBrowse(CoBrowse<'a>),
    /// An event of a type that this version does not know.
    Other {
        /// Its type.
        event_type: Option<Text<'a>>,
        /// The event, unparsed.
        item: RawJson<'a>,
    },
    /// A presence event.
    Presence(Presence<'a>),
    /// A reaction to a message, unparsed: nothing public describes it.
    Reactions(RawJson<'a>),
    /// A typing indicator.
    Typing(Typing<'a>),
    /// An offer of video.
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

/// A presence event.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Presence<'a> {
    /// Kind of the event.
    #[serde(borrow, rename = "type")]
    pub kind: PresenceKind<'a>,
    /// Text to display with it, unparsed: nothing public describes it.
    #[serde(borrow)]
    pub received_message: Option<RawJson<'a>>,
    /// Text to display with the answer, unparsed.
    #[serde(borrow)]
    pub reply_message: Option<RawJson<'a>>,
}

/// The kind of a presence event.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[non_exhaustive]
pub enum PresenceKind<'a> {
    /// The guest should sign in.
    Authenticate,
    /// The guest declined to sign in.
    AuthenticateCancel,
    /// The sign-in failed.
    AuthenticateFailure,
    /// The guest cleared the conversation.
    Clear,
    /// The agent or the bot ended the conversation.
    Disconnect,
    /// The guest joined.
    Join,
    /// The session expired.
    SessionExpired,
    /// The guest signed in.
    SignIn,
    /// A kind that this version does not know.
    #[serde(untagged)]
    Other(#[serde(borrow)] Text<'a>),
}

/// A typing indicator.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Typing<'a> {
    /// `On`; tests of Genesys' SDK also show `Off`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Time to display it, in milliseconds; some senders write `durationMs`.
    #[serde(alias = "durationMs")]
    pub duration: Option<u64>,
}

/// An offer of co-browsing.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CoBrowse<'a> {
    /// State of the offer.
    #[serde(borrow, rename = "type")]
    pub offer: Offer<'a>,
    /// The session to join.
    #[serde(borrow)]
    pub session_id: Option<Text<'a>>,
    /// Token that admits the guest: a secret.
    #[serde(borrow)]
    pub session_join_token: Option<SecretText<'a>>,
}

/// An offer of video.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Video<'a> {
    /// State of the offer.
    #[serde(borrow, rename = "type")]
    pub offer: Offer<'a>,
    /// Id of the offer.
    #[serde(borrow)]
    pub offering_id: Option<Text<'a>>,
    /// Token that admits the guest: a secret.
    #[serde(borrow)]
    pub jwt: Option<SecretText<'a>>,
}

/// The state of an offer.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[non_exhaustive]
pub enum Offer<'a> {
    /// The offer is open.
    Offering,
    /// The guest accepted.
    OfferingAccepted,
    /// The offer expired.
    OfferingExpired,
    /// The guest declined.
    OfferingRejected,
    /// A kind that this version does not know.
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
