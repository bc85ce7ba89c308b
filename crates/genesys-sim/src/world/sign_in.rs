//! Signed-in guests: the simulator's own OpenID provider, and the tokens that its approvals are exchanged for.

mod configure;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::Now;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::config::User;
use crate::config::sign_in::LONGEST_JWT;
use crate::world::jwt::Claims;
use crate::world::limits::Window;
use crate::world::{JwtError, World, jwt};

/// Most codes, and most sign-ins, remembered; the oldest go first. Our choice.
const MOST: usize = 10_000;

/// Lifetime of an authorization code (RFC 6749 recommends ten minutes at most), and of an id token.
const CODE_LIFETIME: Duration = Duration::from_secs(300);

/// The provider's codes, and who signed in.
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

/// What an authorization request asks for, and is granted unasked.
pub(crate) struct Approval {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    /// Of PKCE, method S256.
    pub(crate) challenge: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) login_hint: Option<String>,
}

/// What is exchanged for a JWT.
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
    redirect_uri: String,
    challenge: Option<String>,
    nonce: Option<String>,
    ends: OffsetDateTime,
}

struct SignIn {
    user: User,
    refresh_secret: String,
    ends: OffsetDateTime,
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

/// Why a JWT does not sign a guest in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unknown {
    /// Malformed, forged or too old.
    Jwt(JwtError),
    /// Signed out, or forgotten.
    Revoked,
    /// The refresh token behind it has expired.
    Ended,
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

    /// The sign-in that a JWT stands for, as long as it may be refreshed.
    fn verify(&self, jwt: &str, utc: OffsetDateTime) -> Result<(u64, &SignIn), Unknown> {
        let invalid = Unknown::Jwt(JwtError::Invalid);
        let claims: Claims = jwt::open(&self.jwt_key, jwt).ok_or(invalid)?;
        let number = claims.sub.parse().map_err(|_| invalid)?;
        let sign_in = self.by_number.get(&number).ok_or(Unknown::Revoked)?;
        if sign_in.revoked {
            return Err(Unknown::Revoked);
        }
        if utc >= sign_in.ends {
            return Err(Unknown::Ended);
        }
        if utc.unix_timestamp() >= claims.exp {
            return Err(Unknown::Jwt(JwtError::Expired));
        }
        Ok((number, sign_in))
    }
}

impl World {
    /// An authorization code for whoever asks, good for one exchange.
    pub(crate) fn approve(&mut self, approval: Approval, now: Now) -> String {
        let user = self.user(approval.login_hint);
        let secret = self.seed.secret();
        let number = self.next_sign_in();
        let code = format!("{number}.{secret}");
        bound(&mut self.sign_ins.codes);
        self.sign_ins.codes.insert(
            number,
            Code {
                secret,
                user,
                redirect_uri: approval.redirect_uri,
                challenge: approval.challenge,
                nonce: approval.nonce,
                ends: now.utc + CODE_LIFETIME,
            },
        );
        code
    }

