//! Signed-in guests: the simulator's own OpenID provider, and the tokens for which its codes are exchanged.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::Now;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cloud::{
    ActionResult, Cloud, FixedWindow, Message, MessageContent, Problem, Refusal, Request, SessionKey,
    SocketId, jwt, later,
};
use crate::config::User;

/// Limit of codes, and of sign-ins; the oldest are dropped first. Our choice.
const MAX_ENTRIES: usize = 10_000;

/// Lifetime of an authorization code (RFC 6749 recommends ten minutes at most), and of an id token.
const CODE_LIFETIME: Duration = Duration::from_secs(300);
const ISSUER: &str = "genesys-sim";

#[derive(Default)]
pub(crate) struct SignIns {
    /// Windows of the limits, by key.
    pub(crate) windows: BTreeMap<&'static str, FixedWindow>,
    codes: BTreeMap<u64, Code>,
    by_number: BTreeMap<u64, SignIn>,
}

/// Parameters of an authorization request, which is always approved.
pub(crate) struct AuthorizationRequest {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    /// Of PKCE, method S256.
    pub(crate) challenge: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) login_hint: Option<String>,
}

struct Code {
    secret: String,
    user: User,
    authorization: AuthorizationRequest,
    expires: OffsetDateTime,
}

struct SignIn {
    user: User,
    refresh_secret: String,
    expires: OffsetDateTime,
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

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SignInError {
    /// The JWT has expired, and can be refreshed.
    Expired,
    Invalid,
    RefreshTokenExpired,
    /// Signed out, or dropped.
    Revoked,
}

impl Cloud {
    pub(crate) fn issue_code(&mut self, authorization: AuthorizationRequest, now: Now) -> String {
        let user = self.user(authorization.login_hint.as_deref());
        let secret = self.rng.secret();
        let number = self.next_number();
        let text = format!("{number}.{secret}");
        let code = Code {
            secret,
            user,
            authorization,
            expires: now.utc + CODE_LIFETIME,
        };
        insert_bounded(&mut self.sign_ins.codes, number, code);
        text
    }

    pub(crate) fn issue_id_token(&self, authorization: AuthorizationRequest, now: Now) -> String {
        let user = self.user(authorization.login_hint.as_deref());
        let claims = IdClaims {
            iss: self.base.to_string(),
            sub: user.id,
            aud: authorization.client_id,
            nonce: authorization.nonce,
            iat: now.utc.unix_timestamp(),
            exp: (now.utc + CODE_LIFETIME).unix_timestamp(),
            given_name: user.first_name,
            family_name: user.last_name,
        };
        jwt::sign(&self.jwt_key, &claims)
    }

    /// Exchanges a code for a JWT and a refresh token. The first attempt uses a code up (RFC 6749, section 4.1.2).
    pub(crate) fn exchange_code(
        &mut self,
        code: &str,
        redirect_uri: &str,
        (verifier, nonce): (Option<&str>, Option<&str>),
        now: Now,
    ) -> Option<(String, String)> {
        let (number, secret) = numbered(code)?;
        if self.sign_ins.codes.get(&number)?.secret != secret {
            return None;
        }
        let code = self.sign_ins.codes.remove(&number)?;
        let authorization = code.authorization;
        let valid = now.utc < code.expires
            && authorization.redirect_uri == redirect_uri
            && verifies(authorization.challenge.as_deref(), verifier)
            && (nonce.is_none() || nonce == authorization.nonce.as_deref());
        let lifetime = self.rules.sign_in.refresh_lifetime;
        valid.then(|| self.sign_in(code.user, lifetime, now))
    }

    pub(crate) fn exchange_id_token(&mut self, token: &str, nonce: &str, now: Now) -> Option<String> {
        let claims: IdClaims = jwt::open(&self.jwt_key, token)?;
        let valid = now.utc.unix_timestamp() < claims.exp && claims.nonce.as_deref() == Some(nonce);
        let user = User {
            id: claims.sub,
            first_name: claims.given_name,
            last_name: claims.family_name,
        };
        let lifetime = self.rules.sign_in.jwt_lifetime;
        valid.then(|| self.sign_in(user, lifetime, now).0)
    }

    fn sign_in(&mut self, user: User, lifetime: Duration, now: Now) -> (String, String) {
        let refresh_secret = self.rng.secret();
        let number = self.next_number();
        let refresh_token = format!("{number}.{refresh_secret}");
        let sign_in = SignIn {
            user,
            refresh_secret,
            expires: later(now, lifetime).utc,
        };
        let jwt = self.issue_sign_in_jwt(number, &sign_in, now);
        insert_bounded(&mut self.sign_ins.by_number, number, sign_in);
        (jwt, refresh_token)
    }

    /// Issues a fresh JWT. The refresh token stays the same.
    pub(crate) fn refresh(&self, token: &str, now: Now) -> Option<String> {
        let (number, secret) = numbered(token)?;
        let sign_in = self.sign_ins.by_number.get(&number)?;
        let valid = sign_in.refresh_secret == secret && now.utc < sign_in.expires;
        valid.then(|| self.issue_sign_in_jwt(number, sign_in, now))
    }

