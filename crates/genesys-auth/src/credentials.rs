//! Who fetches a token.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Longest client id or secret, in bytes. Our choice; those of Genesys have 36 and 43.
const LONGEST: usize = 1024;

/// The public half of an API client's credentials: 1 to 1024 visible ASCII characters. Not a secret.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientId(String);

impl ClientId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = CredentialsError;

    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        check("client id", text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An API client's id and secret. The secret is shown nowhere.
#[derive(Clone, Debug)]
pub struct Credentials {
    id: ClientId,
    secret: SecretString,
}

impl Credentials {
    /// Joins the two halves.
    ///
    /// # Errors
    /// If the secret is not 1 to 1024 visible ASCII characters; a line break that was copied with it is found so.
    pub fn new(id: ClientId, secret: SecretString) -> Result<Self, CredentialsError> {
        check("client secret", secret.expose_secret())?;
        Ok(Self { id, secret })
    }

    /// The public half.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// `Authorization: Basic`, with both halves form-encoded first (RFC 6749 section 2.3.1).
    pub(crate) fn basic(&self) -> HeaderValue {
        let pair = SecretString::from(format!(
            "{}:{}",
            form_encode(self.id.as_str()),
            form_encode(self.secret.expose_secret())
        ));
        let basic = format!("Basic {}", STANDARD.encode(pair.expose_secret()));
        let mut value = HeaderValue::try_from(basic).expect("base64 is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

/// `text` as a value of `application/x-www-form-urlencoded`.
pub(crate) fn form_encode(text: &str) -> String {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            _ => encoded
                .extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]].map(char::from)),
        }
    }
    encoded
}

/// The text cannot be a client id or a client secret. It is not repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A character outside visible ASCII.
    #[error(
        "the {what} has a space, a line break or another odd character at byte {position}: copy it again"
    )]
    Character {
        /// Which half.
        what: &'static str,
        /// Where, in bytes from the start.
        position: usize,
    },
    /// Nothing.
    #[error("the {what} is empty: take it from the OAuth client")]
    Empty {
        /// Which half.
        what: &'static str,
    },
    /// More than 1024 bytes.
    #[error("the {what} has {bytes} bytes: at most 1024 are accepted")]
    TooLong {
        /// Which half.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), CredentialsError> {
    if text.is_empty() {
        return Err(CredentialsError::Empty { what });
    }
    if text.len() > LONGEST {
        return Err(CredentialsError::TooLong {
            what,
            bytes: text.len(),
        });
    }
    match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
        Some(position) => Err(CredentialsError::Character { what, position }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_line_break_is_found_and_the_secret_not_told() {
        let error = Credentials::new("id".parse().unwrap(), "hunter2\n".into()).unwrap_err();
        assert_eq!(
            error,
            CredentialsError::Character {
                what: "client secret",
                position: 7
            }
        );
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(
            "".parse::<ClientId>(),
            Err(CredentialsError::Empty { what: "client id" })
        );
        assert_eq!(
            "x".repeat(1025).parse::<ClientId>(),
            Err(CredentialsError::TooLong {
                what: "client id",
                bytes: 1025
            })
        );
    }

    #[test]
    fn both_halves_are_form_encoded_before_base64() {
        let basic = |id: &str, secret: &str| {
            let credentials = Credentials::new(id.parse().unwrap(), secret.into()).unwrap();
            let header = credentials.basic();
            assert!(header.is_sensitive());
            let text = STANDARD
                .decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap())
                .unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(basic("a:b", "p%20+/="), "a%3Ab:p%2520%2B%2F%3D");
        assert_eq!(basic("0f-1", "aZ09_-.*"), "0f-1:aZ09_-.*");
        assert_eq!(form_encode("a b é"), "a+b+%C3%A9");
    }

    #[test]
    fn credentials_are_silent() {
        let credentials = Credentials::new("id-1".parse().unwrap(), "hunter2".into()).unwrap();
        let text = format!("{credentials:?}");
        assert!(text.contains("id-1") && !text.contains("hunter2"), "{text}");
    }
}
