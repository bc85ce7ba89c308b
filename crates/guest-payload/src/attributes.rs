//! What is known of a guest, each piece with the purpose it serves.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Purpose;

/// What an attribute may be used for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Serving the guest: it needs no consent.
    Functional,
    /// A purpose: it is withheld unless that is on.
    For(Purpose),
}

impl Use {
    /// The use that a key implies. Our choice:
    ///
    /// - `source`, `region` and `timestamp`, which the founding tutorial sends, are functional;
    /// - what begins with `marketing.`, `personalization.` or `analytics.` is for that purpose;
    /// - everything else is for personalization, so that what nobody thought about is withheld.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        if FUNCTIONAL.contains(&key) {
            return Self::Functional;
        }
        Self::For(prefix(key).unwrap_or(Purpose::Personalization))
    }
}

/// Attributes of a guest, not yet fit to be sent: a decision has to filter them first, see
/// [`Allowed::filter`](crate::Allowed::filter).
///
/// At most 64 attributes; keys of 1 to 64 characters without control characters, values of at most 1,024 characters,
/// each of them our choice. The UTF-8 bytes of all keys and values together are at most [`Attributes::MOST_BYTES`].
/// `Debug` shows keys and uses, no values: they may be personal.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Attributes {
    entries: BTreeMap<String, (Use, String)>,
    bytes: usize,
}

impl Attributes {
    /// Most attributes.
    pub const MOST: usize = 64;
    /// Most UTF-8 bytes of all keys and values together, punctuation not counted: the limit of Genesys Cloud
    /// (`maxCustomDataBytes`, error 4013), counted as its mobile SDK counts.
    pub const MOST_BYTES: usize = genesys_api::limits::ATTRIBUTE_BYTES;
    /// Most characters of a key.
    pub const LONGEST_KEY: usize = 64;
    /// Most characters of a value.
    pub const LONGEST_VALUE: usize = 1024;

    /// No attributes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an attribute whose use its key implies, see [`Use::of_key`].
    ///
    /// # Errors
    /// If the key is there already, or a limit is passed.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Result<(), AttributeError> {
        let key = key.into();
        let usage = Use::of_key(&key);
        self.insert_for(usage, key, value)
    }

    /// Adds an attribute whose use is said.
    ///
    /// The `guest-sessions` contract carries keys and values only: its server goes by [`Use::of_key`] again.
    ///
    /// # Errors
    /// If the key is there already, a limit is passed, or the key begins with the name of another purpose.
    pub fn insert_for(
        &mut self,
        usage: Use,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<(), AttributeError> {
        let (key, value) = (key.into(), value.into());
        let length = key.chars().count();
        if length == 0 {
            return Err(AttributeError::EmptyKey);
        }
        if length > Self::LONGEST_KEY {
            return Err(AttributeError::LongKey { length });
        }
        if key.chars().any(char::is_control) {
            return Err(AttributeError::ControlCharacter);
        }
        if let Some(purpose) = prefix(&key).filter(|purpose| usage != Use::For(*purpose)) {
            return Err(AttributeError::OtherPurpose { key, purpose });
        }
        let length = value.chars().count();
        if length > Self::LONGEST_VALUE {
            return Err(AttributeError::LongValue { key, length });
        }
        if self.entries.contains_key(&key) {
            return Err(AttributeError::Duplicate { key });
        }
        if self.entries.len() == Self::MOST {
            return Err(AttributeError::TooMany);
        }
        let bytes = self.bytes + key.len() + value.len();
        if bytes > Self::MOST_BYTES {
            return Err(AttributeError::TooLarge { bytes });
        }
        self.bytes = bytes;
        self.entries.insert(key, (usage, value));
        Ok(())
    }

    /// Key, use and value of each attribute, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Use, &str)> {
        self.entries
            .iter()
            .map(|(key, (usage, value))| (key.as_str(), *usage, value.as_str()))
    }

    /// UTF-8 bytes of all keys and values together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.entries.iter().map(|(key, (usage, _))| (key, usage)))
            .finish()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, (Use, String)>::deserialize(deserializer)?;
        let mut attributes = Self::new();
        for (key, (usage, value)) in entries {
            attributes
                .insert_for(usage, key, value)
                .map_err(serde::de::Error::custom)?;
        }
        Ok(attributes)
    }
}

