//! Values of details: a subset of JSON in which each value has one form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Largest integer that every JSON parser reads exactly (RFC 8785 appendix D).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The value of a detail. There are no floats and no nulls: leave an absent value out.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number within ±(2⁵³ − 1).
    Integer(i64),
    /// A list.
    List(Vec<Self>),
    /// Values by name. A name has 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
    Map(BTreeMap<String, Self>),
    /// Text without personal data and secrets: entries are never changed.
    Text(String),
}

impl Value {
    /// Whether the value follows the rules of its variants, with at most `depth` levels of lists and maps.
    pub(crate) fn is_canonical(&self, depth: usize) -> bool {
        match self {
            Self::Bool(_) | Self::Text(_) => true,
            Self::Integer(number) => number.unsigned_abs() <= MAX_INTEGER,
            Self::List(list) => depth > 0 && list.iter().all(|value| value.is_canonical(depth - 1)),
            Self::Map(map) => {
                let mut entries = map.iter();
                depth > 0 && entries.all(|(key, value)| is_key(key) && value.is_canonical(depth - 1))
            }
        }
    }
}

/// Whether `text` is a valid name. Names are ASCII, so that every sorting order is the same.
pub(crate) fn is_key(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Value {
    /// Clamps to `i64::MAX`, which [`Draft::seal`](crate::Draft::seal) rejects.
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<V: Into<Self>> From<Vec<V>> for Value {
    fn from(values: Vec<V>) -> Self {
        values.into_iter().collect()
    }
}

impl<V: Into<Self>> FromIterator<V> for Value {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<K: Into<String>, V: Into<Self>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(values: I) -> Self {
        let pairs = values.into_iter();
        Self::Map(pairs.map(|(key, value)| (key.into(), value.into())).collect())
    }
}
