//! Frames equal to the published and captured ones, field for field.

use super::*;

/// Asserts that both have the same fields with the same values; `"…"` stands for any text, `0` for any number.
#[track_caller]
fn same(actual: &Value, golden: &str) {
    fn compare(path: &str, actual: &Value, golden: &Value) {
        match (actual, golden) {
            (Value::Object(actual), Value::Object(golden)) => {
                let names: Vec<_> = actual.keys().collect();
                let expected: Vec<_> = golden.keys().collect();
                assert_eq!(names, expected, "fields of {path}");
                for (name, golden) in golden {
                    compare(&format!("{path}.{name}"), &actual[name], golden);
                }
            }
            (Value::Array(actual), Value::Array(golden)) => {
                assert_eq!(actual.len(), golden.len(), "items of {path}");
                for (actual, golden) in actual.iter().zip(golden) {
                    compare(path, actual, golden);
                }
            }
            (Value::String(_), Value::String(golden)) if golden == "…" => {}
            (Value::Number(_), Value::Number(golden)) if golden.as_u64() == Some(0) => {}
            _ => assert_eq!(actual, golden, "{path}"),
        }
    }
    compare("frame", actual, &serde_json::from_str(golden).unwrap());
}

fn frames(stage: &mut Stage, socket: SocketId) -> Vec<Value> {
    stage
        .seen_by(socket)
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Frame(frame) => Some(frame),
            Seen::Closed(_) => None,
        })
        .collect()
}

#[test]
fn session_response() {
    let mut stage = Stage::quiet();
    let socket = stage.connect();
    let golden = r#"{"type":"response","class":"SessionResponse","code":200,"tracingId":"5b0e","body":{"connected":true,
        "newSession":true,"readOnly":false,"maxCustomDataBytes":2048,
        "allowedMedia":{"inbound":{"fileTypes":[{"type":"*/*"}],"maxFileSizeKB":10240}},
        "blockedExtensions":[".ade",".adp"],"clearedExistingSession":false,"durationSeconds":259200,
        "expirationDate":1767484800}}"#;
    let request = r#"{"action":"configureSession","token":"TOKEN","deploymentId":"DEPLOYMENT","startNew":false,
        "journeyContext":{"customer":{"id":"7d1f","idType":"cookie"},"customerSession":{"id":"","type":"web"}},
        "tracingId":"5b0e"}"#
        .replace("TOKEN", TOKEN)
        .replace("DEPLOYMENT", DEPLOYMENT);
    same(&stage.ask(socket, request), golden);
    assert_eq!(stage.world.complaints(), []);
}

#[test]
fn envelopes_are_written_in_the_documented_order() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    stage.tell(socket, text("Hello"));
    let Some(Output::Frame { text, .. }) = stage.world.poll_output() else {
        panic!("no frame");
    };
    let start = r#"{"type":"message","class":"StructuredMessage","code":200,"tracingId":"t-1","body":{"text":"Hello","#;
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn echo_typing_and_answer() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    stage.tell(socket, text("Hello"));
    let frames = frames(&mut stage, socket);
    assert_eq!(frames.len(), 3);
    same(
        &frames[0],
        r#"{"type":"message","class":"StructuredMessage","code":200,"tracingId":"t-1","body":{"text":"Hello",
        "type":"Text","direction":"Inbound","id":"…","channel":{"time":"2026-01-01T00:00:00.000Z","messageId":"…"},
        "metadata":{"correlationId":"…"}}}"#,
    );
    same(
        &frames[1],
        r#"{"type":"message","class":"StructuredMessage","code":200,"body":{"type":"Event","direction":"Outbound","id":"…",
        "channel":{"time":"2026-01-01T00:00:00.001Z","type":"Private","from":{"nickname":"Ann"},"to":{}},
        "events":[{"eventType":"Typing","typing":{"type":"On","duration":5000}}],"metadata":{},
        "originatingEntity":"Human"}}"#,
    );
    same(
        &frames[2],
        r#"{"type":"message","class":"StructuredMessage","code":200,"body":{"text":"You said: Hello","type":"Text",
        "direction":"Outbound","id":"…","channel":{"time":"2026-01-01T00:00:00.002Z","type":"Private",
        "from":{"nickname":"Ann"},"to":{}},"originatingEntity":"Human","metadata":{"correlationId":"…"}}}"#,
    );
    let id = frames[2]["body"]["id"].as_str().unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
}

#[test]
fn health_check() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    let request = json!({"action": "echo", "token": TOKEN, "tracingId": "SGVhbHRoQ2hlY2tNZXNzYWdlSWQ=",
        "message": {"type": "Text", "text": "ping"}});
    same(
        &stage.ask(socket, request),
        r#"{"type":"response","class":"StructuredMessage","code":200,"tracingId":"SGVhbHRoQ2hlY2tNZXNzYWdlSWQ=",
        "body":{"text":"ping","type":"Text","direction":"Inbound","id":"…",
        "metadata":{"durationSeconds":"259200","expirationDate":"1767484800"}}}"#,
    );
}

