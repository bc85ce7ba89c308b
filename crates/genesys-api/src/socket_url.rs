//! The URL of a WebSocket: secure, and with a query that is never displayed.

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
    /// The socket at `path` of `host`; `path` begins with a slash and has no query.
    ///
    /// # Errors
    /// If `path` brings a fragment.
    pub fn of_host(host: &Host, path: &str) -> Result<Self, SocketUrlError> {
        host.websocket_url(path).parse()
    }

    /// Parses a URL that a peer sent, and checks its host with `allow` before any token is sent there.
    ///
    /// # Errors
    /// If it is not a socket URL, or its host is not allowed.
    pub fn from_peer(text: &str, allow: impl FnOnce(&Host) -> bool) -> Result<Self, SocketUrlError> {
        let url: Self = text.parse()?;
        let host = url.host();
        if allow(&host) {
            Ok(url)
        } else {
            Err(SocketUrlError::Host { host: Box::new(host) })
        }
    }

    /// Host and port of the service.
    ///
    /// # Panics
    /// Never: the URL was parsed with the rules of a [`Host`].
    #[must_use]
    pub fn host(&self) -> Host {
        service(&self.0).expect("checked when it was parsed")
    }

    /// Adds `name=value` to the query, percent-encoded. Prefer a header or a frame for a token: URLs are logged by
    /// proxies (RFC 6750 section 5.3).
    ///
    /// # Errors
    /// If the URL becomes too long.
    pub fn with_query(mut self, name: &str, value: &SecretString) -> Result<Self, SocketUrlError> {
        self.0.query_pairs_mut().append_pair(name, value.expose_secret());
        self.bounded()
    }

    /// The URL with its query, which may hold a token.
    #[must_use]
    pub fn exposed(&self) -> &str {
        self.0.as_str()
    }

    fn bounded(self) -> Result<Self, SocketUrlError> {
        match self.exposed().len() {
            bytes if bytes > LONGEST => Err(SocketUrlError::TooLong { bytes }),
            _ => Ok(self),
        }
    }
}

impl FromStr for SocketUrl {
    type Err = SocketUrlError;

    fn from_str(text: &str) -> Result<Self, SocketUrlError> {
        // no error repeats the text: a token may stand anywhere in it
        let url = Url::parse(text).map_err(|_| SocketUrlError::Malformed)?;
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(SocketUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SocketUrlError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(SocketUrlError::Fragment);
        }
        if url.as_str().parse::<http::Uri>().is_err() {
            return Err(SocketUrlError::Malformed);
        }
        match service(&url) {
            Some(_) => Self(url).bounded(),
            None if url.scheme() == "ws" => Err(SocketUrlError::Insecure),
            None => Err(SocketUrlError::Malformed),
        }
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

/// A text that is not the URL of a socket that may be opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SocketUrlError {
    /// A user name or password.
    #[error("invalid WebSocket URL: it contains credentials before the host; remove them")]
    Credentials,
    /// A `#`.
    #[error("invalid WebSocket URL: it has a fragment, which RFC 6455 section 3 forbids; remove it")]
    Fragment,
    /// A peer named a host that is not allowed.
    #[error("invalid WebSocket URL: {host} is not an allowed host; a token sent there could be stolen")]
    Host {
        /// The host.
        host: Box<Host>,
    },
    /// Plain `ws` to another machine.
    #[error("invalid WebSocket URL: ws sends tokens in the clear; use wss (ws is for loopback only)")]
    Insecure,
    /// Not a URL.
    #[error("invalid WebSocket URL: write wss://host[:port]/path")]
    Malformed,
    /// Neither `ws` nor `wss`.
    #[error("invalid WebSocket URL: its scheme is not wss (or ws, on loopback)")]
    Scheme,
    /// More than 8 KiB.
    #[error("the WebSocket URL has {bytes} bytes, of at most 8192: send the token in a frame instead")]
    TooLong {
        /// Length in bytes.
        bytes: usize,
    },
}

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
            ("ws://gateway.example/x", SocketUrlError::Insecure),
            ("ws://127.0.0.1.evil.example", SocketUrlError::Insecure),
            ("https://gateway.example/x", SocketUrlError::Scheme),
            ("wss://joe:pw@gateway.example", SocketUrlError::Credentials),
            ("wss://gateway.example/#x", SocketUrlError::Fragment),
            ("wss://", SocketUrlError::Malformed),
            ("", SocketUrlError::Malformed),
            ("/socket", SocketUrlError::Malformed),
        ] {
            assert_eq!(text.parse::<SocketUrl>(), Err(error), "{text}");
        }
        let long = SecretString::from("x".repeat(9000));
        let url: SocketUrl = "wss://gateway.example".parse().unwrap();
        assert!(matches!(
            url.with_query("access_token", &long),
            Err(SocketUrlError::TooLong { bytes: 9036 })
        ));
    }

    #[test]
    fn a_token_is_encoded_and_joins_the_query_that_is_there() {
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
    fn what_the_query_holds_is_never_shown() {
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
    fn a_peer_cannot_name_any_host() {
        let own: Host = "https://gateway.example".parse().unwrap();
        let allow = |host: &Host| *host == own;
        assert!(SocketUrl::from_peer("wss://gateway.example/s", allow).is_ok());
        assert!(SocketUrl::from_peer("wss://gateway.example:443/s", allow).is_ok());
        for text in ["wss://evil.example/s", "wss://gateway.example:8443/s"] {
            assert!(
                matches!(
                    SocketUrl::from_peer(text, allow),
                    Err(SocketUrlError::Host { .. })
                ),
                "{text}"
            );
        }
    }
}
