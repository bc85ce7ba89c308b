//! Handshakes, sessions and messages.

use super::*;
use crate::Disconnect;

#[test]
fn a_handshake_needs_a_deployment_and_an_allowed_origin() {
    let mut stage = Stage::new(Rules {
        allowed_domains: Some(vec!["example.com".to_owned()]),
        ..rules()
    });
    let status = |result: Result<SocketId, Box<Response<Bytes>>>| result.map_err(|it| it.status().as_u16());
    assert!(
        stage
            .handshake(DEPLOYMENT, Some("https://shop.example.com"))
            .is_ok()
    );
    assert_eq!(
        status(stage.handshake(DEPLOYMENT, Some("https://evil.test"))),
        Err(403)
    );
    assert_eq!(status(stage.handshake(DEPLOYMENT, None)), Err(403));
    assert_eq!(status(stage.handshake("", Some("https://example.com"))), Err(400));
    assert_eq!(
        (stage.world.counters().connections, stage.world.counters().refused),
        (1, 3)
    );
}

#[test]
fn an_unknown_deployment_is_let_in_and_then_told() {
    let mut stage = Stage::quiet();
    let socket = stage
        .handshake("00000000-0000-4000-8000-000000000000", None)
        .unwrap();
    let not_found = refusal(400, "Deployment not found");
    assert_eq!(stage.ask(socket, configure()), not_found);
    let socket = stage.connect();
    let mut other = configure();
    other["deploymentId"] = json!("other");
    assert_eq!(stage.ask(socket, other), not_found);
    assert_eq!(stage.world.counters().sessions, 0);
}

#[test]
fn a_token_is_a_session_new_resumed_or_begun_again() {
    let mut stage = Stage::new(rules());
    let first = stage.guest();
    stage.tell(first, text("hello"));
    stage.seen();
    let second = stage.connect();
    let resumed = stage.ask(second, configure());
    assert_eq!(resumed["body"]["newSession"], false);
    let again = stage.ask(second, configure());
    assert_eq!(
        again["body"]["newSession"], false,
        "configuring twice changes nothing"
    );

    let mut anew = configure();
    anew["startNew"] = json!(true);
    let answer = stage.ask(second, anew);
    assert_eq!(answer["body"]["newSession"], true);
    let jwt = stage.jwt(second);
    assert_eq!(stage.history(&jwt, "").1["total"], 0);
    let counters = stage.world.counters();
    assert_eq!((counters.sessions, counters.alive, counters.open), (2, 1, 2));
}

#[test]
fn a_message_reaches_all_sockets_and_its_tracing_id_only_the_sender() {
    let mut stage = Stage::quiet();
    let (one, two) = (stage.guest(), stage.guest());
    stage.tell(one, text("hello"));
    let seen = stage.seen();
    let traced: Vec<_> = seen
        .iter()
        .map(|(socket, seen)| match seen {
            Seen::Frame(frame) => (*socket, frame.get("tracingId").cloned()),
            Seen::Closed(_) => panic!("{seen:?}"),
        })
        .collect();
    assert_eq!(traced, [(one, Some(json!("t-1"))), (two, None)]);
}

#[test]
fn the_fourth_socket_puts_the_oldest_out() {
    let mut stage = Stage::quiet();
    let sockets = [stage.guest(), stage.guest(), stage.guest()];
    let fourth = stage.connect();
    stage.tell(fourth, configure());
    let seen = stage.seen();
    assert_eq!(
        seen[..2],
        [
            (
                sockets[0],
                Seen::Frame(
                    json!({"type": "message", "class": "ConnectionClosedEvent", "code": 200, "body": {}})
                )
            ),
            (sockets[0], Seen::Closed(1000)),
        ]
    );
    assert_eq!(seen[2].0, fourth);
    stage.tell(sockets[0], text("I am still here"));
    assert_eq!(stage.seen(), [], "a closed socket says nothing");
    let counters = stage.world.counters();
    assert_eq!((counters.evicted, counters.open), (1, 3));
}

