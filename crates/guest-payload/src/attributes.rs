//! Attributes of a guest, and the purpose that each serves.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::Purpose;

/// Attributes of a guest, not yet fit to be stored or sent: [`GuestData`](crate::GuestData) filters them first.
///
/// At most 64 attributes, with keys of 1 to 64 characters without control characters and values of at most 1,024
/// characters (our choices). The UTF-8 bytes of all keys and values together are at most [`Attributes::MAX_BYTES`].
/// `Debug` shows keys, not values: they may be personal.
#[derive(Clone, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "BTreeMap<String, StoredValue>")]
pub struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// Maximum UTF-8 bytes of all keys and values together, without punctuation: the limit of Genesys Cloud
    /// (`maxCustomDataBytes`, error 4013), counted as its mobile SDK counts.
    pub const MAX_BYTES: usize = genesys_api::limits::ATTRIBUTE_BYTES;

    /// Adds an attribute. Its key implies the purpose that it serves. Our choice:
    ///
    /// - `source`, `region` and `timestamp`, which the founding tutorial sends, are functional: they need no consent.
    /// - The prefix `marketing`, `personalization` or `analytics`, in any case, names the purpose. It ends before the first
    ///   character that is no letter or digit, as in `marketing.segment` and `Marketing-segment`.
    /// - Every other key serves personalization, so an attribute without a purpose is dropped by default.
    ///
    /// # Errors
    /// If the key exists already, or a limit is exceeded.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Result<(), AttributeError> {
        let (key, value) = (key.into(), value.into());
        let length = key.chars().count();
        if length == 0 {
            return Err(AttributeError::EmptyKey);
        }
        if length > MAX_KEY_LENGTH {
            return Err(AttributeError::LongKey { length });
        }
        if key.chars().any(char::is_control) {
            return Err(AttributeError::ControlCharacter);
        }
        let length = value.chars().count();
        if length > MAX_VALUE_LENGTH {
            return Err(AttributeError::LongValue { key, length });
        }
        if self.0.contains_key(&key) {
            return Err(AttributeError::Duplicate { key });
        }
        if self.0.len() == MAX_COUNT {
            return Err(AttributeError::TooMany);
        }
        let bytes = self.bytes() + key.len() + value.len();
        if bytes > Self::MAX_BYTES {
            return Err(AttributeError::TooLarge { bytes });
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// The purpose of an attribute with this key, as [`Self::insert`] describes. `None` for a functional one.
    #[must_use]
    pub fn purpose(key: &str) -> Option<Purpose> {
        if FUNCTIONAL.contains(&key) {
            return None;
        }
        let named = Purpose::split_prefix(key).map(|(purpose, _)| purpose);
        Some(named.unwrap_or(Purpose::Personalization))
    }

    /// Key and value of each attribute, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Drops each attribute for whose key and purpose `keeps` returns false. A functional one has no purpose.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&str, Option<Purpose>) -> bool) {
        self.0.retain(|key, _| keeps(key, Self::purpose(key)));
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn bytes(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl TryFrom<BTreeMap<String, StoredValue>> for Attributes {
    type Error = AttributeError;

    fn try_from(stored: BTreeMap<String, StoredValue>) -> Result<Self, AttributeError> {
        let mut attributes = Self::default();
        for (key, StoredValue::Text(value) | StoredValue::WithCategory(_, value)) in stored {
            attributes.insert(key, value)?;
        }
        Ok(attributes)
    }
}

/// A value in a store. Earlier versions stored a category beside it, which followed from the key.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredValue {
    Text(String),
    WithCategory(IgnoredAny, String),
}

/// Invalid attribute.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// The key contains a control character.
    #[error("invalid attribute: the key contains a control character, remove it")]
    ControlCharacter,
    /// The key exists already.
    #[error("invalid attribute {key:?}: it is repeated, send it once")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// The key is empty.
    #[error("invalid attribute: the key is empty, use 1 to {MAX_KEY_LENGTH} characters")]
    EmptyKey,
    /// The key is too long.
    #[error("invalid attribute: the key has {length} characters, at most {MAX_KEY_LENGTH} are allowed")]
    LongKey {
        /// Its length in characters.
        length: usize,
    },
    /// The value is too long.
    #[error(
        "invalid attribute {key:?}: the value has {length} characters, at most {MAX_VALUE_LENGTH} are allowed"
    )]
    LongValue {
        /// The key.
        key: String,
        /// The length of the value in characters.
        length: usize,
    },
    /// All attributes together are too large.
    #[error(
        "invalid attributes: {bytes} bytes in keys and values, at most {} are allowed",
        Attributes::MAX_BYTES
    )]
    TooLarge {
        /// The size with the attribute that was to be added.
        bytes: usize,
    },
    /// There are too many attributes.
    #[error("invalid attributes: at most {MAX_COUNT} are allowed")]
    TooMany,
}

