//! Bodies of `/api/v2/webmessaging/guests`: requests of a data subject.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use genesys_api::strict_json::{BodyError, Object};
use genesys_api::{ChannelId, GuestId, IdempotencyKey, IdempotencyKeyError, SessionId, timestamp};
use guest_payload::Attributes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::SessionInfo;

/// The body of `POST …/guests/query`. The id of a guest is personal, so it is in no URL.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestQueryBody {
    /// The guest's id.
    pub guest_id: GuestId,
    /// The page begins after this session, the `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<SessionId>,
}

impl GuestQueryBody {
    /// Parses the body.
    ///
    /// # Errors
    /// If the body does not match the contract. No error repeats a value.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let guest_id = body.required("guestId")?.parse()?;
        let after = body.optional("after").map(|field| field.parse()).transpose()?;
        body.finish()?;
        Ok(Self { guest_id, after })
    }
}

/// The key of an erasure, with at least 22 characters: 128 random bits in base64. The entries of the erasure are found with
/// the key and the guest's id, so a shorter one could be found by a search.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErasureKey(IdempotencyKey);

impl ErasureKey {
    /// Shortest key, in characters.
    pub const MIN_LENGTH: usize = 22;

    /// A new key: a random UUID.
    #[cfg(feature = "client")]
    #[must_use]
    pub fn random() -> Self {
        Self(IdempotencyKey::random())
    }

    /// The key as that of a request.
    #[must_use]
    pub fn as_key(&self) -> &IdempotencyKey {
        &self.0
    }
}

impl TryFrom<IdempotencyKey> for ErasureKey {
    type Error = ErasureKeyError;

    fn try_from(key: IdempotencyKey) -> Result<Self, ErasureKeyError> {
        match key.as_str().len() >= Self::MIN_LENGTH {
            true => Ok(Self(key)),
            false => Err(ErasureKeyError::TooShort),
        }
    }
}

impl FromStr for ErasureKey {
    type Err = ErasureKeyError;

    fn from_str(text: &str) -> Result<Self, ErasureKeyError> {
        text.parse::<IdempotencyKey>()?.try_into()
    }
}

/// An invalid key of an erasure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureKeyError {
    /// Not a key.
    #[error(transparent)]
    Invalid(#[from] IdempotencyKeyError),
    /// Short enough for a search over all keys.
    #[error(
        "invalid Idempotency-Key: shorter than 22 characters, send a new random UUID, and the same one to repeat this erasure"
    )]
    TooShort,
}

/// The body of `POST …/guests/erasures`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestErasureBody {
    /// The guest's id.
    pub guest_id: GuestId,
}

impl GuestErasureBody {
    /// Parses the body.
    ///
    /// # Errors
    /// If the body does not match the contract. No error repeats a value.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let guest_id = body.required("guestId")?.parse()?;
        body.finish()?;
        Ok(Self { guest_id })
    }
}

/// A page of what is held about a guest: the response to a [`GuestQueryBody`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestReport {
    /// The guest's id.
    pub guest_id: GuestId,
    /// The guest's sessions, oldest first, at most [`Self::MAX_SESSIONS`]. An erased session is not held.
    pub sessions: Vec<HeldSession>,
    /// The next page begins after this session. `None` on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SessionId>,
}

impl GuestReport {
    /// Largest number of sessions of a page. Our choice.
    pub const MAX_SESSIONS: usize = 100;
}

/// The data that is held of a session, and its recipients.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldSession {
    /// The session, as fields of this body.
    #[serde(flatten)]
    pub session: SessionInfo,
    /// Its channel.
    pub channel_configuration_id: ChannelId,
    /// The guest's attributes. They are kept until the session is erased.
    pub guest_attributes: Attributes,
    /// Decisions on consent, oldest first.
    pub consent_history: Vec<ConsentEntry>,
    /// The recipients of data of the session.
    pub recipients: Vec<Recipient>,
}

/// An audit entry about consent.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ConsentEntry {
    /// Sequence number of the entry in the audit log.
    pub seq: u64,
    /// Time of the decision.
    #[serde(with = "timestamp")]
    pub time: OffsetDateTime,
    /// The action, as in `consent.withdrawn`.
    pub action: String,
    /// The decision on each purpose, with its rule and evidence, the policy and the jurisdiction.
    pub details: BTreeMap<String, Value>,
}

