//! What the gateway answers.

use bytes::Bytes;
use genesys_api::{GuestId, SessionId, SessionState};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{consent_record, stamp};
use crate::ConsentRecord;

/// A guest session that was created: the answer to [`Create`](super::Create). Both tokens are secret.
#[derive(Clone, Debug)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// The guest.
    pub guest_id: GuestId,
    /// What opens the socket.
    pub access_token: SecretString,
    /// What renews both tokens, once.
    pub refresh_token: SecretString,
    /// Where the conversation is. It holds no token.
    pub websocket_url: String,
    /// When the access token ends.
    pub expires_at: OffsetDateTime,
    /// When the session was created.
    pub created_at: OffsetDateTime,
    /// What was decided.
    pub consent: ConsentRecord,
}

impl Session {
    /// The body of the 201 answer, **with both tokens in the clear**: nothing but a response may hold it.
    ///
    /// # Panics
    /// Never: the body is a plain struct with text keys.
    #[must_use]
    pub fn to_body(&self) -> Bytes {
        let body = serde_json::to_vec(&Body {
            id: self.id.clone(),
            guest_id: self.guest_id.clone(),
            access_token: self.access_token.expose_secret(),
            refresh_token: self.refresh_token.expose_secret(),
            websocket_url: self.websocket_url.clone(),
            expires_at: self.expires_at,
            created_at: self.created_at,
            consent: self.consent.clone(),
        });
        body.expect("a plain struct with text keys").into()
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<Token> {
    id: SessionId,
    guest_id: GuestId,
    access_token: Token,
    refresh_token: Token,
    websocket_url: String,
    #[serde(with = "stamp")]
    expires_at: OffsetDateTime,
    #[serde(with = "stamp")]
    created_at: OffsetDateTime,
    #[serde(with = "consent_record")]
    consent: ConsentRecord,
}

impl From<Body<String>> for Session {
    fn from(body: Body<String>) -> Self {
        Self {
            id: body.id,
            guest_id: body.guest_id,
            access_token: body.access_token.into(),
            refresh_token: body.refresh_token.into(),
            websocket_url: body.websocket_url,
            expires_at: body.expires_at,
            created_at: body.created_at,
            consent: body.consent,
        }
    }
}

/// A guest session as it stands: the answer to [`Fetch`](super::Fetch) and
/// [`ChangeConsent`](super::ChangeConsent). It never holds a token.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The session.
    pub id: SessionId,
    /// The guest.
    pub guest_id: GuestId,
    /// How far it has come.
    pub state: SessionState,
    /// When it was created.
    #[serde(with = "stamp")]
    pub created_at: OffsetDateTime,
    /// When its access token ends.
    #[serde(with = "stamp")]
    pub expires_at: OffsetDateTime,
    /// When it ended, if it did.
    #[serde(with = "stamp::option", default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<OffsetDateTime>,
    /// Why it ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
    /// What holds about consent.
    #[serde(with = "consent_record")]
    pub consent: ConsentRecord,
}
