//! Fields of a delivery that a subscription chooses.

use std::fmt;

use serde_json::Value;

/// The value of a field that a subscription chooses.
#[derive(Clone, Eq, PartialEq)]
pub enum FieldSource {
    /// This text.
    Constant(String),
    /// A field of the event's data, as in `state`, or a field of one, as in `guestAttributes.source`: what follows the first
    /// dot is its name.
    Path(String),
}

impl FieldSource {
    /// The name of the field of the event's data. A constant has none.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Constant(_) => None,
            Self::Path(path) => path.split('.').next(),
        }
    }

    /// The value, if the data of the event has it.
    #[must_use]
    pub fn value(&self, data: &Value) -> Option<Value> {
        match self {
            Self::Constant(text) => Some(text.as_str().into()),
            Self::Path(path) => match path.split_once('.') {
                Some((field, name)) => data.get(field)?.get(name).cloned(),
                None => data.get(path).cloned(),
            },
        }
    }
}

/// Without the text of a constant, which may be secret.
impl fmt::Debug for FieldSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(_) => f.write_str("Constant(redacted)"),
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn source_finds_fields_to_the_second_level() {
        let data = json!({"state": "ended", "guestAttributes": {"marketing.segment": "spring"}});
        let path = |path: &str| FieldSource::Path(path.to_owned());
        for (source, field, value) in [
            (path("state"), Some("state"), Some(json!("ended"))),
            (
                path("guestAttributes.marketing.segment"),
                Some("guestAttributes"),
                Some(json!("spring")),
            ),
            (path("guestAttributes.marketing"), Some("guestAttributes"), None),
            (path("endedAt"), Some("endedAt"), None),
            (path("state.x"), Some("state"), None),
            (
                FieldSource::Constant("canary".to_owned()),
                None,
                Some(json!("canary")),
            ),
        ] {
            assert_eq!(
                (source.field(), source.value(&data)),
                (field, value),
                "{source:?}"
            );
            assert!(!format!("{source:?}").contains("canary"));
        }
    }
}
