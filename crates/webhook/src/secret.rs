//! The secret of an endpoint, which signs deliveries.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::PublicKey;
use crate::signature::{self, ED25519, MAC, VERSION, VERSION_ASYMMETRIC};
use crate::verifying_key::PUBLIC_PREFIX;

/// Allowed lengths of a shared secret in bytes (Standard Webhooks).
const BYTES: RangeInclusive<usize> = 24..=64;
const PREFIX: &str = "whsec_";
/// Prefix of a private key (Standard Webhooks).
const PRIVATE_PREFIX: &str = "whsk_";
/// Length of the seed of a private key, in bytes. The public key follows it.
const SEED: usize = 32;
/// Longest text that is decoded, in characters. Our choice: it is long enough for a message with the exact length of a key.
const LONGEST_TEXT: usize = 1024;

/// The secret of one endpoint (Standard Webhooks 1.0.0), in one of two forms:
///
/// - shared by sender and receiver: `whsec_` and base64 of 24 to 64 random bytes. It makes `v1` signatures.
/// - the private key of the sender: `whsk_` and base64 of an Ed25519 seed and its public key. It makes `v1a` signatures,
///   which a receiver verifies with the [`PublicKey`].
///
/// It has no `Display`, and its `Debug` is redacted. The text and the decoded bytes are zeroed on drop. The key schedule
/// of `ring` is not.
#[derive(Clone)]
pub struct Secret {
    text: SecretString,
    pub(crate) key: SigningKey,
}

#[derive(Clone)]
pub(crate) enum SigningKey {
    Shared(hmac::Key),
    Private(Arc<Ed25519KeyPair>),
}

impl Secret {
    /// A new shared secret of 32 bytes. `random` must come from a cryptographic generator.
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        Self::shared(Zeroizing::new(random).as_slice())
    }

    /// A new private key. `random` must come from a cryptographic generator.
    ///
    /// # Panics
    /// Never: any seed of this length is valid.
    #[must_use]
    pub fn generate_private(random: [u8; SEED]) -> Self {
        let seed = Zeroizing::new(random);
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).expect("32 bytes are a seed");
        let mut bytes = Zeroizing::new([0; 2 * SEED]);
        bytes[..SEED].copy_from_slice(seed.as_slice());
        bytes[SEED..].copy_from_slice(pair.public_key().as_ref());
        Self {
            text: encode(PRIVATE_PREFIX, bytes.as_slice()),
            key: SigningKey::Private(Arc::new(pair)),
        }
    }

    /// A shared secret of 24 to 64 bytes.
    ///
    /// # Errors
    /// If the length is outside 24 to 64.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if BYTES.contains(&bytes.len()) {
            Ok(Self::shared(bytes))
        } else {
            Err(KeyError::Length { bytes: bytes.len() })
        }
    }

    /// The secret as text, for the response that shows it once and for encrypted storage.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The public half of a private key, for the receiver. `None` for a shared secret.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        match &self.key {
            SigningKey::Shared(_) => None,
            SigningKey::Private(pair) => Some(PublicKey::of(pair)),
        }
    }

    /// Length of a signature with its version.
    pub(crate) fn signature_length(&self) -> usize {
        let (version, bytes) = match &self.key {
            SigningKey::Shared(_) => (VERSION, MAC),
            SigningKey::Private(_) => (VERSION_ASYMMETRIC, ED25519),
        };
        version.len() + bytes.div_ceil(3) * 4
    }

    /// Appends the version and the signature over the first `prefix` bytes of `text` and the body.
    pub(crate) fn append_signature(&self, text: &mut Vec<u8>, prefix: usize, body: &[u8]) {
        let content = [&text[..prefix], body];
        match &self.key {
            SigningKey::Shared(key) => append(text, VERSION, signature::mac(key, content).as_ref()),
            SigningKey::Private(pair) => {
                append(text, VERSION_ASYMMETRIC, pair.sign(&content.concat()).as_ref());
            }
        }
    }

    fn shared(bytes: &[u8]) -> Self {
        Self {
            text: encode(PREFIX, bytes),
            key: SigningKey::Shared(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
        }
    }

    fn private(bytes: &[u8]) -> Result<Self, KeyError> {
        let (seed, public) = bytes.split_at_checked(SEED).ok_or(KeyError::PrivateKey)?;
        // checks the length of both, and that they belong together
        let pair =
            Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| KeyError::PrivateKey)?;
        Ok(Self {
            text: encode(PRIVATE_PREFIX, bytes),
            key: SigningKey::Private(Arc::new(pair)),
        })
    }
}

