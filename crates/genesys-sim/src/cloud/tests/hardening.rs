//! Malformed frames of guests, and secrets.

use proptest::prelude::*;

use super::*;

#[test]
fn malformed_frame_is_refused() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    for frame in [
        "",
        "no JSON",
        "[]",
        "7",
        "null",
        "\"configureSession\"",
        "{}",
        r#"{"action":7}"#,
        r#"{"action":"fly","token":"t"}"#,
        r#"{"action":"onMessage","token":"#,
        &"[".repeat(100_000),
    ] {
        assert_eq!(
            harness.ask(socket, frame),
            refusal(400, "Request failed."),
            "{:.40}",
            frame
        );
    }
}

#[test]
fn missing_field_is_named() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    for (frame, missing) in [
        (json!({"action": "configureSession"}), "token"),
        (
            json!({"action": "configureSession", "token": TOKEN}),
            "deploymentId",
        ),
        (
            json!({"action": "configureSession", "token": null, "deploymentId": DEPLOYMENT}),
            "token",
        ),
        (
            json!({"action": "getConfiguration", "token": TOKEN}),
            "deploymentId",
        ),
        (json!({"action": "getJwt"}), "token"),
        (
            json!({"action": "onAttachment", "token": TOKEN, "fileType": "a/b", "fileSize": 1}),
            "fileName",
        ),
        (
            json!({"action": "onAttachment", "token": TOKEN, "fileName": "a.b", "fileSize": 1}),
            "fileType",
        ),
        (
            json!({"action": "onAttachment", "token": TOKEN, "fileName": "a.b", "fileType": "a/b"}),
            "fileSize",
        ),
        (json!({"action": "getAttachment", "token": TOKEN}), "attachmentId"),
        (
            json!({"action": "deleteAttachment", "token": TOKEN}),
            "attachmentId",
        ),
        (
            json!({"action": "configureAuthenticatedSession", "token": TOKEN, "deploymentId": DEPLOYMENT}),
            "data",
        ),
        (
            json!({"action": "configureAuthenticatedSession", "token": TOKEN, "deploymentId": DEPLOYMENT,
                "data": {}}),
            "data.code",
        ),
        (json!({"action": "echo", "token": TOKEN}), "message"),
        (
            json!({"action": "echo", "token": TOKEN, "message": {}}),
            "message.text",
        ),
        (
            json!({"action": "closeSession", "token": TOKEN, "tracingId": "t"}),
            "closeAllConnections",
        ),
        (
            json!({"action": "closeSession", "token": TOKEN, "closeAllConnections": true}),
            "tracingId",
        ),
        (json!({"action": "onMessage", "token": TOKEN}), "message"),
        (
            json!({"action": "onMessage", "token": TOKEN, "message": {}}),
            "message.type",
        ),
        (
            json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text"}}),
            "message.text",
        ),
        (
            json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": ""}}),
            "message.text",
        ),
        (
            json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Event"}}),
            "message.events",
        ),
        (
            json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Event", "events": [{}]}}),
            "message.events.eventType",
        ),
    ] {
        let mut answer = harness.ask(socket, &frame);
        answer.as_object_mut().unwrap().remove("tracingId");
        assert_eq!(
            answer,
            refusal(4020, &format!("Missing parameter: {missing}")),
            "{frame}"
        );
    }
}

