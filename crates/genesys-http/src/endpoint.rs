//! The endpoint of a connection.

use std::fmt;

use genesys_api::Host;
use http::Uri;

use crate::{Error, ErrorKind};

/// Name, port and security of a service. IPv6 addresses have no brackets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) secure: bool,
}

impl Endpoint {
    /// Parses an absolute `http` or `https` URI without credentials.
    pub(crate) fn of_uri(uri: &Uri) -> Result<Self, Error> {
        let invalid = || {
            let message = "invalid request URI: give an absolute http or https URI without credentials";
            Error::new(ErrorKind::Protocol, message.to_owned())
        };
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid()),
        };
        let authority = uri.authority().ok_or_else(invalid)?;
        let name = name(authority.host()).ok_or_else(invalid)?;
        let port = match authority.port_u16() {
            _ if authority.as_str().contains('@') => return Err(invalid()),
            Some(port) => port,
            // a colon without a port, or with one out of range
            None if authority.as_str() != authority.host() => return Err(invalid()),
            None if secure => 443,
            None => 80,
        };
        Ok(Self { name, port, secure })
    }

    pub(crate) fn of_host(host: &Host) -> Result<Self, Error> {
        Self::of_uri(&host.uri("/"))
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
fn name(host: &str) -> Option<String> {
    let Some(address) = host.strip_prefix('[') else {
        return (!host.is_empty()).then(|| host.to_owned());
    };
    let address: std::net::Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
    Some(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_rejects_invalid_uris() {
        let endpoint = |text: &str| {
            text.parse::<Uri>()
                .ok()
                .and_then(|uri| Endpoint::of_uri(&uri).ok())
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
