//! Custom attributes: what the guest's page tells the flow and the agent.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Most bytes of all keys and values together (Genesys: `metadata.custom.attributes.bytes.max`).
const MOST: usize = 2048;

/// Attributes that travel with a message and become participant data in Genesys Cloud.
///
/// Keys and values are text, at most 2,048 bytes of UTF-8 together; the punctuation of JSON does not count. `Debug`
/// shows how many there are: they are personal data.
#[derive(Clone, Default, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct CustomAttributes(BTreeMap<String, String>);

impl CustomAttributes {
    /// Checks the size.
    ///
    /// # Errors
    /// If they are too large; the service would answer 4013 and drop the message that carries them.
    pub fn new(attributes: BTreeMap<String, String>) -> Result<Self, AttributesError> {
        let bytes = attributes
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if bytes > MOST {
            return Err(AttributesError { bytes });
        }
        Ok(Self(attributes))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for CustomAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomAttributes({})", self.0.len())
    }
}

/// The attributes are too large.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the custom attributes have {bytes} bytes of keys and values: Genesys Cloud takes at most 2048")]
pub struct AttributesError {
    /// Bytes of all keys and values.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_keys_and_values_in_bytes() {
        let of = |value: String| CustomAttributes::new(BTreeMap::from([("k".to_owned(), value)]));
        assert!(of("x".repeat(2047)).is_ok());
        assert_eq!(of("x".repeat(2048)), Err(AttributesError { bytes: 2049 }));
        assert!(of("é".repeat(1024)).is_err());
    }
}