    /// An id token, for the implicit flow.
    pub(crate) fn approve_implicitly(&self, approval: Approval, now: Now) -> String {
        let user = self.user(approval.login_hint);
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

    /// A JWT, and a refresh token where a code was exchanged. A code is spent by the first attempt (RFC 6749,
    /// section 4.1.2).
    pub(crate) fn exchange(&mut self, proof: &Proof<'_>, now: Now) -> Option<(String, Option<String>)> {
        let (user, refreshable) = match *proof {
            Proof::Code {
                code,
                redirect_uri,
                verifier,
                nonce,
            } => {
                let (number, secret) = code.split_once('.')?;
                let number = number.parse().ok()?;
                if self.sign_ins.codes.get(&number)?.secret != secret {
                    return None;
                }
                let code = self.sign_ins.codes.remove(&number)?;
                let right = now.utc < code.ends
                    && code.redirect_uri == redirect_uri
                    && proves(code.challenge.as_deref(), verifier)
                    && (nonce.is_none() || nonce == code.nonce.as_deref());
                (right.then_some(code.user)?, true)
            }
            Proof::IdToken { token, nonce } => {
                let claims: IdClaims = jwt::open(&self.sign_ins.id_key, token)?;
                let right = now.utc.unix_timestamp() < claims.exp && claims.nonce.as_deref() == Some(nonce);
                let user = User {
                    id: claims.sub,
                    first_name: claims.given_name,
                    last_name: claims.family_name,
                };
                (right.then_some(user)?, false)
            }
        };
        let rules = &self.rules.sign_in;
        let lifetime = if refreshable {
            rules.refresh_lifetime
        } else {
            rules.jwt_lifetime.min(LONGEST_JWT)
        };
        let lifetime = time::Duration::try_from(lifetime).unwrap_or(time::Duration::MAX);
        let refresh_secret = self.seed.secret();
        let number = self.next_sign_in();
        let refresh = refreshable.then(|| format!("{number}.{refresh_secret}"));
        bound(&mut self.sign_ins.by_number);
        self.sign_ins.by_number.insert(
            number,
            SignIn {
                user,
                refresh_secret,
                ends: now.utc.saturating_add(lifetime),
                revoked: false,
            },
        );
        Some((self.issue_sign_in(number, now), refresh))
    }

    /// A fresh JWT; the refresh token stays as it is.
    pub(crate) fn refresh(&self, token: &str, now: Now) -> Option<String> {
        let (number, secret) = token.split_once('.')?;
        let number = number.parse().ok()?;
        let sign_in = self.sign_ins.by_number.get(&number)?;
        let good = sign_in.refresh_secret == secret && !sign_in.revoked && now.utc < sign_in.ends;
        good.then(|| self.issue_sign_in(number, now))
    }

    /// Signs a user out of everything (that it is everything, and not one device, is an inference), and tells all
    /// sockets of the user's sessions. They stay open, and belong to no session.
    pub(crate) fn revoke(&mut self, jwt: &str, now: Now) -> Result<(), JwtError> {
        let user = match self.sign_ins.verify(jwt, now.utc) {
            Ok((_, sign_in)) => sign_in.user.id.clone(),
            Err(Unknown::Jwt(error)) => return Err(error),
            Err(Unknown::Revoked | Unknown::Ended) => return Err(JwtError::Invalid),
        };
        for sign_in in self.sign_ins.by_number.values_mut() {
            sign_in.revoked |= sign_in.user.id == user;
        }
        self.log_out(&user);
        Ok(())
    }

    fn issue_sign_in(&self, number: u64, now: Now) -> String {
        let lifetime = self.rules.sign_in.jwt_lifetime.min(LONGEST_JWT);
        let ends = self.sign_ins.by_number.get(&number).map_or(now.utc, |it| it.ends);
        let claims = Claims {
            iss: "genesys-sim".to_owned(),
            sub: number.to_string(),
            iat: now.utc.unix_timestamp(),
            exp: (now.utc + lifetime).min(ends).unix_timestamp(),
        };
        jwt::sign(&self.sign_ins.jwt_key, &claims)
    }

    fn user(&self, login_hint: Option<String>) -> User {
        let known = &self.rules.sign_in.user;
        match login_hint {
            Some(id) if id != known.id => User {
                first_name: id.clone(),
                last_name: "Guest".to_owned(),
                id,
            },
            _ => known.clone(),
        }
    }

    fn next_sign_in(&mut self) -> u64 {
        self.sign_ins.opened += 1;
        self.sign_ins.opened
    }
}

/// PKCE (RFC 7636, section 4.6). A verifier without a challenge proves nothing, and is refused.
fn proves(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
            (43..=128).contains(&verifier.len()) && URL_SAFE_NO_PAD.encode(hash) == challenge
        }
        _ => false,
    }
}

fn bound<T>(map: &mut BTreeMap<u64, T>) {
    if map.len() >= MOST {
        map.pop_first();
    }
}
