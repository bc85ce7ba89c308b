//! The socket client of a gateway as a state machine.

use std::time::Duration;

use guest_conversation::{
    Command, ConnectionEvent, DeliveryStatus, Ending, Event, GuestMachine as _, Machine as _,
    OutgoingMessage, Reason, Request, RequestError, SessionEvent, State,
};
use guest_sessions::client::GatewayConversation;
use guest_sessions::{ClientFrame, GuestMessage, ServerFrame, TokenPlacement};
use secrecy::SecretString;
use serde_json::json;
use ws_transport::{CloseInfo, OriginPolicy, SocketUrl};

use crate::peer::{VirtualPeer, handshake_accepted, id, session};

const SECOND: Duration = Duration::from_secs(1);

/// The gateway's words for what no other try would change; a caller tells by them what to do.
const FATAL: [&str; 6] = [
    "authentication.required",
    "bad.credentials",
    "handshake.expected",
    "handshake.timeout",
    "not.found",
    "session.ended",
];

#[test]
fn new_token_is_used_by_the_next_connection() {
    let mut peer = VirtualPeer::ready();
    peer.conversation.update_token(SecretString::from("renewed"));
    assert_eq!(peer.conversation.state(), State::Configured);
    assert_eq!(
        (peer.transmits().len(), peer.conversation.poll_command()),
        (0, None)
    );
    peer.drop_socket();
    peer.reconnect();
    assert_eq!(peer.frames()[0]["accessToken"], "renewed");
}

#[test]
fn access_token_is_sent_where_configured() {
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
        let mut peer = VirtualPeer::new(session().with_token_in(placement));
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
}

#[test]
fn expiry_is_announced_by_the_gateway() {
    let mut peer = VirtualPeer::ready();
    peer.receive(
        &json!({"type": "conversation", "state": "open", "actions": ["send"],
        "expiresAt": "2026-11-22T12:05:00.000Z"}),
    );
    assert!(matches!(
        peer.events()[..],
        [Event::Session(SessionEvent::Expiring { at: Some(_) })]
    ));
    peer.pass(Duration::from_secs(600));
    assert!(peer.frames().is_empty() && peer.events().is_empty());
}

#[test]
fn refusal_ends_the_conversation_with_its_code() {
    let error = |code: &str| json!({"type": "error", "code": code, "message": "some words"});
    let last = |peer: &mut VirtualPeer| match peer.events().pop() {
        Some(Event::Ended(Ending::Rejected(refusal))) => refusal.code,
        other => panic!("{other:?}"),
    };
    for code in FATAL {
        // in place of the answer to the handshake
        let mut peer = VirtualPeer::new(session());
        peer.connect();
        peer.receive(&error(code));
        assert_eq!(last(&mut peer), code);
        // in the middle
        let mut peer = VirtualPeer::ready();
        peer.receive(&error(code));
        assert!(
            matches!(&peer.events()[..], [Event::Session(SessionEvent::Refused { refusal, .. })] if refusal.code == code)
        );
        peer.close(CloseInfo::with_code(1008, "see the error frame"));
        assert_eq!(last(&mut peer), code);
    }
    // before the upgrade
    for status in [403, 404, 409] {
        let mut peer = VirtualPeer::new(session());
        peer.conversation.engine_mut().connect(peer.now);
        peer.conversation.handle_refused(status, None, peer.now, 0);
        assert!(matches!(
            peer.events()[..],
            [Event::Ended(Ending::Refused { status: found })] if found == status
        ));
    }
}

