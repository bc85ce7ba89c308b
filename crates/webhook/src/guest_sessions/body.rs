//! The body that registers a webhook, read strictly and field by field, so that an error names its field.

use genesys_api::{Detail, Problem};
use serde_json::{Map, Value, json};

use crate::{
    CustomHeaders, EventName, EventSet, HeaderError, NameError, Subscription, TargetError, UnknownEvent,
};

/// Largest body that is read, in bytes. Our choice, and the gateway's limit for every body.
pub const LARGEST_BODY: usize = 64 * 1024;

/// Most entries of `eventFilters`, and of a filter's `values`. Our choice.
const MOST: usize = 16;

/// Reads a body as a client sends it to register or to replace a webhook.
///
/// `name`, `uri` and `eventFilters` are required; `method` can only be `POST`; `enabled` is true and `headers` empty
/// if they are left out. Several filters ask for the events of all of them.
///
/// # Errors
/// The first thing that is wrong, with the field that it is in. Fields that the contract does not know are refused.
pub fn parse(body: &[u8]) -> Result<Subscription, BodyError> {
    if body.len() > LARGEST_BODY {
        return Err(BodyError::TooLarge { bytes: body.len() });
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| BodyError::Syntax {
        line: error.line(),
        column: error.column(),
    })?;
    let mut fields = Fields::of(value, "")?;
    let subscription = subscription(&mut fields)?;
    fields.finish()?;
    Ok(subscription)
}

/// The fields of a subscription. Others are left in `fields`.
pub(super) fn subscription(fields: &mut Fields) -> Result<Subscription, BodyError> {
    let name = fields.required("name", text, "a string")?;
    let uri = fields.required("uri", text, "a string")?;
    let method = fields.optional("method", text, "a string")?;
    let enabled = fields.optional("enabled", |value| value.as_bool(), "true or false")?;
    let filters = fields.required("eventFilters", list, "a list of filters")?;
    let headers = fields.optional("headers", object, "an object of strings")?;
    if method.is_some_and(|method| method != "POST") {
        return Err(BodyError::Method);
    }
    Ok(Subscription {
        name: name.parse().map_err(BodyError::Name)?,
        target: uri.parse().map_err(BodyError::Uri)?,
        enabled: enabled.unwrap_or(true),
        events: events(filters)?,
        headers: custom_headers(headers.unwrap_or_default())?,
    })
}

pub(super) fn value(subscription: &Subscription) -> Value {
    let events: Vec<&str> = subscription.events.iter().map(EventName::as_str).collect();
    let headers: Map<String, Value> = subscription
        .headers
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "name": subscription.name.as_str(),
        "uri": subscription.target.as_str(),
        "method": "POST",
        "enabled": subscription.enabled,
        "eventFilters": [{"predicate": {"type": "event", "values": events}}],
        "headers": headers,
    })
}

fn events(filters: Vec<Value>) -> Result<EventSet, BodyError> {
    let mut events = Vec::new();
    bounded("eventFilters", filters.len())?;
    for (position, filter) in filters.into_iter().enumerate() {
        let mut filter = Fields::of(filter, &format!("eventFilters[{position}]"))?;
        let predicate = filter.required("predicate", Some, "an object")?;
        let mut predicate = Fields::of(predicate, &filter.path("predicate"))?;
        filter.finish()?;
        let kind = predicate.required("type", text, "a string")?;
        if kind != "event" {
            return Err(BodyError::PredicateType {
                field: predicate.path("type"),
            });
        }
        let values = predicate.required("values", list, "a list of event names")?;
        let path = predicate.path("values");
        predicate.finish()?;
        bounded(&path, values.len())?;
        for (position, value) in values.into_iter().enumerate() {
            let field = format!("{path}[{position}]");
            let Value::String(name) = value else {
                return Err(BodyError::WrongType {
                    field,
                    expected: "a string",
                });
            };
            events.push(name.parse().map_err(|event| BodyError::Event { field, event })?);
        }
    }
    Ok(events.into_iter().collect())
}

