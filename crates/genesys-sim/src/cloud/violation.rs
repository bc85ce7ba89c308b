//! Violations of the contract: requests and frames that no official client sends.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::cloud::Request;
use crate::generated::actions::ACTIONS;

/// Limit of distinct violations; further ones are only counted.
const MAX_VIOLATIONS: usize = 1_000;
const MAX_LOCATION: usize = 120;

/// A request or a frame that no official client sends.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// The kind of violation.
    #[serde(rename = "what")]
    pub kind: ViolationKind,
    /// An action, a path of field names, or a method and path. Never a value.
    #[serde(rename = "place")]
    pub location: String,
    /// Number of times it was seen.
    pub count: u64,
    /// Time at which it was first seen, by the simulator's clock.
    #[serde(with = "genesys_api::timestamp")]
    pub first_seen: OffsetDateTime,
}

/// Kinds of violation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ViolationKind {
    /// A frame that is not a JSON object with an `action`.
    BrokenFrame,
    /// A session token that is not a UUID.
    #[serde(rename = "odd-token")]
    InvalidToken,
    /// An action outside Genesys' schema.
    UnknownAction,
    /// A path, or a method on a path, that this simulator does not serve.
    UnknownEndpoint,
    /// A field that the action does not have.
    UnknownField,
}

#[derive(Debug, Default)]
pub(crate) struct Violations {
    seen: BTreeMap<(ViolationKind, String), Violation>,
    pub(crate) dropped: u64,
}

impl Violations {
    pub(crate) fn add(&mut self, kind: ViolationKind, location: &str, utc: OffsetDateTime) {
        let location = location.chars().take(MAX_LOCATION);
        let location: String = location.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let full = self.seen.len() >= MAX_VIOLATIONS;
        match self.seen.entry((kind, location.clone())) {
            Entry::Occupied(mut entry) => entry.get_mut().count += 1,
            Entry::Vacant(_) if full => self.dropped += 1,
            Entry::Vacant(entry) => {
                entry.insert(Violation {
                    kind,
                    location,
                    count: 1,
                    first_seen: utc,
                });
            }
        }
    }

    /// Checks a guest's frame against Genesys' schema.
    pub(crate) fn check(&mut self, request: &Request) {
        let (action, utc) = (request.action.as_str(), request.now.utc);
        let Some((_, known)) = ACTIONS.iter().find(|(name, _)| *name == action) else {
            self.add(ViolationKind::UnknownAction, action, utc);
            return;
        };
        for (name, value) in request.fields().map {
            match (name.as_str(), value.as_str()) {
                ("action" | "tracingId", Some(_)) => {}
                ("token", Some(token)) => {
                    if uuid::Uuid::try_parse(token).is_err() {
                        self.add(ViolationKind::InvalidToken, action, utc);
                    }
                }
                _ => self.walk(action, known, name.clone(), value, utc),
            }
        }
    }