#[test]
fn field_of_wrong_type_is_refused() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    for frame in [
        json!({"action": "configureSession", "token": 7, "deploymentId": DEPLOYMENT}),
        json!({"action": "configureSession", "token": TOKEN, "deploymentId": DEPLOYMENT, "startNew": "no"}),
        json!({"action": "onAttachment", "token": TOKEN, "fileName": "a.b", "fileType": "a/b", "fileSize": "1"}),
        json!({"action": "onAttachment", "token": TOKEN, "fileName": "a.b", "fileType": "a/b", "fileSize": -1}),
        json!({"action": "onAttachment", "token": TOKEN, "fileName": "a.b", "fileType": "a/b", "fileSize": 1,
            "attachmentId": "../x"}),
        json!({"action": "closeSession", "token": TOKEN, "closeAllConnections": 1, "tracingId": "t"}),
        json!({"action": "onMessage", "token": TOKEN, "message": "hello"}),
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": 7}}),
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Receipt", "text": "x"}}),
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": "x", "content": {}}}),
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": "x", "content": [7]}}),
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": "x", "metadata": {"a": 1}}}),
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Event", "events": [1]}}),
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Event", "events": [{}, {}]}}),
    ] {
        let mut answer = harness.ask(socket, &frame);
        answer.as_object_mut().unwrap().remove("tracingId");
        assert_eq!(answer, refusal(400, "Request failed."), "{frame}");
    }
    assert_eq!(harness.cloud.counters().guest_messages, 0);
}

#[test]
fn cloud_repeats_for_the_same_seed_and_inputs() {
    let run = || {
        let mut harness = Harness::new(rules());
        let socket = harness.guest();
        harness.jwt(socket);
        harness.send_frame(socket, text("hello"));
        harness.send_frame(socket, presence("Clear"));
        harness.received()
    };
    assert_eq!(run(), run());
}

#[test]
fn cloud_hides_its_secrets_in_debug() {
    let mut harness = Harness::new(rules());
    harness.guest();
    let shown = format!("{:?} {:?}", harness.cloud, harness.cloud.rules);
    assert!(!shown.contains("s3cret") && !shown.contains(TOKEN), "{shown}");
}

fn json_value() -> impl Strategy<Value = Value> {
    let words = [
        "action",
        "onMessage",
        "configureSession",
        "closeSession",
        "onAttachment",
        "getAttachment",
        "deleteAttachment",
        "configureAuthenticatedSession",
        "disconnectCustomer",
        "resumeToken",
        "attachmentId",
        "fileName",
        "a.png",
        "fileType",
        "a/b",
        "fileSize",
        "errorsAsJson",
        "data",
        "code",
        "Attachment",
        "attachment",
        "id",
        "echo",
        "getJwt",
        "token",
        TOKEN,
        "deploymentId",
        DEPLOYMENT,
        "message",
        "type",
        "Text",
        "Event",
        "text",
        "content",
        "contentType",
        "ButtonResponse",
        "events",
        "eventType",
        "Presence",
        "presence",
        "Clear",
        "channel",
        "metadata",
        "customAttributes",
        "tracingId",
        "closeAllConnections",
        "startNew",
        "/disconnect",
    ];
    let word = proptest::sample::select(words.to_vec());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(word.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn world_stays_open_to_new_sockets_after_any_frames(
        frames in proptest::collection::vec((json_value(), 0_usize..4, 0_u64..3_600_000), 1..40),
    ) {
        let mut harness = Harness::new(Rules { session_duration: Duration::from_secs(3_600), ..rules() });
        let mut sockets: Vec<_> = (0..4).map(|_| harness.connect()).collect();
        for (mut frame, index, ms) in frames {
            if let Some(map) = frame.as_object_mut() {
                map.entry("action").or_insert_with(|| "onMessage".into());
                map.entry("token").or_insert_with(|| TOKEN.into());
            }
            harness.now = at(harness.now, Duration::from_millis(ms));
            harness.send_frame(sockets[index], frame);
            for (socket, received) in harness.received() {
                if let (Received::Closed(_), Some(index)) = (received, sockets.iter().position(|it| *it == socket)) {
                    sockets[index] = harness.connect();
                }
            }
            prop_assert_eq!(harness.cloud.counters().open, 4);
        }
        let socket = harness.connect();
        harness.now = at(harness.now, Duration::from_secs(60));
        harness.send_frame(socket, configure());
        let answered = harness.received().iter().any(|(to, _)| *to == socket);
        prop_assert!(answered);
    }
}
