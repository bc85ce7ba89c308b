//! What the state machine does, input by input.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use ws_transport::guest_sessions::TokenPlacement;
use ws_transport::{
    AuthorKind, CloseInfo, Command, Content, Contract, Direction, Ending, Event, FailureReason, Loss,
    OriginPolicy, Reason, SendError, SocketUrl, State, Transmit,
};

use crate::virtual_peer::{
    TOKEN, VirtualPeer, agent_says, echo, guest_sessions, handshake_accepted, id, refused, session_response,
    too_many, web_messaging,
};

const SECOND: Duration = Duration::from_secs(1);

fn state(peer: &VirtualPeer) -> State {
    peer.conversation.state()
}

#[test]
fn it_connects_configures_and_delivers() {
    let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
    peer.send(1, "queued before there is a connection");
    assert_eq!(state(&peer), State::Idle);
    peer.connect();
    assert_eq!(state(&peer), State::Configuring);
    let frames = peer.frames();
    assert_eq!(
        frames.len(),
        1,
        "nothing is said before the session is configured"
    );
    assert_eq!(frames[0]["action"], "configureSession");
    assert_eq!(frames[0]["deploymentId"], "b3c2");
    assert_eq!(frames[0]["token"], TOKEN);
    peer.hear(&session_response(true));
    let [Event::Configured(session)] = peer.events()[..] else {
        panic!()
    };
    assert!(session.new_session && !session.read_only);
    assert_eq!(session.expires_at.unwrap().unix_timestamp(), 1_791_139_139);
    assert_eq!(peer.conversation.expires_at(), session.expires_at);
    let frames = peer.frames();
    assert_eq!(
        frames[0]["message"]["text"],
        "queued before there is a connection"
    );
    assert_eq!(frames[0]["tracingId"], id(1).to_string());
    peer.hear(&echo(1));
    assert!(
        matches!(peer.events()[..], [Event::Accepted { id: accepted, at, .. }]
        if accepted == id(1) && at.unix_timestamp() == 1_795_348_801)
    );
}

#[test]
fn the_own_echo_is_never_a_message_and_nothing_is_shown_twice() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "hi");
    peer.frames();
    for _ in 0..3 {
        peer.hear(&echo(1));
        peer.hear(&agent_says("a1", "hello"));
    }
    let [Event::Accepted { .. }, Event::Message(message)] = &peer.events()[..] else {
        panic!()
    };
    assert_eq!((message.id.as_str(), message.text.as_str()), ("a1", "hello"));
    assert_eq!(
        (message.from.kind, message.from.name.as_deref()),
        (AuthorKind::Human, Some("Ann"))
    );
    assert_eq!(message.direction, Direction::Outbound);
}

#[test]
fn what_it_does_not_know_is_handed_on_and_changes_nothing() {
    let mut peer = VirtualPeer::web_messaging();
    let jwt = json!({"type": "response", "class": "NoveltyEvent", "code": 200, "body": {"jwt": "canary"}});
    peer.hear(&jwt);
    peer.conversation.handle_frame("no json", peer.now);
    let events = peer.events();
    let [Event::Unknown(novelty), Event::Unknown(garbage)] = &events[..] else {
        panic!()
    };
    assert_eq!(novelty.class(), Some("NoveltyEvent"));
    assert_eq!(garbage.as_str(), "no json");
    assert!(!format!("{events:?}").contains("canary"));
    assert_eq!(state(&peer), State::Configured);
}

