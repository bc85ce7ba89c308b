//! API clients: who they are, what they may do, and the tokens that say so.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::{Now, SlidingWindow};
use genesys_auth::{ClientId, Scopes};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How long an API client's access token lives. Our choice; Genesys' default is 24 hours.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(3_600);

/// The API clients of the configuration.
///
/// Their tokens are self-contained and carry a MAC, so nothing is kept for one: no table can grow, and a restart
/// with the same keys honors them.
#[derive(Debug)]
pub(crate) struct Clients {
    known: HashMap<ClientId, Client>,
    key: hmac::Key,
}

#[derive(Debug)]
struct Client {
    secret: hmac::Tag,
    scopes: Scopes,
    requests: Mutex<SlidingWindow>,
}

/// What a token allows.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) client: ClientId,
    scopes: Scopes,
}

impl Access {
    /// Whether the token has the scope of this name.
    pub(super) fn may(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }
}

#[derive(Deserialize, Serialize)]
struct Claims {
    client: String,
    scopes: String,
    expires: i64,
    /// Sets two tokens of the same second apart.
    nonce: u64,
}

impl Clients {
    /// `key` must be secret and the same after a restart.
    pub(crate) fn new(
        clients: impl IntoIterator<Item = (ClientId, SecretString, Scopes)>,
        key: &[u8; 32],
        requests_per_minute: usize,
    ) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let known = clients
            .into_iter()
            .map(|(id, secret, scopes)| {
                let secret = hmac::sign(&key, secret.expose_secret().as_bytes());
                let requests = Mutex::new(SlidingWindow::new(requests_per_minute, Duration::from_secs(60)));
                (
                    id,
                    Client {
                        secret,
                        scopes,
                        requests,
                    },
                )
            })
            .collect();
        Self { known, key }
    }

    /// Checks a client's credentials and gives the scopes that it may ask for.
    pub(super) fn authenticate(
        &self,
        id: &str,
        secret: &SecretString,
    ) -> Result<(ClientId, &Scopes), Unauthenticated> {
        let id: ClientId = id.parse().map_err(|_| Unauthenticated::UnknownClient)?;
        let client = self.known.get(&id).ok_or(Unauthenticated::UnknownClient)?;
        hmac::verify(
            &self.key,
            secret.expose_secret().as_bytes(),
            client.secret.as_ref(),
        )
        .map_err(|_| Unauthenticated::WrongSecret)?;
        Ok((id, &client.scopes))
    }

    /// A token for `scopes`.
    pub(super) fn issue(
        &self,
        client: &ClientId,
        scopes: &Scopes,
        now: OffsetDateTime,
        nonce: u64,
    ) -> SecretString {
        let claims = Claims {
            client: client.as_str().to_owned(),
            scopes: scopes.to_string(),
            expires: (now + TOKEN_LIFETIME).unix_timestamp(),
            nonce,
        };
        let claims = serde_json::to_vec(&claims).expect("claims are text and numbers");
        let tag = hmac::sign(&self.key, &claims);
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(claims),
            URL_SAFE_NO_PAD.encode(tag)
        )
        .into()
    }

    /// Reads a token.
    pub(super) fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Access, BadToken> {
        let (claims, tag) = token.split_once('.').ok_or(BadToken::Unknown)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| BadToken::Unknown)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| BadToken::Unknown)?;
        hmac::verify(&self.key, &claims, &tag).map_err(|_| BadToken::Unknown)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| BadToken::Unknown)?;
        let client: ClientId = claims.client.parse().map_err(|_| BadToken::Unknown)?;
        let known = self.known.get(&client).ok_or(BadToken::Unknown)?;
        if claims.expires <= now.unix_timestamp() {
            return Err(BadToken::Expired);
        }
        let scopes: Scopes = claims.scopes.parse().map_err(|_| BadToken::Unknown)?;
        // what the configuration took away since is no longer granted
        known.scopes.require(&scopes).map_err(|_| BadToken::Unknown)?;
        Ok(Access { client, scopes })
    }

    /// Counts one request of `client`.
    ///
    /// # Errors
    /// How long to wait, if it has had its share of the current minute.
    pub(super) fn admit(&self, client: &ClientId, now: Now) -> Result<(), Duration> {
        let Some(client) = self.known.get(client) else {
            return Ok(());
        };
        let mut requests = client.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests
            .try_acquire(now.instant)
            .map_err(|until: Instant| until.saturating_duration_since(now.instant))
    }
}

/// The credentials are not ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unauthenticated {
    UnknownClient,
    WrongSecret,
}

/// The token allows nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BadToken {
    Expired,
    Unknown,
}
