//! Credentials of an API client.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Longest accepted client id or secret, in bytes. Our choice: those of Genesys have 36 and 43.
const MAX_LENGTH: usize = 1024;

/// Id of an API client: 1 to 1024 visible ASCII characters. Not a secret.
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

/// Id and secret of an API client. `Debug` redacts the secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    id: ClientId,
    secret: SecretString,
}

impl Credentials {
    /// Checks and combines the id and the secret.
    ///
    /// # Errors
    /// If the secret is not 1 to 1024 visible ASCII characters. This detects a copied line break.
    pub fn new(id: ClientId, secret: SecretString) -> Result<Self, CredentialsError> {
        check("client secret", secret.expose_secret())?;
        Ok(Self { id, secret })
    }

    /// Id of the API client.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// The value of `Authorization: Basic`, with id and secret form-encoded first (RFC 6749 section 2.3.1).
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

/// Encodes a value of `application/x-www-form-urlencoded`.
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

/// An invalid client id or client secret. No message contains it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A character outside visible ASCII.
    #[error("invalid {what}: a space, line break or non-ASCII character at byte {position}, copy it again")]
    Character {
        /// `client id` or `client secret`.
        what: &'static str,
        /// Byte offset of the character.
        position: usize,
    },
    /// An empty text.
    #[error("invalid {what}: it is empty, copy it from the OAuth client")]
    Empty {
        /// `client id` or `client secret`.
        what: &'static str,
    },
    /// More than 1024 bytes.
    #[error("invalid {what}: {bytes} bytes, at most 1024 are accepted")]
    TooLong {
        /// `client id` or `client secret`.
        what: &'static str,
        /// Length in bytes.
        bytes: usize,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), CredentialsError> {
    if text.is_empty() {
        return Err(CredentialsError::Empty { what });
    }
    if text.len() > MAX_LENGTH {
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
    fn line_break_in_secret_is_reported_without_secret() {
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
    fn id_and_secret_are_form_encoded_before_base64() {
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
    fn credentials_debug_is_redacted() {
        let credentials = Credentials::new("id-1".parse().unwrap(), "hunter2".into()).unwrap();
        let text = format!("{credentials:?}");
        assert!(text.contains("id-1") && !text.contains("hunter2"), "{text}");
    }
}
