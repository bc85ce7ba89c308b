//! Attributes of a guest, each with its category.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Purpose;

/// The use of an attribute.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttributeCategory {
    /// Serving the guest, which needs no consent.
    Functional,
    /// A purpose. The attribute is dropped unless the purpose is on.
    #[serde(rename = "for")]
    Purpose(Purpose),
}

impl AttributeCategory {
    fn of_key(key: &str) -> Self {
        if FUNCTIONAL.contains(&key) {
            return Self::Functional;
        }
        Self::Purpose(prefix(key).unwrap_or(Purpose::Personalization))
    }

    /// Whether an attribute of this category is allowed, given the purposes that are on.
    pub(crate) fn is_allowed(self, is_on: impl Fn(Purpose) -> bool) -> bool {
        match self {
            Self::Functional => true,
            Self::Purpose(purpose) => is_on(purpose),
        }
    }
}

/// Attributes of a guest, not yet fit to be stored or sent: [`GuestData`](crate::GuestData) filters them first.
///
/// At most 64 attributes, with keys of 1 to 64 characters without control characters and values of at most 1,024
/// characters (our choices). The UTF-8 bytes of all keys and values together are at most [`Attributes::MAX_BYTES`].
/// `Debug` shows keys and categories, not values: they may be personal.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Attributes {
    entries: BTreeMap<String, (AttributeCategory, String)>,
    bytes: usize,
}

impl Attributes {
    /// Maximum number of attributes.
    pub const MAX_COUNT: usize = 64;
    /// Maximum UTF-8 bytes of all keys and values together, without punctuation: the limit of Genesys Cloud
    /// (`maxCustomDataBytes`, error 4013), counted as its mobile SDK counts.
    pub const MAX_BYTES: usize = genesys_api::limits::ATTRIBUTE_BYTES;
    /// Maximum characters of a key.
    pub const MAX_KEY_LENGTH: usize = 64;
    /// Maximum characters of a value.
    pub const MAX_VALUE_LENGTH: usize = 1024;

    /// Adds an attribute with the category that its key implies. Our choice:
    ///
    /// - `source`, `region` and `timestamp`, which the founding tutorial sends, are functional.
    /// - The prefix `marketing.`, `personalization.` or `analytics.` names the purpose.
    /// - Every other key serves personalization, so an attribute without a category is dropped by default.
    ///
    /// # Errors
    /// If the key exists already, or a limit is exceeded.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Result<(), AttributeError> {
        let key = key.into();
        let category = AttributeCategory::of_key(&key);
        self.insert_as(category, key, value)
    }

    /// Adds an attribute with an explicit category, unless the key's prefix names another purpose.
    pub(crate) fn insert_as(
        &mut self,
        category: AttributeCategory,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<(), AttributeError> {
        let (key, value) = (key.into(), value.into());
        let length = key.chars().count();
        if length == 0 {
            return Err(AttributeError::EmptyKey);
        }
        if length > Self::MAX_KEY_LENGTH {
            return Err(AttributeError::LongKey { length });
        }
        if key.chars().any(char::is_control) {
            return Err(AttributeError::ControlCharacter);
        }
        if let Some(purpose) = prefix(&key).filter(|purpose| category != AttributeCategory::Purpose(*purpose))
        {
            return Err(AttributeError::OtherPurpose { key, purpose });
        }
        let length = value.chars().count();
        if length > Self::MAX_VALUE_LENGTH {
            return Err(AttributeError::LongValue { key, length });
        }
        if self.entries.contains_key(&key) {
            return Err(AttributeError::Duplicate { key });
        }
        if self.entries.len() == Self::MAX_COUNT {
            return Err(AttributeError::TooMany);
        }
        let bytes = self.bytes + key.len() + value.len();
        if bytes > Self::MAX_BYTES {
            return Err(AttributeError::TooLarge { bytes });
        }
        self.bytes = bytes;
        self.entries.insert(key, (category, value));
        Ok(())
    }

    /// Key, category and value of each attribute, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, AttributeCategory, &str)> {
        self.entries
            .iter()
            .map(|(key, (category, value))| (key.as_str(), *category, value.as_str()))
    }

    /// Drops each attribute for whose category `keep` returns false.
    pub(crate) fn retain(&mut self, keep: impl Fn(AttributeCategory) -> bool) {
        let Self { entries, bytes } = self;
        entries.retain(|key, (category, value)| {
            let kept = keep(*category);
            if !kept {
                *bytes -= key.len() + value.len();
            }
            kept
        });
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.entries.iter().map(|(key, (category, _))| (key, category)))
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
        let entries = BTreeMap::<String, (AttributeCategory, String)>::deserialize(deserializer)?;
        let mut attributes = Self::default();
        for (key, (category, value)) in entries {
            attributes
                .insert_as(category, key, value)
                .map_err(serde::de::Error::custom)?;
        }
        Ok(attributes)
    }
}

