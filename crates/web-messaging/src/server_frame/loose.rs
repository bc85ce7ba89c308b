//! Values that the service writes in more than one form.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use genesys_api::wire::Text;

/// `null` in place of a list.
pub(crate) fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A flag, or its name; `false` for anything else.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Flag(flag) => flag,
        Loose::Text(text) => text.eq_ignore_ascii_case("true"),
        Loose::Number(_) | Loose::Other(_) => false,
    })
}

/// A number, or its digits; `None` for anything else.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Number(number) => Some(number),
        Loose::Text(text) => text.parse().ok(),
        Loose::Flag(_) | Loose::Other(_) => None,
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Loose<'a> {
    Flag(bool),
    Number(i64),
    Text(#[serde(borrow)] Text<'a>),
    Other(IgnoredAny),
}