    fn verify_sign_in(&self, jwt: &str, now: Now) -> Result<&User, SignInError> {
        let verified = jwt::verify(&self.jwt_key, ISSUER, jwt, now);
        let (number, expired) = verified.ok_or(SignInError::Invalid)?;
        match self.sign_ins.by_number.get(&number) {
            None => Err(SignInError::Revoked),
            Some(sign_in) if now.utc >= sign_in.expires => Err(SignInError::RefreshTokenExpired),
            Some(_) if expired => Err(SignInError::Expired),
            Some(sign_in) => Ok(&sign_in.user),
        }
    }

    /// Signs a user out of everything (that it is everything, and not one device, is an inference), and notifies all
    /// sockets of the user's sessions. They stay open without a session.
    pub(crate) fn revoke(&mut self, jwt: &str, now: Now) -> Result<(), Problem> {
        let user = match self.verify_sign_in(jwt, now) {
            Ok(user) => user.id.clone(),
            Err(SignInError::Expired) => return Err(Problem::CREDENTIALS_EXPIRED),
            Err(_) => return Err(Problem::BAD_CREDENTIALS),
        };
        let sign_ins = &mut self.sign_ins.by_number;
        sign_ins.retain(|_, sign_in| sign_in.user.id != user);
        self.log_out(&user);
        Ok(())
    }

    fn issue_sign_in_jwt(&self, number: u64, sign_in: &SignIn, now: Now) -> String {
        let expires = (now.utc + self.rules.sign_in.jwt_lifetime).min(sign_in.expires);
        jwt::issue(&self.jwt_key, ISSUER.to_owned(), number, now, expires)
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

    pub(super) fn configure_authenticated(&mut self, request: &Request) -> ActionResult {
        let (fields, now) = (request.fields(), request.now);
        let token = fields.text("token")?;
        let start_new = fields.optional("startNew", Value::as_bool)? == Some(true);
        let jwt = fields.object("data")?.text("code")?;
        self.check_named_deployment(request)?;
        if !self.rules.sign_in.enabled {
            return Err(Refusal::SWITCHED_OFF);
        }
        let user = match self.verify_sign_in(jwt, now) {
            Ok(user) => user.clone(),
            Err(SignInError::Expired | SignInError::Invalid) => return Err(Refusal::UNAUTHORIZED),
            Err(SignInError::Revoked) => return Err(Refusal::AUTHENTICATION_FAILED),
            Err(SignInError::RefreshTokenExpired) => return Err(Refusal::AUTHENTICATE_AGAIN),
        };
        let step_up = match self.session_by_token(token).map(|session| &session.user) {
            Some(Some(other)) if other.id != user.id => return Err(Refusal::AUTHENTICATION_FAILED),
            Some(None) if !self.rules.sign_in.allow_session_upgrade => return Err(Refusal::SWITCHED_OFF),
            Some(None) => true,
            None | Some(Some(_)) => false,
        };
        let (key, new) = self.configure(request, token, start_new)?;
        let cleared = step_up && self.step_up(request.socket, key, &user);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.user = Some(user.clone());
        }
        let body = self.session_response(key, new, cleared);
        self.reply(request, "SessionResponse", &body)?;
        if step_up {
            self.send_sign_in(key, &user, now);
        }
        Ok(())
    }

    /// Closes the guest's other sockets, and ends earlier sessions of the user. Returns whether there were any.
    fn step_up(&mut self, socket: SocketId, key: SessionKey, user: &User) -> bool {
        let others = self.sessions.get(&key).map(|session| session.sockets.clone());
        for other in others.into_iter().flatten().filter(|other| *other != socket) {
            self.close_with_event(other, &json!({"reason": "signedIn"}));
        }
        let earlier = self.sessions_of(&user.id);
        for key in &earlier {
            self.clear(*key);
        }
        !earlier.is_empty()
    }

    fn send_sign_in(&mut self, key: SessionKey, user: &User, now: Now) {
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let time = session.next_timestamp(now.utc);
        let content = MessageContent::presence("SignIn").with_metadata("authenticated", "true");
        let message = Message::from_guest(&mut self.rng, content, Some(user.clone()), time);
        self.fan_out(key, None, |_| message.frame(None));
        self.store(key, message, now);
    }

    fn log_out(&mut self, user: &str) {
        for key in self.sessions_of(user) {
            self.broadcast(key, "LogoutEvent", &json!({}));
            let sockets = self.sessions.get(&key).map(|session| session.sockets.clone());
            for socket in sockets.into_iter().flatten() {
                self.detach(socket);
            }
        }
    }

    /// Oldest first.
    fn sessions_of(&self, user: &str) -> Vec<SessionKey> {
        let sessions = self.sessions.iter();
        let sessions = sessions.filter(|(_, session)| session.user.as_ref().is_some_and(|it| it.id == user));
        let mut keys: Vec<_> = sessions.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
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