    fn walk(&mut self, action: &str, known: &[&str], path: String, value: &Value, utc: OffsetDateTime) {
        let below = |known: &&str| {
            known
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let free = known.contains(&"*") || known.contains(&format!("{path}.*").as_str());
        match value {
            _ if free || known.contains(&path.as_str()) => {}
            Value::Array(items) if known.iter().any(below) => {
                for item in items {
                    self.walk(action, known, path.clone(), item, utc);
                }
            }
            Value::Object(map) if known.iter().any(below) => {
                for (name, value) in map {
                    self.walk(action, known, format!("{path}.{name}"), value, utc);
                }
            }
            _ => self.add(ViolationKind::UnknownField, &format!("{action}.{path}"), utc),
        }
    }

    pub(crate) fn list(&self) -> Vec<Violation> {
        self.seen.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::socket::SocketId;
    use crate::cloud::tests::now;

    fn locations(frames: &[&str]) -> Vec<String> {
        let mut violations = Violations::default();
        for frame in frames {
            violations.check(&Request::parse(SocketId(1), frame, now()).unwrap());
        }
        violations
            .list()
            .iter()
            .map(|it| format!("{:?} {} x{}", it.kind, it.location, it.count))
            .collect()
    }

    #[test]
    fn frames_of_official_clients_are_no_violation() {
        let token = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11";
        let frames = [
            r#"{"action":"configureSession","token":"T","deploymentId":"d","startNew":false,"journeyContext":{"customer":{"id":"x","idType":"cookie"},"customerSession":{"id":"","type":"web"}},"tracingId":"t"}"#,
            r#"{"action":"configureAuthenticatedSession","token":"T","deploymentId":"d","data":{"code":"eyJ"},"resumeToken":"r"}"#,
            r#"{"action":"onMessage","token":"T","message":{"type":"Structured","text":"x","content":[{"contentType":"Form","form":{"originatingMessageId":"x","cannedResponseId":"x","response":[{"id":"x","component":{"contentType":"ButtonResponse","buttonResponse":{"type":"Form","text":"v","payload":"v"}}}]}}]}}"#,
            r#"{"action":"onMessage","token":"T","message":{"type":"Text","text":"Hello","content":[{"contentType":"Attachment","attachment":{"id":"8"}}],"channel":{"metadata":{"customAttributes":{"a":"b"}}}}}"#,
            r#"{"action":"onMessage","token":"T","message":{"type":"Structured","text":"…","metadata":{"parentMessageId":"p"},"content":[{"contentType":"Form","form":{"response":[{"id":"c"}]}}]},"channel":{"metadata":{"customAttributes":{"a":"b"}}}}"#,
            r#"{"action":"onMessage","token":"T","message":{"type":"Event","events":[{"eventType":"Typing","typing":{"type":"On"}}]}}"#,
            r#"{"action":"echo","token":"T","message":{"type":"Text","text":"ping"}}"#,
            r#"{"action":"closeSession","token":"T","closeAllConnections":true,"tracingId":"t"}"#,
            r#"{"action":"onAttachment","token":"T","fileName":"f","fileType":"t","fileSize":1,"errorsAsJson":true}"#,
        ]
        .map(|frame| frame.replace("\"T\"", &format!("\"{token}\"")));
        assert_eq!(locations(&frames.each_ref().map(String::as_str)), [""; 0]);
    }

    #[test]
    fn violation_names_the_field_without_its_value() {
        assert_eq!(
            locations(&[
                r#"{"action":"typing","token":"x"}"#,
                r#"{"action":"getJwt","token":"x","secret":"hunter2"}"#,
                r#"{"action":"getJwt","token":"x","tracingId":7}"#,
                r#"{"action":"configureSession","token":"7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11","journeyContext":{"customer":{"name":"x"}}}"#,
                r#"{"action":"configureAuthenticatedSession","token":"7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11","journeyContext":{"customer":{"id":"x"}}}"#,
                r#"{"action":"onMessage","token":"7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11","message":{"content":[{"form":{"formPages":[]}}]}}"#,
                r#"{"action":"onMessage","token":"7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11","message":{"txt":"a","events":[{"foo":1},{"foo":2}]}}"#,
            ]),
            [
                "InvalidToken getJwt x2",
                "UnknownAction typing x1",
                "UnknownField configureAuthenticatedSession.journeyContext x1",
                "UnknownField configureSession.journeyContext.customer.name x1",
                "UnknownField getJwt.secret x1",
                "UnknownField getJwt.tracingId x1",
                "UnknownField onMessage.message.content.form.formPages x1",
                "UnknownField onMessage.message.events.foo x2",
                "UnknownField onMessage.message.txt x1",
            ]
        );
    }

    #[test]
    fn violations_are_bounded() {
        let mut violations = Violations::default();
        for number in 0..MAX_VIOLATIONS + 5 {
            violations.add(
                ViolationKind::UnknownAction,
                &format!("{number}{}", "x".repeat(300)),
                now().utc,
            );
        }
        assert_eq!((violations.list().len(), violations.dropped), (MAX_VIOLATIONS, 5));
        assert!(
            violations
                .list()
                .iter()
                .all(|it| it.location.len() <= MAX_LOCATION)
        );
    }
}
