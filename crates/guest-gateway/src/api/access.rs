//! API clients, their credentials, and their access tokens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::{Gcra, Now, Rate, entropy};
use genesys_auth::{ClientId, Scopes};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::failures::FailureLimiter;
use crate::config::{self, ConfigError};
use crate::keys::Keys;
use crate::keys::fingerprint;

/// Lifetime of an API client's access token. Our choice; Genesys' default is 24 hours.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(3_600);

/// The API clients of the configuration.
///
/// Their tokens are self-contained and have a MAC, so no state is kept for one. They stay valid over a restart with the
/// same keys.
#[derive(Debug)]
pub(crate) struct Clients {
    known: HashMap<ClientId, Client>,
    /// The MAC of a random secret, with which those of unknown clients are compared.
    unknown_client: hmac::Tag,
    failures: Arc<Mutex<FailureLimiter>>,
    key: hmac::Key,
    fingerprint_key: [u8; 32],
}

#[derive(Debug)]
struct Client {
    secret: hmac::Tag,
    /// The secret before a rotation, until a time.
    old_secret: Option<(hmac::Tag, OffsetDateTime)>,
    scopes: Scopes,
    rate: u32,
    requests: Arc<Mutex<Gcra>>,
}

/// A client with valid credentials.
#[derive(Debug)]
pub(super) struct Authenticated<'a> {
    pub(super) client: ClientId,
    /// The scopes that it may request.
    pub(super) scopes: &'a Scopes,
    /// Whether it used the secret before a rotation.
    pub(super) by_old_secret: bool,
}

#[derive(Deserialize, Serialize)]
struct Claims {
    client: String,
    scopes: String,
    expires: i64,
    /// Makes two tokens of the same second differ.
    nonce: u64,
}

