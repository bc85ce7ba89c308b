//! Values that the service writes in more than one form.

use std::collections::BTreeMap;

use genesys_api::wire::{RawJson, Text};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;

use super::parse;

/// An item of a list whose type names the field with its value: `{"contentType": "Card", "card": {…}}`.
pub(crate) struct Tagged<'a> {
    pub(crate) kind: Option<Text<'a>>,
    value: Option<RawJson<'a>>,
}

impl<'a> Tagged<'a> {
    /// Finds type and value of an item, as far as it has them. `tag` is the field with the type.
    pub(crate) fn find(item: RawJson<'a>, tag: &str) -> Self {
        let fields: BTreeMap<Text<'a>, RawJson<'a>> = parse(item.as_str()).unwrap_or_default();
        let field = |name: &str| fields.iter().find(|(field, _)| &***field == name);
        let kind: Option<Text<'a>> = field(tag).and_then(|(_, kind)| parse(kind.as_str()));
        let value = kind.as_deref().and_then(|kind| {
            let (first, rest) = kind.split_at_checked(1)?;
            let (_, value) = field(&format!("{}{rest}", first.to_ascii_lowercase()))?;
            Some(*value)
        });
        Self { kind, value }
    }

    pub(crate) fn value<T: Deserialize<'a>>(&self) -> Option<T> {
        parse(self.value?.as_str())
    }
}

/// `null` in place of a value.
pub(crate) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A flag, or its name; `false` for anything else.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Lenient::deserialize(deserializer)? {
        Lenient::Flag(flag) => flag,
        Lenient::Text(text) => text.eq_ignore_ascii_case("true"),
        Lenient::Number(_) | Lenient::Other(_) => false,
    })
}

/// A number, or its digits; `None` for anything else.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Lenient::deserialize(deserializer)? {
        Lenient::Number(number) => Some(number),
        Lenient::Text(text) => text.parse().ok(),
        Lenient::Flag(_) | Lenient::Other(_) => None,
    })
}

/// Seconds since 1970. Values that can only be milliseconds count as such, since some of Genesys' documents use them.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    Ok(number(deserializer)?.and_then(epoch))
}

fn epoch(value: i64) -> Option<OffsetDateTime> {
    const YEAR_5138: i64 = 100_000_000_000;
    let seconds = if value > YEAR_5138 { value / 1000 } else { value };
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient<'a> {
    Flag(bool),
    Number(i64),
    Text(#[serde(borrow)] Text<'a>),
    Other(IgnoredAny),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_parsed_in_seconds_and_in_milliseconds() {
        assert_eq!(epoch(1_791_139_139), epoch(1_791_139_139_000));
        assert_eq!(epoch(i64::MIN), None);
        assert!(epoch(i64::MAX).is_none());
    }
}