/// Attributes that may be sent: functional ones, and those of purposes that are on.
///
/// Only a decision, or the stored record of one, makes them; so what was not agreed to cannot reach a payload.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct LawfulAttributes(Attributes);

impl LawfulAttributes {
    pub(crate) fn keep(attributes: Attributes, is_on: impl Fn(Purpose) -> bool) -> Self {
        let mut kept = Attributes::new();
        for (key, (usage, value)) in attributes.entries {
            let lawful = match usage {
                Use::Functional => true,
                Use::For(purpose) => is_on(purpose),
            };
            if lawful {
                kept.bytes += key.len() + value.len();
                kept.entries.insert(key, (usage, value));
            }
        }
        Self(kept)
    }

    /// Key and value of each attribute, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, _, value)| (key, value))
    }

    /// The value of `key`, if it is there.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.entries.get(key).map(|(_, value)| value.as_str())
    }
}

/// For a second decision, after the guest has changed their mind.
impl From<LawfulAttributes> for Attributes {
    fn from(attributes: LawfulAttributes) -> Self {
        attributes.0
    }
}

/// An attribute cannot be taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// The key holds a line break or the like.
    #[error("the key of an attribute holds a control character: leave it out")]
    ControlCharacter,
    /// The key is there already.
    #[error("the attribute {key:?} stands twice: send it once")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// The key is empty.
    #[error(
        "the key of an attribute is empty: give 1 to {} characters",
        Attributes::LONGEST_KEY
    )]
    EmptyKey,
    /// The key is too long.
    #[error(
        "the key of an attribute has {length} characters: at most {} are allowed",
        Attributes::LONGEST_KEY
    )]
    LongKey {
        /// How many characters it has.
        length: usize,
    },
    /// The value is too long.
    #[error(
        "the attribute {key:?} has {length} characters: at most {} are allowed",
        Attributes::LONGEST_VALUE
    )]
    LongValue {
        /// The key.
        key: String,
        /// How many characters the value has.
        length: usize,
    },
    /// The key begins with the name of a purpose, and was to be used for something else.
    #[error(
        "the attribute {key:?} bears the name of another purpose: use it for {purpose}, or call it otherwise"
    )]
    OtherPurpose {
        /// The key.
        key: String,
        /// The purpose that the key names.
        purpose: Purpose,
    },
    /// All attributes together are too large.
    #[error(
        "the attributes have {bytes} bytes, keys and values together: at most {} are allowed",
        Attributes::MOST_BYTES
    )]
    TooLarge {
        /// How many bytes there are with the one that was to be added.
        bytes: usize,
    },
    /// There are too many attributes.
    #[error("there are more than {} attributes", Attributes::MOST)]
    TooMany,
}

/// What the founding tutorial sends with every session.
const FUNCTIONAL: [&str; 3] = ["region", "source", "timestamp"];

