//! Checks of replies, frames and deliveries of the gateway against the contract's documents, field by field.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use http::{HeaderMap, Method};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::api::Answer;

/// The documents as the gateway serves them, closed: a field that they do not have is a fault.
pub(crate) static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    Document::read(include_str!(
        "../../../crates/guest-gateway/src/generated/openapi.json"
    ))
});
static FRAMES: LazyLock<Document> = LazyLock::new(|| {
    Document::read(include_str!(
        "../../../crates/guest-gateway/src/generated/frames.schema.json"
    ))
});
static EVENTS: LazyLock<Document> = LazyLock::new(|| {
    Document::read(include_str!(
        "../../../crates/guest-gateway/src/generated/events.schema.json"
    ))
});

/// Checks a frame of the gateway against the contract.
pub(crate) fn check_received(frame: &Value) {
    FRAMES.check(
        &json!({ "$ref": "#/$defs/GatewayFrame" }),
        frame,
        "a frame of the gateway",
    );
}

/// Checks the headers that protect the pages of the gateway. Every answer has them, a refusal too.
fn check_security_headers(asked: &Asked<'_>, answer: &Answer, what: &str) {
    let embedding = match asked.path {
        "/guest-chat.js" if !answer.status.is_client_error() => "cross-origin",
        _ => "same-site",
    };
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", embedding),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        let found = answer.headers.get(name).and_then(|found| found.to_str().ok());
        assert_eq!(found, Some(value), "{name} of {what}");
    }
}

/// Checks a frame of the guest against the contract.
pub(crate) fn check_sent(frame: &Value) {
    FRAMES.check(
        &json!({ "$ref": "#/$defs/GuestFrame" }),
        frame,
        "a frame of the guest",
    );
}

/// Checks a delivery against the contract.
pub(crate) fn check_delivered(body: &Value) {
    EVENTS.check(&EVENTS.root, body, "a delivery");
}

/// Every property of the frames that the gateway may send.
pub(crate) fn frame_properties() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for frame in FRAMES.frames() {
        FRAMES.collect(frame, "", &mut found);
    }
    found
}

/// Adds the properties of a frame.
pub(crate) fn see_frame(frame: &Value, seen: &mut BTreeSet<String>) {
    let known = FRAMES.frames().iter().find(|known| FRAMES.accepts(known, frame));
    let known = known.unwrap();
    FRAMES.walk(known, "", frame, seen);
}

/// A request to the gateway.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) media: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

pub(crate) struct Document {
    root: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    fn read(text: &str) -> Self {
        let mut root = serde_json::from_str(text).unwrap();
        close(&mut root);
        Self {
            root,
            validators: Mutex::default(),
        }
    }

    /// Every operation with every status that it may answer.
    pub(crate) fn answers(&self) -> Vec<(String, u16)> {
        let operations = self
            .paths()
            .values()
            .flat_map(|item| item.as_object().unwrap().values());
        operations
            .filter_map(|operation| Some((operation["operationId"].as_str()?, operation)))
            .flat_map(|(id, operation)| {
                let statuses = operation["responses"].as_object().unwrap().keys();
                statuses.map(|status| (id.to_owned(), status.parse().unwrap()))
            })
            .collect()
    }

    /// Every path with its methods, in capitals.
    pub(crate) fn methods(&self) -> impl Iterator<Item = (&str, BTreeSet<String>)> {
        self.paths().iter().map(|(path, item)| {
            let names = item.as_object().unwrap().keys();
            let methods = names
                .filter(|name| *name != "parameters")
                .map(|name| name.to_uppercase());
            (path.as_str(), methods.collect())
        })
    }

    /// Method and path of this operation.
    pub(crate) fn operation(&self, id: &str) -> (Method, &str, &Value) {
        for (path, item) in self.paths() {
            for (method, operation) in item.as_object().unwrap() {
                if operation["operationId"] == id {
                    return (method.to_uppercase().parse().unwrap(), path, operation);
                }
            }
        }
        panic!("the document has no operation {id}");
    }

