//! The schemas of request bodies and guest frames compared with the parsers, on boundary values of every field.

use std::collections::BTreeSet;

use genesys_api::parse_rfc3339;
use guest_payload::{NewGuest, Signals};
use guest_sessions::{
    ClientFrame, ConsentChangeBody, CreateBrowserSessionBody, GuestErasureBody, GuestQueryBody, PreviewBody,
    RefreshBody, ReplayBody, ResumeBrowserSessionBody, SignInBody, SubscriptionBody,
};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::boundary_values::candidates;

const OPENAPI: &str = include_str!("../../../../spec/guest-sessions/openapi.json");
const FRAMES: &str = include_str!("../../../../spec/guest-sessions/frames.schema.json");

/// A documented input, a sample with every field, and the parser that accepts or refuses it.
struct Input {
    schema: &'static str,
    sample: Value,
    parse: fn(&str) -> bool,
}

/// A rule that the schema cannot express: fields on a path with `field`, and the values for which both may differ.
struct Exception {
    field: &'static str,
    reason: &'static str,
    covers: fn(&Value) -> bool,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        field: "/consentTimestamp",
        reason: "time order: not before 1970, and not in the future",
        covers: |value| {
            matches!(
                value.as_str(),
                Some("1969-12-31T23:59:59Z" | "9999-12-31T23:59:59Z")
            )
        },
    },
    Exception {
        field: "/verifiedAt",
        reason: "time order, as in /consentTimestamp",
        covers: |value| {
            matches!(
                value.as_str(),
                Some("1969-12-31T23:59:59Z" | "9999-12-31T23:59:59Z")
            )
        },
    },
    Exception {
        field: "/age",
        reason: "order of two numbers",
        covers: |value| value == "15-13",
    },
    Exception {
        field: "/region",
        reason: "the codes of ISO 3166 are a list of hundreds that changes",
        covers: |value| value == "QQ",
    },
    Exception {
        field: "/guestAttributes",
        reason: "keys and values together are bounded in bytes of UTF-8",
        covers: |value| value.to_string().len() > 2_048,
    },
    Exception {
        field: "/uri",
        reason: "a URL of the WHATWG standard may have letters that `format: uri` does not have",
        covers: |value| value.as_str().is_some_and(|text| !text.is_ascii()),
    },
    Exception {
        field: "/uri",
        reason: "the URL standard corrects slashes",
        covers: |value| value == "https:///x",
    },
    Exception {
        field: "/headers",
        reason: "names are compared without case: reserved ones, and two that differ in case",
        covers: |value| {
            let names = value.as_object().into_iter().flatten();
            let mut names: Vec<_> = names.map(|(name, _)| name.to_lowercase()).collect();
            let count = names.len();
            names.dedup();
            names.len() < count || names.iter().any(|name| name == "cookie")
        },
    },
    Exception {
        field: "/text",
        reason: "a text is bounded in bytes of UTF-8 when it is queued: `delivery`",
        covers: |value| {
            value
                .as_str()
                .is_some_and(|text| text.is_empty() || text.len() > 4_096)
        },
    },
    Exception {
        field: "/contentType",
        reason: "the parser also takes the number of a variant, which is harmless",
        covers: |value| value == 0,
    },
    Exception {
        field: "",
        reason: "a null counts as an absent field in a frame, for clients that write every field",
        covers: Value::is_null,
    },
    Exception {
        field: "/lastSequence",
        reason: "JSON Schema does not tell 1.0 from 1",
        covers: |value| value.as_f64() == Some(1.0) && !value.is_u64(),
    },
];

fn now() -> OffsetDateTime {
    parse_rfc3339("2026-11-22T12:30:00Z").unwrap()
}

fn is_frame(text: &str) -> bool {
    ClientFrame::parse(text).is_ok()
}

fn evidence(mut choices: Value) -> Value {
    let evidence = json!({
        "marketing": true, "personalization": false, "analytics": true,
        "consentTimestamp": "2026-11-22T12:30:00Z", "how": "form", "actor": "guardian", "gpc": true, "gpp": "DBABMA~x",
        "notice": { "version": "2026-11 b", "language": "de-CH" },
        "sensitive": {
            "health": true, "biometric": false, "precise-location": true, "children": true, "faith": true,
            "orientation": true, "union": true, "immigration": true, "ethnicity": true, "politics": true,
        },
        "guardian": {
            "relationship": "parent", "verification": "payment-card", "verifiedAt": "2026-11-22T12:29:00Z",
            "reference": "case-42",
        },
    });
    let fields = evidence.as_object().unwrap().clone();
    choices.as_object_mut().unwrap().extend(fields);
    choices
}