fn custom_headers(headers: Map<String, Value>) -> Result<CustomHeaders, BodyError> {
    let mut pairs = Vec::with_capacity(headers.len());
    for (name, value) in &headers {
        let Value::String(value) = value else {
            return Err(BodyError::WrongType {
                field: format!("headers.{}", shown(name)),
                expected: "a string",
            });
        };
        pairs.push((name.as_str(), value.as_str()));
    }
    CustomHeaders::parse(pairs).map_err(BodyError::Header)
}

fn bounded(field: &str, length: usize) -> Result<(), BodyError> {
    if (1..=MOST).contains(&length) {
        Ok(())
    } else {
        Err(BodyError::Length {
            field: field.to_owned(),
        })
    }
}

/// The fields of one JSON object, taken one by one; what is left at the end is unknown.
pub(super) struct Fields {
    within: String,
    fields: Map<String, Value>,
}

impl Fields {
    pub(super) fn of(value: Value, within: &str) -> Result<Self, BodyError> {
        match value {
            Value::Object(fields) => Ok(Self {
                within: within.to_owned(),
                fields,
            }),
            _ => Err(BodyError::WrongType {
                field: within.to_owned(),
                expected: "an object",
            }),
        }
    }

    pub(super) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<T, BodyError> {
        self.optional(name, read, expected)?
            .ok_or_else(|| BodyError::Missing {
                field: self.path(name),
            })
    }

    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, BodyError> {
        let Some(value) = self.fields.remove(name) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| BodyError::WrongType {
            field: self.path(name),
            expected,
        })
    }

    fn finish(self) -> Result<(), BodyError> {
        match self.fields.keys().next() {
            Some(name) => Err(BodyError::Unknown {
                field: self.path(&shown(name)),
            }),
            None => Ok(()),
        }
    }

    fn path(&self, name: &str) -> String {
        if self.within.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.within)
        }
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list),
        _ => None,
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// A name that somebody else chose, fit for a message.
fn shown(name: &str) -> String {
    name.chars()
        .take(64)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The body is none of a webhook. Names of fields are repeated, their values never.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// No such event.
    #[error("{field}: {event}")]
    Event {
        /// Where.
        field: String,
        /// What may have been meant.
        event: UnknownEvent,
    },
    /// A header that may not be set.
    #[error("headers: {0}")]
    Header(HeaderError),
    /// An empty list, or one of more than 16.
    #[error("{field}: give 1 to 16 entries")]
    Length {
        /// Which list.
        field: String,
    },
    /// Another method than `POST`.
    #[error("method: deliveries are made by POST only")]
    Method,
    /// A field is not there.
    #[error("{field} is missing")]
    Missing {
        /// Which.
        field: String,
    },
    /// A name that does not do.
    #[error("name: {0}")]
    Name(NameError),
    /// A filter of a kind that there is not.
    #[error("{field}: the only type of predicate is \"event\"")]
    PredicateType {
        /// Where.
        field: String,
    },
    /// No JSON.
    #[error("the body is not JSON: see line {line}, column {column}")]
    Syntax {
        /// Where, counted from 1.
        line: usize,
        /// Where, counted from 1.
        column: usize,
    },
    /// More than 64 KiB.
    #[error("the body has {bytes} bytes: at most 65536 are read")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// A field that the contract does not know.
    #[error("{field} is no field of a webhook: remove it, or check its spelling")]
    Unknown {
        /// Which.
        field: String,
    },
    /// A URL that deliveries cannot go to.
    #[error("uri: {0}")]
    Uri(TargetError),
    /// A value of another type.
    #[error("{} is not {expected}", if field.is_empty() { "the body" } else { field })]
    WrongType {
        /// Where; empty for the whole body.
        field: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl BodyError {
    /// The field at fault, as in `eventFilters[0].predicate.values[1]`; empty if it is the body as a whole.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::Event { field, .. }
            | Self::Length { field }
            | Self::Missing { field }
            | Self::PredicateType { field }
            | Self::Unknown { field }
            | Self::WrongType { field, .. } => field,
            Self::Header(_) => "headers",
            Self::Method => "method",
            Self::Name(_) => "name",
            Self::Syntax { .. } | Self::TooLarge { .. } => "",
            Self::Uri(_) => "uri",
        }
    }

    /// The machine's name for what is wrong with the field.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Syntax { .. } => "not.json",
            Self::TooLarge { .. } => "too.large",
            Self::Unknown { .. } => "unknown.field",
            Self::WrongType { .. } => "wrong.type",
            _ => "invalid",
        }
    }

    /// The answer of a server: 413 `body.too.large`, 400 `bad.request` for a body of another shape, and 400
    /// `invalid.value` for a value that does not do.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (status, code) = match self {
            Self::TooLarge { .. } => (413, "body.too.large"),
            Self::Missing { .. } | Self::Syntax { .. } | Self::Unknown { .. } | Self::WrongType { .. } => {
                (400, "bad.request")
            }
            _ => (400, "invalid.value"),
        };
        let mut problem = Problem::new(status, code, self.to_string());
        if !self.field().is_empty() {
            problem.details.push(Detail {
                error_code: self.code().to_owned(),
                field_name: self.field().to_owned(),
                ..Detail::default()
            });
        }
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the founding tutorial sends, but for the order of its keys.
    const TUTORIAL: &str = r#"{
        "name": "GuestSessionCRMSync",
        "uri": "https://your-crm-endpoint.com/api/guest-sync",
        "method": "POST",
        "enabled": true,
        "eventFilters": [{"predicate": {"type": "event", "values": [
            "webmessaging.guestsession.created", "webmessaging.guestsession.updated"
        ]}}],
        "headers": {"X-Source": "GenesysWebMessaging", "Content-Type": "application/json"}
    }"#;

    fn changed(pointer: &str, value: Option<Value>) -> Vec<u8> {
        let mut body: Value = serde_json::from_str(TUTORIAL).unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap();
        match value {
            Some(value) if parent.is_array() => parent[key.parse::<usize>().unwrap()] = value,
            Some(value) => parent[key] = value,
            None => drop(parent.as_object_mut().unwrap().remove(key)),
        }
        body.to_string().into()
    }

    #[test]
    fn the_tutorials_body_is_accepted_and_comes_back() {
        let subscription = parse(TUTORIAL.as_bytes()).unwrap();
        assert_eq!(subscription.name.as_str(), "GuestSessionCRMSync");
        assert_eq!(
            subscription.events.iter().collect::<Vec<_>>(),
            [EventName::Created, EventName::Updated]
        );
        assert_eq!(
            value(&subscription),
            json!({
                "name": "GuestSessionCRMSync",
                "uri": "https://your-crm-endpoint.com/api/guest-sync",
                "method": "POST",
                "enabled": true,
                "eventFilters": [{"predicate": {"type": "event", "values": [
                    "webmessaging.guestsession.created", "webmessaging.guestsession.updated"
                ]}}],
                "headers": {"x-source": "GenesysWebMessaging"},
            })
        );
        assert_eq!(
            parse(value(&subscription).to_string().as_bytes()),
            Ok(subscription)
        );
    }

    #[test]
    fn what_may_be_left_out_has_a_default() {
        let bare = r#"{"name": "n", "uri": "https://crm.example/", "eventFilters": [
            {"predicate": {"type": "event", "values": ["webmessaging.guestsession.ended"]}},
            {"predicate": {"type": "event", "values": ["webmessaging.guestsession.created"]}}
        ]}"#;
        let subscription = parse(bare.as_bytes()).unwrap();
        assert!(subscription.enabled);
        assert_eq!(subscription.headers, CustomHeaders::default());
        assert_eq!(
            subscription.events.iter().collect::<Vec<_>>(),
            [EventName::Created, EventName::Ended]
        );
    }

    /// Changes one place of the tutorial's body, and holds the error to its field and its code.
    fn refused(pointer: &str, value: Option<Value>, field: &str, code: &str) {
        let error = parse(&changed(pointer, value)).unwrap_err();
        assert_eq!((error.field(), error.code()), (field, code), "{pointer}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let problem = error.problem();
        assert_eq!(
            (problem.status, problem.details[0].field_name.as_str()),
            (400, field)
        );
    }

    const PREDICATE: &str = "/eventFilters/0/predicate";
    const VALUES: &str = "/eventFilters/0/predicate/values";

    #[test]
    fn a_missing_or_unknown_field_is_named() {
        for (pointer, field) in [
            ("/name", "name"),
            ("/uri", "uri"),
            ("/eventFilters", "eventFilters"),
            (PREDICATE, "eventFilters[0].predicate"),
            (&format!("{PREDICATE}/type"), "eventFilters[0].predicate.type"),
            (VALUES, "eventFilters[0].predicate.values"),
        ] {
            refused(pointer, None, field, "missing");
        }
        for (pointer, field) in [
            ("/secret", "secret"),
            ("/eventFilters/0/extra", "eventFilters[0].extra"),
            (&format!("{PREDICATE}/extra"), "eventFilters[0].predicate.extra"),
        ] {
            refused(pointer, Some(json!("s3cret")), field, "unknown.field");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused_without_being_repeated() {
        for (pointer, value, field) in [
            ("/name", json!(7), "name"),
            ("/uri", json!(["s3cret"]), "uri"),
            ("/method", json!(null), "method"),
            ("/enabled", json!("true"), "enabled"),
            ("/enabled", json!(1), "enabled"),
            ("/eventFilters", json!({}), "eventFilters"),
            ("/eventFilters/0", json!("s3cret"), "eventFilters[0]"),
            (PREDICATE, json!(1), "eventFilters[0].predicate"),
            (VALUES, json!("s3cret"), "eventFilters[0].predicate.values"),
            (
                &format!("{VALUES}/1"),
                json!(1),
                "eventFilters[0].predicate.values[1]",
            ),
            ("/headers", json!([]), "headers"),
            ("/headers/X-Source", json!(1), "headers.X-Source"),
        ] {
            refused(pointer, Some(value), field, "wrong.type");
        }
    }

    #[test]
    fn a_value_that_does_not_do_is_refused_without_being_repeated() {
        let seventeen = |item: Value| Value::Array(vec![item; 17]);
        for (pointer, value, field) in [
            ("/name", json!(""), "name"),
            ("/name", json!("s3cret\n"), "name"),
            ("/uri", json!("http://s3cret.example/"), "uri"),
            ("/uri", json!("https://joe:s3cret@crm.example/"), "uri"),
            ("/method", json!("PUT"), "method"),
            ("/eventFilters", json!([]), "eventFilters"),
            ("/eventFilters", seventeen(json!({})), "eventFilters"),
            (
                &format!("{PREDICATE}/type"),
                json!("s3cret"),
                "eventFilters[0].predicate.type",
            ),
            (VALUES, json!([]), "eventFilters[0].predicate.values"),
            (
                VALUES,
                seventeen(json!("webmessaging.guestsession.ended")),
                "eventFilters[0].predicate.values",
            ),
            (
                &format!("{VALUES}/0"),
                json!("s3cret.created"),
                "eventFilters[0].predicate.values[0]",
            ),
            ("/headers/Authorization", json!("Bearer s3cret"), "headers"),
            ("/headers/X-Source", json!("s3cret\r\nx: y"), "headers"),
        ] {
            refused(pointer, Some(value), field, "invalid");
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for body in ["", "{", "nul", "{\"name\":}", "\u{feff}{}"] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert!(matches!(error, BodyError::Syntax { .. }), "{body:?}");
            assert_eq!(error.problem().code, "bad.request");
        }
        for body in ["[]", "null", "\"x\"", "7"] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert_eq!((error.field(), error.code()), ("", "wrong.type"), "{body}");
            assert_eq!(error.to_string(), "the body is not an object");
        }
        assert!(parse("[".repeat(60_000).as_bytes()).is_err(), "depth is bounded");
        let error = parse(&vec![b' '; LARGEST_BODY + 1]).unwrap_err();
        assert_eq!(
            (error.problem().status, error.problem().code.as_str()),
            (413, "body.too.large")
        );
    }
}