#[test]
fn the_frames_that_genesys_publishes_become_events() {
    macro_rules! hear {
        ($name:literal) => {{
            let mut peer = VirtualPeer::web_messaging();
            let frame = include_str!(concat!(
                "../../../../spec/web-messaging/golden/server/",
                $name,
                ".json"
            ));
            peer.conversation.handle_frame(frame, peer.now);
            peer.events()
        }};
    }
    let events = hear!("quick-replies");
    let [Event::Message(message)] = &events[..] else {
        panic!("{events:?}")
    };
    let payloads: Vec<_> = message.quick_replies().map(|reply| &*reply.payload).collect();
    assert_eq!(
        (payloads, message.from.kind),
        (vec!["RED", "BLUE"], AuthorKind::Bot)
    );
    let events = hear!("other-content");
    assert!(
        matches!(&events[..], [Event::Message(message)] if matches!(&message.content[0], Content::Other(raw) if raw.class() == Some("GenericTemplate")))
    );
    assert!(matches!(
        &hear!("agent-typing")[..],
        [Event::Typing { from, during }] if from.name.as_deref() == Some("Ann") && *during == 3 * SECOND
    ));
    assert!(matches!(&hear!("agent-text")[..], [Event::Message(message)] if message.text == "Hi"));
    assert!(matches!(
        hear!("disconnect-read-only")[..],
        [Event::ConversationEnded { read_only: true }]
    ));
    assert!(matches!(hear!("session-cleared")[..], [Event::SessionCleared]));
    assert!(matches!(
        hear!("too-many-4029")[..],
        [Event::Throttled { retry_after }] if retry_after == 3 * SECOND
    ));
    assert!(matches!(&hear!("error-message")[..], [Event::Refused(refusal)] if refusal.code == "400"));
    assert!(hear!("health-check-answer").is_empty());
    assert!(hear!("jwt-response").is_empty(), "nobody asked for it");
    for events in [hear!("unknown-class"), hear!("presigned-url")] {
        assert!(matches!(events[..], [Event::Unknown(_)]));
        assert!(!format!("{events:?}").contains("canary"));
    }
    for (events, state) in [
        (hear!("session-expired"), "SessionExpired"),
        (hear!("logout"), "LoggedOut"),
        (hear!("connection-closed"), "ClosedByServer"),
    ] {
        assert!(format!("{events:?}").contains(state));
    }
}

#[test]
fn five_messages_a_second_and_no_more() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..12 {
        peer.send(n, "x");
    }
    assert_eq!(peer.frames().len(), 5);
    let (at, reason) = peer.conversation.poll_timeout().unwrap();
    assert_eq!(reason, Reason::Pace);
    peer.pass(at - peer.now.instant);
    assert_eq!(peer.frames().len(), 5);
    peer.pass(2 * SECOND);
    assert_eq!(peer.frames().len(), 2);
}

#[test]
fn sixty_requests_a_minute_on_one_connection() {
    let mut peer = VirtualPeer::web_messaging();
    let mut sent = 0;
    for n in 0..100 {
        peer.send(n, "x");
    }
    for _ in 0..50 {
        peer.pass(SECOND);
        sent += peer.frames().len();
        peer.conversation.handle_alive();
    }
    assert_eq!(sent, 59, "the first frame of the connection was the sixtieth");
    peer.pass(10 * SECOND);
    peer.pass(SECOND);
    assert!(!peer.frames().is_empty());
}

#[test]
fn typing_is_shown_once_in_five_seconds() {
    let mut peer = VirtualPeer::web_messaging();
    for _ in 0..10 {
        peer.conversation.send_typing(peer.now);
    }
    assert_eq!(peer.frames().len(), 1);
    peer.pass(5 * SECOND);
    peer.conversation.send_typing(peer.now);
    assert_eq!(peer.frames()[0]["message"]["events"][0]["eventType"], "Typing");
}

#[test]
fn a_throttled_message_waits_as_long_as_asked_and_goes_out_in_its_order() {
    for tracing in [Some(id(1)), None] {
        let mut peer = VirtualPeer::web_messaging();
        peer.send(1, "first");
        assert_eq!(peer.frames().len(), 1);
        peer.send(2, "second");
        peer.hear(&too_many(3, tracing));
        assert!(matches!(peer.events()[..], [Event::Throttled { retry_after }] if retry_after == 3 * SECOND));
        assert!(peer.frames().is_empty());
        peer.pass(2 * SECOND);
        assert!(peer.frames().is_empty());
        peer.pass(SECOND);
        let frames = peer.frames();
        assert_eq!(frames[0]["message"]["text"], "first");
        assert_eq!(frames[1]["message"]["text"], "second");
    }
}

