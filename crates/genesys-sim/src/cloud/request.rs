//! Frames from a guest, parsed by the simulator itself and not with the client's types.

use std::collections::BTreeMap;

use genesys_api::Now;
use serde_json::{Map, Value};

use crate::cloud::{Refusal, SocketId};

/// A flat JSON object with an `action`, which a socket received.
pub(crate) struct Request {
    pub(crate) socket: SocketId,
    pub(crate) now: Now,
    pub(crate) action: String,
    fields: Map<String, Value>,
}

impl Request {
    pub(crate) fn parse(socket: SocketId, frame: &str, now: Now) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_str(frame).ok()?;
        Some(Self {
            socket,
            now,
            action: fields.get("action")?.as_str()?.to_owned(),
            fields,
        })
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
    pub(crate) map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(crate) fn text(self, name: &str) -> Result<&'a str, Refusal> {
        self.required(name, Value::as_str)
    }

    pub(crate) fn object(self, name: &'static str) -> Result<Self, Refusal> {
        self.required(name, |value| Self::of(name, value))
    }

    pub(crate) fn optional_object(self, name: &'static str) -> Result<Option<Self>, Refusal> {
        self.optional(name, |value| Self::of(name, value))
    }

    /// The fields of an object whose values are all texts. An absent one is empty.
    pub(crate) fn texts(self, name: &'static str) -> Result<BTreeMap<String, String>, Refusal> {
        let Some(fields) = self.optional_object(name)? else {
            return Ok(BTreeMap::new());
        };
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let texts: Option<_> = fields.map.iter().map(text).collect();
        texts.ok_or(Refusal::FAILED)
    }

    /// The items of an array. An absent one is empty.
    pub(crate) fn list(self, name: &str) -> Result<&'a [Value], Refusal> {
        Ok(self.optional(name, Value::as_array)?.map_or(&[], Vec::as_slice))
    }

    pub(crate) fn of(within: &'static str, value: &'a Value) -> Option<Self> {
        value.as_object().map(|map| Self { within, map })
    }

    pub(crate) fn missing(self, name: &str) -> Refusal {
        match self.within {
            "" => Refusal::missing(name),
            within => Refusal::missing(&format!("{within}.{name}")),
        }
    }

    pub(crate) fn required<T>(
        self,
        name: &str,
        of: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, Refusal> {
        self.optional(name, of)?.ok_or_else(|| self.missing(name))
    }

    pub(crate) fn optional<T>(
        self,
        name: &str,
        of: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let value = self.map.get(name).filter(|value| !value.is_null());
        value.map(|value| of(value).ok_or(Refusal::FAILED)).transpose()
    }
}
