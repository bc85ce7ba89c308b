//! The keys under which the app's backend signs the identity of a guest.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{hmac, signature};
use secrecy::{ExposeSecret as _, SecretString};

/// Shortest secret of HS256, in bytes (RFC 7518 section 3.2).
const MIN_SECRET: usize = 32;
/// Length of a public key of Ed25519, in bytes.
const PUBLIC_KEY: usize = 32;

/// A key of assertions.
#[derive(Debug)]
pub(crate) struct AssertionKey {
    /// The value of `kid`.
    pub(super) id: String,
    key: Key,
}

#[derive(Debug)]
enum Key {
    Ed25519([u8; PUBLIC_KEY]),
    Hmac(hmac::Key),
}

impl AssertionKey {
    /// A public key of Ed25519 in base64, as `x` of a JWK (RFC 8037) has it.
    pub(crate) fn public(id: String, text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text));
        Some(Self {
            id,
            key: Key::Ed25519(bytes.ok()?.try_into().ok()?),
        })
    }

    /// A secret of HS256. `None` if it is too short.
    pub(crate) fn secret(id: String, secret: &SecretString) -> Option<Self> {
        let bytes = secret.expose_secret().as_bytes();
        (bytes.len() >= MIN_SECRET).then(|| Self {
            id,
            key: Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
        })
    }

    /// The value of `alg`. The key decides it, never the header of an assertion (RFC 8725 section 3.1).
    pub(super) fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Ed25519(_) => "EdDSA",
            Key::Hmac(_) => "HS256",
        }
    }

    pub(super) fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Key::Ed25519(key) => signature::UnparsedPublicKey::new(&signature::ED25519, key)
                .verify(signed, signature)
                .is_ok(),
            Key::Hmac(key) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}
