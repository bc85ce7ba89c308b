//! The golden frames of `spec/web-messaging/golden`: those of guests are accepted, those of Genesys Cloud are produced.

mod client;
mod rest;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::*;
use crate::Script;

/// Parts of golden files that the cloud does not produce: the file, the pointer (the whole file if empty), the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("rest/error-body-limit", "/details/0", "no limit is of a field"),
    ("rest/error-body-limit", "/entityId", "no limit is of an entity"),
    ("rest/error-body-limit", "/entityName", "no limit is of an entity"),
    (
        "rest/event-bridge-customer-start",
        "",
        "EventBridge is not part of the conversation",
    ),
    ("rest/history-page", "/entities/1", "the web has no receipts"),
    (
        "rest/notification-subscriptions-reply",
        "/entities/1/missingPermissions",
        "the API client has every permission",
    ),
    (
        "rest/open-messaging-delivery",
        "",
        "Open Messaging is another channel",
    ),
    (
        "rest/open-messaging-inbound-request",
        "",
        "Open Messaging is another channel",
    ),
    (
        "rest/open-messaging-integration-request",
        "",
        "Open Messaging is another channel",
    ),
    (
        "rest/trigger-request",
        "",
        "process automation is not part of the conversation",
    ),
    (
        "rest/web-event-request",
        "",
        "tracking of pages is not part of the conversation",
    ),
    (
        "server/agent-text-full-name",
        "",
        "only the schema has it: a messenger shows agents by nickname",
    ),
    (
        "server/error-message-only",
        "",
        "in the schema, but no official client has received it",
    ),
    ("server/error-string", "/body", "the words of an older service"),
    (
        "server/unknown",
        "",
        "sent by newer services, and by the fault `unknown-class`",
    ),
    (
        "server/unknown-class",
        "",
        "sent by newer services, and by the fault `unknown-class`",
    ),
    (
        "server/unknown-fields",
        "",
        "sent by newer services, and by the fault `unknown-fields`",
    ),
];

/// Fields whose values are compared.
const VOCABULARY: [&str; 8] = [
    "class",
    "code",
    "contentType",
    "direction",
    "eventType",
    "mediaType",
    "originatingEntity",
    "type",
];

#[derive(serde::Deserialize)]
struct Index {
    golden: Vec<Golden>,
}

#[derive(serde::Deserialize)]
struct Golden {
    file: String,
    provenance: String,
}

/// The files of one folder, by their names without folder and ending.
fn folder(folder: &str) -> BTreeMap<String, (Golden, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/web-messaging/golden");
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let index: Index = toml::from_str(&read(root.join("golden.toml"))).unwrap();
    let files: BTreeMap<_, _> = index
        .golden
        .into_iter()
        .filter_map(|golden| {
            let name = golden.file.strip_prefix(folder)?.strip_prefix('/')?;
            let name = name.strip_suffix(".json").unwrap().to_owned();
            let value = serde_json::from_str(&read(root.join(&golden.file))).unwrap();
            Some((name, (golden, value)))
        })
        .collect();
    assert!(!files.is_empty());
    files
}

fn is_exempt(file: &str, pointer: &str) -> bool {
    EXCEPTIONS
        .iter()
        .any(|(other, at, _)| (*other, *at) == (file, pointer))
}

