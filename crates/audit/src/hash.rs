//! SHA-256 of leaves and nodes, with domain separation (RFC 6962 section 2.1).

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

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest or MAC of SHA-256.
    pub(crate) fn from_slice(digest: &[u8]) -> Self {
        Self(digest.try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Parses 64 lowercase hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(is_digit) {
            return None;
        }
        let (high, low) = text.split_at(32);
        let mut bytes = [0; 32];
        for (half, digits) in bytes.as_chunks_mut::<16>().0.iter_mut().zip([high, low]) {
            *half = u128::from_str_radix(digits, 16).ok()?.to_be_bytes();
        }
        Some(Self(bytes))
    }

    /// Writes 64 lowercase hexadecimal digits into `text`.
    pub(crate) fn write_hex<'a>(&self, text: &'a mut [u8; 64]) -> &'a str {
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        std::str::from_utf8(text).expect("digits are ASCII")
    }

    /// Parses standard base64, as in a checkpoint.
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        // the decoder needs 3 bytes for each group of 4 characters
        let mut bytes = [0; 33];
        let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
        bytes[..length].try_into().ok().map(Self)
    }

    /// Standard base64, 44 characters, as in a checkpoint.
    pub(crate) fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write_hex(&mut [0; 64]))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The hash of a leaf: `SHA-256(0x00 ‖ data)`, RFC 6962 section 2.1.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(data);
    Hash::from_slice(context.finish().as_ref())
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
pub(crate) fn node_hash(left: Hash, right: Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash::from_slice(digest(&SHA256, &bytes).as_ref())
}

/// The root of the tree without leaves: `SHA-256("")`.
pub(crate) fn empty_root() -> Hash {
    Hash::from_slice(digest(&SHA256, b"").as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_base64_is_strict() {
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