#[test]
fn a_throttled_configuration_is_asked_again() {
    let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
    peer.connect();
    peer.frames();
    peer.hear(&too_many(3, None));
    assert!(matches!(peer.events()[..], [Event::Throttled { .. }]));
    peer.pass(3 * SECOND);
    assert_eq!(peer.frames()[0]["action"], "configureSession");
    peer.hear(&session_response(false));
    assert_eq!(state(&peer), State::Configured);
}

#[test]
fn a_refused_message_fails_alone() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    peer.send(2, "x");
    peer.frames();
    peer.hear(&refused(4011, Some(id(1))));
    peer.hear(&echo(2));
    let events = peer.events();
    let [
        Event::Failed {
            id: failed,
            reason: FailureReason::Refused(refusal),
        },
        Event::Accepted { .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*failed, refusal.code.as_str()), (id(1), "4011"));
    assert_eq!(state(&peer), State::Configured);
}

#[test]
fn a_lost_connection_is_restored_and_what_was_unacknowledged_is_in_doubt() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "sent");
    peer.frames();
    peer.drop_socket();
    peer.send(2, "queued while away");
    assert!(matches!(
        &peer.events()[..],
        [Event::Reconnecting {
            attempt: 1,
            why: Loss::Closed(_),
            ..
        }]
    ));
    assert_eq!(state(&peer), State::Reconnecting);
    assert!(peer.frames().is_empty());
    peer.reconnect();
    assert_eq!(peer.frames()[0]["action"], "configureSession");
    peer.hear(&session_response(false));
    let events = peer.events();
    let [Event::Restored(_), Event::InDoubt { ids }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*ids, [id(1)]);
    let frames = peer.frames();
    assert_eq!(
        (frames.len(), &frames[0]["tracingId"]),
        (1, &json!(id(2).to_string()))
    );
    peer.hear(&echo(1));
    assert!(matches!(peer.events()[..], [Event::Accepted { id: late, .. }] if late == id(1)));
}

#[test]
fn at_the_gateway_a_message_is_sent_again_under_its_id_and_missed_events_come_once() {
    let mut peer = VirtualPeer::guest_sessions();
    let says = |sequence: u64| {
        json!({"type": "message", "sequence": sequence, "id": format!("a{sequence}"), "text": "x",
            "from": {"kind": "bot", "name": "Robo"}, "timestamp": "2026-11-22T12:00:02.000Z"})
    };
    let accepted = |n: u128, sequence: u64| {
        json!({"type": "message.accepted", "id": id(n).to_string(), "sequence": sequence,
            "timestamp": "2026-11-22T12:00:02.000Z"})
    };
    peer.send(1, "one");
    peer.send(2, "two");
    peer.frames();
    peer.hear(&says(1));
    assert_eq!(peer.events().len(), 1);
    peer.drop_socket();
    peer.events();
    peer.reconnect();
    let opening = &peer.frames()[0];
    assert_eq!(
        (&opening["type"], &opening["lastSequence"]),
        (&json!("handshake"), &json!(1))
    );
    peer.hear(&handshake_accepted(3));
    peer.hear(&says(1));
    peer.hear(&accepted(1, 2));
    peer.hear(&says(3));
    let events = peer.events();
    assert!(
        matches!(&events[..], [Event::Restored(_), Event::Accepted { id: one, .. }, Event::Message(message)]
            if *one == id(1) && message.sequence == Some(3)),
        "{events:?}"
    );
    let frames = peer.frames();
    assert_eq!(frames.len(), 1, "the other was accepted before it was sent again");
    assert_eq!(
        (&frames[0]["id"], &frames[0]["text"]),
        (&json!(id(2).to_string()), &json!("two"))
    );
}

