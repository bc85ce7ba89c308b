//! Reads a JSON object field by field, so that an error can name the field and repeats no value.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::BodyError;

/// The fields of an object that are not read yet.
pub(super) struct Object<'a> {
    path: &'static str,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Object<'a> {
    /// The body itself.
    pub(super) fn body(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let raw: &RawValue = serde_json::from_slice(bytes).map_err(|error| BodyError::Syntax {
            line: error.line(),
            column: error.column(),
        })?;
        Self::read("", raw)
    }

    /// The object in the field `path`.
    pub(super) fn read(path: &'static str, raw: &'a RawValue) -> Result<Self, BodyError> {
        let wrong = || wrong_type(if path.is_empty() { "the body" } else { path }, "an object", raw);
        if !raw.get().starts_with('{') {
            return Err(wrong());
        }
        // only a key that is no Unicode can fail here: the syntax was checked with the body
        let fields: Fields<'a> = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
        match fields.duplicate {
            Some(name) => Err(BodyError::Duplicate {
                field: join(path, &name),
            }),
            None => Ok(Self {
                path,
                fields: fields.map,
            }),
        }
    }

    /// Takes the field `path`, whose last part is its name here.
    pub(super) fn take(&mut self, path: &'static str) -> Option<&'a RawValue> {
        let name = path.rsplit('.').next().unwrap_or(path);
        self.fields.remove(name)
    }

    /// Takes the field `path`, which must be there.
    pub(super) fn require(&mut self, path: &'static str) -> Result<&'a RawValue, BodyError> {
        self.take(path).ok_or(BodyError::Missing { field: path })
    }

    /// Every field that is left.
    pub(super) fn into_fields(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        self.fields.into_iter()
    }

    /// Makes sure that nothing is left.
    pub(super) fn finish(self, known: &'static str) -> Result<(), BodyError> {
        match self.fields.into_keys().next() {
            Some(name) => Err(BodyError::Unknown {
                field: join(self.path, &name),
                known,
            }),
            None => Ok(()),
        }
    }
}

/// The text in the field `path`.
pub(super) fn text(path: &str, raw: &RawValue) -> Result<String, BodyError> {
    serde_json::from_str(raw.get()).map_err(|_| wrong_type(path, "text", raw))
}

pub(super) fn wrong_type(path: &str, expected: &'static str, raw: &RawValue) -> BodyError {
    let found = match raw.get().as_bytes().first() {
        Some(b'"') => "text",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        Some(b'n') => "null",
        Some(b't' | b'f') => "true or false",
        _ => "a number",
    };
    BodyError::WrongType {
        field: harmless(path),
        expected,
        // text is refused as text only if it is no Unicode
        found: if found == expected { "broken" } else { found },
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    let name = harmless(name);
    if path.is_empty() {
        return name;
    }
    format!("{path}.{name}")
}

/// A peer's name for a field, fit to be shown: its first 100 characters, without control characters.
fn harmless(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(100).collect()
}

struct Fields<'a> {
    map: BTreeMap<String, &'a RawValue>,
    duplicate: Option<String>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields {
                    map: BTreeMap::new(),
                    duplicate: None,
                };
                while let Some((name, raw)) = access.next_entry::<String, &'de RawValue>()? {
                    match fields.map.entry(name) {
                        Entry::Occupied(first) => {
                            fields.duplicate.get_or_insert_with(|| first.key().clone());
                        }
                        Entry::Vacant(free) => {
                            free.insert(raw);
                        }
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Reader)
    }
}
