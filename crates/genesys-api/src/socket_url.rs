//! The URL of a WebSocket: secure, and with a query that is never displayed.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::Host;

/// Longest URL, in bytes. Our choice: the limit of common servers.
const LONGEST: usize = 8 * 1024;

/// A `wss` URL, or a `ws` one on loopback. `Display` and `Debug` never show its query.
#[derive(Clone, Eq, PartialEq)]
pub struct SocketUrl(Url);

impl SocketUrl {
    /// The socket at `path` of `host`. `path` begins with a slash and has no fragment.
    ///
    /// # Errors
    /// If `path` does not form a valid URL, or the URL is longer than 8 KiB.
    pub fn of_host(host: &Host, path: &str) -> Result<Self, SocketUrlError> {
        host.websocket_url(path).parse()
    }

    /// Parses a URL that a peer sent, and checks its host with `allow` before any token is sent there.
    ///
    /// # Errors
    /// If the URL is invalid or longer than 8 KiB, or `allow` rejects its host. No error repeats the URL.
    pub fn from_peer(text: &str, allow: impl FnOnce(&Host) -> bool) -> Result<Self, SocketUrlError> {
        let url: Self = text.parse()?;
        let host = url.host();
        if allow(&host) {
            return Ok(url);
        }
        let reason = format!("{host} is not an allowed host; a token sent there could be stolen");
        Err(SocketUrlError(reason.into()))
    }

    /// Host and port of the service.
    pub fn host(&self) -> Host {
        service(&self.0).expect("checked when it was parsed")
    }

    /// Adds `name=value` to the query, percent-encoded. Prefer a header or a frame for a token: URLs are logged by
    /// proxies (RFC 6750 section 5.3).
    ///
    /// # Errors
    /// If the URL becomes longer than 8 KiB.
    pub fn with_query(mut self, name: &str, value: &SecretString) -> Result<Self, SocketUrlError> {
        self.0.query_pairs_mut().append_pair(name, value.expose_secret());
        self.bounded()
    }

    /// The URL with its query, which may hold a token.
    pub fn exposed(&self) -> &str {
        self.0.as_str()
    }

    fn bounded(self) -> Result<Self, SocketUrlError> {
        let bytes = self.exposed().len();
        if bytes <= LONGEST {
            return Ok(self);
        }
        let reason =
            format!("{bytes} bytes, at most {LONGEST} are allowed; send the token in a frame instead");
        Err(SocketUrlError(reason.into()))
    }
}

impl FromStr for SocketUrl {
    type Err = SocketUrlError;

    fn from_str(text: &str) -> Result<Self, SocketUrlError> {
        const FORM: &str = "write wss://host[:port]/path";
        // no error repeats the text: a token may stand anywhere in it
        let url = Url::parse(text).map_err(|_| SocketUrlError(FORM.into()))?;
        let reason = if !matches!(url.scheme(), "ws" | "wss") {
            "its scheme is not wss (or ws, on loopback)"
        } else if !url.username().is_empty() || url.password().is_some() {
            "it contains credentials before the host; remove them"
        } else if url.fragment().is_some() {
            "it has a fragment, which RFC 6455 section 3 forbids; remove it"
        } else if url.as_str().parse::<http::Uri>().is_err() {
            FORM
        } else if service(&url).is_some() {
            return Self(url).bounded();
        } else if url.scheme() == "ws" {
            "ws sends tokens in the clear; use wss (ws is for loopback only)"
        } else {
            FORM
        };
        Err(SocketUrlError(reason.into()))
    }
}

impl fmt::Display for SocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..url::Position::AfterPath])?;
        match self.0.query() {
            Some(_) => f.write_str("?[redacted]"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketUrl({self})")
    }
}

/// An invalid URL of a WebSocket. The message repeats no part of it but a host that is not allowed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid WebSocket URL: {0}")]
pub struct SocketUrlError(Cow<'static, str>);

fn service(url: &Url) -> Option<Host> {
    let scheme = if url.scheme() == "wss" { "https" } else { "http" };
    let host = url.host_str()?;
    let text = match url.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wss_is_required_outside_loopback() {
        for text in [
            "wss://gateway.example/x",
            "ws://127.0.0.1:9/x",
            "ws://localhost",
            "ws://[::1]:9",
        ] {
            assert!(text.parse::<SocketUrl>().is_ok(), "{text}");
        }
        for (text, error) in [
            ("ws://gateway.example/x", "ws sends tokens in the clear"),
            ("ws://127.0.0.1.evil.example", "ws sends tokens in the clear"),
            ("https://gateway.example/x", "its scheme is not wss"),
            ("wss://joe:pw@gateway.example", "credentials before the host"),
            ("wss://gateway.example/#x", "it has a fragment"),
            ("wss://", "write wss://host[:port]/path"),
            ("", "write wss://host[:port]/path"),
            ("/socket", "write wss://host[:port]/path"),
        ] {
            let found = text.parse::<SocketUrl>().unwrap_err().to_string();
            assert!(found.contains(error), "{text}: {found}");
        }
        let long = SecretString::from("x".repeat(9000));
        let url: SocketUrl = "wss://gateway.example".parse().unwrap();
        let error = url.with_query("access_token", &long).unwrap_err();
        assert!(error.to_string().contains("9036 bytes"), "{error}");
    }

    #[test]
    fn token_is_encoded_and_appended_to_the_query() {
        let token = SecretString::from("a&b=c+d e%é");
        let url: SocketUrl = "wss://gateway.example/socket".parse().unwrap();
        assert_eq!(
            url.with_query("access_token", &token).unwrap().exposed(),
            "wss://gateway.example/socket?access_token=a%26b%3Dc%2Bd+e%25%C3%A9"
        );
        let url: SocketUrl = "wss://gateway.example/socket?v=1".parse().unwrap();
        let url = url.with_query("access_token", &token).unwrap();
        let read: Vec<_> = url.0.query_pairs().collect();
        assert_eq!(
            read,
            [
                ("v".into(), "1".into()),
                ("access_token".into(), "a&b=c+d e%é".into())
            ]
        );
    }

    #[test]
    fn query_is_never_displayed() {
        let url: SocketUrl = "wss://gateway.example/socket?v=hunter1".parse().unwrap();
        let url = url
            .with_query("access_token", &SecretString::from("hunter2"))
            .unwrap();
        assert_eq!(url.to_string(), "wss://gateway.example/socket?[redacted]");
        assert_eq!(format!("{url:?}"), format!("SocketUrl({url})"));
        let error = SocketUrl::from_peer(url.exposed(), |_| false).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter"));
    }

    #[test]
    fn url_of_a_peer_must_name_an_allowed_host() {
        let own: Host = "https://gateway.example".parse().unwrap();
        let allow = |host: &Host| *host == own;
        assert!(SocketUrl::from_peer("wss://gateway.example/s", allow).is_ok());
        assert!(SocketUrl::from_peer("wss://gateway.example:443/s", allow).is_ok());
        for text in ["wss://evil.example/s", "wss://gateway.example:8443/s"] {
            let error = SocketUrl::from_peer(text, allow).unwrap_err();
            assert!(error.to_string().contains("is not an allowed host"), "{text}");
        }
    }
}