/// A sample of each frame of the guest, with the name of its schema.
fn frames() -> Vec<(&'static str, Value)> {
    let id = "c0ffee00-0000-4000-8000-000000000001";
    let button = |kind: &str| {
        json!({
            "contentType": "ButtonResponse",
            "buttonResponse": { "type": kind, "text": "Red", "payload": "RED", "originatingMessageId": "m-1" },
        })
    };
    vec![
        (
            "Handshake",
            json!({
                "type": "handshake", "guestSessionId": "s-1", "timestamp": "2026-11-22T12:30:00Z",
                "accessToken": "token", "epoch": "e-1", "lastSequence": 7, "lastMessageId": "m-1",
            }),
        ),
        (
            "GuestMessage",
            json!({ "type": "message", "id": id, "text": "hello", "attachments": ["one"] }),
        ),
        (
            "GuestAnswer",
            json!({ "type": "message", "id": id, "content": [button("QuickReply")] }),
        ),
        (
            "GuestAnswer",
            json!({ "type": "message", "id": id, "content": [{
                "contentType": "Form",
                "form": {
                    "originatingMessageId": "m-1", "cannedResponseId": "c-1",
                    "response": [{ "id": "f-1", "component": button("Form") }],
                },
            }] }),
        ),
        ("GuestTyping", json!({ "type": "typing" })),
        ("Ping", json!({ "type": "ping", "id": "1" })),
        ("ConversationStart", json!({ "type": "conversation.start" })),
        ("ConversationClear", json!({ "type": "conversation.clear" })),
    ]
}

fn inputs() -> Vec<Input> {
    let bodies = [
        (
            "CreateSession",
            json!({
                "channelConfigurationId": "channel",
                "guestId": "guest",
                "guestAttributes": { "region": "DE,US-CA", "source": "web" },
                "consent": evidence(json!({ "age": "13-15" })),
            }),
            (|text| NewGuest::parse(text.as_bytes(), Signals::default(), now()).is_ok()) as fn(&str) -> bool,
        ),
        (
            "CreateBrowserSession",
            json!({
                "guestAttributes": { "region": "DE,US-CA", "source": "web" },
                "consent": evidence(json!({ "age": "13-15" })),
                "assertion": "e30.e30.AAAA",
            }),
            |text| {
                let channel = "channel".parse().unwrap();
                CreateBrowserSessionBody::parse(text.as_bytes(), channel, Signals::default(), now()).is_ok()
            },
        ),
        (
            "ResumeBrowserSession",
            json!({ "resumeHandle": "s-1.AAAA" }),
            |text| ResumeBrowserSessionBody::parse(text.as_bytes()).is_ok(),
        ),
        (
            "ChangeConsent",
            evidence(json!({ "withdrawAll": false, "age": "13-15" })),
            // as with the header: a schema cannot depend on it
            |text| ConsentChangeBody::parse(text.as_bytes(), Signals { gpc: true }, now()).is_ok(),
        ),
        ("Refresh", json!({ "refreshToken": "token" }), |text| {
            RefreshBody::parse(text.as_bytes()).is_ok()
        }),
        (
            "SignIn",
            json!({
                "code": "code", "redirectUri": "https://shop.example/", "codeVerifier": "v".repeat(43), "nonce": "n",
            }),
            |text| SignInBody::parse(text.as_bytes()).is_ok(),
        ),
        (
            "GuestQuery",
            json!({ "guestId": "guest", "after": "s-1" }),
            |text| GuestQueryBody::parse(text.as_bytes()).is_ok(),
        ),
        ("GuestErasure", json!({ "guestId": "guest" }), |text| {
            GuestErasureBody::parse(text.as_bytes()).is_ok()
        }),
        (
            "ReplayDeliveries",
            json!({ "since": "2026-11-22T12:30:00Z" }),
            |text| ReplayBody::parse(text.as_bytes()).is_ok(),
        ),
        ("PreviewWebhook", json!({ "sessionId": "s-1" }), |text| {
            PreviewBody::parse(text.as_bytes()).is_ok()
        }),
        ("PreviewWebhook", json!({ "guestId": "guest" }), |text| {
            PreviewBody::parse(text.as_bytes()).is_ok()
        }),
        (
            "WebhookBody",
            json!({
                "name": "CRM sync", "uri": "https://crm.example/sync", "method": "POST", "enabled": true, "ordered": true,
                "eventFilters": [{
                    "predicate": { "type": "event", "values": ["webmessaging.guestsession.created"] },
                }, {
                    "predicate": { "type": "attribute", "name": "source", "values": ["web"] },
                }],
                "fields": { "contact": "guestId", "origin": { "constant": "web" } },
                "headers": { "X-Source": "web" },
                "signature": "v1a",
            }),
            |text| SubscriptionBody::parse(text.as_bytes()).is_ok(),
        ),
    ];
    let frames = frames()
        .into_iter()
        .map(|(schema, sample)| (schema, sample, is_frame as fn(&str) -> bool));
    let inputs = bodies.into_iter().chain(frames);
    let input = |(schema, sample, parse)| Input {
        schema,
        sample,
        parse,
    };
    inputs.map(input).collect()
}

/// The frames of an event stream, which are those of the socket but for the token.
const STREAM_BODIES: [&str; 2] = ["PostedFrame", "StreamHandshake"];