#[test]
fn jwt() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    same(
        &stage.ask(socket, json!({"action": "getJwt", "token": TOKEN})),
        r#"{"type":"response","class":"JwtResponse","code":200,"body":{"jwt":"…","exp":1767225660}}"#,
    );
}

#[test]
fn read_only_disconnect_and_what_follows() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    stage.tell(socket, text("/disconnect"));
    let frames = frames(&mut stage, socket);
    same(
        &frames[1],
        r#"{"type":"message","class":"StructuredMessage","code":200,"body":{"type":"Event","direction":"Outbound","id":"…",
        "channel":{"time":"…","type":"Private","from":{"nickname":"Ann"},"to":{}},
        "events":[{"eventType":"Presence","presence":{"type":"Disconnect"}}],"metadata":{"readOnly":"true"},
        "originatingEntity":"Human"}}"#,
    );
    let mut untraced = text("more");
    untraced.as_object_mut().unwrap().remove("tracingId");
    same(
        &stage.ask(socket, untraced),
        r#"{"type":"response","class":"string","code":409,"body":"Session is read-only, no new messages allowed"}"#,
    );
    same(
        &stage.ask(
            socket,
            json!({"action": "closeSession", "token": TOKEN, "closeAllConnections": true, "tracingId": "t-2"}),
        ),
        r#"{"type":"response","class":"SessionResponse","code":200,"tracingId":"t-2",
        "body":{"connected":false,"readOnly":true}}"#,
    );
}

#[test]
fn clear() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    stage.tell(socket, presence("Clear"));
    let frames = frames(&mut stage, socket);
    assert_eq!(frames.len(), 3);
    same(
        &frames[0],
        r#"{"type":"message","class":"StructuredMessage","code":200,"tracingId":"t-1","body":{"type":"Event",
        "direction":"Inbound","id":"…","channel":{"time":"…","messageId":"…"},
        "events":[{"eventType":"Presence","presence":{"type":"Clear"}}],"metadata":{"correlationId":"…"}}}"#,
    );
    same(
        &frames[1],
        r#"{"type":"message","class":"SessionClearedEvent","code":200,"body":{}}"#,
    );
    same(
        &frames[2],
        r#"{"type":"message","class":"ConnectionClosedEvent","code":200,"body":{}}"#,
    );
}

#[test]
fn expiry() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    stage.pass(Duration::from_secs(259_200));
    same(
        &frames(&mut stage, socket)[0],
        r#"{"type":"response","class":"SessionExpiredEvent","code":200,"body":{}}"#,
    );
}

#[test]
fn errors() {
    let mut stage = Stage::new(Rules {
        agent: Agent::Silent,
        attachments: AttachmentRules {
            file_types: vec!["image/png".to_owned()],
            ..AttachmentRules::default()
        },
        ..rules()
    });
    let socket = stage.guest();
    same(
        &stage.ask(socket, "{}"),
        r#"{"type":"response","class":"string","code":400,"body":"Request failed."}"#,
    );
    let mut long = text(&"x".repeat(5_000));
    long["tracingId"] = Value::Null;
    same(
        &stage.ask(socket, &long),
        r#"{"type":"response","class":"string","code":4011,"body":"Message length 5000 is larger than 4096"}"#,
    );
    for _ in 0..5 {
        stage.ask(socket, text("x"));
    }
    same(
        &stage.ask(socket, text("x")),
        r#"{"type":"response","class":"TooManyRequestsErrorMessage","code":429,"tracingId":"t-1","body":{"retryAfter":1,
        "errorCode":4029,"errorMessage":"Message rate too high for this session"}}"#,
    );
    let upload = json!({"action": "onAttachment", "token": TOKEN, "attachmentId": "a", "fileName": "f.tiff",
        "fileType": "image/tiff", "fileSize": 1, "errorsAsJson": true});
    same(
        &stage.ask(socket, upload),
        r#"{"type":"response","class":"GenerateUrlError","code":400,
        "body":{"errorCode":4001,"errorMessage":"File type image/tiff not supported","attachmentId":"a"}}"#,
    );
}

#[test]
fn history_page() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    stage.tell(socket, text("hi"));
    stage.seen();
    let jwt = stage.jwt(socket);
    let (status, page) = stage.history(&jwt, "");
    assert_eq!(status, 200);
    same(
        &page,
        r#"{"entities":[
        {"id":"…","channel":{"time":"…","messageId":"…","from":{"nickname":"Ann"},"to":{}},"type":"Text",
         "text":"You said: hi","content":[],"direction":"Outbound","originatingEntity":"Human",
         "metadata":{"correlationId":"…"}},
        {"id":"…","channel":{"time":"…","messageId":"…","from":{},"to":{}},"type":"Text","text":"hi","content":[],
         "direction":"Inbound","metadata":{"correlationId":"…"}}],
        "pageSize":25,"pageNumber":1,"total":2,"pageCount":1}"#,
    );
}