/// Maximum number of attributes.
const MAX_COUNT: usize = 64;
/// Maximum characters of a key.
const MAX_KEY_LENGTH: usize = 64;
/// Maximum characters of a value.
pub(crate) const MAX_VALUE_LENGTH: usize = 1024;

/// Keys that the founding tutorial sends with every session.
const FUNCTIONAL: [&str; 3] = ["region", "source", "timestamp"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn purpose_follows_key_and_defaults_to_personalization() {
        for (key, purpose) in [
            ("source", None),
            ("region", None),
            ("timestamp", None),
            ("marketing.segment", Some(Purpose::Marketing)),
            ("analytics.page", Some(Purpose::Analytics)),
            ("personalization.theme", Some(Purpose::Personalization)),
            ("name", Some(Purpose::Personalization)),
            ("Source", Some(Purpose::Personalization)),
            ("marketing", Some(Purpose::Marketing)),
            ("Marketing.segment", Some(Purpose::Marketing)),
            ("MARKETING.email", Some(Purpose::Marketing)),
            ("Analytics.page", Some(Purpose::Analytics)),
            ("marketing-segment", Some(Purpose::Marketing)),
            ("marketing_segment", Some(Purpose::Marketing)),
            ("marketing:segment", Some(Purpose::Marketing)),
            ("marketing .segment", Some(Purpose::Marketing)),
            (" analytics/page", Some(Purpose::Analytics)),
            ("marketing.analytics.page", Some(Purpose::Marketing)),
            ("mar\u{212a}eting.segment", Some(Purpose::Marketing)),
            ("marketings.segment", Some(Purpose::Personalization)),
            ("email.marketing", Some(Purpose::Personalization)),
        ] {
            assert_eq!(Attributes::purpose(key), purpose, "{key}");
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
        assert_eq!(
            attributes.bytes(),
            128 + 1024,
            "bytes are counted, not characters"
        );
        attributes.insert("b", "x".repeat(2048 - 128 - 1024 - 1)).unwrap();
        assert_eq!(attributes.bytes(), Attributes::MAX_BYTES);
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
        assert_eq!(json, r#"{"marketing.segment":"gold","source":"web"}"#);
        let earlier = r#"{"marketing.segment":[{"for":"marketing"},"gold"],"source":["functional","web"]}"#;
        for json in [&json, earlier] {
            assert_eq!(serde_json::from_str::<Attributes>(json).unwrap(), attributes);
        }
        for json in [r#"{"":"web"}"#, r#"{"source":7}"#, r#"{"source":["functional"]}"#] {
            assert!(serde_json::from_str::<Attributes>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn retain_drops_purposes_that_are_off(
            keys in proptest::collection::btree_set((0..4_usize, 0..100_u8), 0..12),
            on in any::<[bool; 3]>(),
        ) {
            let prefixes = ["", "Marketing-", "personalization.", "ANALYTICS:"];
            let keys: Vec<String> = keys.into_iter().map(|(at, n)| format!("{}k{n}", prefixes[at])).collect();
            let mut attributes = Attributes::default();
            for key in &keys {
                attributes.insert(key.as_str(), "x").unwrap();
            }
            attributes.insert("source", "web").unwrap();
            attributes.retain(|_, purpose| purpose.is_none_or(|purpose| on[purpose as usize]));
            let kept = |key: &str| attributes.0.contains_key(key);
            for key in &keys {
                let purpose = Attributes::purpose(key).expect("no key is functional");
                prop_assert_eq!(kept(key), on[purpose as usize]);
            }
            prop_assert!(kept("source"));
        }
    }
}