#[test]
fn a_socket_that_is_gone_leaves_its_session() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    stage.world.handle_closed(socket, stage.now);
    assert_eq!(
        (stage.world.counters().open, stage.world.counters().alive),
        (0, 1)
    );
    let socket = stage.connect();
    assert_eq!(stage.ask(socket, configure())["body"]["newSession"], false);
}

#[test]
fn a_socket_can_change_its_session() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    let mut other = configure();
    other["token"] = json!("11111111-8f0e-4e0c-9a37-3f1f2f6b1c11");
    assert_eq!(stage.ask(socket, other)["body"]["newSession"], true);
    assert_eq!(code(&stage.ask(socket, text("as the first"))), 4007);
}

#[test]
fn whoever_is_not_configured_gets_nothing() {
    let mut stage = Stage::quiet();
    let configured = stage.guest();
    let stranger = stage.connect();
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
        assert_eq!(code(&stage.ask(stranger, &with_token)), 4007, "{with_token}");
        let mut other = action;
        other["token"] = json!("another");
        assert_eq!(code(&stage.ask(configured, &other)), 4007, "{other}");
    }
}

#[test]
fn what_is_switched_off_is_refused_by_documented_codes() {
    let mut stage = Stage::quiet();
    stage.world.rules.attachments.enabled = false;
    stage.world.rules.sign_in.enabled = false;
    let socket = stage.guest();
    for (action, expected) in [
        ("configureAuthenticatedSession", 403),
        ("onAttachment", 4000),
        ("getAttachment", 4009),
        ("deleteAttachment", 4009),
    ] {
        let answer = stage.ask(
            socket,
            json!({"action": action, "token": TOKEN, "attachmentId": "a", "deploymentId": DEPLOYMENT,
                "data": {"code": "a"}}),
        );
        assert_eq!(code(&answer), expected, "{action}");
    }
    let answer = stage.ask(
        socket,
        json!({"action": "getConfiguration", "token": TOKEN, "deploymentId": DEPLOYMENT}),
    );
    assert_eq!(answer["class"], "GetConfigurationResponse");
    assert_eq!(answer["body"]["maxCustomDataBytes"], 2048);
}

#[test]
fn what_no_client_asks_for_is_answered_plausibly() {
    let mut stage = Stage::quiet();
    let (socket, other) = (stage.guest(), stage.guest());
    let answer = stage.ask(socket, json!({"action": "resumeToken", "token": TOKEN}));
    assert_eq!(answer["class"], "ResumeTokenResponse");
    assert!(answer["body"]["resumeToken"].is_string() && answer["body"]["exp"].is_i64());
    stage.tell(socket, json!({"action": "disconnectCustomer", "token": TOKEN}));
    let seen = stage.seen();
    assert_eq!(
        seen.last(),
        Some(&(other, Seen::Closed(1000))),
        "the other socket goes"
    );
    let Seen::Frame(answer) = &seen[0].1 else {
        panic!("{seen:?}")
    };
    assert_eq!(answer["body"], json!({"connected": false, "readOnly": true}));
    assert_eq!(
        stage.ask(socket, configure())["body"]["readOnly"],
        true,
        "the conversation is over"
    );
    assert_eq!(stage.world.violations(), []);
}

#[test]
fn buttons_are_messages_too() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    let button = |kind: &str| {
        json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Text", "text": "", "content": [
            {"contentType": "ButtonResponse", "buttonResponse": {"text": "Red", "payload": "RED", "type": kind}}]}})
    };
    stage.tell(socket, button("QuickReply"));
    let seen = stage.seen();
    let Seen::Frame(echo) = &seen[0].1 else {
        panic!("{seen:?}")
    };
    assert_eq!(echo["body"]["content"][0]["buttonResponse"]["payload"], "RED");
    let Seen::Frame(answer) = &seen[2].1 else {
        panic!("{seen:?}")
    };
    assert_eq!(answer["body"]["text"], "You said: Red");
    assert_eq!(code(&stage.ask(socket, button("Lever"))), 400);
    let attachment = json!({"action": "onMessage", "token": TOKEN, "message": {"content": [
        {"contentType": "Attachment", "attachment": {"id": "8888"}}]}});
    assert_eq!(
        code(&stage.ask(socket, attachment)),
        4009,
        "nothing was ever uploaded"
    );
}

