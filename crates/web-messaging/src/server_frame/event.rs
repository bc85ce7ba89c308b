//! The events of a message of type `Event`.

use genesys_api::wire::{RawJson, SecretText, Text};
use serde::{Deserialize, Deserializer};

use super::lenient::Tagged;

/// One event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MessageEvent<'a> {
    /// An offer of co-browsing.
    CoBrowse(Offer<'a>),
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
    Video(Offer<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for MessageEvent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let item = RawJson::deserialize(deserializer)?;
        let tagged = Tagged::find(item, "eventType");
        let known = match tagged.kind.as_deref() {
            Some("CoBrowse") => tagged.value().map(Self::CoBrowse),
            Some("Presence") => tagged.value().map(Self::Presence),
            Some("Reactions") => Some(Self::Reactions(item)),
            Some("Typing") => tagged.value().map(Self::Typing),
            Some("Video") => tagged.value().map(Self::Video),
            _ => None,
        };
        let event_type = tagged.kind;
        Ok(known.unwrap_or(Self::Other { event_type, item }))
    }
}

/// A presence event.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct Presence<'a> {
    /// Kind of the event.
    #[serde(rename = "type")]
    pub kind: PresenceKind<'a>,
    /// Text to display with it, unparsed: nothing public describes it.
    pub received_message: Option<RawJson<'a>>,
    /// Text to display with the answer, unparsed.
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
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct Typing<'a> {
    /// `On`; tests of Genesys' SDK also show `Off`.
    #[serde(rename = "type")]
    pub kind: Text<'a>,
    /// Time to display it, in milliseconds; some senders write `durationMs`.
    #[serde(alias = "durationMs")]
    pub duration: Option<u64>,
}

/// An offer of co-browsing or of video.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct Offer<'a> {
    /// State of the offer.
    #[serde(rename = "type")]
    pub state: OfferState<'a>,
    /// Id of the co-browsing session, or of the video offer.
    #[serde(rename = "sessionId", alias = "offeringId")]
    pub id: Option<Text<'a>>,
    /// Token that admits the guest: a secret.
    #[serde(rename = "sessionJoinToken", alias = "jwt")]
    pub token: Option<SecretText<'a>>,
}

/// The state of an offer.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[non_exhaustive]
pub enum OfferState<'a> {
    /// The offer is open.
    Offering,
    /// The guest accepted.
    OfferingAccepted,
    /// The offer expired.
    OfferingExpired,
    /// The guest declined.
    OfferingRejected,
    /// A state that this version does not know.
    #[serde(untagged)]
    Other(#[serde(borrow)] Text<'a>),
}
