//! The key of a request that may be repeated.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "http")]
use http::HeaderValue;

/// Longest key, in characters. Our choice.
const MAX_LENGTH: usize = 255;

/// The value of the header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the same in each repetition of
/// one request, and random. A service that supports it acts once.
///
/// `Debug` hides it, because a service may return secrets again to the holder of the key.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Name of the header.
    pub const HEADER: &str = "idempotency-key";

    /// A new key: a random UUID.
    #[cfg(feature = "driver")]
    #[must_use]
    pub fn random() -> Self {
        Self(crate::entropy::uuid().to_string())
    }

    /// Parses the value of the header: a string of RFC 9651 section 3.3.3, or the key without quotes, as many clients send
    /// it.
    ///
    /// # Errors
    /// If it is not one key of 1 to 255 characters.
    #[cfg(feature = "http")]
    pub fn parse_header(value: &HeaderValue) -> Result<Self, IdempotencyKeyError> {
        let text = value.to_str().map_err(|_| IdempotencyKeyError)?.trim();
        match text.strip_prefix('"') {
            Some(rest) => unquoted(rest).ok_or(IdempotencyKeyError)?.parse(),
            // these characters would make it a list, a parameter or half a string
            None if text.contains([' ', '"', ',', ';', '\\']) => Err(IdempotencyKeyError),
            None => text.parse(),
        }
    }

    /// The value of the header, in quotes.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        let escaped = self.0.replace('\\', "\\\\").replace('"', "\\\"");
        HeaderValue::try_from(format!("\"{escaped}\"")).expect("a key is printable ASCII")
    }

    /// The key without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text of a quoted string after its first quote. `None` if the string does not end with the text.
#[cfg(feature = "http")]
fn unquoted(rest: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(text),
            '\\' => text.push(
                characters
                    .next()
                    .filter(|escaped| matches!(escaped, '"' | '\\'))?,
            ),
            character => text.push(character),
        }
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        let is_valid = (1..=MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        is_valid.then(|| Self(text.to_owned())).ok_or(IdempotencyKeyError)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(redacted)")
    }
}

/// An invalid idempotency key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "invalid Idempotency-Key: send one of 1 to 255 characters of printable ASCII in quotes, such as a UUID"
)]
pub struct IdempotencyKeyError;

#[cfg(test)]
#[cfg(feature = "http")]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<String> {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        IdempotencyKey::parse_header(&value).ok().map(|key| key.0)
    }

    #[test]
    fn idempotency_key_is_parsed_with_and_without_quotes() {
        let uuid = "8e03978e-40d5-43e8-bc93-6894a57f9324";
        for value in [uuid, &format!("\"{uuid}\""), &format!(" \"{uuid}\" ")] {
            assert_eq!(parse(value).as_deref(), Some(uuid), "{value}");
        }
        assert_eq!(parse(r#""a \"b\" \\ c""#).as_deref(), Some(r#"a "b" \ c"#));
    }

    #[test]
    fn malformed_idempotency_key_is_refused() {
        let long = "k".repeat(256);
        for value in [
            "",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "a b",
            "a, b",
            "\"a\", \"b\"",
            "\"a\";q=1",
            "\"a\\n\"",
            "\"a\\",
            "\"é\"",
            &long,
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
    }

    #[test]
    fn header_value_round_trips_and_debug_hides_the_key() {
        for text in ["k", r#"a "b" \ c"#, &"k".repeat(255)] {
            let key: IdempotencyKey = text.parse().unwrap();
            assert_eq!(IdempotencyKey::parse_header(&key.header_value()), Ok(key.clone()));
            assert_eq!(format!("{key:?}"), "IdempotencyKey(redacted)");
        }
    }
}
