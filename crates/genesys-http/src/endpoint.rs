//! The endpoint of a connection.

use std::fmt;

use genesys_api::Host;
use http::Uri;
use http::uri::Scheme;

/// Name, port and security of a service. IPv6 addresses have no brackets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) secure: bool,
}

impl Endpoint {
    /// Parses an absolute `http` or `https` URI without credentials.
    pub(crate) fn of_uri(uri: &Uri) -> Option<Self> {
        let secure = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let name = without_brackets(authority.host())?;
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // a colon without a port, or with one out of range
            None if authority.as_str() != authority.host() => return None,
            None if secure => 443,
            None => 80,
        };
        Some(Self { name, port, secure })
    }

    pub(crate) fn of_host(host: &Host) -> Option<Self> {
        Some(Self {
            name: without_brackets(host.name())?,
            port: host.port(),
            secure: host.is_secure(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// Removes the brackets of an IPv6 address. Other hosts must not have any.
fn without_brackets(host: &str) -> Option<String> {
    if host.is_empty() {
        return None;
    }
    match host.strip_prefix('[') {
        None => Some(host.to_owned()),
        Some(rest) => rest
            .strip_suffix(']')?
            .parse::<std::net::Ipv6Addr>()
            .ok()
            .map(|address| address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_rejects_invalid_uris() {
        let endpoint = |text: &str| {
            text.parse::<Uri>()
                .ok()
                .and_then(|uri| Endpoint::of_uri(&uri))
                .map(|endpoint| endpoint.to_string())
        };
        assert_eq!(
            endpoint("https://a.example/x?y").as_deref(),
            Some("a.example:443")
        );
        assert_eq!(endpoint("http://a.example").as_deref(), Some("a.example:80"));
        assert_eq!(endpoint("https://[::1]:8443/").as_deref(), Some("[::1]:8443"));
        for text in [
            "/path",
            "a.example:80",
            "ftp://a.example",
            "https://joe:pw@a.example",
            "https://a@127.0.0.1/",
            "https://[a.example]/",
            "https://[127.0.0.1]/",
            "https://a.example:99999/",
            "https://a.example:/",
        ] {
            assert_eq!(endpoint(text), None, "{text}");
        }
    }
}
