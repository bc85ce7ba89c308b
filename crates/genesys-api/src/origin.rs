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
    pub fn host(&self) -> &url::Host<String> {
        &self.host
    }
}

impl FromStr for Origin {
    type Err = ParseOriginError;

    fn from_str(text: &str) -> Result<Self, ParseOriginError> {
        // the URL parser drops blanks and control characters, so they are looked for before it runs
        let is_blank = |c: char| c.is_whitespace() || c.is_control();
        let (scheme, authority) = match text.split_once("://") {
            _ if text.is_empty() => return Err(ParseOriginError::Empty),
            _ if text.len() > LONGEST => return Err(ParseOriginError::TooLong { bytes: text.len() }),
            _ if text.contains(is_blank) => return Err(ParseOriginError::Blank),
            _ if text.eq_ignore_ascii_case("null") => return Err(ParseOriginError::Opaque),
            _ if text.contains('*') => return Err(ParseOriginError::Wildcard),
            None => return Err(ParseOriginError::NoScheme),
            Some((scheme, authority)) if scheme.eq_ignore_ascii_case("http") => ("http", authority),
            Some((scheme, authority)) if scheme.eq_ignore_ascii_case("https") => ("https", authority),
            Some(_) => return Err(ParseOriginError::Scheme),
        };
        if authority.contains('@') {
            return Err(ParseOriginError::Credentials);
        }
        if authority.contains(['/', '\\', '?', '#']) {
            return Err(ParseOriginError::Path);
        }
        match url::Url::parse(text).map(|url| url.origin()) {
            Ok(url::Origin::Tuple(_, host, port)) if !authority.contains('%') => {
                Ok(Self { scheme, host, port })
            }
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
    #[error("it has no valid host and port; write them as in https://shop.example:8443")]
    Host,
    /// A host without a scheme.
    #[error("it has no scheme; begin it with https://")]
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