#[test]
fn joining_is_echoed_and_typing_is_not() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    let join = stage.ask(socket, presence("Join"));
    assert_eq!(join["body"]["events"][0]["presence"]["type"], "Join");
    let typing = json!({"action": "onMessage", "token": TOKEN, "message":
        {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}});
    stage.tell(socket, typing);
    assert_eq!(stage.seen(), []);
}

#[test]
fn clearing_ends_the_session_for_all() {
    let mut stage = Stage::new(rules());
    let (one, two) = (stage.guest(), stage.guest());
    stage.tell(one, text("hello"));
    let jwt = stage.jwt(one);
    stage.tell(one, presence("Clear"));
    let seen = stage.seen();
    for socket in [one, two] {
        let of_socket: Vec<_> = seen.iter().filter(|(other, _)| *other == socket).collect();
        assert_eq!(of_socket.len(), 4);
        assert_eq!(of_socket[3].1, Seen::Closed(1000));
    }
    assert_eq!(stage.world.poll_timeout(), None, "nothing is left to wait for");
    assert_eq!(stage.history(&jwt, "").0, 401, "the history is lost");
    let socket = stage.connect();
    assert_eq!(stage.ask(socket, configure())["body"]["newSession"], true);

    let mut stage = Stage::new(Rules {
        conversation_clear: false,
        ..rules()
    });
    let socket = stage.guest();
    let mut refused = stage.ask(socket, presence("Clear"));
    refused.as_object_mut().unwrap().remove("tracingId");
    assert_eq!(
        refused,
        refusal(403, "Presence events Conversation Clear are not supported")
    );
}

#[test]
fn a_read_only_conversation_can_be_read_left_and_begun_anew() {
    let mut stage = Stage::new(rules());
    let (one, two) = (stage.guest(), stage.guest());
    stage.tell(one, text("/disconnect"));
    stage.seen();
    for frame in [text("more"), presence("Join")] {
        assert_eq!(code(&stage.ask(one, frame)), 409);
    }
    let third = stage.connect();
    assert_eq!(stage.ask(third, configure())["body"]["readOnly"], true);
    let jwt = stage.jwt(one);
    assert_eq!(
        stage.history(&jwt, "").1["total"],
        2,
        "the guest's word and the departure"
    );

    let close =
        json!({"action": "closeSession", "token": TOKEN, "closeAllConnections": true, "tracingId": "t"});
    stage.tell(one, &close);
    let closed: Vec<_> = stage
        .seen()
        .into_iter()
        .filter(|(_, seen)| matches!(seen, Seen::Closed(1000)))
        .map(|(socket, _)| socket)
        .collect();
    assert_eq!(closed, [two, third]);
    assert_eq!(code(&stage.ask(one, text("too soon"))), 4007);

    let mut anew = configure();
    anew["startNew"] = json!(true);
    let answer = stage.ask(one, anew);
    assert_eq!(
        (&answer["body"]["newSession"], &answer["body"]["readOnly"]),
        (&json!(true), &json!(false))
    );
    stage.tell(one, text("hello again"));
    assert_eq!(stage.seen().len(), 3);
}

#[test]
fn an_agent_may_leave_without_closing_the_door() {
    for (disconnect, read_only) in [(Disconnect::Send, Some("false")), (Disconnect::Off, None)] {
        let mut stage = Stage::new(Rules {
            disconnect,
            ..rules()
        });
        let socket = stage.guest();
        stage.tell(socket, text("/disconnect"));
        let seen = stage.seen_by(socket);
        let told = seen.get(1).map(|seen| match seen {
            Seen::Frame(frame) => frame["body"]["metadata"]["readOnly"].clone(),
            Seen::Closed(_) => panic!("closed"),
        });
        assert_eq!(told, read_only.map(Value::from));
        stage.tell(socket, text("hello?"));
        assert_eq!(stage.seen_by(socket).len(), 3);
    }
}