#[test]
fn a_gateway_that_counts_anew_is_believed() {
    let mut peer = VirtualPeer::guest_sessions();
    let typing = |sequence: u64| json!({"type": "typing", "sequence": sequence, "from": {"kind": "agent"}});
    peer.hear(&typing(50));
    peer.hear(&json!({"type": "novelty", "sequence": 51}));
    peer.hear(&typing(51));
    assert_eq!(peer.events().len(), 2, "the unknown event has taken number 51");
    peer.drop_socket();
    peer.reconnect();
    peer.hear(&handshake_accepted(2));
    peer.events();
    peer.hear(&typing(3));
    assert!(matches!(peer.events()[..], [Event::Typing { .. }]));
}

#[test]
fn waits_grow_and_a_first_connection_is_retried_too() {
    let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
    peer.jitter = u64::MAX;
    peer.conversation.connect(peer.now);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(peer.conversation.poll_command(), Some(Command::Connect));
        peer.drop_socket();
        let [Event::Reconnecting { after, .. }] = peer.events()[..] else {
            panic!()
        };
        waits.push(after.as_millis() + 1);
        peer.pass(after);
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
}

#[test]
fn a_hint_of_the_server_wins_over_the_jitter() {
    let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
    peer.conversation.connect(peer.now);
    peer.conversation
        .handle_refused(503, Some(20 * SECOND), peer.now, 0);
    assert!(matches!(
        peer.events()[..],
        [Event::Reconnecting { after, why: Loss::Refused { status: 503 }, .. }] if after == 20 * SECOND
    ));
}

#[test]
fn a_silent_peer_is_dropped_within_35_seconds_and_the_message_is_not_lost() {
    let mut peer = VirtualPeer::web_messaging();
    let silent_since = peer.now.instant;
    loop {
        let (at, reason) = peer.conversation.poll_timeout().unwrap();
        assert_eq!(reason, Reason::Heartbeat);
        peer.pass(at - peer.now.instant);
        if peer.conversation.poll_command() == Some(Command::Disconnect) {
            break;
        }
        assert_eq!(peer.transmits(), [Transmit::Ping]);
    }
    assert!(peer.now.instant - silent_since <= 35 * SECOND);
    peer.drop_socket();
    assert!(matches!(
        peer.events()[..],
        [Event::Reconnecting {
            why: Loss::Silent,
            ..
        }]
    ));
}

#[test]
fn a_moved_clock_costs_one_ping_and_doubts_nothing() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    peer.frames();
    for _ in 0..4 {
        peer.pass(Duration::from_secs(14 * 60));
        assert_eq!(peer.transmits(), [Transmit::Ping]);
        peer.conversation.handle_alive();
        assert_eq!(peer.conversation.poll_command(), None);
    }
    assert!(peer.events().is_empty());
    assert_eq!(state(&peer), State::Configured);
    for _ in 0..1 {
        peer.pass(15 * SECOND);
        peer.conversation.handle_alive();
    }
    assert!(
        matches!(&peer.events()[..], [Event::InDoubt { ids }] if *ids == [id(1)]),
        "the service answered five pings and never the message"
    );
}

#[test]
fn a_service_that_does_not_configure_is_left_after_ten_seconds() {
    let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
    peer.connect();
    assert_eq!(
        peer.conversation.poll_timeout(),
        Some((peer.now.instant + 10 * SECOND, Reason::ConfigureTimeout))
    );
    peer.pass(10 * SECOND);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    peer.drop_socket();
    assert!(matches!(
        peer.events()[..],
        [Event::Reconnecting {
            why: Loss::NoAnswer,
            ..
        }]
    ));
}

#[test]
fn a_connection_that_is_not_made_is_given_up() {
    let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
    peer.conversation.connect(peer.now);
    peer.conversation.poll_command();
    peer.pass(20 * SECOND);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    peer.conversation.handle_connected(peer.now);
    assert_eq!(state(&peer), State::Connecting, "too late");
    peer.drop_socket();
    assert_eq!(state(&peer), State::Reconnecting);
}