/// Invalid attribute.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// The key contains a control character.
    #[error("invalid attribute key: it contains a control character")]
    ControlCharacter,
    /// The key exists already.
    #[error("duplicate attribute {key:?}: send it once")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// The key is empty.
    #[error(
        "invalid attribute key: it is empty, use 1 to {} characters",
        Attributes::MAX_KEY_LENGTH
    )]
    EmptyKey,
    /// The key is too long.
    #[error(
        "invalid attribute key: {length} characters, at most {} are allowed",
        Attributes::MAX_KEY_LENGTH
    )]
    LongKey {
        /// Its length in characters.
        length: usize,
    },
    /// The value is too long.
    #[error(
        "invalid attribute {key:?}: the value has {length} characters, at most {} are allowed",
        Attributes::MAX_VALUE_LENGTH
    )]
    LongValue {
        /// The key.
        key: String,
        /// The length of the value in characters.
        length: usize,
    },
    /// The prefix of the key names a purpose other than the given one.
    #[error(
        "invalid attribute {key:?}: its prefix names the purpose {purpose}, use that purpose or another key"
    )]
    OtherPurpose {
        /// The key.
        key: String,
        /// The purpose that the key names.
        purpose: Purpose,
    },
    /// All attributes together are too large.
    #[error(
        "too many attribute bytes: {bytes} in keys and values, at most {} are allowed",
        Attributes::MAX_BYTES
    )]
    TooLarge {
        /// The size with the attribute that was to be added.
        bytes: usize,
    },
    /// There are too many attributes.
    #[error("too many attributes: at most {} are allowed", Attributes::MAX_COUNT)]
    TooMany,
}

/// Keys that the founding tutorial sends with every session.
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
    fn category_follows_key_and_defaults_to_personalization() {
        for (key, category) in [
            ("source", AttributeCategory::Functional),
            ("region", AttributeCategory::Functional),
            ("timestamp", AttributeCategory::Functional),
            (
                "marketing.segment",
                AttributeCategory::Purpose(Purpose::Marketing),
            ),
            ("analytics.page", AttributeCategory::Purpose(Purpose::Analytics)),
            (
                "personalization.theme",
                AttributeCategory::Purpose(Purpose::Personalization),
            ),
            ("name", AttributeCategory::Purpose(Purpose::Personalization)),
            ("Source", AttributeCategory::Purpose(Purpose::Personalization)),
            ("marketing", AttributeCategory::Purpose(Purpose::Personalization)),
            (
                "Marketing.segment",
                AttributeCategory::Purpose(Purpose::Personalization),
            ),
        ] {
            assert_eq!(AttributeCategory::of_key(key), category, "{key}");
        }
    }

    #[test]
    fn attribute_limits_are_exact() {
        let mut attributes = Attributes::default();
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
        assert_eq!(attributes.bytes, 128 + 1024, "bytes are counted, not characters");
        attributes.insert("b", "x".repeat(2048 - 128 - 1024 - 1)).unwrap();
        assert_eq!(attributes.bytes, Attributes::MAX_BYTES);
        assert_eq!(
            attributes.insert("c", ""),
            Err(AttributeError::TooLarge { bytes: 2049 })
        );
        assert_eq!(
            attributes.insert("b", ""),
            Err(AttributeError::Duplicate { key: "b".to_owned() })
        );

        let mut many = Attributes::default();
        for at in 0..64 {
            many.insert(format!("k{at}"), "").unwrap();
        }
        assert_eq!(many.insert("k64", ""), Err(AttributeError::TooMany));
    }

    #[test]
    fn purpose_prefix_refuses_functional_category() {
        let mut attributes = Attributes::default();
        assert_eq!(
            attributes.insert_as(AttributeCategory::Functional, "marketing.segment", "gold"),
            Err(AttributeError::OtherPurpose {
                key: "marketing.segment".to_owned(),
                purpose: Purpose::Marketing
            })
        );
        attributes
            .insert_as(AttributeCategory::Functional, "order", "4711")
            .unwrap();
    }

    #[test]
    fn debug_hides_values() {
        let mut attributes = Attributes::default();
        attributes.insert("name", "Ada Lovelace").unwrap();
        let text = format!("{attributes:?}");
        assert!(text.contains("name") && !text.contains("Ada"), "{text}");
    }

    #[test]
    fn stored_attributes_are_checked_when_read() {
        let mut attributes = Attributes::default();
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
        fn retain_drops_purposes_that_are_off(
            keys in proptest::collection::btree_set((0..4_usize, 0..100_u8), 0..12),
            on in any::<[bool; 3]>(),
        ) {
            let prefixes = ["", "marketing.", "personalization.", "analytics."];
            let keys: Vec<String> = keys.into_iter().map(|(at, n)| format!("{}k{n}", prefixes[at])).collect();
            let mut attributes = Attributes::default();
            for key in &keys {
                attributes.insert(key.as_str(), "x").unwrap();
            }
            attributes.insert("source", "web").unwrap();
            attributes.retain(|category| category.is_allowed(|purpose| on[purpose as usize]));
            let kept = |key: &str| attributes.entries.contains_key(key);
            for key in &keys {
                let AttributeCategory::Purpose(purpose) = AttributeCategory::of_key(key) else {
                    panic!("{key} is not functional");
                };
                prop_assert_eq!(kept(key), on[purpose as usize]);
            }
            prop_assert!(kept("source"));
            let bytes: usize = attributes.iter().map(|(key, _, value)| key.len() + value.len()).sum();
            prop_assert_eq!(bytes, attributes.bytes);
        }
    }
}