fn prefix(key: &str) -> Option<Purpose> {
    let (prefix, _) = key.split_once('.')?;
    Purpose::ALL
        .into_iter()
        .find(|purpose| purpose.as_str() == prefix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_implies_a_use_and_what_is_unheard_of_is_withheld() {
        for (key, usage) in [
            ("source", Use::Functional),
            ("region", Use::Functional),
            ("timestamp", Use::Functional),
            ("marketing.segment", Use::For(Purpose::Marketing)),
            ("analytics.page", Use::For(Purpose::Analytics)),
            ("personalization.theme", Use::For(Purpose::Personalization)),
            ("name", Use::For(Purpose::Personalization)),
            ("Source", Use::For(Purpose::Personalization)),
            ("marketing", Use::For(Purpose::Personalization)),
            ("Marketing.segment", Use::For(Purpose::Personalization)),
        ] {
            assert_eq!(Use::of_key(key), usage, "{key}");
        }
    }

    #[test]
    fn each_limit_is_kept_to_the_unit() {
        let mut attributes = Attributes::new();
        assert_eq!(attributes.insert("", "x"), Err(AttributeError::EmptyKey));
        assert_eq!(
            attributes.insert("a\nb", "x"),
            Err(AttributeError::ControlCharacter)
        );
        assert_eq!(
            attributes.insert("k".repeat(65), "x"),
            Err(AttributeError::LongKey { length: 65 })
        );
        assert_eq!(
            attributes.insert("k", "x".repeat(1025)),
            Err(AttributeError::LongValue {
                key: "k".to_owned(),
                length: 1025
            })
        );
        attributes.insert("é".repeat(64), "x".repeat(1024)).unwrap();
        assert_eq!(
            attributes.bytes(),
            128 + 1024,
            "bytes are counted, not characters"
        );
        attributes.insert("b", "x".repeat(2048 - 128 - 1024 - 1)).unwrap();
        assert_eq!(attributes.bytes(), Attributes::MOST_BYTES);
        assert_eq!(
            attributes.insert("c", ""),
            Err(AttributeError::TooLarge { bytes: 2049 })
        );
        assert_eq!(
            attributes.insert("b", ""),
            Err(AttributeError::Duplicate { key: "b".to_owned() })
        );

        let mut many = Attributes::new();
        for at in 0..64 {
            many.insert(format!("k{at}"), "").unwrap();
        }
        assert_eq!(many.insert("k64", ""), Err(AttributeError::TooMany));
    }

    #[test]
    fn a_key_that_names_a_purpose_cannot_be_passed_off_as_functional() {
        let mut attributes = Attributes::new();
        assert_eq!(
            attributes.insert_for(Use::Functional, "marketing.segment", "gold"),
            Err(AttributeError::OtherPurpose {
                key: "marketing.segment".to_owned(),
                purpose: Purpose::Marketing
            })
        );
        attributes.insert_for(Use::Functional, "order", "4711").unwrap();
    }

    #[test]
    fn values_are_not_shown() {
        let mut attributes = Attributes::new();
        attributes.insert("name", "Ada Lovelace").unwrap();
        let kept = LawfulAttributes::keep(attributes.clone(), |_| true);
        for text in [format!("{attributes:?}"), format!("{kept:?}")] {
            assert!(text.contains("name") && !text.contains("Ada"), "{text}");
        }
    }

    #[test]
    fn they_can_be_stored_and_the_limits_hold_on_reading() {
        let mut attributes = Attributes::new();
        attributes.insert("source", "web").unwrap();
        attributes.insert("marketing.segment", "gold").unwrap();
        let json = serde_json::to_string(&attributes).unwrap();
        assert_eq!(
            json,
            r#"{"marketing.segment":[{"for":"marketing"},"gold"],"source":["functional","web"]}"#
        );
        assert_eq!(serde_json::from_str::<Attributes>(&json).unwrap(), attributes);
        assert!(serde_json::from_str::<Attributes>(r#"{"":["functional","web"]}"#).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_is_off_never_remains(
            keys in proptest::collection::btree_set((0..4_usize, 0..100_u8), 0..12),
            on in any::<[bool; 3]>(),
        ) {
            let prefixes = ["", "marketing.", "personalization.", "analytics."];
            let keys: Vec<String> = keys.into_iter().map(|(at, n)| format!("{}k{n}", prefixes[at])).collect();
            let mut attributes = Attributes::new();
            for key in &keys {
                attributes.insert(key.as_str(), "x").unwrap();
            }
            attributes.insert("source", "web").unwrap();
            let kept = LawfulAttributes::keep(attributes, |purpose| on[purpose as usize]);
            for key in &keys {
                let Use::For(purpose) = Use::of_key(key) else {
                    panic!("{key} is not functional");
                };
                prop_assert_eq!(kept.value(key).is_some(), on[purpose as usize]);
            }
            prop_assert_eq!(kept.value("source"), Some("web"));
            let bytes: usize = kept.iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert_eq!(bytes, kept.0.bytes());
        }
    }
}
