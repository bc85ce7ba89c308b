//! Keyed pseudonyms of persons.

use std::fmt;
use std::str::FromStr;

use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::hash::hex;

/// The pseudonym of a person: `HMAC-SHA256(subject key, id)`, 64 hexadecimal digits.
///
/// The holder of the key can find the entries of a person. Destroying the key unlinks them for good, and every proof
/// about the log still holds.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pseudonym([u8; 32]);

impl Pseudonym {
    /// The pseudonym of `id` under `subject_key`.
    #[must_use]
    pub fn of(subject_key: &[u8; 32], id: &str) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, subject_key), id.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex(&self.0, &mut [0; 64]))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Pseudonym> for String {
    fn from(pseudonym: Pseudonym) -> Self {
        pseudonym.to_string()
    }
}

impl FromStr for Pseudonym {
    type Err = PseudonymError;

    fn from_str(text: &str) -> Result<Self, PseudonymError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(PseudonymError);
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| PseudonymError)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Pseudonym {
    type Error = PseudonymError;

    fn try_from(text: String) -> Result<Self, PseudonymError> {
        text.parse()
    }
}

/// The text is not a pseudonym.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid pseudonym: it has 64 digits of 0-9 a-f")]
pub struct PseudonymError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonym_is_keyed_and_reads_back() {
        let pseudonym = Pseudonym::of(&[1; 32], "guest-1");
        assert_ne!(pseudonym, Pseudonym::of(&[2; 32], "guest-1"));
        assert_ne!(pseudonym, Pseudonym::of(&[1; 32], "guest-2"));
        assert_eq!(pseudonym.to_string().parse(), Ok(pseudonym));
        for text in ["", "ab", &"A".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(text.parse::<Pseudonym>(), Err(PseudonymError), "{text}");
        }
    }
}
