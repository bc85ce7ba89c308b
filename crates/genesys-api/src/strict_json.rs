//! A strict reader of JSON bodies.
//!
//! An object is read field by field. Unknown, repeated and missing fields and values of the wrong type are errors that
//! name the field by its path, as in `filters[0].name`. No error repeats a value.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::wire::Text;

/// Longest name of a field that an error repeats, in characters.
const LONGEST_NAME: usize = 64;

/// The fields of an object that are not read yet.
pub struct Object<'a> {
    /// Path of the object. `None` for the body.
    path: Option<Arc<str>>,
    fields: BTreeMap<Text<'a>, &'a RawValue>,
    /// Names requested so far.
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// Parses a body: an object in which no field is repeated.
    ///
    /// # Errors
    /// [`BodyErrorKind::Syntax`], [`BodyErrorKind::WrongType`] or [`BodyErrorKind::Duplicate`].
    pub fn parse(body: &'a [u8]) -> Result<Self, BodyError> {
        let raw: &RawValue = serde_json::from_slice(body).map_err(|error| BodyError {
            kind: BodyErrorKind::Syntax,
            field: None,
            message: format!(
                "the body is not JSON: line {}, column {}",
                error.line(),
                error.column()
            ),
        })?;
        Self::read(None, raw)
    }

    fn read(path: Option<Arc<str>>, raw: &'a RawValue) -> Result<Self, BodyError> {
        let wrong = |found| BodyError::wrong_type(path.as_deref(), "an object", found);
        if !raw.get().starts_with('{') {
            return Err(wrong(json_type(raw)));
        }
        // the syntax was checked with the body: only a name that is not Unicode can fail here
        let (fields, duplicate) = (&mut serde_json::Deserializer::from_str(raw.get()))
            .deserialize_map(FieldsVisitor)
            .map_err(|_| wrong("an object with a name that is not Unicode"))?;
        let Some(name) = duplicate else {
            let known = Vec::new();
            return Ok(Self { path, fields, known });
        };
        let field = join(path.as_deref(), &name);
        let message = format!("the field {field:?} is repeated: send it once");
        Err(BodyError::at(BodyErrorKind::Duplicate, field, message))
    }

    /// Takes the field `name`, if it is present.
    pub fn optional(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let raw = self.fields.remove(&Text::from(name))?;
        Some(Field {
            parent: self.path.clone(),
            name: name.into(),
            raw,
        })
    }

    /// Takes the field `name`.
    ///
    /// # Errors
    /// [`BodyErrorKind::Missing`].
    pub fn required(&mut self, name: &'static str) -> Result<Field<'a>, BodyError> {
        self.optional(name).ok_or_else(|| {
            let field = join(self.path.as_deref(), name);
            let message = format!("the field {field:?} is missing");
            BodyError::at(BodyErrorKind::Missing, field, message)
        })
    }

    /// Takes every remaining field, ordered by name.
    pub fn into_fields(self) -> impl Iterator<Item = Field<'a>> {
        let parent = self.path;
        self.fields.into_iter().map(move |(name, raw)| Field {
            parent: parent.clone(),
            name,
            raw,
        })
    }

    /// Checks that no field remains, after each known field was requested.
    ///
    /// # Errors
    /// [`BodyErrorKind::Unknown`], with the first remaining field.
    pub fn finish(self) -> Result<(), BodyError> {
        let Some(name) = self.fields.keys().next() else {
            return Ok(());
        };
        let field = join(self.path.as_deref(), name);
        let known = self.known.join(", ");
        let message = format!("the field {field:?} is unknown: the fields here are {known}");
        Err(BodyError::at(BodyErrorKind::Unknown, field, message))
    }
}

/// One value, and its path in the body. A value of another type than the requested one is an error.
#[derive(Clone)]
pub struct Field<'a> {
    parent: Option<Arc<str>>,
    name: Text<'a>,
    raw: &'a RawValue,
}

