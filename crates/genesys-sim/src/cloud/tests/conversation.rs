//! Handshakes, sessions and messages.

use super::*;
use crate::{Disconnect, Reason};

#[test]
fn handshake_needs_a_deployment_and_an_allowed_origin() {
    let mut harness = Harness::new(Rules {
        allowed_domains: Some(vec!["example.com".to_owned()]),
        ..rules()
    });
    let status = |result: Result<SocketId, Box<Response<Bytes>>>| result.map_err(|it| it.status().as_u16());
    assert!(
        harness
            .handshake(DEPLOYMENT, Some("https://shop.example.com"))
            .is_ok()
    );
    assert_eq!(
        status(harness.handshake(DEPLOYMENT, Some("https://evil.test"))),
        Err(403)
    );
    assert_eq!(status(harness.handshake(DEPLOYMENT, None)), Err(403));
    assert_eq!(
        status(harness.handshake("", Some("https://example.com"))),
        Err(400)
    );
    assert_eq!(
        (
            harness.cloud.counters().connections,
            harness.cloud.counters().refused
        ),
        (1, 3)
    );
}

#[test]
fn unknown_deployment_is_admitted_and_refused_at_configuration() {
    let mut harness = Harness::quiet();
    let socket = harness
        .handshake("00000000-0000-4000-8000-000000000000", None)
        .unwrap();
    let not_found = refusal(400, "Deployment not found");
    assert_eq!(harness.ask(socket, configure()), not_found);
    let socket = harness.connect();
    let mut other = configure();
    other["deploymentId"] = json!("other");
    assert_eq!(harness.ask(socket, other), not_found);
    assert_eq!(harness.cloud.counters().sessions, 0);
}

#[test]
fn token_names_a_session_new_resumed_or_restarted() {
    let mut harness = Harness::new(rules());
    let first = harness.guest();
    harness.send_frame(first, text("hello"));
    harness.received();
    let second = harness.connect();
    let resumed = harness.ask(second, configure());
    assert_eq!(resumed["body"]["newSession"], false);
    let again = harness.ask(second, configure());
    assert_eq!(
        again["body"]["newSession"], false,
        "configuring twice changes nothing"
    );

    let mut again = configure();
    again["startNew"] = json!(true);
    let answer = harness.ask(second, again);
    assert_eq!(answer["body"]["newSession"], true);
    let jwt = harness.jwt(second);
    assert_eq!(harness.history(&jwt, "").1["total"], 0);
    let counters = harness.cloud.counters();
    assert_eq!((counters.sessions, counters.alive, counters.open), (2, 1, 2));
}

#[test]
fn message_reaches_all_sockets_and_its_tracing_id_only_the_sender() {
    let mut harness = Harness::quiet();
    let (one, two) = (harness.guest(), harness.guest());
    harness.send_frame(one, text("hello"));
    let received = harness.received();
    let traced: Vec<_> = received
        .iter()
        .map(|(socket, received)| match received {
            Received::Frame(frame) => (*socket, frame.get("tracingId").cloned()),
            Received::Closed(_) => panic!("{received:?}"),
        })
        .collect();
    assert_eq!(traced, [(one, Some(json!("t-1"))), (two, None)]);
}

#[test]
fn fourth_socket_closes_the_oldest() {
    let mut harness = Harness::quiet();
    let sockets = [harness.guest(), harness.guest(), harness.guest()];
    let fourth = harness.connect();
    harness.send_frame(fourth, configure());
    let received = harness.received();
    assert_eq!(
        received[..2],
        [
            (
                sockets[0],
                Received::Frame(
                    json!({"type": "message", "class": "ConnectionClosedEvent", "code": 200, "body": {}})
                )
            ),
            (sockets[0], Received::Closed(1000)),
        ]
    );
    assert_eq!(received[2].0, fourth);
    harness.send_frame(sockets[0], text("I am still here"));
    assert_eq!(harness.received(), [], "a closed socket sends nothing");
    let counters = harness.cloud.counters();
    assert_eq!((counters.evicted, counters.open), (1, 3));
}

#[test]
fn closed_socket_leaves_its_session() {
    let mut harness = Harness::new(rules());
    let socket = harness.guest();
    harness.cloud.handle_closed(socket, harness.now);
    assert_eq!(
        (harness.cloud.counters().open, harness.cloud.counters().alive),
        (0, 1)
    );
    let socket = harness.connect();
    assert_eq!(harness.ask(socket, configure())["body"]["newSession"], false);
}

