//! Headers that a subscriber adds to each delivery.

use std::fmt;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// Maximum number of headers. Our choice.
const MAX_HEADERS: usize = 16;
/// Longest accepted value, in bytes. Our choice.
const MAX_VALUE: usize = 1024;

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const BODY: [&str; 5] = [
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
];
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

/// Up to 16 headers that are added to each delivery, names in lower case and in order.
///
/// Rejected are hop-by-hop headers (RFC 9110 section 7.6.1), headers of the body, headers of the signature (`webhook-…`)
/// and credentials (`authorization`, `cookie`), because readers of the subscription see all values.
/// `Content-Type: application/json` is accepted and dropped, because it is always sent. `Debug` shows names only.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct CustomHeaders(Vec<(HeaderName, HeaderValue)>);

impl CustomHeaders {
    /// Parses pairs of name and value.
    ///
    /// # Errors
    /// If there are too many, or one is not allowed.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, HeaderError> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (position, (name, value)) in pairs.into_iter().enumerate() {
            if position >= MAX_HEADERS {
                return Err(HeaderError::TooMany);
            }
            let name: HeaderName = name.parse().map_err(|_| HeaderError::Name { position })?;
            if name == http::header::CONTENT_TYPE {
                if is_json(value) {
                    continue;
                }
                return Err(HeaderError::ContentType);
            }
            let text = name.as_str();
            if text.starts_with("webhook-") || HOP_BY_HOP.contains(&text) || BODY.contains(&text) {
                return Err(HeaderError::Reserved { name });
            }
            if CREDENTIALS.contains(&text) {
                return Err(HeaderError::Credentials { name });
            }
            if headers.iter().any(|(known, _)| *known == name) {
                return Err(HeaderError::Repeated { name });
            }
            let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.trim() == value;
            match HeaderValue::from_str(value) {
                Ok(value) if is_plain && value.len() <= MAX_VALUE => headers.push((name, value)),
                _ => return Err(HeaderError::Value { name }),
            }
        }
        headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        Ok(Self(headers))
    }

    /// Names and values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
    }

    pub(crate) fn insert_into(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.insert(name, value.clone());
        }
    }
}

impl fmt::Debug for CustomHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// An invalid custom header. No message contains its value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// A content type other than JSON.
    #[error(
        "invalid header content-type: only application/json is possible, and it is always sent, leave it out"
    )]
    ContentType,
    /// A credential.
    #[error(
        "invalid header {name}: it would be stored and shown in clear text, let the receiver verify the signature instead"
    )]
    Credentials {
        /// Name of the header.
        name: HeaderName,
    },
    /// A name that HTTP does not allow.
    #[error(
        "invalid name of header {position}, counted from 0: it is empty or has a character that HTTP does not allow"
    )]
    Name {
        /// Position of the header, counted from 0.
        position: usize,
    },
    /// The same name twice, ignoring case.
    #[error("invalid header {name}: it is given twice")]
    Repeated {
        /// Name of the header.
        name: HeaderName,
    },
    /// A name that belongs to the connection, the body or the signature.
    #[error("invalid header {name}: the sender sets it, leave it out")]
    Reserved {
        /// Name of the header.
        name: HeaderName,
    },
    /// More than 16 headers.
    #[error("invalid headers: more than 16")]
    TooMany,
    /// Not visible ASCII, padded with spaces, or longer than 1024 bytes.
    #[error(
        "invalid value of header {name}: longer than 1024 bytes, not visible ASCII, or padded with spaces"
    )]
    Value {
        /// Name of the header.
        name: HeaderName,
    },
}

fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    parts.next().as_deref() == Some("application/json") && parts.all(|part| part == "charset=utf-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> HeaderError {
        CustomHeaders::parse([(name, value)]).unwrap_err()
    }

    #[test]
    fn headers_of_tutorial_are_accepted() {
        let headers = CustomHeaders::parse([
            ("X-Source", "GenesysWebMessaging"),
            ("Content-Type", "application/json"),
        ])
        .unwrap();
        assert_eq!(
            headers.iter().collect::<Vec<_>>(),
            [("x-source", "GenesysWebMessaging")]
        );
        assert_eq!(format!("{headers:?}"), r#"["x-source"]"#);
        assert!(CustomHeaders::parse([("content-type", "Application/JSON; charset=UTF-8")]).is_ok());
    }

    #[test]
    fn reserved_names_are_rejected() {
        for name in HOP_BY_HOP
            .iter()
            .chain(&BODY)
            .filter(|name| **name != "content-type")
        {
            assert!(
                matches!(refused(&name.to_uppercase(), "x"), HeaderError::Reserved { .. }),
                "{name}"
            );
        }
        for name in ["webhook-id", "Webhook-Signature", "webhook-anything"] {
            assert!(
                matches!(refused(name, "x"), HeaderError::Reserved { .. }),
                "{name}"
            );
        }
        for name in ["Authorization", "cookie"] {
            let error = refused(name, "hunter2");
            assert!(matches!(error, HeaderError::Credentials { .. }), "{name}");
            assert!(!error.to_string().contains("hunter2"));
        }
        assert_eq!(refused("content-type", "text/plain"), HeaderError::ContentType);
    }

    #[test]
    fn names_and_values_are_valid_http_and_bounded() {
        for name in ["", "x y", "x:y", "x\n", "é"] {
            assert_eq!(refused(name, "x"), HeaderError::Name { position: 0 }, "{name:?}");
        }
        for value in ["a\r\nx-evil: 1", "\0", "a\tb", "é", " a", "a ", &"x".repeat(1025)] {
            assert!(
                matches!(refused("x-a", value), HeaderError::Value { .. }),
                "{value:?}"
            );
        }
        assert!(matches!(
            CustomHeaders::parse([("x-a", "1"), ("X-A", "2")]),
            Err(HeaderError::Repeated { .. })
        ));
        let names: Vec<String> = (0..17).map(|n| format!("x-{n}")).collect();
        let pairs = |count: usize| names[..count].iter().map(|name| (name.as_str(), "1"));
        assert!(CustomHeaders::parse(pairs(16)).is_ok());
        assert_eq!(CustomHeaders::parse(pairs(17)), Err(HeaderError::TooMany));
    }
}
