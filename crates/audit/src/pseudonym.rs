//! Keyed pseudonyms of persons.

use std::fmt;
use std::hash::{self, Hasher};

use ring::hmac;
use serde::{Deserialize, Serialize, Serializer};

use crate::Hash;

/// The pseudonym of a person: `HMAC-SHA256(subject key, id)`, 64 hexadecimal digits.
///
/// The holder of the key can find the entries of a person. Destroying the key unlinks them permanently, and every proof
/// about the log still holds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pseudonym {
    hash: Hash,
    prefix: Option<[u8; 6]>,
}

impl Pseudonym {
    /// The pseudonym of `id` under `subject_key`.
    #[must_use]
    pub fn of(subject_key: &[u8; 32], id: &str) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, subject_key), id.as_bytes());
        Self {
            hash: Hash::from_slice(tag.as_ref()),
            prefix: None,
        }
    }

    /// The same pseudonym, with a prefix by which an index of entries sorts it, such as the time from which its entries
    /// are. The prefix is neither in an entry nor in a comparison.
    #[must_use]
    pub const fn with_prefix(self, prefix: [u8; 6]) -> Self {
        let prefix = Some(prefix);
        Self { prefix, ..self }
    }

    /// The prefix in an index, if there is one.
    #[must_use]
    pub const fn prefix(&self) -> Option<[u8; 6]> {
        self.prefix
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.hash.as_bytes()
    }
}

impl Eq for Pseudonym {}

impl PartialEq for Pseudonym {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl hash::Hash for Pseudonym {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.fmt(f)
    }
}

impl Serialize for Pseudonym {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hash.write_hex(&mut [0; 64]))
    }
}

impl TryFrom<String> for Pseudonym {
    type Error = PseudonymError;

    fn try_from(text: String) -> Result<Self, PseudonymError> {
        let hash = Hash::from_hex(&text).ok_or(PseudonymError)?;
        Ok(Self { hash, prefix: None })
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
        let prefixed = pseudonym.with_prefix([7; 6]);
        assert_eq!(
            (prefixed, prefixed.to_string()),
            (pseudonym, pseudonym.to_string())
        );
        for text in ["", "ab", &"A".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(
                Pseudonym::try_from(text.to_owned()),
                Err(PseudonymError),
                "{text}"
            );
        }
    }
}