#[test]
fn socket_changes_its_session() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    let mut other = configure();
    other["token"] = json!("11111111-8f0e-4e0c-9a37-3f1f2f6b1c11");
    assert_eq!(harness.ask(socket, other)["body"]["newSession"], true);
    assert_eq!(code(&harness.ask(socket, text("as the first"))), 4007);
}

#[test]
fn unconfigured_socket_is_refused() {
    let mut harness = Harness::quiet();
    let configured = harness.guest();
    let other = harness.connect();
    for action in [
        json!({"action": "echo", "message": {"type": "Text", "text": "ping"}}),
        json!({"action": "getJwt"}),
        json!({"action": "closeSession", "closeAllConnections": true, "tracingId": "t"}),
        json!({"action": "onMessage", "message": {"type": "Text", "text": "hi"}}),
        json!({"action": "onAttachment", "fileName": "f", "fileType": "t", "fileSize": 1}),
        json!({"action": "getAttachment", "attachmentId": "a"}),
        json!({"action": "deleteAttachment", "attachmentId": "a"}),
    ] {
        let mut with_token = action.clone();
        with_token["token"] = json!(TOKEN);
        assert_eq!(code(&harness.ask(other, &with_token)), 4007, "{with_token}");
        let mut other = action;
        other["token"] = json!("another");
        assert_eq!(code(&harness.ask(configured, &other)), 4007, "{other}");
    }
}

#[test]
fn disabled_features_are_refused_with_documented_codes() {
    let mut harness = Harness::quiet();
    harness.cloud.rules.attachments.enabled = false;
    harness.cloud.rules.sign_in.enabled = false;
    let socket = harness.guest();
    for (action, expected) in [
        ("configureAuthenticatedSession", 403),
        ("onAttachment", 4000),
        ("getAttachment", 4009),
        ("deleteAttachment", 4009),
    ] {
        let answer = harness.ask(
            socket,
            json!({"action": action, "token": TOKEN, "attachmentId": "a", "deploymentId": DEPLOYMENT,
                "data": {"code": "a"}}),
        );
        assert_eq!(code(&answer), expected, "{action}");
    }
    let answer = harness.ask(
        socket,
        json!({"action": "getConfiguration", "token": TOKEN, "deploymentId": DEPLOYMENT}),
    );
    assert_eq!(answer["class"], "GetConfigurationResponse");
    assert_eq!(answer["body"]["maxCustomDataBytes"], 2048);
}

#[test]
fn unused_actions_are_answered_plausibly() {
    let mut harness = Harness::quiet();
    let (socket, other) = (harness.guest(), harness.guest());
    let answer = harness.ask(socket, json!({"action": "resumeToken", "token": TOKEN}));
    assert_eq!(answer["class"], "ResumeTokenResponse");
    assert!(answer["body"]["resumeToken"].is_string() && answer["body"]["exp"].is_i64());
    harness.send_frame(socket, json!({"action": "disconnectCustomer", "token": TOKEN}));
    let received = harness.received();
    assert_eq!(
        received.last(),
        Some(&(other, Received::Closed(1000))),
        "the other socket is closed"
    );
    let Received::Frame(answer) = &received[0].1 else {
        panic!("{received:?}")
    };
    assert_eq!(answer["body"], json!({"connected": false, "readOnly": true}));
    assert_eq!(
        harness.ask(socket, configure())["body"]["readOnly"],
        true,
        "the conversation is over"
    );
    assert_eq!(harness.cloud.violations.list(), []);
}

#[test]
fn button_response_is_a_message() {
    let mut harness = Harness::new(rules());
    let socket = harness.guest();
    let button = |kind: &str| {
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": "", "content": [
            {"contentType": "ButtonResponse", "buttonResponse": {"text": "Red", "payload": "RED", "type": kind}}]}})
    };
    harness.send_frame(socket, button("QuickReply"));
    let received = harness.received();
    let Received::Frame(echo) = &received[0].1 else {
        panic!("{received:?}")
    };
    assert_eq!(echo["body"]["content"][0]["buttonResponse"]["payload"], "RED");
    let Received::Frame(answer) = &received[2].1 else {
        panic!("{received:?}")
    };
    assert_eq!(answer["body"]["text"], "You said: Red");
    assert_eq!(code(&harness.ask(socket, button("Lever"))), 400);
    let attachment = json!({"action": "onMessage", "token": TOKEN, "message": {"content": [
        {"contentType": "Attachment", "attachment": {"id": "8888"}}]}});
    assert_eq!(
        code(&harness.ask(socket, attachment)),
        4009,
        "nothing was ever uploaded"
    );
}