/// Asserts that every file of a folder is produced, but for the exceptions, and nothing else is.
#[track_caller]
fn covered(folder: &str, files: &BTreeMap<String, (Golden, Value)>, produced: &BTreeMap<&str, Value>) {
    let names: BTreeSet<_> = files.keys().map(String::as_str).collect();
    let unknown: Vec<_> = produced.keys().filter(|name| !names.contains(**name)).collect();
    assert_eq!(unknown, Vec::<&&str>::new(), "no such files");
    let mut wrong = Vec::new();
    for (name, (golden, value)) in files {
        let file = format!("{folder}/{name}");
        match (produced.get(name.as_str()), is_exempt(&file, "")) {
            (Some(actual), false) => {
                let is_genesys_text = matches!(golden.provenance.as_str(), "capture" | "official");
                Shape {
                    file: &file,
                    is_genesys_text,
                }
                .compare("", actual, value, &mut wrong);
            }
            (Some(_), true) => wrong.push(format!("{file} is produced: it is no exception")),
            (None, true) => {}
            (None, false) => wrong.push(format!("{file} has no scenario")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

struct Shape<'a> {
    file: &'a str,
    /// Whether the text of an error is Genesys'.
    is_genesys_text: bool,
}

impl Shape<'_> {
    /// Whether `actual` has every field of the golden one, of the same type.
    fn compare(&self, pointer: &str, actual: &Value, golden: &Value, wrong: &mut Vec<String>) {
        if is_exempt(self.file, pointer) {
            return;
        }
        let name = pointer.rsplit('/').next().unwrap_or_default();
        let mut report = |what: String| wrong.push(format!("{}{pointer}: {what}", self.file));
        match (actual, golden) {
            (Value::Object(actual), Value::Object(golden)) => {
                for (name, golden) in golden {
                    let pointer = format!("{pointer}/{name}");
                    match actual.get(name) {
                        Some(actual) => self.compare(&pointer, actual, golden, wrong),
                        None if is_exempt(self.file, &pointer) => {}
                        None => wrong.push(format!("{}{pointer} is missing", self.file)),
                    }
                }
            }
            (Value::Array(actual), Value::Array(golden)) => {
                for (index, golden) in golden.iter().enumerate() {
                    let pointer = format!("{pointer}/{index}");
                    let fits = |actual: &Value| {
                        let mut wrong = Vec::new();
                        self.compare(&pointer, actual, golden, &mut wrong);
                        wrong.is_empty()
                    };
                    if !is_exempt(self.file, &pointer) && !actual.iter().any(fits) {
                        wrong.push(format!(
                            "{}{pointer}: none of {actual:?} is like {golden}",
                            self.file
                        ));
                    }
                }
            }
            (Value::String(actual), Value::String(golden)) => {
                let words = golden.split(':').next().unwrap_or_default();
                if VOCABULARY.contains(&name) && actual != golden
                    || pointer == "/body" && self.is_genesys_text && !actual.starts_with(words)
                {
                    report(format!("{actual:?} is not {golden:?}"));
                }
            }
            (Value::Number(actual), Value::Number(golden)) => {
                if VOCABULARY.contains(&name) && actual != golden {
                    report(format!("{actual} is not {golden}"));
                }
            }
            (Value::Bool(_), Value::Bool(_)) | (Value::Null, Value::Null) => {}
            _ => report(format!("{actual} is of another type than {golden}")),
        }
    }
}

/// The fields of a value, without their values; those that people name themselves are left out.
fn fields(value: &Value) -> BTreeSet<String> {
    fn collect(pointer: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let pointer = format!("{pointer}/{name}");
                    if !pointer.ends_with("/metadata") {
                        collect(&pointer, value, found);
                    }
                    found.insert(pointer);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(pointer, item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    collect("", value, &mut found);
    found
}

/// The golden frame with the test's own token, deployment and JWT.
fn ours(golden: &Value, jwt: &str) -> String {
    golden
        .to_string()
        .replace("7d1f0c9e-3b5a-4c6d-8e2f-1a2b3c4d5e6f", TOKEN)
        .replace("b3c2a0de-1f2e-4d3c-9b4a-5f6e7d8c9b0a", DEPLOYMENT)
        .replace(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtYWRlLXVwIn0.bWFkZS11cC1zaWduYXR1cmU",
            jwt,
        )
}

const FILE: &str = "88888888-4c3b-4a29-9180-7f6e5d4c3b2a";

impl Harness {
    /// Every frame that a socket received since the last call.
    fn frames(&mut self, socket: SocketId) -> Vec<Value> {
        self.received_by(socket)
            .into_iter()
            .filter_map(|received| match received {
                Received::Frame(frame) => Some(frame),
                Received::Closed(_) => None,
            })
            .collect()
    }

    /// Requests a grant, and returns the reply.
    fn grant(&mut self, socket: SocketId, id: &str, size: u64) -> Value {
        let request = json!({"action": "onAttachment", "token": TOKEN, "attachmentId": id, "fileName": "foo.png",
            "fileType": "image/png", "fileSize": size, "errorsAsJson": true, "tracingId": "t-1"});
        self.ask(socket, request)
    }

    /// Uploads a file, and returns its event.
    fn upload(&mut self, socket: SocketId, id: &str, body: &'static [u8]) -> Value {
        let grant = self.grant(socket, id, 5);
        self.received();
        assert_eq!(self.put(&grant["body"], body), 200);
        self.frames(socket).remove(0)
    }
}

#[test]
fn exceptions_name_a_file_and_a_reason() {
    for (file, pointer, why) in EXCEPTIONS {
        let (folder_name, name) = file.split_once('/').unwrap();
        let files = folder(folder_name);
        let (_, golden) = files.get(name).unwrap_or_else(|| panic!("{file}"));
        assert!(golden.pointer(pointer).is_some(), "{file}{pointer}");
        assert!(!why.is_empty());
    }
}

#[test]
fn envelope_has_the_documented_field_order() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    harness.send_frame(socket, text("Hello"));
    let Some(Output::Frame { text, .. }) = harness.cloud.poll_output() else {
        panic!("no frame");
    };
    let start = r#"{"type":"message","class":"StructuredMessage","code":200,"tracingId":"t-1","body":{"text":"Hello","#;
    assert!(text.starts_with(start), "{text}");
}