/// The schemas of all request bodies in JSON and of all frames of the guest.
fn documented(openapi: &Value, frames: &Value) -> BTreeSet<String> {
    let name = |schema: &Value| {
        let name = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        name.unwrap().to_owned()
    };
    let paths = openapi["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    let bodies =
        operations.map(|operation| &operation["requestBody"]["content"]["application/json"]["schema"]);
    let bodies = bodies.filter(|schema| schema.is_object()).map(name);
    let guest = frames["$defs"]["GuestFrame"]["oneOf"].as_array().unwrap();
    let of_streams = |name: &String| STREAM_BODIES.contains(&name.as_str());
    bodies
        .filter(|name| !of_streams(name))
        .chain(guest.iter().map(name))
        .collect()
}

/// One document with the definitions of both.
fn definitions(openapi: Value, frames: Value) -> Map<String, Value> {
    let text = openapi["components"]["schemas"].to_string();
    let text = text.replace("#/components/schemas/", "#/$defs/");
    let Ok(Value::Object(mut all)) = serde_json::from_str(&text) else {
        panic!()
    };
    let Value::Object(frames) = frames["$defs"].clone() else {
        panic!()
    };
    // both have ids and reasons of an end
    for (name, schema) in frames {
        all.entry(name).or_insert(schema);
    }
    all
}

/// The part of the schema for `value`: references resolved, and the alternative chosen that it matches.
fn resolve<'a>(defs: &'a Map<String, Value>, mut schema: &'a Value, value: &Value) -> &'a Value {
    loop {
        if let Some(name) = schema["$ref"].as_str() {
            schema = &defs[name.rsplit('/').next().unwrap()];
        } else if let Some(variants) = schema["oneOf"].as_array() {
            let fits = |variant: &&Value| validator(defs, variant).is_valid(value);
            schema = variants.iter().find(fits).unwrap();
        } else {
            return schema;
        }
    }
}

fn validator(defs: &Map<String, Value>, schema: &Value) -> jsonschema::Validator {
    let mut root = schema.clone();
    root["$defs"] = Value::Object(defs.clone());
    jsonschema::options()
        .should_validate_formats(true)
        .build(&root)
        .unwrap()
}

/// Every field of `value`, as a JSON pointer, with its schema.
fn fields<'a>(
    defs: &'a Map<String, Value>,
    schema: &'a Value,
    value: &Value,
    at: &str,
    found: &mut Vec<(String, &'a Value)>,
) {
    let schema = resolve(defs, schema, value);
    found.push((at.to_owned(), schema));
    for (name, value) in value.as_object().into_iter().flatten() {
        let property = match &schema["properties"][name] {
            Value::Null => &schema["additionalProperties"],
            property => property,
        };
        fields(defs, property, value, &format!("{at}/{name}"), found);
    }
    let required = schema["properties"].as_object().into_iter().flatten();
    for (name, _) in required {
        assert!(!value[name].is_null(), "the sample has no {at}/{name}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        fields(defs, &schema["items"], item, &format!("{at}/{index}"), found);
    }
}

#[test]
fn schemas_and_parsers_agree_on_boundary_values() {
    let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
    let frames: Value = serde_json::from_str(FRAMES).unwrap();
    let tested: BTreeSet<String> = inputs().iter().map(|input| input.schema.to_owned()).collect();
    assert_eq!(tested, documented(&openapi, &frames));
    let defs = definitions(openapi, frames);
    let (mut differences, mut used, mut compared) = (Vec::new(), BTreeSet::new(), 0);
    for input in inputs() {
        let schema = json!({ "$ref": format!("#/$defs/{}", input.schema) });
        let validator = validator(&defs, &schema);
        let sample = &input.sample;
        assert!(
            validator.is_valid(sample) && (input.parse)(&sample.to_string()),
            "{sample}"
        );
        let mut found = Vec::new();
        fields(&defs, &defs[input.schema], sample, "", &mut found);
        for (at, schema) in found {
            for candidate in candidates(schema, sample.pointer(&at).unwrap()) {
                let mut body = sample.clone();
                *body.pointer_mut(&at).unwrap() = candidate.clone();
                compared += 1;
                let (allowed, parsed) = (validator.is_valid(&body), (input.parse)(&body.to_string()));
                if allowed == parsed {
                    continue;
                }
                let exception = EXCEPTIONS
                    .iter()
                    .position(|exception| at.contains(exception.field) && (exception.covers)(&candidate));
                if let Some(exception) = exception {
                    used.insert(exception);
                } else {
                    let side = if allowed {
                        "only the schema"
                    } else {
                        "only the parser"
                    };
                    let shown: String = candidate.to_string().chars().take(90).collect();
                    differences.push(format!("{}{at}: {side} allows {shown}", input.schema));
                }
            }
        }
    }
    assert!(compared > 5_000, "{compared}");
    assert!(
        differences.is_empty(),
        "{} of {compared}:\n{}",
        differences.len(),
        differences.join("\n")
    );
    for (index, exception) in EXCEPTIONS.iter().enumerate() {
        assert!(
            used.contains(&index),
            "not needed: {}: {}",
            exception.field,
            exception.reason
        );
    }
}
