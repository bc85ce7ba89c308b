//! The login of operators: a token, a session of a browser that has presented it, or a client certificate.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit::{Actor, Draft, Outcome};
use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::{Now, entropy};
use genesys_http::server::ClientCertificate;
use guest_sessions::ErrorCode;
use guest_suite::Error;
use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ring::digest::{SHA256, digest};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Admin;
use crate::api::{Call, FailureLimiter, Refusal, RequestLog, bearer_token, peer};
use crate::spa::{check_csrf, cookies, is_fetched_by};

/// Lifetime of a session of a browser. Our choice: a working day.
const LIFETIME: Duration = Duration::from_secs(12 * 3_600);
/// Largest number of sessions. A further one ends the oldest. Our choice.
const MAX_SESSIONS: usize = 64;
/// The owner of the token, in the audit log and for the limit of failures.
const TOKEN_OWNER: &str = "admin";

/// An operator who is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    name: String,
    credential: Credential,
}

/// The proof of a login. It can end before the connection does.
#[derive(Clone, Debug)]
enum Credential {
    Certificate(ClientCertificate),
    Session(SessionHash),
    /// The MAC of the token.
    Token(hmac::Tag),
}

impl Operator {
    /// The actor of entries in the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor::operator(&self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The credentials of operators.
#[derive(Debug)]
pub(crate) struct Login {
    key: hmac::Key,
    /// The MAC of the token, if there is one.
    token: Mutex<Option<hmac::Tag>>,
    failures: Mutex<FailureLimiter>,
    sessions: Mutex<HashMap<SessionHash, Instant>>,
    /// Whether browsers reach the listener by TLS.
    is_secure: bool,
}

type SessionHash = [u8; 32];

impl Login {
    pub(crate) fn new(token: Option<SecretString>, is_secure: bool) -> Self {
        let login = Self {
            token: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &entropy::bytes::<32>()),
            failures: Mutex::default(),
            sessions: Mutex::default(),
            is_secure,
        };
        login.set_token(token);
        login
    }

    /// Replaces the token. If it differs, the sessions of the old one end.
    pub(crate) fn set_token(&self, token: Option<SecretString>) {
        let tag = token.map(|token| hmac::sign(&self.key, token.expose_secret().as_bytes()));
        let mut current = lock(&self.token);
        if current.as_ref().map(AsRef::as_ref) != tag.as_ref().map(AsRef::as_ref) {
            lock(&self.sessions).clear();
        }
        *current = tag;
    }

    /// Verifies a token in constant time. Failures of the address prefix are limited.
    fn verify(&self, token: &str, address: IpAddr, now: Now) -> Result<Operator, Refusal> {
        // held to the end, so that parallel guesses are counted
        let mut failures = lock(&self.failures);
        let limited = failures.check(TOKEN_OWNER, address, now.instant);
        limited.map_err(Refusal::too_many_failures)?;
        let is_valid = |tag: &hmac::Tag| hmac::verify(&self.key, token.as_bytes(), tag.as_ref()).is_ok();
        if let Some(tag) = (*lock(&self.token)).filter(is_valid) {
            return Ok(Operator {
                name: TOKEN_OWNER.to_owned(),
                credential: Credential::Token(tag),
            });
        }
        let counted = failures.count(Some(TOKEN_OWNER), address, now.instant);
        counted.map_err(Refusal::too_many_failures)?;
        let message = "invalid token: not the one of [admin]";
        Err(Refusal::new(ErrorCode::BadCredentials, message))
    }

