//! Limits of rate and size.

use super::*;

#[test]
fn message_limit_is_five_a_second() {
    let mut harness = Harness::new(Rules {
        agent: Agent::Silent,
        ..rules()
    });
    let socket = harness.guest();
    for _ in 0..5 {
        assert_eq!(code(&harness.ask(socket, text("x"))), 200);
    }
    harness.advance(Duration::from_millis(999));
    let refused = harness.ask(socket, text("x"));
    assert_eq!((code(&refused), &refused["body"]["retryAfter"]), (429, &json!(1)));
    harness.advance(Duration::from_millis(1));
    assert_eq!(code(&harness.ask(socket, text("x"))), 200);
    assert_eq!(harness.cloud.counters().rate_limited, 1);
    assert_eq!(harness.cloud.counters().guest_messages, 6);
}

#[test]
fn request_limit_is_sixty_a_minute_of_any_kind() {
    let mut harness = Harness::new(Rules {
        agent: Agent::Silent,
        ..rules()
    });
    let socket = harness.guest();
    for _ in 0..59 {
        assert_eq!(code(&harness.ask(socket, "no JSON")), 400);
    }
    let refused = harness.ask(socket, text("x"));
    assert_eq!(
        refused["body"],
        json!({"retryAfter": 60, "errorCode": 4029, "errorMessage": "Request rate too high for this connection"})
    );
    let other = harness.connect();
    assert_eq!(
        code(&harness.ask(other, configure())),
        200,
        "the limit counts per connection"
    );
    harness.advance(Duration::from_secs(60));
    assert_eq!(code(&harness.ask(socket, text("x"))), 200);
}

#[test]
fn echo_limit_is_two_a_minute() {
    let mut harness = Harness::new(rules());
    let socket = harness.guest();
    let echo = json!({"action": "echo", "token": TOKEN, "message": {"type": "Text", "text": "ping"}});
    assert_eq!(code(&harness.ask(socket, &echo)), 200);
    harness.advance(Duration::from_secs(30));
    assert_eq!(code(&harness.ask(socket, &echo)), 200);
    let refused = harness.ask(socket, &echo);
    assert_eq!(
        (code(&refused), &refused["body"]["retryAfter"]),
        (429, &json!(30))
    );
    harness.advance(Duration::from_secs(30));
    assert_eq!(code(&harness.ask(socket, &echo)), 200);
}

#[test]
fn configure_limit_is_sixty_a_minute_over_all_sockets() {
    let mut harness = Harness::new(rules());
    for _ in 0..60 {
        let socket = harness.guest();
        harness.cloud.handle_closed(socket, harness.now);
    }
    let socket = harness.connect();
    assert_eq!(
        harness.ask(socket, configure()),
        json!({"type": "response", "class": "TooManyRequestsErrorMessage", "code": 429, "body":
            {"errorCode": 429, "errorMessage": "ConfigureSession rate too high for this session", "retryAfter": 60}})
    );
}

#[test]
fn history_limit_is_ten_a_minute() {
    let mut harness = Harness::new(rules());
    let socket = harness.guest();
    let jwt = harness.jwt(socket);
    for _ in 0..10 {
        assert_eq!(harness.history(&jwt, "").0, 200);
    }
    let (status, body) = harness.history(&jwt, "");
    assert_eq!(status, 429);
    assert_eq!(
        body["limit"],
        json!({"key": "get.history.rate.per.minute", "namespace": "web.messaging", "value": "10"})
    );
    harness.advance(Duration::from_secs(59));
    assert_eq!(harness.history(&jwt, "").0, 429);
    let jwt = harness.jwt(socket);
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.history(&jwt, "").0, 200);
}

#[test]
fn connection_limit_is_a_thousand_a_minute() {
    let mut harness = Harness::new(rules());
    for _ in 0..1_000 {
        let socket = harness.connect();
        harness.cloud.handle_closed(socket, harness.now);
    }
    let refused = harness.handshake(DEPLOYMENT, None).unwrap_err();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &http::HeaderValue::from(60))
    );
    harness.advance(Duration::from_secs(60));
    assert!(harness.handshake(DEPLOYMENT, None).is_ok());
}

#[test]
fn limits_can_be_disabled() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    let jwt = harness.jwt(socket);
    for _ in 0..400 {
        assert_eq!(code(&harness.ask(socket, text("x"))), 200);
        assert_eq!(code(&harness.ask(socket, configure())), 200);
        assert_eq!(harness.history(&jwt, "").0, 200);
    }
}

#[test]
fn text_limit_counts_bytes() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    assert_eq!(code(&harness.ask(socket, text(&"é".repeat(2_048)))), 200);
    let mut refused = harness.ask(socket, text(&format!("{}x", "é".repeat(2_048))));
    refused.as_object_mut().unwrap().remove("tracingId");
    assert_eq!(refused, refusal(4011, "Message length 4097 is larger than 4096"));
}

#[test]
fn agent_text_is_truncated_to_4000_characters() {
    let mut harness = Harness::new(rules());
    let socket = harness.guest();
    harness.send_frame(socket, text(&"x".repeat(4_096)));
    let received = harness.received_by(socket);
    let Received::Frame(answer) = &received[2] else {
        panic!("{received:?}")
    };
    assert_eq!(answer["body"]["text"].as_str().unwrap().chars().count(), 4_000);
}

#[test]
fn attribute_limit_counts_both_places() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    let channel = |bytes: usize| json!({"metadata": {"customAttributes": {"key": "v".repeat(bytes - 3)}}});
    let message = |inside: Option<usize>, beside: Option<usize>| {
        let mut frame = text("x");
        frame.as_object_mut().unwrap().remove("tracingId");
        if let Some(bytes) = inside {
            frame["message"]["channel"] = channel(bytes);
        }
        if let Some(bytes) = beside {
            frame["channel"] = channel(bytes);
        }
        frame
    };
    let too_large = refusal(
        4013,
        "Custom Attributes in channel metadata is larger than 2048 bytes",
    );
    for (inside, beside, fits) in [
        (Some(2_048), None, true),
        (None, Some(2_048), true),
        (Some(2_049), None, false),
        (None, Some(2_049), false),
        (Some(1_024), Some(1_025), false),
    ] {
        let answer = harness.ask(socket, message(inside, beside));
        if fits {
            assert_eq!(code(&answer), 200);
            let (_, state) = get(&mut harness.cloud, "/sim/state", now());
            let value = "v".repeat(2_045);
            assert_eq!(state["attributes"], json!([{ "key": value }]));
        } else {
            assert_eq!(answer, too_large, "{inside:?} {beside:?}");
        }
    }
    let mut number = text("x");
    number["message"]["channel"] = json!({"metadata": {"customAttributes": {"age": 7}}});
    assert_eq!(code(&harness.ask(socket, number)), 400, "attributes are texts");
}

#[test]
fn session_and_socket_limits_refuse_the_next() {
    let mut harness = Harness::new(Rules {
        max_sessions: 1,
        max_connections: 2,
        ..rules()
    });
    harness.guest();
    let socket = harness.connect();
    let mut other = configure();
    other["token"] = json!("11111111-8f0e-4e0c-9a37-3f1f2f6b1c11");
    assert_eq!(code(&harness.ask(socket, other)), 5000);
    let refused = harness.handshake(DEPLOYMENT, None).unwrap_err();
    assert_eq!(refused.status(), 503);
}
