//! Serde form of times: RFC 3339 in UTC with milliseconds, read with any offset.
//!
//! For a field: `#[serde(with = "genesys_api::timestamp")]`.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use crate::{parse_rfc3339, rfc3339};

/// Writes a time.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(when: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    rfc3339(*when).serialize(serializer)
}

/// Reads a time.
///
/// # Errors
/// Those of the deserializer, or a text that is not an RFC 3339 time with an offset.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    parse_rfc3339(&text).ok_or_else(|| D::Error::custom("not an RFC 3339 time with an offset"))
}

/// The same for a time that may be absent.
pub mod option {
    use super::{Deserialize, Deserializer, OffsetDateTime, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    struct Stamp(#[serde(with = "super")] OffsetDateTime);

    /// Writes a time, or `null`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(when: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
        when.map(Stamp).serialize(serializer)
    }

    /// Reads a time, or `null`.
    ///
    /// # Errors
    /// Those of the deserializer, or a text that is not an RFC 3339 time with an offset.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        let stamp = Option::<Stamp>::deserialize(deserializer)?;
        Ok(stamp.map(|Stamp(when)| when))
    }
}
