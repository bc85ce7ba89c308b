//! Hosts of services.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Scheme, host and port of one service, with no path.
///
/// Plain HTTP is accepted for loopback only, so that no credential leaves the machine unencrypted.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Host {
    scheme: Scheme,
    authority: Authority,
}

impl Host {
    /// Returns the URI of `path`, which begins with a slash and may have a query. Its variable parts are percent-encoded: an
    /// invalid path panics.
    #[must_use]
    pub fn uri(&self, path: &str) -> Uri {
        let path = PathAndQuery::from_str(path).expect("a path written in code, variables encoded");
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("scheme, authority and path are all present")
    }

    /// Returns the WebSocket URL of `path`: `wss` for `https`, `ws` for plain HTTP.
    #[must_use]
    pub fn websocket_url(&self, path: &str) -> String {
        let scheme = if self.is_secure() { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.authority)
    }

    /// Whether connections use TLS.
    pub fn is_secure(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Host name or address without the port. IPv6 addresses have brackets.
    pub fn name(&self) -> &str {
        self.authority.host()
    }

    /// The explicit port, or the default of the scheme.
    pub fn port(&self) -> u16 {
        self.authority
            .port_u16()
            .unwrap_or(if self.is_secure() { 443 } else { 80 })
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        const FORM: &str = "give https://host[:port]";
        let invalid = |reason| HostError {
            // a password is not repeated
            text: (!text.contains('@')).then(|| text.to_owned()),
            reason,
        };
        let parts = text.parse::<Uri>().map_err(|_| invalid(FORM))?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(invalid(FORM));
        };
        let has_colon = authority.as_str().len() > authority.host().len();
        let reason = if authority.as_str().contains('@') {
            "it contains credentials, remove them and configure them separately"
        } else if has_colon && authority.port_u16().is_none() {
            "give a port from 1 to 65535 after the colon, or remove the colon"
        } else if parts.path_and_query.is_some_and(|path| path != "/") {
            "it has a path, give scheme, host and port only"
        } else if scheme == Scheme::HTTP && !is_loopback(authority.host()) {
            "plain http is for loopback only, use https"
        } else if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            FORM
        } else {
            return Ok(Self { scheme, authority });
        };
        Err(invalid(reason))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// The four services of Genesys Cloud that a guest session uses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosts {
    /// Issues tokens to API clients: `login.D`.
    pub login: Host,
    /// Serves the platform API: `api.D`.
    pub api: Host,
    /// Serves the guests' WebSocket: `webmessaging.D`.
    pub messaging: Host,
    /// Serves the public configuration of deployments: `api-cdn.D`.
    pub cdn: Host,
}

impl Hosts {
    /// Derives the hosts from a base domain such as `mypurecloud.ie`.
    ///
    /// # Errors
    /// If `domain` does not form a valid `https` host.
    pub fn of_domain(domain: &str) -> Result<Self, HostError> {
        let host = |service: &str| Host::from_str(&format!("https://{service}.{domain}"));
        Ok(Self {
            login: host("login")?,
            api: host("api")?,
            messaging: host("webmessaging")?,
            cdn: host("api-cdn")?,
        })
    }

    /// Uses one host for all services, as a simulator does.
    #[must_use]
    pub fn single(host: &Host) -> Self {
        Self {
            login: host.clone(),
            api: host.clone(),
            messaging: host.clone(),
            cdn: host.clone(),
        }
    }
}

/// One host for all services, as [`Hosts::single`].
impl From<&Host> for Hosts {
    fn from(host: &Host) -> Self {
        Self::single(host)
    }
}

/// An invalid host. The message contains the text, unless that may contain a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid host{}: {reason}", .text.as_ref().map(|text| format!(" {text:?}")).unwrap_or_default())]
pub struct HostError {
    text: Option<String>,
    reason: &'static str,
}

fn is_loopback(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Host>().unwrap_err().to_string()
    }

    #[test]
    fn plain_http_is_accepted_for_loopback_only() {
        for text in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:9"] {
            assert!(text.parse::<Host>().is_ok(), "{text}");
        }
        assert!(error("http://api.mypurecloud.ie").ends_with("use https"));
    }

    #[test]
    fn host_rejects_path_and_credentials() {
        assert_eq!(
            error("https://a.example/x"),
            r#"invalid host "https://a.example/x": it has a path, give scheme, host and port only"#
        );
        assert_eq!(
            error("https://joe:hunter2@a.example"),
            "invalid host: it contains credentials, remove them and configure them separately"
        );
        assert!(!error("https://joe:hunter 2@a.example").contains("hunter"));
        for text in ["", "a.example", "ftp://a.example", "https://", "/x"] {
            assert!(error(text).ends_with("give https://host[:port]"), "{text:?}");
        }
    }

    #[test]
    fn host_rejects_colon_without_port() {
        for text in ["https://a:99999", "https://a:", "https://[::1]:"] {
            assert!(error(text).contains("give a port"), "{text}");
        }
        assert_eq!("https://a:0443".parse::<Host>().unwrap().port(), 443);
    }

    #[test]
    fn websocket_url_uses_scheme_of_host() {
        let secure: Host = "https://webmessaging.mypurecloud.ie".parse().unwrap();
        assert_eq!(
            secure.websocket_url("/v1"),
            "wss://webmessaging.mypurecloud.ie/v1"
        );
        let plain: Host = "http://127.0.0.1:81".parse().unwrap();
        assert_eq!(plain.websocket_url("/v1?x=1"), "ws://127.0.0.1:81/v1?x=1");
        assert_eq!((secure.port(), plain.port()), (443, 81));
    }
}