fn append(text: &mut Vec<u8>, version: &str, signature: &[u8]) {
    text.extend_from_slice(version.as_bytes());
    let start = text.len();
    text.resize(start + signature.len().div_ceil(3) * 4, 0);
    let encoded = STANDARD.encode_slice(signature, &mut text[start..]);
    encoded.expect("the buffer has the length of the encoding");
}

fn encode(prefix: &str, bytes: &[u8]) -> SecretString {
    let mut text = String::with_capacity(prefix.len() + bytes.len().div_ceil(3) * 4);
    text.push_str(prefix);
    STANDARD.encode_string(bytes, &mut text);
    text.into()
}

impl FromStr for Secret {
    type Err = KeyError;

    /// Parses `whsec_` and base64, base64 alone, as the reference libraries do, or `whsk_` and base64.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(PUBLIC_PREFIX) {
            return Err(KeyError::PublicForSecret);
        }
        let private = text.strip_prefix(PRIVATE_PREFIX);
        let encoded = private.unwrap_or(text.strip_prefix(PREFIX).unwrap_or(text));
        if encoded.len() > LONGEST_TEXT {
            return Err(KeyError::TooLong);
        }
        let mut bytes = Zeroizing::new([0; LONGEST_TEXT / 4 * 3]);
        let length = STANDARD
            .decode_slice(encoded, bytes.as_mut_slice())
            .map_err(|_| KeyError::Malformed)?;
        let bytes = &bytes[..length];
        match private {
            Some(_) => Self::private(bytes),
            None => Self::from_bytes(bytes),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// An invalid secret or public key. No message contains it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// An empty secret.
    #[error("invalid webhook secret: it is empty")]
    Empty,
    /// A shared secret of too few or too many bytes.
    #[error("invalid webhook secret: {bytes} bytes, give 24 to 64 random bytes")]
    Length {
        /// Length in bytes.
        bytes: usize,
    },
    /// Not base64.
    #[error("invalid webhook secret: not whsec_ or whsk_ followed by padded standard base64, copy all of it")]
    Malformed,
    /// A private key of another length, or with the public key of another one.
    #[error("invalid webhook private key: not a seed of 32 bytes with its public key, copy all of it")]
    PrivateKey,
    /// Not a public key.
    #[error("invalid webhook public key: not whpk_ followed by the base64 of 32 bytes, copy all of it")]
    PublicKey,
    /// A public key, which signs nothing.
    #[error("invalid webhook secret: whpk_ is a public key, which only verifies: give whsec_ or whsk_")]
    PublicForSecret,
    /// Longer than any secret by far.
    #[error("invalid webhook secret: more than 1024 characters, give 24 to 64 random bytes as base64")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

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
            KeyError::Length { bytes: 0 }
        );
        for length in [65, 66, 70, 72, 500] {
            let text = STANDARD.encode(vec![7; length]);
            let error = text.parse::<Secret>().unwrap_err();
            assert_eq!(error, KeyError::Length { bytes: length });
        }
        let text = STANDARD.encode([7; 800]);
        assert_eq!(text.parse::<Secret>().unwrap_err(), KeyError::TooLong);
        for text in ["whsec_!", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "WHSEC_x"] {
            assert_eq!(text.parse::<Secret>().unwrap_err(), KeyError::Malformed, "{text}");
        }
    }

    #[test]
    fn private_key_is_a_seed_with_its_public_key() {
        let secret: Secret = PRIVATE.parse().unwrap();
        assert_eq!(secret.expose(), PRIVATE);
        assert_eq!(secret.public_key().unwrap().to_string(), PUBLIC);
        assert_eq!(
            Secret::generate([9; 32]).public_key().map(|key| key.to_string()),
            None
        );
        let bytes = STANDARD.decode(&PRIVATE[PRIVATE_PREFIX.len()..]).unwrap();
        let generated = Secret::generate_private(bytes[..SEED].try_into().unwrap());
        assert_eq!(generated.expose(), PRIVATE);
        assert_eq!(format!("{generated:?}"), "Secret(redacted)");
        let mut other_public = bytes.clone();
        other_public[SEED..].copy_from_slice(&bytes[..SEED]);
        for bytes in [
            &[][..],
            &bytes[..32],
            &bytes[..63],
            &[bytes.as_slice(), &[0]].concat(),
            &other_public,
        ] {
            let text = format!("{PRIVATE_PREFIX}{}", STANDARD.encode(bytes));
            assert_eq!(text.parse::<Secret>().unwrap_err(), KeyError::PrivateKey);
        }
        assert_eq!(PUBLIC.parse::<Secret>().unwrap_err(), KeyError::PublicForSecret);
        assert_eq!("whsk_!".parse::<Secret>().unwrap_err(), KeyError::Malformed);
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