/// Ends the peer's conversation and returns how.
fn ending(mut peer: VirtualPeer, act: impl FnOnce(&mut VirtualPeer)) -> (State, Ending) {
    act(&mut peer);
    let Some(Event::Ended(ending)) = peer.events().pop() else {
        panic!("{:?}", peer.conversation)
    };
    peer.drop_socket();
    peer.pass(Duration::from_secs(3600));
    assert_eq!(peer.conversation.poll_command(), None, "{ending:?} must not loop");
    assert_eq!(peer.conversation.poll_timeout(), None);
    assert!(peer.events().is_empty(), "nothing follows the end");
    assert!(!format!("{ending:?} {ending}").contains("canary"));
    (state(&peer), ending)
}

#[test]
fn terminal_causes_never_loop() {
    let connecting = |contract: Contract| {
        let mut peer = VirtualPeer::new(contract);
        peer.conversation.connect(peer.now);
        peer.conversation.poll_command();
        peer
    };
    for status in [401, 403] {
        let peer = connecting(Contract::WebMessaging(web_messaging()));
        assert_eq!(
            ending(peer, |peer| peer
                .conversation
                .handle_refused(status, None, peer.now, 0)),
            (State::Failed, Ending::Refused { status })
        );
    }
    for status in [400, 403, 404, 410] {
        let peer = connecting(Contract::GuestSessions(guest_sessions()));
        assert_eq!(
            ending(peer, |peer| peer
                .conversation
                .handle_refused(status, None, peer.now, 0))
            .0,
            State::Failed
        );
    }
    let event =
        |class: &str| json!({"type": "message", "class": class, "code": 200, "body": {"reason": "signedIn"}});
    for (frame, expected_state) in [
        (refused(4006, None), State::Failed),
        (refused(4007, None), State::Failed),
        (refused(4017, None), State::Failed),
        (refused(401, None), State::Failed),
        (event("SessionExpiredEvent"), State::Failed),
        (event("LogoutEvent"), State::Failed),
        (event("ConnectionClosedEvent"), State::Closed),
    ] {
        let peer = VirtualPeer::web_messaging();
        let (state, _) = ending(peer, |peer| {
            peer.hear(&frame);
            assert_eq!(
                peer.transmits(),
                [Transmit::Close {
                    code: 1000,
                    reason: "the guest has left"
                }]
            );
        });
        assert_eq!(state, expected_state, "{frame}");
    }
    for code in [400, 403, 404, 4006, 4007, 4017, 4020] {
        let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
        peer.connect();
        assert_eq!(
            ending(peer, |peer| peer.hear(&refused(code, None))).0,
            State::Failed
        );
    }
    let peer = VirtualPeer::guest_sessions();
    let (state, over) = ending(peer, |peer| {
        peer.hear(&json!({"type": "session.ended", "reason": "expired", "sequence": 9}));
    });
    assert_eq!(
        (state, over),
        (
            State::Closed,
            Ending::SessionEnded {
                reason: "expired".to_owned()
            }
        )
    );
    let peer = VirtualPeer::guest_sessions();
    let (state, over) = ending(peer, |peer| {
        peer.hear(&json!({"type": "error", "code": "bad.frame", "message": "five bad frames"}));
        peer.close(CloseInfo::with_code(1008, "policy"));
    });
    assert_eq!(state, State::Failed);
    assert_eq!(
        over.to_string(),
        "the service rejected the session: five bad frames (bad.frame)"
    );
}

#[test]
fn trouble_of_the_service_is_not_terminal() {
    for code in [408, 500, 503, 5000] {
        let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
        peer.connect();
        peer.hear(&refused(code, None));
        assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
        peer.drop_socket();
        assert_eq!(state(&peer), State::Reconnecting, "{code}");
    }
    let mut peer = VirtualPeer::web_messaging();
    for code in [1000, 1001, 1008, 1011, 1012] {
        peer.close(CloseInfo::with_code(code, ""));
        assert_eq!(state(&peer), State::Reconnecting, "{code}");
        peer.reconnect();
        peer.hear(&session_response(false));
    }
}

