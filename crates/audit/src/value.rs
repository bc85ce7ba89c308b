//! Values of details: a subset of JSON in which each value has one form.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Largest integer that every reader of JSON reads alike, RFC 8785 appendix D.
const LARGEST_INTEGER: i64 = (1 << 53) - 1;

/// A detail of an entry. There are no floats and no nulls: absent is absent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number within ±(2⁵³ − 1).
    Integer(i64),
    /// A list.
    List(Vec<Self>),
    /// Values by name; a name has 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
    Map(BTreeMap<String, Self>),
    /// Text. No personal data, and no secrets: entries are never changed.
    Text(String),
}

impl Value {
    /// Whether the value, `depth` levels down, obeys the rules of its variants.
    pub(crate) fn is_canonical(&self, depth: usize) -> bool {
        match self {
            Self::Bool(_) | Self::Text(_) => true,
            Self::Integer(number) => (-LARGEST_INTEGER..=LARGEST_INTEGER).contains(number),
            Self::List(list) => depth > 0 && list.iter().all(|value| value.is_canonical(depth - 1)),
            Self::Map(map) => {
                depth > 0
                    && map
                        .iter()
                        .all(|(key, value)| is_key(key) && value.is_canonical(depth - 1))
            }
        }
    }
}

/// Whether it can name a value. Names are ASCII, so that every sorting order is the same.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"._:-".contains(&c))
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

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for Value {
    /// A number that is too large stays too large, and is refused when the entry is sealed.
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
    fn from(list: Vec<V>) -> Self {
        list.into_iter().collect()
    }
}

impl<V: Into<Self>> FromIterator<V> for Value {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<K: Into<String>, V: Into<Self>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(values: I) -> Self {
        Self::Map(
            values
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Reads details, and refuses a name that stands twice.
pub(crate) fn details<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Value>, D::Error> {
    match deserializer.deserialize_map(ValueVisitor)? {
        Value::Map(map) => Ok(map),
        _ => Err(D::Error::custom("details are a map")),
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a whole number, a text, a list or a map")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element::<Value>()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a name stands twice in one map"));
            }
        }
        Ok(Value::Map(map))
    }
}