    /// Opens a session. Returns the value of its cookie.
    fn open_session(&self, now: Instant) -> SecretString {
        let id = URL_SAFE_NO_PAD.encode(entropy::bytes::<32>());
        let mut sessions = lock(&self.sessions);
        sessions.retain(|_, expires_at| now < *expires_at);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions
                .iter()
                .min_by_key(|(_, expires_at)| **expires_at)
                .map(|(hash, _)| *hash);
            oldest.and_then(|hash| sessions.remove(&hash));
        }
        sessions.insert(hash(id.as_bytes()), now + LIFETIME);
        id.into()
    }

    /// Whether the login of an operator is still in force.
    pub(super) fn is_in_force(&self, operator: &Operator, now: Instant) -> bool {
        match &operator.credential {
            Credential::Certificate(certificate) => certificate.is_trusted(),
            Credential::Session(id) => self.is_open(id, now),
            // of MACs under a random key a comparison shows nothing
            Credential::Token(tag) => lock(&self.token)
                .as_ref()
                .is_some_and(|current| current.as_ref() == tag.as_ref()),
        }
    }

    /// The open session of the browser.
    fn session(&self, headers: &HeaderMap, now: Instant) -> Option<SessionHash> {
        self.session_cookies(headers).find(|id| self.is_open(id, now))
    }

    fn is_open(&self, id: &SessionHash, now: Instant) -> bool {
        lock(&self.sessions)
            .get(id)
            .is_some_and(|expires_at| now < *expires_at)
    }

    fn end_session(&self, headers: &HeaderMap) {
        let mut sessions = lock(&self.sessions);
        for id in self.session_cookies(headers) {
            sessions.remove(&id);
        }
    }

    fn session_cookies(&self, headers: &HeaderMap) -> impl Iterator<Item = SessionHash> {
        cookies(headers, self.cookie_name()).map(hash)
    }

    /// A browser accepts the prefix `__Host-` with the attribute `Secure` only, which some refuse without TLS also on
    /// loopback.
    fn cookie_name(&self) -> &'static str {
        match self.is_secure {
            true => "__Host-guest-gateway-admin",
            false => "guest-gateway-admin",
        }
    }

    fn cookie(&self, value: &str, lifetime: Duration) -> HeaderValue {
        let (name, seconds) = (self.cookie_name(), lifetime.as_secs());
        let secure = if self.is_secure { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}{secure}; HttpOnly; SameSite=Strict");
        HeaderValue::from_str(&cookie).expect("the value is base64")
    }
}

/// Exchanges the token for a session of the browser.
pub(super) async fn log_in(State(admin): State<Admin>, mut call: Call) -> Result<Response, Refusal> {
    let (login, now) = (&admin.login, admin.app.clock.now());
    let address = peer(&call.request);
    audited(&admin, check_page(call.request.headers())).await?;
    let body = call.body("application/json").await?;
    let body: LoginBody = serde_json::from_slice(&body)
        .map_err(|_| Refusal::bad_request("invalid body: send an object with `token`"))?;
    let operator = login.verify(body.token.expose_secret(), address, now);
    let operator = audited(&admin, operator).await?;
    log(&admin, &operator, "admin.logged_in").await?;
    let id = login.open_session(now.instant);
    let cookie = login.cookie(id.expose_secret(), LIFETIME);
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

#[derive(Deserialize)]
struct LoginBody {
    token: SecretString,
}

/// Ends the session of the browser.
pub(super) async fn log_out(
    State(admin): State<Admin>,
    Extension(operator): Extension<Operator>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    admin.login.end_session(&headers);
    log(&admin, &operator, "admin.logged_out").await?;
    let removed = admin.login.cookie("", Duration::ZERO);
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, removed)]).into_response())
}

/// Admits requests of operators, with the [`Operator`] as an extension.
pub(super) async fn require(
    State(admin): State<Admin>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let operator = authenticate(&admin, &request);
    let operator = audited(&admin, operator).await?;
    RequestLog::of(&request).set_caller(&operator.name);
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}

/// Whether the request is one of an operator.
pub(super) fn is_logged_in(admin: &Admin, request: &Request) -> bool {
    let now = admin.app.clock.now().instant;
    trusted_certificate(request).is_some() || admin.login.session(request.headers(), now).is_some()
}

fn trusted_certificate(request: &Request) -> Option<&ClientCertificate> {
    let certificate = request.extensions().get::<ClientCertificate>();
    certificate.filter(|certificate| certificate.is_trusted())
}