#[test]
fn join_event_is_echoed_and_typing_is_not() {
    let mut harness = Harness::new(rules());
    let socket = harness.guest();
    let join = harness.ask(socket, presence("Join"));
    assert_eq!(join["body"]["events"][0]["presence"]["type"], "Join");
    let typing = json!({"action": "onMessage", "token": TOKEN, "message":
        {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}});
    harness.send_frame(socket, typing);
    assert_eq!(harness.received(), []);
}

#[test]
fn clear_event_ends_the_session_for_all_sockets() {
    let mut harness = Harness::new(rules());
    let (one, two) = (harness.guest(), harness.guest());
    harness.send_frame(one, text("hello"));
    let jwt = harness.jwt(one);
    harness.send_frame(one, presence("Clear"));
    let received = harness.received();
    for socket in [one, two] {
        let of_socket: Vec<_> = received.iter().filter(|(other, _)| *other == socket).collect();
        assert_eq!(of_socket.len(), 4);
        assert_eq!(of_socket[3].1, Received::Closed(1000));
    }
    assert_eq!(harness.cloud.poll_timeout(), None, "nothing is left to wait for");
    assert_eq!(harness.history(&jwt, "").0, 401, "the history is lost");
    let socket = harness.connect();
    assert_eq!(harness.ask(socket, configure())["body"]["newSession"], true);

    let mut harness = Harness::new(Rules {
        conversation_clear: false,
        ..rules()
    });
    let socket = harness.guest();
    let mut refused = harness.ask(socket, presence("Clear"));
    refused.as_object_mut().unwrap().remove("tracingId");
    assert_eq!(
        refused,
        refusal(403, "Presence events Conversation Clear are not supported")
    );
}

#[test]
fn read_only_conversation_is_readable_and_can_be_closed_or_restarted() {
    let mut harness = Harness::new(rules());
    let (one, two) = (harness.guest(), harness.guest());
    harness.send_frame(one, text("/disconnect"));
    harness.received();
    for frame in [text("more"), presence("Join")] {
        assert_eq!(code(&harness.ask(one, frame)), 409);
    }
    let third = harness.connect();
    assert_eq!(harness.ask(third, configure())["body"]["readOnly"], true);
    let jwt = harness.jwt(one);
    assert_eq!(
        harness.history(&jwt, "").1["total"],
        2,
        "the guest's message and the disconnect event"
    );

    let close =
        json!({"action": "closeSession", "token": TOKEN, "closeAllConnections": true, "tracingId": "t"});
    harness.send_frame(one, &close);
    let closed: Vec<_> = harness
        .received()
        .into_iter()
        .filter(|(_, received)| matches!(received, Received::Closed(1000)))
        .map(|(socket, _)| socket)
        .collect();
    assert_eq!(closed, [two, third]);
    assert_eq!(code(&harness.ask(one, text("too soon"))), 4007);

    let mut again = configure();
    again["startNew"] = json!(true);
    let answer = harness.ask(one, again);
    assert_eq!(
        (&answer["body"]["newSession"], &answer["body"]["readOnly"]),
        (&json!(true), &json!(false))
    );
    harness.send_frame(one, text("hello again"));
    assert_eq!(harness.received().len(), 3);
}

#[test]
fn agent_disconnect_can_leave_the_conversation_writable() {
    for (disconnect, read_only) in [(Disconnect::Send, Some("false")), (Disconnect::Off, None)] {
        let mut harness = Harness::new(Rules {
            disconnect,
            ..rules()
        });
        let socket = harness.guest();
        harness.send_frame(socket, text("/disconnect"));
        let received = harness.received_by(socket);
        let is_genesys_text = received.get(1).map(|received| match received {
            Received::Frame(frame) => frame["body"]["metadata"]["readOnly"].clone(),
            Received::Closed(_) => panic!("closed"),
        });
        assert_eq!(is_genesys_text, read_only.map(Value::from));
        harness.send_frame(socket, text("hello?"));
        assert_eq!(harness.received_by(socket).len(), 3);
    }
}