impl<'a> Field<'a> {
    /// Its name in its object; an index such as `[0]` in a list.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.raw.get() == "null"
    }

    /// Its text.
    ///
    /// # Errors
    /// [`BodyErrorKind::WrongType`].
    pub fn text(&self) -> Result<Text<'a>, BodyError> {
        serde_json::from_str(self.raw.get()).map_err(|_| self.wrong_type("a string"))
    }

    /// Its text, parsed.
    ///
    /// # Errors
    /// [`BodyErrorKind::WrongType`] if it is not text, [`BodyErrorKind::Value`] if the text does not parse.
    pub fn parse<T: FromStr<Err: std::error::Error>>(&self) -> Result<T, BodyError> {
        self.text()?.parse().map_err(|error| self.rejected(error))
    }

    /// Its value as a type without rules of its own, such as a part of a response.
    ///
    /// # Errors
    /// [`BodyErrorKind::WrongType`].
    pub fn deserialize<T: serde::de::DeserializeOwned>(
        &self,
        expected: &'static str,
    ) -> Result<T, BodyError> {
        serde_json::from_str(self.raw.get()).map_err(|_| self.wrong_type(expected))
    }

    /// Its Boolean value.
    ///
    /// # Errors
    /// [`BodyErrorKind::WrongType`].
    pub fn boolean(&self) -> Result<bool, BodyError> {
        self.raw
            .get()
            .parse()
            .map_err(|_| self.wrong_type("true or false"))
    }

    /// Its fields.
    ///
    /// # Errors
    /// [`BodyErrorKind::WrongType`] or [`BodyErrorKind::Duplicate`].
    pub fn object(&self) -> Result<Object<'a>, BodyError> {
        Object::read(Some(self.path().into()), self.raw)
    }

    /// Its elements.
    ///
    /// # Errors
    /// [`BodyErrorKind::WrongType`].
    pub fn list(&self) -> Result<Vec<Self>, BodyError> {
        let elements: Vec<&'a RawValue> =
            serde_json::from_str(self.raw.get()).map_err(|_| self.wrong_type("a list"))?;
        let path: Arc<str> = self.path().into();
        let element = |(index, raw)| Self {
            parent: Some(Arc::clone(&path)),
            name: format!("[{index}]").into(),
            raw,
        };
        Ok(elements.into_iter().enumerate().map(element).collect())
    }

    /// An error: the value has the right type, and is not allowed.
    pub fn invalid(&self, reason: impl fmt::Display) -> BodyError {
        let field = self.path();
        let message = format!("invalid {field}: {reason}");
        BodyError::at(BodyErrorKind::Value, field, message)
    }

    /// The error of parsing the value, after the path of the field.
    pub fn rejected(&self, error: impl std::error::Error) -> BodyError {
        let field = self.path();
        let message = format!("{field}: {error}");
        BodyError::at(BodyErrorKind::Value, field, message)
    }

    /// An error: the value has another type than `expected`.
    pub fn wrong_type(&self, expected: &'static str) -> BodyError {
        let found = match json_type(self.raw) {
            // a string is refused as a string only if an escape is not Unicode
            found if found == expected => "a string that is not Unicode",
            found => found,
        };
        BodyError::wrong_type(Some(&self.path()), expected, found)
    }

    fn path(&self) -> String {
        join(self.parent.as_deref(), &self.name)
    }
}

/// Names only: a value may be secret.
impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.fields.keys().map(|name| &**name);
        f.debug_set().entries(names).finish()
    }
}

/// The path only: the value may be secret.
impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.path()).finish()
    }
}

/// A body that does not match its contract.
///
/// The message is fit to be shown. It names the field, and repeats only names of fields, shortened, and the reason that
/// was given to [`Field::invalid`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct BodyError {
    kind: BodyErrorKind,
    field: Option<String>,
    message: String,
}

/// The class of a [`BodyError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// A field is repeated in its object.
    Duplicate,
    /// None of several optional fields is present.
    Empty,
    /// A required field is missing.
    Missing,
    /// The body is not JSON.
    Syntax,
    /// A field that the contract does not have.
    Unknown,
    /// A value of the right type that is not allowed.
    Value,
    /// A value of the wrong type.
    WrongType,
}

impl BodyError {
    /// An error: the body has none of the fields that `expected` names.
    pub fn empty(expected: &str) -> Self {
        Self {
            kind: BodyErrorKind::Empty,
            field: None,
            message: format!("the body is empty: send {expected}"),
        }
    }

    fn at(kind: BodyErrorKind, field: String, message: String) -> Self {
        Self {
            kind,
            field: Some(field),
            message,
        }
    }

    fn wrong_type(field: Option<&str>, expected: &str, found: &str) -> Self {
        let place = field.unwrap_or("the body");
        Self {
            kind: BodyErrorKind::WrongType,
            field: field.map(str::to_owned),
            message: format!("{place} must be {expected}, and is {found}"),
        }
    }

