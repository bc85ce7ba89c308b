//! Keyed pseudonyms of persons.

use std::fmt;

use ring::hmac;
use serde::{Deserialize, Serialize, Serializer};

use crate::Hash;

/// The pseudonym of a person: `HMAC-SHA256(subject key, id)`, 64 hexadecimal digits.
///
/// The holder of the key can find the entries of a person. Destroying the key unlinks them permanently, and every proof
/// about the log still holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "String")]
pub struct Pseudonym(Hash);

impl Pseudonym {
    /// The pseudonym of `id` under `subject_key`.
    #[must_use]
    pub fn of(subject_key: &[u8; 32], id: &str) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, subject_key), id.as_bytes());
        Self(Hash::from_slice(tag.as_ref()))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Pseudonym {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.write_hex(&mut [0; 64]))
    }
}

impl TryFrom<String> for Pseudonym {
    type Error = PseudonymError;

    fn try_from(text: String) -> Result<Self, PseudonymError> {
        Hash::from_hex(&text).map(Self).ok_or(PseudonymError)
    }
}

/// An invalid pseudonym.
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
        assert_eq!(Pseudonym::try_from(pseudonym.to_string()), Ok(pseudonym));
        for text in ["", "ab", &"A".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(
                Pseudonym::try_from(text.to_owned()),
                Err(PseudonymError),
                "{text}"
            );
        }
    }
}
