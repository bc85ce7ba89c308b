//! The credential of a browser: the id of the session and a secret that is derived from its key. A cookie or a resume
//! handle has it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesys_api::{Origin, SessionId};
use guest_sessions::{DetailCode, ErrorCode};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use ring::hmac;

use crate::api::Refusal;

/// The prefix `__Host-` makes browsers accept the cookie from this host only, over TLS or on loopback, for all paths.
pub(super) const COOKIE_NAME: &str = "__Host-guest-session";
const ATTRIBUTES: &str = "; Path=/; Secure; HttpOnly; SameSite=Strict";

/// A presented credential.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) id: SessionId,
    secret: Secret,
    binding: Binding,
}

/// The use to which a credential is bound: it is not valid for another one.
#[derive(Clone, Debug)]
pub(super) enum Binding {
    /// In the cookie, for pages of the gateway's site.
    Cookie,
    /// As the resume handle of a page at this origin.
    Handle(Origin),
}

impl Binding {
    /// The message whose MAC under the session's key is the secret.
    fn message(&self) -> String {
        match self {
            Self::Cookie => "cookie".to_owned(),
            Self::Handle(origin) => format!("handle of {origin}"),
        }
    }

    /// The credential of a session.
    pub(super) fn credential(&self, id: &SessionId, browser_key: &[u8; 32]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, browser_key);
        let secret = hmac::sign(&key, self.message().as_bytes());
        format!("{id}.{}", URL_SAFE_NO_PAD.encode(secret))
    }
}

struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The values of the cookie of this name.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(COOKIE).iter().flat_map(move |header| {
        let pairs = header.as_bytes().split(|byte| *byte == b';');
        pairs.filter_map(move |pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            (pair[..at].trim_ascii() == name.as_bytes()).then_some(pair[at + 1..].trim_ascii())
        })
    })
}

impl Credential {
    /// Whether the headers have the cookie.
    pub(super) fn is_in(headers: &HeaderMap) -> bool {
        cookies(headers, COOKIE_NAME).next().is_some()
    }

    /// Reads the cookie. A second one of its name is refused: another host of the site may have set it.
    pub(super) fn of_cookie(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut cookies = cookies(headers, COOKIE_NAME);
        match (cookies.next(), cookies.next()) {
            (None, _) => Err(Refusal::new(
                ErrorCode::SessionRequired,
                ErrorCode::SessionRequired.message(),
            )),
            (Some(value), None) => Self::parse(value, Binding::Cookie).ok_or_else(bad_credentials),
            (Some(_), Some(_)) => {
                let message =
                    "invalid Cookie: __Host-guest-session is repeated, clear the cookies of this site";
                let detail = DetailCode::FieldDuplicate;
                Err(Refusal::new(detail.error_code(), message).detail(detail.as_str(), COOKIE_NAME))
            }
        }
    }

    /// Reads the resume handle of a page at `origin`.
    pub(super) fn of_handle(handle: &str, origin: Origin) -> Result<Self, Refusal> {
        Self::parse(handle.as_bytes(), Binding::Handle(origin)).ok_or_else(bad_credentials)
    }

    fn parse(value: &[u8], binding: Binding) -> Option<Self> {
        let (id, secret) = str::from_utf8(value).ok()?.rsplit_once('.')?;
        Some(Self {
            id: id.parse().ok()?,
            secret: Secret(URL_SAFE_NO_PAD.decode(secret).ok()?),
            binding,
        })
    }

    /// Verifies the secret in constant time.
    pub(super) fn is_valid(&self, browser_key: &[u8; 32]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, browser_key);
        hmac::verify(&key, self.binding.message().as_bytes(), &self.secret.0).is_ok()
    }
}

pub(super) fn bad_credentials() -> Refusal {
    let message = "invalid credential of the browser's session: it is not valid here, create a new session";
    Refusal::new(ErrorCode::BadCredentials, message)
}

/// The header that sets the cookie of a session.
pub(super) fn set_cookie(id: &SessionId, browser_key: &[u8; 32]) -> HeaderValue {
    let credential = Binding::Cookie.credential(id, browser_key);
    let text = format!("{COOKIE_NAME}={credential}{ATTRIBUTES}");
    let mut header = HeaderValue::try_from(text).expect("an id and base64 are plain ASCII");
    header.set_sensitive(true);
    header
}

/// The header that removes the cookie.
pub(super) fn remove_cookie() -> HeaderValue {
    let text = format!("{COOKIE_NAME}={ATTRIBUTES}; Max-Age=0");
    HeaderValue::try_from(text).expect("names and attributes are plain ASCII")
}

#[cfg(test)]
mod tests {
    //! The cookie among others.

    use super::*;

    fn headers(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        headers
    }

    #[test]
    fn cookie_is_valid_for_the_key_of_its_session_only() {
        let id = "s-1".parse().unwrap();
        let header = set_cookie(&id, &[1; 32]);
        let (cookie, attributes) = header.to_str().unwrap().split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Strict");
        let credential = Credential::of_cookie(&headers(&["a=b; c", &format!("d=e;{cookie} ")])).unwrap();
        assert!(credential.id == id && credential.is_valid(&[1; 32]) && !credential.is_valid(&[2; 32]));
        assert!(!format!("{credential:?}").contains(cookie.split_once('.').unwrap().1));
        assert!(
            remove_cookie()
                .to_str()
                .unwrap()
                .starts_with("__Host-guest-session=; Path=/;")
        );
    }

    #[test]
    fn handle_is_valid_at_its_origin_only() {
        let (id, key) = ("s-1".parse().unwrap(), [1; 32]);
        let origin = |text: &str| -> Origin { text.parse().unwrap() };
        let handle = Binding::Handle(origin("https://shop.example")).credential(&id, &key);
        for (at, is_valid) in [
            ("https://shop.example", true),
            ("https://shop.example:443", true),
            ("https://shop.example:8443", false),
            ("http://shop.example", false),
        ] {
            let credential = Credential::of_handle(&handle, origin(at)).unwrap();
            assert_eq!(credential.is_valid(&key), is_valid, "{at}");
        }
        let cookie = format!("{COOKIE_NAME}={handle}");
        assert!(
            !Credential::of_cookie(&headers(&[&cookie]))
                .unwrap()
                .is_valid(&key)
        );
    }

    #[test]
    fn cookie_is_refused_if_it_is_missing_malformed_or_repeated() {
        for (cookies, code) in [
            (&[][..], "session.required"),
            (&["guest-session=s-1.AAAA"], "session.required"),
            (&["__host-guest-session=s-1.AAAA"], "session.required"),
            (&["__Host-guest-session="], "bad.credentials"),
            (&["__Host-guest-session=s-1"], "bad.credentials"),
            (&["__Host-guest-session=s-1.!"], "bad.credentials"),
            (&["__Host-guest-session=.AAAA"], "bad.credentials"),
            (
                &["__Host-guest-session=s-1.AAAA; __Host-guest-session=s-2.AAAA"],
                "bad.request",
            ),
            (
                &["__Host-guest-session=s-1.AAAA", " __Host-guest-session =s-1.AAAA"],
                "bad.request",
            ),
        ] {
            let refused = Credential::of_cookie(&headers(cookies)).unwrap_err();
            assert_eq!(refused.code(), code, "{cookies:?}");
        }
    }
}
