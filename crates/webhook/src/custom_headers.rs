//! Headers that a subscriber adds to each delivery.

use std::fmt;

use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderName};

/// Maximum number of headers. Our choice.
const MAX_HEADERS: usize = 16;
/// Longest accepted value, in bytes. Our choice.
const MAX_VALUE: usize = 1024;

/// Hop-by-hop headers (RFC 9110 section 7.6.1), and headers of the body.
const RESERVED: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Up to 16 headers that are added to each delivery, names in lower case and in order.
///
/// Rejected are hop-by-hop headers (RFC 9110 section 7.6.1), headers of the body, headers of the signature (`webhook-…`)
/// and credentials (`authorization`, `cookie`), because readers of the subscription see all values.
/// `Content-Type: application/json` is accepted and dropped, because it is always sent. `Debug` shows names only.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct CustomHeaders(pub(crate) Vec<(HeaderName, HeaderValue)>);

impl CustomHeaders {
    /// Parses pairs of name and value.
    ///
    /// # Errors
    /// If there are too many, or one is not allowed.
    #[expect(clippy::unwrap_in_result, reason = "visible ASCII is a valid header value")]
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, HeaderError> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (position, (name, value)) in pairs.into_iter().enumerate() {
            if position >= MAX_HEADERS {
                return Err(HeaderError::TooMany);
            }
            let name: HeaderName = name.parse().map_err(|_| HeaderError::Name { position })?;
            if name == CONTENT_TYPE && is_json(value) {
                continue;
            }
            let text = name.as_str();
            let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.trim() == value;
            let reason = if name == CONTENT_TYPE {
                "only application/json is possible, and it is always sent, leave it out"
            } else if text.starts_with("webhook-") || RESERVED.contains(&text) {
                "the sender sets it, leave it out"
            } else if name == AUTHORIZATION || name == COOKIE {
                "it would be stored and shown in clear text, let the receiver verify the signature instead"
            } else if headers.iter().any(|(known, _)| *known == name) {
                "it is given twice"
            } else if !is_plain || value.len() > MAX_VALUE {
                "its value is longer than 1024 bytes, not visible ASCII, or padded with spaces"
            } else {
                let value = HeaderValue::from_str(value).expect("visible ASCII is a valid value");
                headers.push((name, value));
                continue;
            };
            return Err(HeaderError::Header { name, reason });
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
    /// A header that is not allowed, is repeated, or has an invalid value.
    #[error("invalid header {name:?}: {reason}")]
    Header {
        /// Name of the header.
        name: HeaderName,
        /// Reason, and the remedy.
        reason: &'static str,
    },
    /// A name that HTTP does not allow.
    #[error(
        "invalid header: the name at position {position}, from 0, is empty or has a character that HTTP does not allow"
    )]
    Name {
        /// Position of the header, counted from 0.
        position: usize,
    },
    /// More than 16 headers.
    #[error("invalid headers: more than 16, remove some")]
    TooMany,
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

    /// Whether the error names the header and contains `part`.
    fn is_refused(name: &str, value: &str, part: &str) -> bool {
        let start = format!("invalid header {:?}: ", name.to_lowercase());
        let text = refused(name, value).to_string();
        text.starts_with(&start) && text.contains(part) && !text.contains("hunter2")
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
        let signature = ["webhook-id", "Webhook-Signature", "webhook-anything"];
        for name in RESERVED.iter().chain(&signature) {
            assert!(
                is_refused(&name.to_uppercase(), "x", "the sender sets it"),
                "{name}"
            );
        }
        for name in ["Authorization", "cookie"] {
            assert!(is_refused(name, "hunter2", "clear text"), "{name}");
        }
        assert!(is_refused("content-type", "text/plain", "only application/json"));
    }

    #[test]
    fn names_and_values_are_valid_http_and_bounded() {
        for name in ["", "x y", "x:y", "x\n", "é"] {
            assert_eq!(refused(name, "x"), HeaderError::Name { position: 0 }, "{name:?}");
        }
        for value in ["a\r\nx-evil: 1", "\0", "a\tb", "é", " a", "a ", &"x".repeat(1025)] {
            assert!(is_refused("x-a", value, "its value is longer"), "{value:?}");
        }
        let error = CustomHeaders::parse([("x-a", "1"), ("X-A", "2")]).unwrap_err();
        assert_eq!(error.to_string(), "invalid header \"x-a\": it is given twice");
        let names: Vec<String> = (0..17).map(|n| format!("x-{n}")).collect();
        let pairs = |count: usize| names[..count].iter().map(|name| (name.as_str(), "1"));
        assert!(CustomHeaders::parse(pairs(16)).is_ok());
        assert_eq!(CustomHeaders::parse(pairs(17)), Err(HeaderError::TooMany));
    }
}
