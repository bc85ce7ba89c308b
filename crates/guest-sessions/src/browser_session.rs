//! Bodies of `/spa`: the session of a browser whose page has no backend.

use genesys_api::strict_json::{BodyError, Object};
use genesys_api::{ChannelId, SessionId, SessionState, timestamp};
use guest_payload::{ConsentRecord, NewGuest, Signals};
use secrecy::SecretString;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::{SessionInfo, secret};

/// Longest assertion, in characters. Our choice.
const MAX_ASSERTION: usize = 4_096;

/// The body of `POST /spa/session`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateBrowserSessionBody {
    /// The guest, without an id.
    pub guest: NewGuest,
    /// The guest's identity, signed by the app's backend.
    pub assertion: Option<SecretString>,
}

impl CreateBrowserSessionBody {
    /// Parses the body of a guest on `channel`, by the rules of [`NewGuest::parse`].
    ///
    /// # Errors
    /// If the body does not match the contract. No error repeats the assertion.
    pub fn parse(
        bytes: &[u8],
        channel: ChannelId,
        signals: Signals,
        received: OffsetDateTime,
    ) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let attributes = body.optional("guestAttributes");
        let consent = body.required("consent")?;
        let assertion = match body.optional("assertion") {
            Some(field) => {
                let text = field.text()?;
                if text.chars().count() > MAX_ASSERTION {
                    return Err(field.invalid(format_args!("more than {MAX_ASSERTION} characters")));
                }
                Some(SecretString::from(&*text))
            }
            None => None,
        };
        body.finish()?;
        let guest = NewGuest::from_fields(channel, attributes.as_ref(), &consent, signals, received)?;
        Ok(Self { guest, assertion })
    }
}

/// The session of a browser: what its page needs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BrowserSession {
    /// Its id.
    pub id: SessionId,
    /// URL of the conversation's WebSocket, which a ticket opens.
    pub websocket_url: String,
    /// The stage that the session has reached.
    pub state: SessionState,
    /// Time of creation.
    #[serde(with = "timestamp")]
    pub created_at: OffsetDateTime,
    /// The consent record of the session.
    pub consent: ConsentRecord,
    /// The access token of the page, if it is of another site than the gateway.
    #[serde(flatten)]
    pub access: Option<BrowserAccess>,
}

/// The credentials of a page of another site. **They are serialized in the clear.**
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the fields of the contract")]
pub struct BrowserAccess {
    /// The access token.
    #[serde(serialize_with = "secret::serialize")]
    pub access_token: SecretString,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// The handle that is exchanged for a new access token, at the creation of the session.
    #[serde(serialize_with = "serialize_handle", skip_serializing_if = "Option::is_none")]
    pub resume_handle: Option<SecretString>,
}

fn serialize_handle<S: Serializer>(handle: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match handle {
        Some(handle) => secret::serialize(handle, serializer),
        None => serializer.serialize_none(),
    }
}

/// The body of `POST /spa/session/resume`.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the fields of the contract")]
pub struct ResumeBrowserSessionBody {
    /// The handle of the creation.
    pub resume_handle: SecretString,
}

impl ResumeBrowserSessionBody {
    /// Parses the body.
    ///
    /// # Errors
    /// If the body does not match the contract. No error repeats the handle.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut body = Object::parse(bytes)?;
        let resume_handle = SecretString::from(&*body.required("resumeHandle")?.text()?);
        body.finish()?;
        Ok(Self { resume_handle })
    }
}

impl BrowserSession {
    /// The session with the URL of its socket.
    #[must_use]
    pub fn new(session: SessionInfo, websocket_url: String, access: Option<BrowserAccess>) -> Self {
        Self {
            id: session.id,
            websocket_url,
            state: session.state,
            created_at: session.created_at,
            consent: session.consent,
            access,
        }
    }
}

/// A ticket, which opens one socket. **It is serialized in the clear.**
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the fields of the contract")]
pub struct Ticket {
    /// The ticket.
    #[serde(serialize_with = "secret::serialize")]
    pub ticket: SecretString,
    /// Seconds until it ends.
    pub expires_in: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_body_has_consent_and_an_optional_assertion() {
        let parse = |body: &str| {
            let channel = "channel".parse().unwrap();
            let received = OffsetDateTime::UNIX_EPOCH;
            CreateBrowserSessionBody::parse(body.as_bytes(), channel, Signals::default(), received)
        };
        let body = parse(r#"{"consent":{"marketing":true},"assertion":"canary"}"#).unwrap();
        assert!(body.assertion.is_some() && body.guest.guest.is_none());
        assert!(!format!("{body:?}").contains("canary"));
        let long = format!(r#"{{"consent":{{}},"assertion":"{}"}}"#, "canary".repeat(700));
        for (body, expected) in [
            ("{}", "the field \"consent\" is missing"),
            (
                r#"{"consent":{},"guestId":"g"}"#,
                "the field \"guestId\" is unknown: the fields here are guestAttributes, consent, assertion",
            ),
            (&long, "invalid assertion: more than 4096 characters"),
        ] {
            let error = parse(body).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
        }
    }
}