#[test]
fn an_agent_speaks_by_script_and_after_a_while() {
    let mut stage = Stage::new(Rules {
        agent: Agent::Replies(vec!["first".to_owned(), "second".to_owned()]),
        agent_name: "Robot Friend".to_owned(),
        agent_delay: Duration::from_secs(2),
        limits: Limits::none(),
        ..rules()
    });
    let socket = stage.guest();
    for expected in ["first", "second", "first"] {
        stage.tell(socket, text("hi"));
        assert_eq!(stage.seen().len(), 2, "an echo, and the agent types");
        let (due, reason) = stage.world.poll_timeout().unwrap();
        assert_eq!(
            (due, reason),
            (stage.now.instant + Duration::from_secs(2), Reason::AgentStep)
        );
        stage.pass(Duration::from_millis(1_999));
        assert_eq!(stage.seen(), []);
        stage.pass(Duration::from_millis(1));
        let seen = stage.seen_by(socket);
        let Seen::Frame(frame) = &seen[0] else {
            panic!("{seen:?}")
        };
        assert_eq!(frame["body"]["text"], expected);
        assert_eq!(frame["body"]["channel"]["from"]["nickname"], "Robot Friend");
    }
    for _ in 0..100 {
        stage.tell(socket, text("hi"));
    }
    stage.seen();
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.seen().len(), 64, "an agent's patience is bounded");
}

#[test]
fn an_answer_that_nobody_receives_is_in_the_history() {
    let mut stage = Stage::new(Rules {
        agent_delay: Duration::from_secs(1),
        ..rules()
    });
    let socket = stage.guest();
    stage.tell(socket, text("hi"));
    stage.world.handle_closed(socket, stage.now);
    stage.seen();
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.world.counters().undelivered, 1);
    let socket = stage.guest();
    assert_eq!(stage.seen(), [], "nothing is replayed");
    let jwt = stage.jwt(socket);
    assert_eq!(stage.history(&jwt, "").1["entities"][0]["text"], "You said: hi");
}

#[test]
fn history_is_paged_newest_first_and_joined_to_frames_by_message_id() {
    let mut stage = Stage::new(Rules {
        limits: Limits::none(),
        ..rules()
    });
    let socket = stage.guest();
    let mut keys = Vec::new();
    for number in 0..3 {
        let mut message = text(&number.to_string());
        message["message"]["metadata"] = json!({"id": format!("mine-{number}")});
        stage.tell(socket, message);
        for (_, seen) in stage.seen() {
            if let Seen::Frame(frame) = seen
                && let Some(text) = frame["body"]["text"].as_str()
            {
                let body = &frame["body"];
                let key = body["channel"]["messageId"].as_str().or(body["id"].as_str());
                keys.push((text.to_owned(), key.unwrap().to_owned()));
            }
        }
    }
    keys.reverse();
    let jwt = stage.jwt(socket);
    let (_, all) = stage.history(&jwt, "?pageSize=100");
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
        "times tell the order: {times:?}"
    );

    let (_, page) = stage.history(&jwt, "?pageSize=4&pageNumber=2");
    assert_eq!(page["entities"], json!(entities[4..]));
    assert_eq!((&page["total"], &page["pageCount"]), (&json!(6), &json!(2)));
    for query in ["?pageSize=0", "?pageSize=x", "?pageSize=101", "?pageNumber=-1"] {
        assert_eq!(stage.history(&jwt, query).0, 400, "{query}");
    }
}

#[test]
fn the_record_holds_what_was_said_and_by_whom() {
    let mut stage = Stage::new(rules());
    let socket = stage.guest();
    stage.tell(socket, text("hi"));
    stage.tell(socket, presence("Join"));
    let said: Vec<_> = stage
        .world
        .transcript(TOKEN)
        .into_iter()
        .map(|said| (said.by_guest, said.text))
        .collect();
    let words = [(true, "hi".to_owned()), (false, "You said: hi".to_owned())];
    assert_eq!(said, words, "events are left out");
    assert_eq!(stage.world.transcript("stranger"), []);
}
