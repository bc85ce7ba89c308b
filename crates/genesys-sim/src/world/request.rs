//! Frames from a guest, parsed by the simulator itself and not with the client's types.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::world::frame::Refusal;

/// A flat JSON object with an `action`.
#[derive(Debug)]
pub(crate) struct Request {
    action: String,
    fields: Map<String, Value>,
}

impl Request {
    pub(crate) fn parse(frame: &str) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_str(frame) else {
            return None;
        };
        let action = fields.get("action")?.as_str()?.to_owned();
        Some(Self { action, fields })
    }

    pub(crate) fn action(&self) -> &str {
        &self.action
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields {
            within: "",
            map: &self.fields,
        }
    }

    pub(crate) fn tracing_id(&self) -> Option<&str> {
        self.fields.get("tracingId")?.as_str()
    }
}

/// Fields of an object. A field that is `null` counts as absent. A wrong type fails the whole request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    within: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.iter()
    }

    pub(crate) fn text(self, name: &str) -> Result<&'a str, Refusal> {
        self.optional_text(name)?.ok_or_else(|| self.missing(name))
    }

    pub(crate) fn optional_text(self, name: &str) -> Result<Option<&'a str>, Refusal> {
        self.present(name)
            .map(|value| value.as_str().ok_or(Refusal::FAILED))
            .transpose()
    }

    pub(crate) fn optional_flag(self, name: &str) -> Result<Option<bool>, Refusal> {
        self.present(name)
            .map(|value| value.as_bool().ok_or(Refusal::FAILED))
            .transpose()
    }

    pub(crate) fn count(self, name: &str) -> Result<u64, Refusal> {
        let value = self.present(name).ok_or_else(|| self.missing(name))?;
        value.as_u64().ok_or(Refusal::FAILED)
    }

    pub(crate) fn flag(self, name: &str) -> Result<bool, Refusal> {
        self.optional_flag(name)?.ok_or_else(|| self.missing(name))
    }

    pub(crate) fn object(self, name: &'static str) -> Result<Self, Refusal> {
        self.optional_object(name)?.ok_or_else(|| self.missing(name))
    }

    pub(crate) fn optional_object(self, name: &'static str) -> Result<Option<Self>, Refusal> {
        self.present(name)
            .map(|value| Self::of(name, value).ok_or(Refusal::FAILED))
            .transpose()
    }

    /// The fields of an object whose values are all texts. An absent one is empty.
    pub(crate) fn texts(self, name: &'static str) -> Result<BTreeMap<String, String>, Refusal> {
        let fields = self.optional_object(name)?;
        let fields = fields.iter().flat_map(|fields| fields.map.iter());
        fields
            .map(|(name, value)| {
                let value = value.as_str().ok_or(Refusal::FAILED)?;
                Ok((name.clone(), value.to_owned()))
            })
            .collect()
    }

    /// The items of an array. An absent one is empty.
    pub(crate) fn list(self, name: &str) -> Result<&'a [Value], Refusal> {
        match self.present(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(Refusal::FAILED),
        }
    }

    /// Fields of an array's item, if it is an object.
    pub(crate) fn of(within: &'static str, value: &'a Value) -> Option<Self> {
        value.as_object().map(|map| Self { within, map })
    }

    pub(crate) fn missing(self, name: &str) -> Refusal {
        match self.within {
            "" => Refusal::missing(name),
            within => Refusal::missing(&format!("{within}.{name}")),
        }
    }

    fn present(self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }
}
