//! The shared secret of an endpoint.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// Allowed lengths in bytes (Standard Webhooks).
const BYTES: RangeInclusive<usize> = 24..=64;
const PREFIX: &str = "whsec_";
/// Longest text that is decoded, in characters. Our choice: it is long enough for a message with the exact length of a key.
const LONGEST_TEXT: usize = 1024;

/// The secret of one endpoint: 24 to 64 random bytes, written as `whsec_` and base64 (Standard Webhooks 1.0.0).
///
/// It has no `Display`, and its `Debug` is redacted. The text and the decoded bytes are zeroed on drop. The key schedule
/// of `ring` is not.
#[derive(Clone)]
pub struct Secret {
    text: SecretString,
    key: hmac::Key,
}

impl Secret {
    /// A new secret of 32 bytes. `random` must come from a cryptographic generator.
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        Self::of(Zeroizing::new(random).as_slice())
    }

    /// A secret of 24 to 64 bytes.
    ///
    /// # Errors
    /// If the length is outside 24 to 64.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        if BYTES.contains(&bytes.len()) {
            Ok(Self::of(bytes))
        } else {
            Err(SecretError::Length { bytes: bytes.len() })
        }
    }

    /// The secret as text, for the response that shows it once and for encrypted storage.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The MAC over `id "." timestamp "." body`.
    pub(crate) fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(id.as_bytes());
        context.update(b".");
        context.update(timestamp.as_bytes());
        context.update(b".");
        context.update(body);
        context.sign()
    }

    fn of(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(PREFIX.len() + bytes.len().div_ceil(3) * 4);
        text.push_str(PREFIX);
        STANDARD.encode_string(bytes, &mut text);
        Self {
            text: text.into(),
            key: hmac::Key::new(hmac::HMAC_SHA256, bytes),
        }
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    /// Parses `whsec_` and base64, or base64 alone, as the reference libraries do.
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        if encoded.len() > LONGEST_TEXT {
            return Err(SecretError::TooLong);
        }
        let mut bytes = Zeroizing::new([0; LONGEST_TEXT / 4 * 3]);
        let length = STANDARD
            .decode_slice(encoded, bytes.as_mut_slice())
            .map_err(|_| SecretError::Malformed)?;
        Self::from_bytes(&bytes[..length])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// An invalid webhook secret. No message contains it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Too few or too many bytes.
    #[error("invalid webhook secret: {bytes} bytes, give 24 to 64 random bytes")]
    Length {
        /// Length in bytes.
        bytes: usize,
    },
    /// Not base64.
    #[error("invalid webhook secret: not whsec_ followed by padded standard base64, copy all of it")]
    Malformed,
    /// Longer than any secret by far.
    #[error("invalid webhook secret: more than 1024 characters, give 24 to 64 random bytes as base64")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_24_to_64_bytes_of_base64() {
        for (length, accepted) in [
            (0, false),
            (23, false),
            (24, true),
            (64, true),
            (65, false),
            (500, false),
        ] {
            let bytes = vec![7; length];
            assert_eq!(Secret::from_bytes(&bytes).is_ok(), accepted, "{length}");
            let text = format!("whsec_{}", STANDARD.encode(&bytes));
            assert_eq!(text.parse::<Secret>().is_ok(), accepted, "{length}");
        }
        assert_eq!(
            "whsec_".parse::<Secret>().unwrap_err(),
            SecretError::Length { bytes: 0 }
        );
        for length in [65, 66, 70, 72, 500] {
            let text = STANDARD.encode(vec![7; length]);
            let error = text.parse::<Secret>().unwrap_err();
            assert_eq!(error, SecretError::Length { bytes: length });
        }
        let text = STANDARD.encode([7; 800]);
        assert_eq!(text.parse::<Secret>().unwrap_err(), SecretError::TooLong);
        let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
        for text in [
            "whsec_!",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
            public,
            "WHSEC_x",
        ] {
            assert_eq!(
                text.parse::<Secret>().unwrap_err(),
                SecretError::Malformed,
                "{text}"
            );
        }
    }

    #[test]
    fn secret_round_trips_and_debug_is_redacted() {
        let secret = Secret::generate([9; 32]);
        assert_eq!(secret.expose(), format!("whsec_{}", STANDARD.encode([9; 32])));
        let bare = secret.expose().strip_prefix("whsec_").unwrap();
        for text in [secret.expose(), bare] {
            assert_eq!(text.parse::<Secret>().unwrap().expose(), secret.expose());
        }
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
    }
}