#[test]
fn message_is_resent_under_its_id_and_replayed_events_are_emitted_once() {
    let mut peer = VirtualPeer::ready();
    let message = |sequence: u64| {
        json!({"type": "message", "sequence": sequence, "id": format!("a{sequence}"), "text": "x",
            "from": {"kind": "bot", "name": "Robo"}, "timestamp": "2026-11-22T12:00:02.000Z"})
    };
    let accepted = |n: u128, sequence: u64| {
        json!({"type": "delivery", "state": "sent", "id": id(n).to_string(), "sequence": sequence,
            "timestamp": "2026-11-22T12:00:02.000Z"})
    };
    peer.send(1, "one");
    peer.send(2, "two");
    peer.frames();
    peer.receive(&message(1));
    assert_eq!(peer.events().len(), 1);
    peer.drop_socket();
    peer.events();
    peer.reconnect();
    let opening = &peer.frames()[0];
    assert_eq!(
        (&opening["type"], &opening["lastSequence"]),
        (&json!("handshake"), &json!(1))
    );
    peer.receive(&handshake_accepted(3));
    peer.receive(&message(1));
    peer.receive(&accepted(1, 2));
    peer.receive(&message(3));
    let events = peer.events();
    assert!(
        matches!(&events[..], [Event::Connection(ConnectionEvent::Restored(_)), Event::Delivery { id: one, status: DeliveryStatus::Delivered { .. } }, Event::Message(message)]
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
fn new_epoch_is_received_from_its_first_event_and_shows_nothing_twice() {
    let mut peer = VirtualPeer::ready();
    let message = |sequence: u64, id: &str| {
        json!({"type": "message", "sequence": sequence, "id": id, "text": id, "from": {"kind": "agent"},
            "timestamp": "2026-11-22T12:00:02.000Z"})
    };
    peer.receive(&message(50, "a1"));
    peer.receive(&json!({"type": "novelty", "sequence": 51}));
    peer.receive(&message(51, "old"));
    assert_eq!(peer.events().len(), 2, "the unknown event has taken number 51");
    peer.send(1, "sent before");
    assert_eq!(peer.frames().len(), 1);
    peer.drop_socket();
    peer.send(2, "not sent before");
    peer.reconnect();
    let opening = &peer.frames()[0];
    assert_eq!(
        (
            &opening["epoch"],
            &opening["lastSequence"],
            &opening["lastMessageId"]
        ),
        (&json!("e-1"), &json!(51), &json!("a1"))
    );
    let mut accepted = handshake_accepted(2);
    accepted["epoch"] = "e-2".into();
    peer.receive(&accepted);
    peer.receive(&message(1, "a1"));
    peer.receive(&json!({"type": "replay.incomplete", "sequence": 2, "readFrom": "a1", "readUntil": "a9", "message": "x"}));
    peer.receive(&message(3, "a9"));
    let events = peer.events();
    let [.., unknown, gap, next] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(
        matches!(unknown, Event::Delivery { id: sent, status: DeliveryStatus::Unknown } if *sent == id(1)),
        "the gateway does not recognize it: {unknown:?}"
    );
    assert!(
        matches!(gap, Event::Session(SessionEvent::HistoryUnread { after, before, .. })
            if after.as_deref() == Some("a1") && before.as_deref() == Some("a9")),
        "{gap:?}"
    );
    assert!(
        matches!(next, Event::Message(message) if message.id == "a9"),
        "{next:?}"
    );
    let frames = peer.frames();
    assert_eq!((frames.len(), &frames[0]["text"]), (1, &json!("not sent before")));
}

#[test]
fn token_that_expired_during_an_outage_is_requested() {
    let expired = json!({"type": "error", "code": "credentials.expired", "message": "it has expired"});
    for way in 0..3 {
        let mut peer = VirtualPeer::ready();
        peer.send(1, "x");
        peer.frames();
        if way == 0 {
            peer.receive(&expired);
            peer.close(CloseInfo::with_code(1008, "see the error frame"));
        } else {
            peer.drop_socket();
            peer.pass(SECOND);
            assert_eq!(peer.conversation.poll_command(), Some(Command::Connect));
            if way == 1 {
                peer.conversation.handle_refused(401, None, peer.now, 0);
            } else {
                peer.conversation.handle_connected(peer.now);
                peer.frames();
                peer.receive(&expired);
                assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
                peer.drop_socket();
            }
        }
        assert!(matches!(
            peer.events().last(),
            Some(Event::Connection(ConnectionEvent::TokenNeeded { attempt: 1 }))
        ));
        assert_eq!(peer.conversation.state(), State::Reconnecting);
        assert_eq!(peer.conversation.poll_timeout().unwrap().1, Reason::Token);
        peer.conversation.update_token(SecretString::from("renewed"));
        peer.reconnect();
        assert_eq!(peer.frames()[0]["accessToken"], "renewed");
        peer.receive(&handshake_accepted(0));
        assert_eq!(peer.conversation.state(), State::Configured);
        assert_eq!(peer.frames()[0]["text"], "x", "{way}");
    }
}

#[test]
fn replay_note_is_not_the_reason_of_a_close() {
    let mut peer = VirtualPeer::new(session());
    peer.connect();
    peer.receive(&handshake_accepted(0));
    peer.receive(&json!({"type": "replay.incomplete", "message": "more was missed than is kept"}));
    peer.close(CloseInfo::with_code(1008, "policy"));
    let events = peer.events();
    assert!(matches!(events.last(), Some(Event::Ended(Ending::Rejected(refusal))) if refusal.code == "1008"));
}

#[test]
fn terminal_cause_is_never_retried() {
    for status in [400, 403, 404, 410] {
        let mut peer = VirtualPeer::new(session());
        peer.conversation.engine_mut().connect(peer.now);
        peer.conversation.handle_refused(status, None, peer.now, 0);
        assert_eq!(peer.conversation.state(), State::Failed);
    }
    let mut peer = VirtualPeer::ready();
    peer.receive(&json!({"type": "session.ended", "reason": "expired", "sequence": 9}));
    assert!(
        matches!(&peer.events()[..], [Event::Ended(Ending::SessionEnded { reason })] if reason == "expired")
    );
    assert_eq!(peer.conversation.state(), State::Closed);
    let mut peer = VirtualPeer::ready();
    peer.receive(&json!({"type": "error", "code": "bad.frame", "message": "five bad frames"}));
    peer.close(CloseInfo::with_code(1008, "policy"));
    let Some(Event::Ended(ending)) = peer.events().pop() else {
        panic!()
    };
    assert_eq!(peer.conversation.state(), State::Failed);
    assert_eq!(
        ending.to_string(),
        "the service rejected the session: five bad frames (bad.frame): start a new session, and if that is rejected \
         too, check the deployment"
    );
    assert_eq!(peer.conversation.poll_timeout(), None);
}

#[test]
fn refused_message_frame_fails_its_message_only() {
    let mut peer = VirtualPeer::ready();
    peer.send(1, "x");
    let id = peer.frames()[0]["id"].clone();
    peer.events();
    peer.receive(&json!({"type": "error", "code": "bad.frame", "message": "invalid", "id": id}));
    let events = peer.events();
    assert!(
        matches!(
            &events[..],
            [Event::Delivery {
                status: DeliveryStatus::Failed { .. },
                ..
            }]
        ),
        "{events:?}"
    );
    // as the gateway does after the fifth
    peer.close(CloseInfo::with_code(1008, "too many bad frames"));
    peer.reconnect();
    peer.receive(&handshake_accepted(0));
    assert_eq!(peer.conversation.state(), State::Configured);
}

#[test]
fn shutdown_keeps_its_limit_with_messages_in_flight() {
    let mut peer = VirtualPeer::ready();
    for n in 0..6 {
        peer.send(n, "x");
    }
    peer.frames();
    let start = peer.now.instant;
    peer.conversation.end_within(SECOND, peer.now);
    while let Some((at, _)) = peer.conversation.poll_timeout() {
        peer.pass(at - peer.now.instant);
        peer.transmits();
    }
    assert_eq!(peer.conversation.state(), State::Closed);
    assert!(peer.now.instant - start <= SECOND);
}

#[test]
fn debug_shows_no_token() {
    let mut peer = VirtualPeer::ready();
    peer.send(1, "x");
    let transmits = peer.transmits();
    let shown = format!("{:?} {transmits:?} {:?}", peer.conversation, session());
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn session_expiring_at_extreme_times_does_not_panic() {
    for at in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"] {
        let mut peer = VirtualPeer::ready();
        peer.receive(&json!({"type": "conversation", "state": "open", "actions": [], "expiresAt": at}));
        peer.pass(60 * SECOND);
    }
}

#[test]
fn message_that_waits_at_the_gateway_is_not_unknown() {
    let mut peer = VirtualPeer::ready();
    let delivery = |state: &str| json!({"type": "delivery", "state": state, "id": id(1).to_string()});
    peer.send(1, "x");
    peer.frames();
    assert_eq!(peer.deliveries(), []);
    peer.receive(&delivery("queued"));
    assert_eq!(peer.deliveries(), [(id(1), DeliveryStatus::Queued)]);
    for _ in 0..8 {
        peer.pass(15 * SECOND);
        peer.conversation.handle_alive();
    }
    assert_eq!(peer.deliveries(), []);
    peer.receive(&delivery("sending"));
    assert_eq!(peer.deliveries(), [(id(1), DeliveryStatus::Sending)]);
    for _ in 0..8 {
        peer.pass(15 * SECOND);
        peer.conversation.handle_alive();
    }
    assert_eq!(peer.deliveries(), [(id(1), DeliveryStatus::Unknown)]);
}

#[test]
fn message_of_another_client_is_reported_once() {
    let mut peer = VirtualPeer::ready();
    let sent = |n: u128, sequence: u64| {
        json!({"type": "delivery", "state": "sent", "id": id(n).to_string(), "sequence": sequence,
            "timestamp": "2026-11-22T12:00:02.000Z", "messageId": format!("m{n}"), "text": "hi"})
    };
    peer.send(1, "hi");
    peer.frames();
    for frame in [sent(1, 1), sent(1, 2), sent(2, 3), sent(2, 3), sent(2, 4)] {
        peer.receive(&frame);
    }
    let events = peer.events();
    assert!(
        matches!(&events[..], [Event::Delivery { .. }, Event::Session(SessionEvent::OwnMessage(message))]
            if message.text == "hi" && message.id == "m2" && message.sequence == Some(3)),
        "{events:?}"
    );
}

#[test]
fn failed_message_of_another_client_is_ignored() {
    let mut peer = VirtualPeer::ready();
    for state in ["failed", "unknown"] {
        peer.receive(
            &json!({"type": "delivery", "state": state, "id": id(1).to_string(),
            "code": "in.doubt", "message": "x"}),
        );
        assert!(peer.events().is_empty());
    }
}

#[test]
fn status_is_reported_by_its_differences() {
    let mut peer = VirtualPeer::ready();
    let status = |state: &str, outage: Option<&str>| {
        let mut frame = json!({"type": "conversation", "state": state, "actions": ["send", "clear"]});
        if let Some(reason) = outage {
            frame["outage"] = json!({"reason": reason, "since": "2026-11-22T12:00:00.000Z",
                "nextAttemptAt": "2026-11-22T12:00:30.000Z"});
        }
        frame
    };
    peer.receive(&status("open", None));
    assert!(peer.events().is_empty());
    for reason in ["genesys.unreachable", "genesys.refused", "genesys.throttled"] {
        let frame = status("open", Some(reason));
        peer.receive(&frame);
        peer.receive(&frame);
        let events = peer.events();
        assert!(
            matches!(&events[..], [Event::Connection(ConnectionEvent::UpstreamLost { reason: reported, next_attempt_at: Some(_) })]
                if *reported == reason),
            "{events:?}"
        );
    }
    peer.receive(&status("ended", None));
    let events = peer.events();
    assert!(
        matches!(
            events[..],
            [
                Event::Connection(ConnectionEvent::UpstreamRestored),
                Event::Session(SessionEvent::ConversationEnded { read_only: false })
            ]
        ),
        "{events:?}"
    );
    peer.conversation.request(&Request::Clear).unwrap();
    assert_eq!(peer.frames()[0], json!({"type": "conversation.clear"}));
    let refused = peer.conversation.request(&Request::StartNew);
    assert_eq!(refused, Err(RequestError::NotAllowed));
    peer.receive(&status("cleared", None));
    assert!(matches!(
        peer.events()[..],
        [Event::Session(SessionEvent::Cleared)]
    ));
    peer.receive(&json!({"type": "conversation", "state": "read_only", "actions": ["start_new"]}));
    assert_eq!(peer.conversation.state(), State::ReadOnly);
    peer.conversation.request(&Request::StartNew).unwrap();
    assert_eq!(peer.frames()[0], json!({"type": "conversation.start"}));
    peer.receive(&json!({"type": "conversation", "state": "open", "actions": ["send"]}));
    assert_eq!(peer.conversation.state(), State::Configured);
}

#[test]
fn handshake_waits_while_the_gateway_reports_an_outage() {
    let mut peer = VirtualPeer::new(session());
    peer.connect();
    peer.receive(
        &json!({"type": "conversation", "state": "open", "actions": ["send"],
        "outage": {"reason": "genesys.unreachable", "since": "2026-11-22T12:00:00.000Z"}}),
    );
    for _ in 0..10 {
        peer.pass(10 * SECOND);
        peer.receive(&json!({"type": "pong"}));
    }
    assert_eq!(peer.conversation.state(), State::Configuring);
    peer.receive(&handshake_accepted(0));
    assert_eq!(peer.conversation.state(), State::Configured);
}

#[test]
fn idle_conversation_is_small() {
    assert!(
        size_of::<GatewayConversation>() <= 1024,
        "{}",
        size_of::<GatewayConversation>()
    );
}

#[test]
fn debug_of_frames_shows_no_text() {
    let message = OutgoingMessage::new("canary");
    let sent = ClientFrame::Message(GuestMessage::new(id(1), &message));
    let received = r#"{"type":"message","sequence":1,"id":"m","text":"canary","from":{"kind":"agent","name":"canary"},"timestamp":""}"#;
    let received = ServerFrame::parse(received).unwrap();
    let shown = format!("{sent:?} {received:?}");
    assert!(!shown.contains("canary"), "{shown}");
}
