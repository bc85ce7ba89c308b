//! Limits of rate and size.

use super::*;

#[test]
fn five_messages_a_second() {
    let mut stage = Stage::new(Rules {
        agent: Agent::Silent,
        ..rules()
    });
    let socket = stage.guest();
    for _ in 0..5 {
        assert_eq!(code(&stage.ask(socket, text("x"))), 200);
    }
    stage.pass(Duration::from_millis(999));
    let refused = stage.ask(socket, text("x"));
    assert_eq!((code(&refused), &refused["body"]["retryAfter"]), (429, &json!(1)));
    stage.pass(Duration::from_millis(1));
    assert_eq!(code(&stage.ask(socket, text("x"))), 200);
    assert_eq!(stage.world.counters().rate_limited, 1);
    assert_eq!(stage.world.counters().guest_messages, 6);
}

#[test]
fn sixty_requests_a_minute_of_any_kind() {
    let mut stage = Stage::new(Rules {
        agent: Agent::Silent,
        ..rules()
    });
    let socket = stage.guest();
    for _ in 0..59 {
        assert_eq!(code(&stage.ask(socket, "no JSON")), 400);
    }
    let refused = stage.ask(socket, text("x"));
    assert_eq!(
        refused["body"],
        json!({"retryAfter": 60, "errorCode": 4029, "errorMessage": "Request rate too high for this connection"})
    );
    let other = stage.connect();
    assert_eq!(
        code(&stage.ask(other, configure())),
        200,
        "the limit is the connection's"
    );
    stage.pass(Duration::from_secs(60));
    assert_eq!(code(&stage.ask(socket, text("x"))), 200);
}

#[test]
fn two_health_checks_a_minute() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    let echo = json!({"action": "echo", "token": TOKEN, "message": {"type": "Text", "text": "ping"}});
    assert_eq!(code(&stage.ask(socket, &echo)), 200);
    stage.pass(Duration::from_secs(30));
    assert_eq!(code(&stage.ask(socket, &echo)), 200);
    let refused = stage.ask(socket, &echo);
    assert_eq!(
        (code(&refused), &refused["body"]["retryAfter"]),
        (429, &json!(30))
    );
    stage.pass(Duration::from_secs(30));
    assert_eq!(code(&stage.ask(socket, &echo)), 200);
}

#[test]
fn sixty_configurations_a_minute_whatever_the_socket() {
    let mut stage = Stage::new(rules());
    for _ in 0..60 {
        let socket = stage.guest();
        stage.world.handle_closed(socket, stage.now);
    }
    let socket = stage.connect();
    assert_eq!(
        stage.ask(socket, configure()),
        json!({"type": "response", "class": "TooManyRequestsErrorMessage", "code": 429, "body":
            {"errorCode": 429, "errorMessage": "ConfigureSession rate too high for this session", "retryAfter": 60}})
    );
}

#[test]
fn ten_histories_a_minute() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    let jwt = stage.jwt(socket);
    for _ in 0..10 {
        assert_eq!(stage.history(&jwt, "").0, 200);
    }
    let (status, body) = stage.history(&jwt, "");
    assert_eq!(status, 429);
    assert_eq!(
        body["limit"],
        json!({"key": "get.history.rate.per.minute", "namespace": "web.messaging", "value": "10"})
    );
    stage.pass(Duration::from_secs(59));
    assert_eq!(stage.history(&jwt, "").0, 429);
    let jwt = stage.jwt(socket);
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.history(&jwt, "").0, 200);
}

#[test]
fn a_thousand_connections_a_minute() {
    let mut stage = Stage::new(rules());
    for _ in 0..1_000 {
        let socket = stage.connect();
        stage.world.handle_closed(socket, stage.now);
    }
    let refused = stage.handshake(DEPLOYMENT, None).unwrap_err();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &http::HeaderValue::from(60))
    );
    stage.pass(Duration::from_secs(60));
    assert!(stage.handshake(DEPLOYMENT, None).is_ok());
}

#[test]
fn every_limit_can_be_switched_off() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    let jwt = stage.jwt(socket);
    for _ in 0..400 {
        assert_eq!(code(&stage.ask(socket, text("x"))), 200);
        assert_eq!(code(&stage.ask(socket, configure())), 200);
        assert_eq!(stage.history(&jwt, "").0, 200);
    }
}

#[test]
fn text_is_measured_in_bytes() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    assert_eq!(code(&stage.ask(socket, text(&"é".repeat(2_048)))), 200);
    let mut refused = stage.ask(socket, text(&format!("{}x", "é".repeat(2_048))));
    refused.as_object_mut().unwrap().remove("tracingId");
    assert_eq!(refused, refusal(4011, "Message length 4097 is larger than 4096"));
}

#[test]
fn an_agent_says_no_more_than_4000_characters() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    stage.tell(socket, text(&"x".repeat(4_096)));
    let seen = stage.seen_by(socket);
    let Seen::Frame(answer) = &seen[2] else {
        panic!("{seen:?}")
    };
    assert_eq!(answer["body"]["text"].as_str().unwrap().chars().count(), 4_000);
}

#[test]
fn attributes_are_measured_wherever_they_stand() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
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
        let answer = stage.ask(socket, message(inside, beside));
        if fits {
            assert_eq!(code(&answer), 200);
        } else {
            assert_eq!(answer, too_large, "{inside:?} {beside:?}");
        }
    }
    let mut number = text("x");
    number["message"]["channel"] = json!({"metadata": {"customAttributes": {"age": 7}}});
    assert_eq!(code(&stage.ask(socket, number)), 400, "attributes are texts");
}

#[test]
fn sessions_and_sockets_are_bounded() {
    let mut stage = Stage::new(Rules {
        max_sessions: 1,
        max_connections: 2,
        ..rules()
    });
    stage.guest();
    let socket = stage.connect();
    let mut other = configure();
    other["token"] = json!("11111111-8f0e-4e0c-9a37-3f1f2f6b1c11");
    assert_eq!(code(&stage.ask(socket, other)), 5000);
    let refused = stage.handshake(DEPLOYMENT, None).unwrap_err();
    assert_eq!(refused.status(), 503);
}