    /// Checks a response against the document.
    pub(crate) fn check_answer(&self, asked: &Asked<'_>, answer: &Answer) {
        let status = answer.status.as_u16();
        let what = format!("{} {}: {status} {}", asked.method, asked.path, answer.text);
        let head = asked.method == Method::HEAD;
        let method = if head {
            "get"
        } else {
            &asked.method.as_str().to_lowercase()
        };
        let item = self.item(asked.path);
        let operation = item.map_or(&Value::Null, |item| &item[method]);
        let elsewhere = &self.root["x-elsewhere"];
        let preflight = json!({ "description": "The answer to a preflight request of a page (CORS)." });
        let expected = match (item, operation) {
            (None, _) => &elsewhere["404"],
            (Some(_), Value::Null) if method == "options" && status == 204 => &preflight,
            (Some(_), Value::Null) => &elsewhere["405"],
            _ => &operation["responses"][status.to_string()],
        };
        assert!(!expected.is_null(), "the document has no such answer: {what}");
        let expected = self.resolve(expected);
        self.check_headers(expected, &answer.headers, &what);
        check_security_headers(asked, answer, &what);
        if !head {
            self.check_content(expected, answer, &what);
        }
        if answer.status.is_success()
            && let Some(content) = operation["requestBody"]["content"].as_object()
        {
            self.check_request(content, asked, &what);
        }
    }

    fn check_headers(&self, expected: &Value, headers: &HeaderMap, what: &str) {
        for (name, header) in expected["headers"].as_object().into_iter().flatten() {
            let header = self.resolve(header);
            let Some(value) = headers.get(name.as_str()) else {
                assert!(header["required"] != true, "no {name}: {what}");
                continue;
            };
            let text = value.to_str().unwrap();
            let value = match header["schema"]["type"].as_str() {
                Some("integer") => text.parse::<u64>().map_or(Value::Null, Value::from),
                _ => text.into(),
            };
            self.check(&header["schema"], &value, &format!("{name} of {what}"));
        }
    }

    fn check_content(&self, expected: &Value, answer: &Answer, what: &str) {
        let media = answer
            .headers
            .get("content-type")
            .map(|media| media.to_str().unwrap());
        let Some(content) = expected["content"].as_object() else {
            assert_eq!((media, answer.text.as_str()), (None, ""), "{what}");
            return;
        };
        let Some(content) = media.and_then(|media| content.get(media)) else {
            panic!("the media type is {media:?}: {what}");
        };
        let is_text = media.is_some_and(|media| media.starts_with("text/"));
        let body = if is_text {
            Value::from(answer.text.as_str())
        } else {
            answer.json()
        };
        self.check(&content["schema"], &body, what);
        if let Some(codes) = expected["x-codes"].as_array() {
            assert!(
                codes.contains(&body["code"]),
                "the code is none of {codes:?}: {what}"
            );
            assert_eq!(body["status"], answer.status.as_u16(), "{what}");
            assert_eq!(body["contextId"], answer.header("inin-correlation-id"), "{what}");
        }
    }

    /// An accepted request has to match the document.
    fn check_request(&self, content: &Map<String, Value>, asked: &Asked<'_>, what: &str) {
        let essence = asked
            .media
            .and_then(|media| media.split(';').next())
            .unwrap_or_default();
        if content.contains_key("*/*") {
            return;
        }
        let Some(content) = content.get(&essence.trim().to_lowercase()) else {
            panic!("{essence:?} was accepted: {what}");
        };
        let body = if essence.contains("json") {
            serde_json::from_slice(asked.body).unwrap()
        } else {
            let pairs = url::form_urlencoded::parse(asked.body).filter(|(_, value)| !value.is_empty());
            pairs
                .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
                .collect()
        };
        self.check(&content["schema"], &body, &format!("accepted of {what}"));
    }

    /// Whether a schema has the instance.
    pub(crate) fn accepts(&self, schema: &Value, instance: &Value) -> bool {
        self.validator(schema).is_valid(instance)
    }

