//! Custom attributes: data of the guest's page for the flow and the agent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use genesys_api::limits;
use serde::{Serialize, Serializer};

/// Attributes that are sent with a message and become participant data in Genesys Cloud.
///
/// Keys and values are text, at most 2,048 bytes of UTF-8 together; the punctuation of JSON does not count. `Debug`
/// shows their number, since they are personal data.
///
/// Clones share the memory, of which a map would need a multiple: each conversation keeps them.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct CustomAttributes(Arc<[(Box<str>, Box<str>)]>);

impl CustomAttributes {
    /// Checks the size.
    ///
    /// # Errors
    /// If they are too large; the service would answer 4013 and drop the message that they are sent with.
    pub fn new(attributes: BTreeMap<String, String>) -> Result<Self, AttributesError> {
        let attributes = attributes.into_iter();
        let attributes = Self(
            attributes
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        );
        attributes.check(limits::ATTRIBUTE_BYTES)?;
        Ok(attributes)
    }

    /// Checks the size against the limit of a session: `maxCustomDataBytes` of the answer to configuring it.
    ///
    /// # Errors
    /// If they are larger.
    pub fn check(&self, most: usize) -> Result<(), AttributesError> {
        let bytes = self.0.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > most {
            return Err(AttributesError { bytes, most });
        }
        Ok(())
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for CustomAttributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl fmt::Debug for CustomAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomAttributes({})", self.0.len())
    }
}

/// Attributes that are too large.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid custom attributes: {bytes} bytes in keys and values, Genesys Cloud accepts at most {most}")]
pub struct AttributesError {
    /// Bytes of all keys and values.
    pub bytes: usize,
    /// Most bytes that are accepted.
    pub most: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_limit_counts_bytes_of_keys_and_values() {
        let of = |value: String| CustomAttributes::new(BTreeMap::from([("k".to_owned(), value)]));
        assert!(of("x".repeat(2047)).is_ok());
        let error = AttributesError {
            bytes: 2049,
            most: 2048,
        };
        assert_eq!(of("x".repeat(2048)), Err(error));
        assert!(of("é".repeat(1024)).is_err());
        assert!(
            of("\"".repeat(2047)).is_ok(),
            "the punctuation of JSON does not count"
        );
    }

    #[test]
    fn session_limit_replaces_the_default() {
        let attributes = CustomAttributes::new([("key".to_owned(), "val".to_owned())].into()).unwrap();
        assert_eq!(attributes.check(6), Ok(()));
        assert_eq!(attributes.check(5), Err(AttributesError { bytes: 6, most: 5 }));
    }
}
