//! SHA-256 as RFC 6962 §2.1 uses it: a leaf and a node can never be mistaken for each other.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256, digest};

/// A hash of the tree: of a leaf, of a node, or the root.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hash([u8; 32]);

impl Hash {
    /// A hash of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads standard base64, as in a checkpoint.
    #[must_use]
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        // the decoder wants room for the 3 bytes of each group of 4 characters
        let mut room = [0; 33];
        let length = STANDARD.decode_slice(text, &mut room).ok()?;
        if length != bytes.len() {
            return None;
        }
        bytes.copy_from_slice(&room[..length]);
        Some(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Standard base64, 44 characters, as in a checkpoint.
    #[must_use]
    pub(crate) fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex(&self.0, &mut [0; 64]))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lowercase hexadecimal digits of `bytes`, written to `text`.
pub(crate) fn hex<'t>(bytes: &[u8; 32], text: &'t mut [u8; 64]) -> &'t str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    std::str::from_utf8(text).expect("hexadecimal digits are ASCII")
}

/// The hash of a leaf: `SHA-256(0x00 ‖ data)`, RFC 6962 §2.1.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(data);
    finished(&context.finish())
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
pub(crate) fn node_hash(left: Hash, right: Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    finished(&digest(&SHA256, &bytes))
}

/// The root of the tree without leaves: `SHA-256("")`.
pub(crate) fn empty_root() -> Hash {
    finished(&digest(&SHA256, b""))
}

fn finished(digest: &ring::digest::Digest) -> Hash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        let hash = leaf_hash(b"");
        assert_eq!(
            hash.to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(Hash::from_base64(&hash.to_base64()), Some(hash));
        for text in [
            "",
            "AAAA",
            &hash.to_base64()[1..],
            &format!("{}=", hash.to_base64()),
        ] {
            assert_eq!(Hash::from_base64(text), None, "{text}");
        }
    }
}
