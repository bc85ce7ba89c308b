//! Headers that a subscriber wants on each delivery.

use std::fmt;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// Most headers accepted. Our choice.
const MOST: usize = 16;
/// Longest value accepted, in bytes. Our choice.
const LONGEST: usize = 1024;

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
const OURS: [&str; 5] = [
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
];
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

/// Up to 16 headers that are added to each delivery, names in lower case and in order.
///
/// Refused are names that steer the connection (RFC 9110 section 7.6.1), those that describe our own body, those of
/// the signature (`webhook-…`), and credentials (`authorization`, `cookie`): a delivery is trusted by its signature,
/// and whatever stands here is shown to whoever may read the subscription. `Content-Type: application/json` is
/// accepted and dropped, because that is what is sent anyway. `Debug` shows names only.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct CustomHeaders(Vec<(HeaderName, HeaderValue)>);

impl CustomHeaders {
    /// Reads pairs of name and value.
    ///
    /// # Errors
    /// If there are too many, or one of them may not be set.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, HeaderError> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (position, (name, value)) in pairs.into_iter().enumerate() {
            if position >= MOST {
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
            if text.starts_with("webhook-") || HOP_BY_HOP.contains(&text) || OURS.contains(&text) {
                return Err(HeaderError::Reserved { name });
            }
            if CREDENTIALS.contains(&text) {
                return Err(HeaderError::Credentials { name });
            }
            if headers.iter().any(|(known, _)| *known == name) {
                return Err(HeaderError::Repeated { name });
            }
            let plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.trim() == value;
            match HeaderValue::from_str(value) {
                Ok(value) if plain && value.len() <= LONGEST => headers.push((name, value)),
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

/// A header may not be set. Values are never repeated.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Another content type than ours.
    #[error("the header content-type can only be application/json, which is sent anyway: leave it out")]
    ContentType,
    /// A credential.
    #[error(
        "the header {name} would be stored and shown in the clear: let the receiver verify the signature instead"
    )]
    Credentials {
        /// Which.
        name: HeaderName,
    },
    /// A name that HTTP does not allow.
    #[error(
        "the name of header {position}, counted from 0, is empty or has a character that HTTP does not allow"
    )]
    Name {
        /// Which, counted from 0.
        position: usize,
    },
    /// The same name twice. Case does not count.
    #[error("the header {name} is given twice")]
    Repeated {
        /// Which.
        name: HeaderName,
    },
    /// A name that belongs to the connection, the body or the signature.
    #[error("the header {name} is set by the sender: leave it out")]
    Reserved {
        /// Which.
        name: HeaderName,
    },
    /// More than 16.
    #[error("there are more than 16 headers")]
    TooMany,
    /// Not visible ASCII, padded with spaces, or longer than 1024 bytes.
    #[error("the value of header {name} is longer than 1024 bytes, not visible ASCII, or padded with spaces")]
    Value {
        /// Which.
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
    fn the_tutorials_headers_are_accepted() {
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
    fn names_that_are_not_the_subscribers_are_refused() {
        for name in HOP_BY_HOP
            .iter()
            .chain(&OURS)
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
    fn names_and_values_are_those_of_http_and_bounded() {
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