    /// The class of the error.
    pub fn kind(&self) -> BodyErrorKind {
        self.kind
    }

    /// Path of the field at fault, as in `filters[0].name`. `None` if the body as a whole is at fault.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

fn json_type(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn join(path: Option<&str>, name: &str) -> String {
    let name: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME)
        .collect();
    match path {
        None => name,
        Some(path) if name.starts_with('[') => format!("{path}{name}"),
        Some(path) => format!("{path}.{name}"),
    }
}

/// Collects the fields of an object, and the name of the first repeated one.
struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = (BTreeMap<Text<'de>, &'de RawValue>, Option<Text<'de>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let (mut fields, mut duplicate) = (BTreeMap::new(), None);
        while let Some((name, raw)) = access.next_entry::<Text<'de>, &'de RawValue>()? {
            match fields.entry(name) {
                Entry::Occupied(first) => _ = duplicate.get_or_insert_with(|| first.key().clone()),
                Entry::Vacant(free) => _ = free.insert(raw),
            }
        }
        Ok((fields, duplicate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of the tests: `name` (text), `on` (optional), `tags` (a list of `{"id": number as text}`).
    fn read(body: &str) -> Result<(String, Option<bool>, Vec<u8>), BodyError> {
        let mut body = Object::parse(body.as_bytes())?;
        let name = body.required("name")?.text()?.to_string();
        let on = body.optional("on").map(|field| field.boolean()).transpose()?;
        let mut ids = Vec::new();
        if let Some(tags) = body.optional("tags") {
            for tag in tags.list()? {
                let mut tag = tag.object()?;
                ids.push(tag.required("id")?.parse()?);
                tag.finish()?;
            }
        }
        body.finish()?;
        Ok((name, on, ids))
    }

    #[test]
    fn object_is_read_field_by_field() {
        assert_eq!(
            read(r#" {"tags": [{"id": "7"}], "n\u0061me": "a\"b", "on": true} "#),
            Ok(("a\"b".to_owned(), Some(true), vec![7]))
        );
        assert_eq!(read(r#"{"name": ""}"#), Ok((String::new(), None, Vec::new())));
    }

    #[test]
    fn error_names_the_field_and_repeats_no_value() {
        for (body, field, message) in [
            ("", None, "the body is not JSON: line 1, column 0"),
            (
                r#"{"name": "s3cret"} x"#,
                None,
                "the body is not JSON: line 1, column 20",
            ),
            ("[]", None, "the body must be an object, and is a list"),
            ("{}", Some("name"), r#"the field "name" is missing"#),
            (
                r#"{"name": "s3cret", "name": 1}"#,
                Some("name"),
                r#"the field "name" is repeated: send it once"#,
            ),
            (
                r#"{"name": 7}"#,
                Some("name"),
                "name must be a string, and is a number",
            ),
            (
                r#"{"name": null}"#,
                Some("name"),
                "name must be a string, and is null",
            ),
            (
                r#"{"name": "\ud800"}"#,
                Some("name"),
                "name must be a string, and is a string that is not Unicode",
            ),
            (
                r#"{"name": "", "on": "s3cret"}"#,
                Some("on"),
                "on must be true or false, and is a string",
            ),
            (
                r#"{"name": "", "s\u0007x": "s3cret"}"#,
                Some("sx"),
                r#"the field "sx" is unknown: the fields here are name, on, tags"#,
            ),
            (
                r#"{"name": "", "tags": [{"id": "1"}, 7]}"#,
                Some("tags[1]"),
                "tags[1] must be an object, and is a number",
            ),
            (
                r#"{"name": "", "tags": [{"id": "s3cret"}]}"#,
                Some("tags[0].id"),
                "tags[0].id: invalid digit found in string",
            ),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(
                (error.field(), error.to_string().as_str()),
                (field, message),
                "{body}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(read(&"[".repeat(60_000)).is_err());
        let deep = format!(r#"{{"name": {}{}}}"#, "[".repeat(60_000), "]".repeat(60_000));
        assert_eq!(read(&deep).unwrap_err().field(), Some("name"));
    }

    #[test]
    fn long_name_is_shortened_in_an_error() {
        let body = format!(r#"{{"name": "", "{}": 1}}"#, "x".repeat(1_000));
        assert_eq!(read(&body).unwrap_err().field().map(str::len), Some(LONGEST_NAME));
    }
}