/// A receiver of data of a session, by the entries of the audit log.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Recipient {
    /// `genesys`, or the id of a webhook.
    pub recipient: String,
    /// Number of disclosures, and of attempts that may have arrived. All messages of a conversation with Genesys count as one.
    pub count: u64,
    /// Time of the first one.
    #[serde(with = "timestamp")]
    pub first: OffsetDateTime,
    /// Time of the last one.
    #[serde(with = "timestamp")]
    pub last: OffsetDateTime,
    /// Names of the disclosed fields of an event.
    pub fields: BTreeSet<String>,
    /// The disclosed attributes: names of functional ones, and others by their purpose, as in `marketing.*`.
    pub attributes: BTreeSet<String>,
    /// The purposes of those attributes. `functional` ones need no consent.
    pub purposes: BTreeSet<String>,
}

/// The proof of an erasure: the response to a [`GuestErasureBody`]. A repetition with the same key brings it again.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErasedGuest {
    /// The guest's id.
    pub guest_id: GuestId,
    /// The erased sessions, also those of earlier requests with the same key.
    pub sessions: Vec<ErasureRecord>,
    /// A signed checkpoint of the audit log over all their entries: a signed note (C2SP `tlog-checkpoint`).
    pub checkpoint: String,
}

/// The entry `session.erased` of an erased session.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ErasureRecord {
    /// The session's id. `None` if an earlier request erased the session: the gateway no longer has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SessionId>,
    /// Sequence number of the entry.
    pub seq: u64,
    /// Its leaf hash in the tree of the log, in hexadecimal digits.
    pub leaf: String,
}

#[cfg(feature = "client")]
impl HeldSession {
    /// Adds an audit entry of the session, which is newer than those before.
    pub fn record(&mut self, entry: audit::Entry) {
        let draft = entry.draft;
        let recipient = match &*draft.action {
            "ws.connected" => Some("genesys".to_owned()),
            "webhook.delivered" | "webhook.attempted" => match draft.detail.get("webhook") {
                Some(audit::Value::Text(webhook)) => Some(webhook.clone()),
                _ => None,
            },
            action if action == "session.created" || action.starts_with("consent.") => {
                let details = draft.detail.iter().filter_map(|(name, value)| {
                    let value = serde_json::to_value(value).ok()?;
                    Some((name.clone(), value))
                });
                self.consent_history.push(ConsentEntry {
                    seq: entry.seq,
                    time: draft.at,
                    action: action.to_owned(),
                    details: details.collect(),
                });
                None
            }
            _ => None,
        };
        let Some(recipient) = recipient else { return };
        let index = self
            .recipients
            .iter()
            .position(|known| known.recipient == recipient);
        let index = index.unwrap_or_else(|| {
            self.recipients.push(Recipient {
                recipient,
                count: 0,
                first: draft.at,
                last: draft.at,
                fields: BTreeSet::new(),
                attributes: BTreeSet::new(),
                purposes: BTreeSet::new(),
            });
            self.recipients.len() - 1
        });
        let known = &mut self.recipients[index];
        (known.count, known.last) = (known.count + 1, draft.at);
        known.fields.extend(names(&draft.detail, "fields"));
        known.attributes.extend(names(&draft.detail, "attributes"));
        known.purposes.extend(names(&draft.detail, "purposes"));
    }
}

/// The texts in a list of an entry's details.
#[cfg(feature = "client")]
fn names(details: &BTreeMap<String, audit::Value>, name: &str) -> Vec<String> {
    let Some(audit::Value::List(list)) = details.get(name) else {
        return Vec::new();
    };
    let text = |value: &audit::Value| match value {
        audit::Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    list.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_erasure_key_is_refused() {
        assert_eq!(
            "x".repeat(21).parse::<ErasureKey>(),
            Err(ErasureKeyError::TooShort)
        );
        assert!("".parse::<ErasureKey>().is_err());
        let key: ErasureKey = "x".repeat(22).parse().unwrap();
        assert_eq!(key.as_key().as_str(), "x".repeat(22));
    }
}