impl Clients {
    /// # Errors
    /// If the secret of a client cannot be read.
    pub(crate) fn new(
        clients: &[config::Client],
        keys: &Keys,
        requests_per_minute: u32,
    ) -> Result<Self, ConfigError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &keys.tokens);
        let mut known = HashMap::new();
        let mac = |secret: &SecretString| hmac::sign(&key, secret.expose_secret().as_bytes());
        for config in clients {
            let client = Client {
                secret: mac(&config.secret()?),
                old_secret: config.old_secret()?.map(|(secret, until)| (mac(&secret), until)),
                scopes: config.scopes.clone(),
                rate: requests_per_minute,
                requests: Arc::new(Mutex::new(Gcra::new(Rate::at_once(
                    requests_per_minute,
                    Duration::from_secs(60),
                )))),
            };
            known.insert(config.id.clone(), client);
        }
        Ok(Self {
            known,
            unknown_client: hmac::sign(&key, &entropy::bytes::<32>()),
            failures: Arc::default(),
            key,
            fingerprint_key: keys.for_fingerprints(),
        })
    }

    /// Continues the limits of the clients before a reload.
    pub(crate) fn continue_limits(&mut self, before: &Self) {
        self.failures = Arc::clone(&before.failures);
        for (id, client) in &mut self.known {
            if let Some(before) = before.known.get(id).filter(|before| before.rate == client.rate) {
                client.requests = Arc::clone(&before.requests);
            }
        }
    }

    /// Checks a client's credentials, of which `presented` has each possible reading.
    ///
    /// The result of an unknown client differs from that of a wrong secret in the audit log only, and takes the same time.
    pub(super) fn authenticate(
        &self,
        presented: &[(String, SecretString)],
        address: IpAddr,
        now: Now,
    ) -> Result<Authenticated<'_>, AuthFailure> {
        let find = |id: &str| self.known.get_key_value(&id.parse::<ClientId>().ok()?);
        // held to the end, so that parallel guesses are counted
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut authenticated, mut known, mut wait) = (None, None, None);
        for (id, secret) in presented {
            let found = find(id);
            let current = found.map_or(&self.unknown_client, |(_, client)| &client.secret);
            let old = found.and_then(|(_, client)| client.old_secret.as_ref());
            let old = old.filter(|(_, until)| now.utc < *until);
            // compared with two MACs in every case, for the same time
            let [is_current, is_old] = [current, old.map_or(&self.unknown_client, |(old, _)| old)]
                .map(|mac| hmac::verify(&self.key, secret.expose_secret().as_bytes(), mac.as_ref()).is_ok());
            let Some((id, client)) = found else { continue };
            match failures.check(id.as_str(), address, now.instant) {
                Ok(()) if is_current || is_old => {
                    authenticated = authenticated.or(Some(Authenticated {
                        client: id.clone(),
                        scopes: &client.scopes,
                        by_old_secret: !is_current,
                    }));
                }
                Ok(()) => known = known.or(Some(id)),
                Err(limited) => (known, wait) = (known.or(Some(id)), wait.max(Some(limited))),
            }
        }
        if let Some(authenticated) = authenticated {
            return Ok(authenticated);
        }
        let counted = failures.count(known.map(ClientId::as_str), address, now.instant);
        Err(AuthFailure {
            client: known.cloned(),
            reason: match wait.max(counted.err()) {
                Some(wait) => FailureReason::Limited(wait),
                None => FailureReason::Credentials,
            },
        })
    }

    /// The fingerprint of a token in the audit log.
    pub(super) fn fingerprint(&self, token: &SecretString) -> String {
        fingerprint(&self.fingerprint_key, token.expose_secret())
    }

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
        sign_claims(&self.key, &claims)
    }

    /// Checks a token. Returns its client and scopes.
    pub(super) fn verify(&self, token: &str, now: OffsetDateTime) -> Result<(ClientId, Scopes), BadToken> {
        let claims: Claims = open_claims(&self.key, token).ok_or(BadToken::Unknown)?;
        let client: ClientId = claims.client.parse().map_err(|_| BadToken::Unknown)?;
        let known = self.known.get(&client).ok_or(BadToken::Unknown)?;
        if claims.expires <= now.unix_timestamp() {
            return Err(BadToken::Expired(client));
        }
        let scopes: Scopes = claims.scopes.parse().map_err(|_| BadToken::Unknown)?;
        // a scope that was removed from the configuration is no longer granted
        known.scopes.require(&scopes).map_err(|_| BadToken::Unknown)?;
        Ok((client, scopes))
    }

    /// Counts one request of `client`.
    ///
    /// # Errors
    /// The time to wait, if the rate limit is reached.
    pub(super) fn admit(&self, client: &ClientId, now: Now) -> Result<(), Duration> {
        let Some(client) = self.known.get(client) else {
            return Ok(());
        };
        let mut requests = client.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let acquired = requests.try_acquire(now.instant);
        acquired.map_err(|free_at| free_at.saturating_duration_since(now.instant))
    }
}

/// Claims in base64url and their MAC. `T` is text and numbers.
pub(crate) fn sign_claims<T: Serialize>(key: &hmac::Key, claims: &T) -> SecretString {
    let claims = serde_json::to_vec(claims).expect("claims are text and numbers");
    let tag = hmac::sign(key, &claims);
    let (claims, tag) = (URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(tag));
    format!("{claims}.{tag}").into()
}

/// The claims of a token whose MAC is valid.
pub(crate) fn open_claims<T: DeserializeOwned>(key: &hmac::Key, token: &str) -> Option<T> {
    let (claims, tag) = token.split_once('.')?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    hmac::verify(key, &claims, &tag).ok()?;
    serde_json::from_slice(&claims).ok()
}

/// A failed authentication of an API client.
#[derive(Debug)]
pub(super) struct AuthFailure {
    /// The client, if it is known.
    pub(super) client: Option<ClientId>,
    pub(super) reason: FailureReason,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum FailureReason {
    /// The client is unknown, or the secret is wrong.
    Credentials,
    /// Too many authentications failed at the address. A right secret of a client of which as many failed is refused for
    /// this time.
    Limited(Duration),
}

impl FailureReason {
    /// The name in the audit log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Credentials => "authentication failed",
            Self::Limited(_) => "too many failed authentications",
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum BadToken {
    Expired(ClientId),
    /// Malformed, altered, or of a removed client or scope.
    Unknown,
}
