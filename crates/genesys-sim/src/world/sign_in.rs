//! Signed-in guests: the simulator's own OpenID provider, and the tokens for which its codes are exchanged.

mod sockets;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::Now;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::config::{MAX_JWT_LIFETIME, User};
use crate::world::denial::Denial;
use crate::world::jwt::Claims;
use crate::world::limits::Window;
use crate::world::{World, jwt};

/// Limit of codes, and of sign-ins; the oldest are dropped first. Our choice.
const MAX_ENTRIES: usize = 10_000;

/// Lifetime of an authorization code (RFC 6749 recommends ten minutes at most), and of an id token.
const CODE_LIFETIME: Duration = Duration::from_secs(300);

/// Authorization codes of the provider, and sign-ins.
pub(crate) struct SignIns {
    pub(crate) exchanges: Window,
    pub(crate) refreshes: Window,
    pub(crate) revocations: Window,
    codes: BTreeMap<u64, Code>,
    by_number: BTreeMap<u64, SignIn>,
    opened: u64,
    id_key: hmac::Key,
    jwt_key: hmac::Key,
}

/// Parameters of an authorization request, which is always approved.
pub(crate) struct Approval {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    /// Of PKCE, method S256.
    pub(crate) challenge: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) login_hint: Option<String>,
}

/// A credential that is exchanged for a JWT.
pub(crate) enum Proof<'a> {
    Code {
        code: &'a str,
        redirect_uri: &'a str,
        verifier: Option<&'a str>,
        nonce: Option<&'a str>,
    },
    IdToken {
        token: &'a str,
        nonce: &'a str,
    },
}

struct Code {
    secret: String,
    user: User,
    approval: Approval,
    expires: OffsetDateTime,
}

struct SignIn {
    user: User,
    refresh_secret: String,
    expires: OffsetDateTime,
    revoked: bool,
}

#[derive(Deserialize, Serialize)]
struct IdClaims {
    iss: String,
    sub: String,
    aud: String,
    nonce: Option<String>,
    iat: i64,
    exp: i64,
    given_name: String,
    family_name: String,
}

/// Reason for which a JWT does not sign a guest in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SignInError {
    /// The JWT has expired, and can be refreshed.
    Expired,
    /// Malformed or forged.
    Invalid,
    /// The refresh token behind it has expired.
    RefreshExpired,
    /// Signed out, or dropped.
    Revoked,
}

impl SignIns {
    pub(super) fn new(id_key: [u8; 32], jwt_key: [u8; 32]) -> Self {
        Self {
            exchanges: Window::default(),
            refreshes: Window::default(),
            revocations: Window::default(),
            codes: BTreeMap::new(),
            by_number: BTreeMap::new(),
            opened: 0,
            id_key: hmac::Key::new(hmac::HMAC_SHA256, &id_key),
            jwt_key: hmac::Key::new(hmac::HMAC_SHA256, &jwt_key),
        }
    }

    /// Returns the user whom a JWT signs in.
    fn verify(&self, jwt: &str, utc: OffsetDateTime) -> Result<&User, SignInError> {
        let claims: Claims = jwt::open(&self.jwt_key, jwt).ok_or(SignInError::Invalid)?;
        let number = claims.sub.parse().map_err(|_| SignInError::Invalid)?;
        let sign_in = self.by_number.get(&number).ok_or(SignInError::Revoked)?;
        if sign_in.revoked {
            return Err(SignInError::Revoked);
        }
        if utc >= sign_in.expires {
            return Err(SignInError::RefreshExpired);
        }
        if utc.unix_timestamp() >= claims.exp {
            return Err(SignInError::Expired);
        }
        Ok(&sign_in.user)
    }

    fn next_number(&mut self) -> u64 {
        self.opened += 1;
        self.opened
    }
}

impl World {
    /// Issues an authorization code for one exchange.
    pub(crate) fn approve(&mut self, approval: Approval, now: Now) -> String {
        let user = self.user(approval.login_hint.as_deref());
        let secret = self.seed.secret();
        let number = self.sign_ins.next_number();
        let text = format!("{number}.{secret}");
        let code = Code {
            secret,
            user,
            approval,
            expires: now.utc + CODE_LIFETIME,
        };
        insert_bounded(&mut self.sign_ins.codes, number, code);
        text
    }

    /// Issues an id token, for the implicit flow.
    pub(crate) fn approve_implicitly(&self, approval: Approval, now: Now) -> String {
        let user = self.user(approval.login_hint.as_deref());
        let claims = IdClaims {
            iss: self.base.to_string(),
            sub: user.id,
            aud: approval.client_id,
            nonce: approval.nonce,
            iat: now.utc.unix_timestamp(),
            exp: (now.utc + CODE_LIFETIME).unix_timestamp(),
            given_name: user.first_name,
            family_name: user.last_name,
        };
        jwt::sign(&self.sign_ins.id_key, &claims)
    }

