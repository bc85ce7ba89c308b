//! A web origin: the tuple of scheme, host and port.

use std::fmt;
use std::str::FromStr;

/// Longest origin, in bytes. Our choice: a host name has at most 253.
const LONGEST: usize = 300;

/// A web origin: the tuple of scheme, host and port (RFC 6454 section 4, WHATWG URL).
///
/// Two origins are equal if all three are. Letter case, a written default port and the two spellings of an
/// international name make no difference; a trailing dot, a subdomain and another scheme do.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Origin {
    scheme: &'static str,
    host: url::Host<String>,
    port: u16,
}

impl Origin {
    /// Host name or address.
    #[must_use]
    pub fn host(&self) -> &url::Host<String> {
        &self.host
    }
}

impl FromStr for Origin {
    type Err = ParseOriginError;

    fn from_str(text: &str) -> Result<Self, ParseOriginError> {
        if text.is_empty() {
            return Err(ParseOriginError::Empty);
        }
        if text.len() > LONGEST {
            return Err(ParseOriginError::TooLong { bytes: text.len() });
        }
        // the URL parser drops blanks and control characters, so they are looked for before it runs
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ParseOriginError::Blank);
        }
        if text.eq_ignore_ascii_case("null") {
            return Err(ParseOriginError::Opaque);
        }
        if text.contains('*') {
            return Err(ParseOriginError::Wildcard);
        }
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err(ParseOriginError::NoScheme);
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return Err(ParseOriginError::Scheme),
        };
        if authority.contains('@') {
            return Err(ParseOriginError::Credentials);
        }
        if authority.contains(['/', '\\', '?', '#']) {
            return Err(ParseOriginError::Path);
        }
        if authority.contains('%') {
            return Err(ParseOriginError::Host);
        }
        match url::Url::parse(text).map(|url| url.origin()) {
            Ok(url::Origin::Tuple(_, host, port)) => Ok(Self { scheme, host, port }),
            _ => Err(ParseOriginError::Host),
        }
    }
}

impl fmt::Display for Origin {
    /// The form of the `Origin` header: ASCII, and no default port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme, self.port) {
            ("http", 80) | ("https", 443) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// A text that is not a web origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseOriginError {
    /// A blank or a control character.
    #[error("it contains a blank or a control character; remove it")]
    Blank,
    /// A user name or password before the host.
    #[error("it contains credentials before the host; remove them")]
    Credentials,
    /// An empty text.
    #[error("it is empty; write scheme, host and port, as in https://shop.example")]
    Empty,
    /// An invalid host or port.
    #[error("it has no valid host and port")]
    Host,
    /// A host without a scheme.
    #[error("it has no scheme")]
    NoScheme,
    /// `null`, the origin of sandboxed and local pages.
    #[error("it is opaque: pages without an origin cannot be distinguished")]
    Opaque,
    /// A path behind the host.
    #[error("it has a path behind the host; write scheme, host and port only")]
    Path,
    /// Neither `http` nor `https`.
    #[error("its scheme is neither http nor https")]
    Scheme,
    /// More than 300 bytes.
    #[error("it has {bytes} bytes; an origin has at most 300")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A `*`.
    #[error("it contains a wildcard; list each origin")]
    Wildcard,
}