    fn check(&self, schema: &Value, instance: &Value, what: &str) {
        let faults: Vec<String> = self
            .validator(schema)
            .iter_errors(instance)
            .map(|error| format!("  at {:?}: {error}", error.instance_path().as_str()))
            .collect();
        assert!(
            faults.is_empty(),
            "the contract does not have it so: {what}\n{}\n{instance:#}",
            faults.join("\n")
        );
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap();
        let known = validators.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = schema.clone();
            for name in ["components", "$defs"] {
                if let Some(shared) = self.root.get(name) {
                    whole[name] = shared.clone();
                }
            }
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            Arc::new(options.build(&whole).unwrap())
        });
        Arc::clone(known)
    }

    /// Every property of the schemas that answers have, as `pointer of its schema: name`.
    pub(crate) fn properties(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (id, status) in self.answers() {
            self.collect(self.schema(&id, status), "", &mut found);
        }
        found
    }

    /// The properties of a body.
    pub(crate) fn seen(&self, id: &str, status: u16, body: &Value, seen: &mut BTreeSet<String>) {
        self.walk(self.schema(id, status), "", body, seen);
    }

    fn schema(&self, id: &str, status: u16) -> &Value {
        let (_, _, operation) = self.operation(id);
        let content = &self.resolve(&operation["responses"][status.to_string()])["content"];
        content
            .as_object()
            .and_then(|content| content.values().next())
            .map_or(&Value::Null, |media| &media["schema"])
    }

    fn collect(&self, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
        let (schema, at) = self.located(schema, at);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if found.insert(format!("{at}: {name}")) {
                self.collect(property, &format!("{at}/{name}"), found);
            }
        }
        if !schema["items"].is_null() {
            self.collect(&schema["items"], &format!("{at}/items"), found);
        }
        for variant in schema["oneOf"].as_array().into_iter().flatten() {
            self.collect(variant, &at, found);
        }
    }

    fn walk(&self, schema: &Value, at: &str, body: &Value, seen: &mut BTreeSet<String>) {
        let (schema, at) = self.located(schema, at);
        for (name, value) in body.as_object().into_iter().flatten() {
            if let Some(property) = schema["properties"].get(name) {
                seen.insert(format!("{at}: {name}"));
                self.walk(property, &format!("{at}/{name}"), value, seen);
            }
        }
        for item in body.as_array().into_iter().flatten() {
            self.walk(&schema["items"], &format!("{at}/items"), item, seen);
        }
        for variant in schema["oneOf"].as_array().into_iter().flatten() {
            if self.validator(variant).is_valid(body) {
                self.walk(variant, &at, body, seen);
            }
        }
    }

    /// A schema and its location: a shared one has its own.
    fn located<'a>(&'a self, schema: &'a Value, at: &str) -> (&'a Value, String) {
        match schema["$ref"].as_str() {
            Some(reference) => (self.resolve(schema), reference.to_owned()),
            None => (schema, at.to_owned()),
        }
    }

    fn frames(&self) -> &[Value] {
        self.root["$defs"]["GatewayFrame"]["oneOf"].as_array().unwrap()
    }

    fn paths(&self) -> &Map<String, Value> {
        self.root["paths"].as_object().unwrap()
    }

    fn item(&self, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap_or_default();
        let fits = |template: &str| {
            let (path, template): (Vec<&str>, Vec<&str>) =
                (path.split('/').collect(), template.split('/').collect());
            path.len() == template.len()
                && std::iter::zip(path, template)
                    .all(|(part, wanted)| part == wanted || wanted.starts_with('{') && !part.is_empty())
        };
        let paths = self.paths();
        paths.get(path).or_else(|| {
            paths
                .iter()
                .find(|(template, _)| fits(template))
                .map(|(_, item)| item)
        })
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.root.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }
}

/// Readers ignore fields that they do not know, so the documents leave objects open. Here nothing may be unknown.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) {
                fields.entry("additionalProperties").or_insert(false.into());
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn document_check_rejects_a_field_outside_the_contract() {
    let pong = json!({ "type": "pong" });
    check_received(&pong);
    let mut more = pong;
    more["extra"] = 1.into();
    assert!(std::panic::catch_unwind(|| check_received(&more)).is_err());
}
