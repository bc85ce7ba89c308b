//! Times on the wire: RFC 3339 in UTC with milliseconds; read with any offset.

use std::borrow::Cow;

use genesys_api::{parse_rfc3339, rfc3339};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

pub(super) fn serialize<S: Serializer>(when: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    rfc3339(*when).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    parse_rfc3339(&text).ok_or_else(|| D::Error::custom("no RFC 3339 time with an offset"))
}

/// Times that may be missing.
pub(super) mod option {
    use super::{Deserialize, Deserializer, OffsetDateTime, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        when: &Option<OffsetDateTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match when {
            Some(when) => super::serialize(when, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        #[derive(Deserialize)]
        struct Stamp(#[serde(with = "super")] OffsetDateTime);

        let stamp = Option::<Stamp>::deserialize(deserializer)?;
        Ok(stamp.map(|Stamp(when)| when))
    }
}
