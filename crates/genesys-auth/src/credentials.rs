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

fn form_encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// An invalid client id or client secret. No message contains it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "invalid {what}: give 1 to 1024 visible ASCII characters, without spaces and line breaks, copy it again"
)]
#[non_exhaustive]
pub struct CredentialsError {
    /// `client id` or `client secret`.
    pub what: &'static str,
}

fn check(what: &'static str, text: &str) -> Result<(), CredentialsError> {
    match is_visible_ascii(text, MAX_LENGTH) {
        true => Ok(()),
        false => Err(CredentialsError { what }),
    }
}

/// Whether `text` has 1 to `max` bytes, all of them visible ASCII.
pub(crate) fn is_visible_ascii(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_break_in_secret_is_reported_without_secret() {
        let error = Credentials::new("id".parse().unwrap(), "hunter2\n".into()).unwrap_err();
        assert_eq!(
            error,
            CredentialsError {
                what: "client secret"
            }
        );
        assert!(!error.to_string().contains("hunter2"));
        for text in ["", "a b", "é", &"x".repeat(1025)] {
            let error = CredentialsError { what: "client id" };
            assert_eq!(text.parse::<ClientId>(), Err(error), "{text}");
        }
        assert!("x".repeat(1024).parse::<ClientId>().is_ok());
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