fn authenticate(admin: &Admin, request: &Request) -> Result<Operator, Refusal> {
    let (login, headers, now) = (&admin.login, request.headers(), admin.app.clock.now());
    if headers.contains_key(AUTHORIZATION) {
        let token = bearer_token(headers).map_err(|_| {
            let message = "invalid Authorization header: send one with the bearer token of [admin]";
            Refusal::new(ErrorCode::BadCredentials, message)
        })?;
        return login.verify(token, peer(request), now);
    }
    let session = || login.session(headers, now.instant);
    let operator = match trusted_certificate(request) {
        Some(certificate) => Operator {
            name: certificate_name(certificate.der()),
            credential: Credential::Certificate(certificate.clone()),
        },
        None => match session() {
            Some(id) => Operator {
                name: TOKEN_OWNER.to_owned(),
                credential: Credential::Session(id),
            },
            None => {
                let message = "cannot show this without a login: log in at /, or send `Authorization: Bearer` with the token of [admin]";
                return Err(Refusal::new(ErrorCode::AuthenticationRequired, message));
            }
        },
    };
    // the browser adds the cookie and the certificate to requests of other pages too
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        check_page(headers)?;
    }
    Ok(operator)
}

/// The name of the owner of a certificate: the start of its SHA-256.
fn certificate_name(certificate: &[u8]) -> String {
    let digest = hash(certificate);
    let start = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    format!("certificate-{}", start.collect::<String>())
}

/// Refuses a request that no script of the own page made.
fn check_page(headers: &HeaderMap) -> Result<(), Refusal> {
    if !is_fetched_by(headers, &["same-origin"]) {
        let message = "invalid Sec-Fetch-Site: a page of another origin made the request, use the page at /";
        return Err(Refusal::new(ErrorCode::CsrfRefused, message));
    }
    check_csrf(headers)
}

async fn log(admin: &Admin, operator: &Operator, action: &'static str) -> Result<(), Refusal> {
    let entry = Draft::new(admin.app.clock.now().utc, operator.actor(), action);
    let logged = admin.app.direct.audit_log().log(entry).await;
    Ok(logged.map_err(Error::from)?)
}

/// Counts a refusal that can be an attack in the audit log.
async fn audited<T>(admin: &Admin, result: Result<T, Refusal>) -> Result<T, Refusal> {
    if let Err(refusal) = &result
        && refusal.code() != ErrorCode::AuthenticationRequired.as_str()
    {
        let entry = Draft::new(
            admin.app.clock.now().utc,
            Actor::system("guest-gateway"),
            "admin.refused",
        )
        .outcome(Outcome::Denied)
        .detail("reason", refusal.code());
        let logged = admin.app.direct.audit_log().log_repeated(entry).await;
        logged.map_err(Error::from)?;
    }
    result
}

/// The hash is compared in place of the id, so that the time of the comparison shows nothing of it.
fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    //! The bound and the lifetime of sessions.

    use genesys_api::Clock;
    use http::header::COOKIE;

    use super::*;

    fn headers(id: &SecretString) -> HeaderMap {
        let cookie = format!("guest-gateway-admin={}", id.expose_secret());
        HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())])
    }

    #[test]
    fn session_ends_after_its_lifetime_and_by_a_logout() {
        let (login, now) = (Login::new(None, false), Clock::system().now().instant);
        let first = headers(&login.open_session(now));
        assert!(login.session(&first, now).is_some());
        assert!(login.session(&first, now + LIFETIME).is_none());
        let second = headers(&login.open_session(now));
        login.end_session(&second);
        assert!(login.session(&second, now).is_none() && login.session(&first, now).is_some());
    }

    #[test]
    fn oldest_session_ends_at_the_bound() {
        let (login, now) = (Login::new(None, false), Clock::system().now().instant);
        let ids: Vec<_> = (0..=MAX_SESSIONS)
            .map(|age| headers(&login.open_session(now + Duration::from_secs(age as u64))))
            .collect();
        let open = ids.iter().filter(|id| login.session(id, now).is_some()).count();
        assert_eq!((open, login.session(&ids[0], now)), (MAX_SESSIONS, None));
    }
}