#[test]
fn a_read_only_conversation_takes_nothing_more() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..7 {
        peer.send(n, "x");
    }
    peer.frames();
    peer.hear(
        &json!({"type": "message", "class": "StructuredMessage", "code": 200,
        "body": {"type": "Event", "direction": "Outbound", "id": "d", "metadata": {"readOnly": "true"},
            "events": [{"eventType": "Presence", "presence": {"type": "Disconnect"}}]}}),
    );
    let events = peer.events();
    assert!(matches!(
        events[..],
        [
            Event::ConversationEnded { read_only: true },
            Event::Failed {
                reason: FailureReason::ReadOnly,
                ..
            },
            Event::Failed {
                reason: FailureReason::ReadOnly,
                ..
            },
        ]
    ));
    assert_eq!(state(&peer), State::ReadOnly);
    assert_eq!(
        peer.conversation.send_text(id(255), "x"),
        Err(SendError::ReadOnly)
    );
    peer.hear(&echo(0));
    peer.hear(&refused(409, Some(id(1))));
    assert!(matches!(
        peer.events()[..],
        [
            Event::Accepted { .. },
            Event::Failed {
                reason: FailureReason::ReadOnly,
                ..
            }
        ]
    ));
}

#[test]
fn a_refusal_as_read_only_ends_the_conversation() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    peer.frames();
    peer.hear(&refused(409, None));
    assert!(matches!(
        peer.events()[..],
        [
            Event::Failed {
                reason: FailureReason::ReadOnly,
                ..
            },
            Event::ConversationEnded { read_only: true }
        ]
    ));
    assert_eq!(state(&peer), State::ReadOnly);
}

#[test]
fn a_new_token_is_used_by_the_next_connection_and_the_socket_stays() {
    let mut peer = VirtualPeer::guest_sessions();
    peer.conversation.update_token(SecretString::from("renewed"));
    assert_eq!(state(&peer), State::Configured);
    assert_eq!(
        (peer.transmits().len(), peer.conversation.poll_command()),
        (0, None)
    );
    peer.drop_socket();
    peer.reconnect();
    assert_eq!(peer.frames()[0]["accessToken"], "renewed");
}

#[test]
fn the_token_stands_where_it_was_told_to() {
    let origin = OriginPolicy::new(["https://shop.example"])
        .unwrap()
        .admit(["https://shop.example"])
        .unwrap();
    let url: SocketUrl = "wss://gateway.example/socket".parse().unwrap();
    for (placement, in_query, in_header) in [
        (TokenPlacement::Frame, false, false),
        (TokenPlacement::Query, true, false),
        (TokenPlacement::Subprotocol, false, true),
    ] {
        let mut peer = VirtualPeer::new(Contract::GuestSessions(guest_sessions().with_token_in(placement)));
        let handshake = peer.conversation.handshake(&url, &origin);
        assert!(!format!("{handshake:?}").contains("canary"));
        let request = handshake.request([7; 16]);
        let protocol = request.headers().get("sec-websocket-protocol");
        assert_eq!(request.uri().query().is_some(), in_query);
        assert_eq!(
            protocol.map(|value| value.to_str().unwrap()),
            in_header.then_some("guest-sessions.v1, access_token.7d1f-canary")
        );
        peer.connect();
        assert_eq!(
            peer.frames()[0].get("accessToken").is_some(),
            !in_query && !in_header,
            "{placement:?}"
        );
    }
    let mut peer = VirtualPeer::new(Contract::WebMessaging(web_messaging()));
    let request = peer.conversation.handshake(&url, &origin).request([7; 16]);
    assert_eq!(request.uri().query(), Some("deploymentId=b3c2"));
}

#[test]
fn nothing_that_can_be_printed_shows_the_token() {
    let mut peer = VirtualPeer::guest_sessions();
    peer.send(1, "x");
    let transmits = peer.transmits();
    let contract = Contract::WebMessaging(web_messaging());
    let shown = format!("{:?} {transmits:?} {contract:?}", peer.conversation);
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn events_that_nobody_reads_are_bounded() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..2000 {
        peer.hear(&agent_says(&format!("a{n}"), "x"));
    }
    assert_eq!(peer.conversation.backlog(), 1024);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
}