#[test]
fn agent_replies_in_turn_after_its_delay() {
    let mut harness = Harness::new(Rules {
        agent: Agent::Replies(vec!["first".to_owned(), "second".to_owned()]),
        agent_name: "Robot Friend".to_owned(),
        agent_delay: Duration::from_secs(2),
        limits: Limits::none(),
        ..rules()
    });
    let socket = harness.guest();
    for expected in ["first", "second", "first"] {
        harness.send_frame(socket, text("hi"));
        assert_eq!(harness.received().len(), 2, "an echo, and the agent types");
        let due = harness.now.instant + Duration::from_secs(2);
        assert_eq!(harness.cloud.poll_timeout(), Some((due, Reason::Step)));
        harness.advance(Duration::from_millis(1_999));
        assert_eq!(harness.received(), []);
        harness.advance(Duration::from_millis(1));
        let received = harness.received_by(socket);
        let Received::Frame(frame) = &received[0] else {
            panic!("{received:?}")
        };
        assert_eq!(frame["body"]["text"], expected);
        assert_eq!(frame["body"]["channel"]["from"]["nickname"], "Robot Friend");
    }
    for _ in 0..100 {
        harness.send_frame(socket, text("hi"));
    }
    harness.received();
    harness.advance(Duration::from_secs(2));
    assert_eq!(harness.received().len(), 64, "what an agent waits for is bounded");
}

#[test]
fn undelivered_reply_is_in_the_history() {
    let mut harness = Harness::new(Rules {
        agent_delay: Duration::from_secs(1),
        ..rules()
    });
    let socket = harness.guest();
    harness.send_frame(socket, text("hi"));
    harness.cloud.handle_closed(socket, harness.now);
    harness.received();
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.cloud.counters().undelivered, 1);
    let socket = harness.guest();
    assert_eq!(harness.received(), [], "nothing is replayed");
    let jwt = harness.jwt(socket);
    assert_eq!(harness.history(&jwt, "").1["entities"][0]["text"], "You said: hi");
}

#[test]
fn history_is_paged_newest_first_and_joined_to_frames_by_message_id() {
    let mut harness = Harness::new(Rules {
        limits: Limits::none(),
        ..rules()
    });
    let socket = harness.guest();
    let mut keys = Vec::new();
    for number in 0..3 {
        let mut message = text(&number.to_string());
        message["message"]["metadata"] = json!({"id": format!("mine-{number}")});
        harness.send_frame(socket, message);
        for (_, received) in harness.received() {
            if let Received::Frame(frame) = received
                && let Some(text) = frame["body"]["text"].as_str()
            {
                let body = &frame["body"];
                let key = body["channel"]["messageId"].as_str().or(body["id"].as_str());
                keys.push((text.to_owned(), key.unwrap().to_owned()));
            }
        }
    }
    keys.reverse();
    let jwt = harness.jwt(socket);
    let (_, all) = harness.history(&jwt, "?pageSize=100");
    let entities = all["entities"].as_array().unwrap();
    let kept: Vec<_> = entities
        .iter()
        .map(|it| {
            let text = it["text"].as_str().unwrap().to_owned();
            (text, it["channel"]["messageId"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(kept, keys);
    assert_eq!(
        entities[1]["metadata"]["id"], "mine-2",
        "a guest's metadata stays with the message"
    );
    let times: Vec<_> = entities
        .iter()
        .map(|it| it["channel"]["time"].as_str().unwrap())
        .collect();
    assert!(
        times.is_sorted_by(|a, b| a > b),
        "times give the order: {times:?}"
    );

    let (_, page) = harness.history(&jwt, "?pageSize=4&pageNumber=2");
    assert_eq!(page["entities"], json!(entities[4..]));
    assert_eq!((&page["total"], &page["pageCount"]), (&json!(6), &json!(2)));
    for query in ["?pageSize=0", "?pageSize=x", "?pageSize=101", "?pageNumber=-1"] {
        assert_eq!(harness.history(&jwt, query).0, 400, "{query}");
    }
}

#[test]
fn transcript_holds_texts_with_author_and_time() {
    let mut harness = Harness::new(rules());
    let socket = harness.guest();
    harness.send_frame(socket, text("hi"));
    harness.send_frame(socket, presence("Join"));
    let sent: Vec<_> = harness
        .cloud
        .transcript(TOKEN)
        .into_iter()
        .map(|sent| (sent.by_guest, sent.text))
        .collect();
    let words = [(true, "hi".to_owned()), (false, "You said: hi".to_owned())];
    assert_eq!(sent, words, "events are left out");
    assert_eq!(harness.cloud.transcript("stranger"), []);
}
