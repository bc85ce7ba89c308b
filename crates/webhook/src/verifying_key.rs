//! Keys that verify deliveries.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::secret::SigningKey;
use crate::{KeyError, Secret};

/// Prefix of a public key (Standard Webhooks).
pub(crate) const PUBLIC_PREFIX: &str = "whpk_";
/// Length of a public key, in bytes.
const PUBLIC: usize = 32;

/// The public key of a sender of `v1a` signatures: `whpk_` and base64 of an Ed25519 public key (Standard Webhooks 1.0.0).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PublicKey([u8; PUBLIC]);

impl PublicKey {
    pub(crate) fn of(pair: &Ed25519KeyPair) -> Self {
        let bytes = pair.public_key().as_ref();
        Self(bytes.try_into().expect("a public key of Ed25519 has 32 bytes"))
    }

    pub(crate) fn verify(&self, content: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(content, signature)
            .is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let encoded = text.strip_prefix(PUBLIC_PREFIX).ok_or(KeyError::PublicKey)?;
        // the longest text of this length would decode to one byte more
        let mut bytes = [0; PUBLIC + 1];
        match STANDARD.decode_slice(encoded, &mut bytes) {
            Ok(PUBLIC) => Ok(Self(bytes[..PUBLIC].try_into().map_err(|_| KeyError::PublicKey)?)),
            _ => Err(KeyError::PublicKey),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", STANDARD.encode(self.0))
    }
}

/// A key that verifies the deliveries of one sender: a shared secret, or a public key. Its `Debug` is redacted.
#[derive(Clone)]
pub struct VerifyingKey(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Shared(hmac::Key),
    Public(PublicKey),
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    /// Parses a [`PublicKey`] if it begins with `whpk_`, else a [`Secret`].
    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.starts_with(PUBLIC_PREFIX) {
            true => text.parse::<PublicKey>().map(Self::from),
            false => text.parse::<Secret>().map(Self::from),
        }
    }
}

/// The secret itself if it is shared, or its public key.
impl From<Secret> for VerifyingKey {
    fn from(secret: Secret) -> Self {
        Self(match secret.key {
            SigningKey::Shared(key) => Kind::Shared(key),
            SigningKey::Private(pair) => Kind::Public(PublicKey::of(&pair)),
        })
    }
}

impl From<PublicKey> for VerifyingKey {
    fn from(key: PublicKey) -> Self {
        Self(Kind::Public(key))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

    /// RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
    const RFC_8032: [[&str; 4]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe\
             24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302a\
             eeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed2\
             8dc027beceea1ec40a",
        ],
    ];

    /// The order of the group of Ed25519, least significant byte first.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    #[test]
    fn public_key_verifies_vectors_of_rfc_8032() {
        let bytes = |hex: &str| -> Vec<u8> {
            let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
            digits
                .map(|digits| u8::from_str_radix(digits, 16).unwrap())
                .collect()
        };
        for vector in RFC_8032 {
            let [seed, public, message, mut signature] = vector.map(bytes);
            let secret = Secret::generate_private(seed.try_into().unwrap());
            let key = secret.public_key().unwrap();
            assert_eq!(key.0.as_slice(), public);
            assert!(key.verify(&message, &signature));
            // with the order of the group added to its second half, a lax verifier accepts it too
            let mut carry = 0;
            for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
                let sum = u16::from(*byte) + u16::from(order) + carry;
                [*byte, _] = sum.to_le_bytes();
                carry = sum >> 8;
            }
            assert!(!key.verify(&message, &signature));
        }
    }

    #[test]
    fn public_key_is_32_bytes_with_prefix() {
        assert_eq!(TEXT.parse::<PublicKey>().unwrap().to_string(), TEXT);
        let key = |length| format!("whpk_{}", STANDARD.encode(vec![7; length]));
        for text in [
            "",
            "whpk_",
            &TEXT[5..],
            &TEXT.replace("whpk_", "whsec_"),
            &TEXT.replace("Oir4=", "Oir5="),
            TEXT.trim_end_matches('='),
            &key(31),
            &key(33),
            &key(500),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::PublicKey), "{text}");
        }
    }

    #[test]
    fn verifying_key_has_any_form_and_redacted_debug() {
        let private = Secret::generate_private([3; 32]);
        let shared = Secret::generate([3; 32]);
        for (text, is_public) in [(TEXT, true), (private.expose(), true), (shared.expose(), false)] {
            let key: VerifyingKey = text.parse().unwrap();
            assert_eq!(matches!(key.0, Kind::Public(_)), is_public);
            assert_eq!(format!("{key:?}"), "VerifyingKey(redacted)");
        }
        for (text, error) in [("whpk_x", KeyError::PublicKey), ("x", KeyError::Malformed)] {
            assert_eq!(text.parse::<VerifyingKey>().unwrap_err(), error);
        }
    }
}