    /// Exchanges a proof for a JWT, and a code also for a refresh token. The first attempt uses a code up (RFC 6749,
    /// section 4.1.2).
    pub(crate) fn exchange(&mut self, proof: &Proof<'_>, now: Now) -> Option<(String, Option<String>)> {
        let (user, refreshable) = match *proof {
            Proof::Code {
                code,
                redirect_uri,
                verifier,
                nonce,
            } => {
                let (number, secret) = numbered(code)?;
                if self.sign_ins.codes.get(&number)?.secret != secret {
                    return None;
                }
                let code = self.sign_ins.codes.remove(&number)?;
                let valid = now.utc < code.expires
                    && code.approval.redirect_uri == redirect_uri
                    && verifies(code.approval.challenge.as_deref(), verifier)
                    && (nonce.is_none() || nonce == code.approval.nonce.as_deref());
                (valid.then_some(code.user)?, true)
            }
            Proof::IdToken { token, nonce } => {
                let claims: IdClaims = jwt::open(&self.sign_ins.id_key, token)?;
                let valid = now.utc.unix_timestamp() < claims.exp && claims.nonce.as_deref() == Some(nonce);
                let user = User {
                    id: claims.sub,
                    first_name: claims.given_name,
                    last_name: claims.family_name,
                };
                (valid.then_some(user)?, false)
            }
        };
        let rules = &self.rules.sign_in;
        let lifetime = if refreshable {
            rules.refresh_lifetime
        } else {
            rules.jwt_lifetime.min(MAX_JWT_LIFETIME)
        };
        let lifetime = time::Duration::try_from(lifetime).unwrap_or(time::Duration::MAX);
        let refresh_secret = self.seed.secret();
        let number = self.sign_ins.next_number();
        let refresh = refreshable.then(|| format!("{number}.{refresh_secret}"));
        let sign_in = SignIn {
            user,
            refresh_secret,
            expires: now.utc.saturating_add(lifetime),
            revoked: false,
        };
        insert_bounded(&mut self.sign_ins.by_number, number, sign_in);
        Some((self.issue_sign_in_jwt(number, now), refresh))
    }

    /// Issues a fresh JWT. The refresh token stays the same.
    pub(crate) fn refresh(&self, token: &str, now: Now) -> Option<String> {
        let (number, secret) = numbered(token)?;
        let sign_in = self.sign_ins.by_number.get(&number)?;
        let valid = sign_in.refresh_secret == secret && !sign_in.revoked && now.utc < sign_in.expires;
        valid.then(|| self.issue_sign_in_jwt(number, now))
    }

    /// Signs a user out of everything (that it is everything, and not one device, is an inference), and notifies all
    /// sockets of the user's sessions. They stay open without a session.
    pub(crate) fn revoke(&mut self, jwt: &str, now: Now) -> Result<(), Denial> {
        let user = match self.sign_ins.verify(jwt, now.utc) {
            Ok(user) => user.id.clone(),
            Err(SignInError::Expired) => return Err(Denial::CredentialsExpired),
            Err(_) => return Err(Denial::BadCredentials),
        };
        for sign_in in self.sign_ins.by_number.values_mut() {
            sign_in.revoked |= sign_in.user.id == user;
        }
        self.log_out(&user);
        Ok(())
    }

    fn issue_sign_in_jwt(&self, number: u64, now: Now) -> String {
        let lifetime = self.rules.sign_in.jwt_lifetime.min(MAX_JWT_LIFETIME);
        let sign_in = self.sign_ins.by_number.get(&number);
        let expires = sign_in.map_or(now.utc, |it| it.expires);
        let claims = Claims {
            iss: "genesys-sim".to_owned(),
            sub: number.to_string(),
            iat: now.utc.unix_timestamp(),
            exp: (now.utc + lifetime).min(expires).unix_timestamp(),
        };
        jwt::sign(&self.sign_ins.jwt_key, &claims)
    }

    fn user(&self, login_hint: Option<&str>) -> User {
        let known = &self.rules.sign_in.user;
        match login_hint {
            Some(id) if id != known.id => User {
                id: id.to_owned(),
                first_name: id.to_owned(),
                last_name: "Guest".to_owned(),
            },
            _ => known.clone(),
        }
    }
}

/// PKCE (RFC 7636, section 4.6). A verifier without a challenge is refused.
fn verifies(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
            (43..=128).contains(&verifier.len()) && URL_SAFE_NO_PAD.encode(hash) == challenge
        }
        _ => false,
    }
}

/// Number and secret of a code or a refresh token.
fn numbered(text: &str) -> Option<(u64, &str)> {
    let (number, secret) = text.split_once('.')?;
    Some((number.parse().ok()?, secret))
}

fn insert_bounded<T>(map: &mut BTreeMap<u64, T>, number: u64, value: T) {
    if map.len() >= MAX_ENTRIES {
        map.pop_first();
    }
    map.insert(number, value);
}
