//! Who said what, and what of it can be printed.

use guest_conversation::{AuthorKind, Contract, Direction, Ending, Event};
use guest_sessions as ours;
use serde_json::json;
use web_messaging as theirs;
use ws_transport::CloseInfo;

use crate::virtual_peer::{VirtualPeer, agent_says, echo, guest_sessions, id};

#[test]
fn the_guests_own_words_are_never_an_answer() {
    // a process that was started anew, with the same session: it sent none of these
    let mut peer = VirtualPeer::web_messaging();
    let mut without_id = echo(8);
    without_id["tracingId"].take();
    for late in [echo(9), without_id] {
        for _ in 0..2 {
            peer.hear(&late);
        }
        let events = peer.events();
        let [Event::OwnMessage(message)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (message.direction, message.from.kind),
            (Direction::Inbound, AuthorKind::Guest)
        );
    }
    peer.hear(&agent_says("a1", "hello"));
    assert!(
        matches!(&peer.events()[..], [Event::Message(message)] if message.direction == Direction::Outbound)
    );
}

#[test]
fn the_gateway_tells_by_itself_that_a_session_expires() {
    let mut peer = VirtualPeer::guest_sessions();
    peer.hear(
        &json!({"type": "event", "sequence": 1, "name": "session.expiring",
        "detail": "2026-11-22T12:05:00.000Z"}),
    );
    assert!(matches!(
        peer.events()[..],
        [Event::SessionExpiring { at: Some(_) }]
    ));
    assert!(peer.conversation.expires_at().is_some());
    peer.pass(std::time::Duration::from_secs(600));
    assert!(peer.frames().is_empty() && peer.events().is_empty());
}

#[test]
fn what_is_neither_said_nor_heard_is_no_message() {
    let mut peer = VirtualPeer::web_messaging();
    for (field, value) in [("direction", "Sideways"), ("type", "Receipt")] {
        let mut odd = agent_says(value, "x");
        odd["body"][field] = value.into();
        peer.hear(&odd);
        let events = peer.events();
        assert!(matches!(events[..], [Event::Unknown(_)]), "{events:?}");
    }
}

#[test]
fn events_can_be_logged() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "canary");
    let mut own = echo(2);
    own["body"]["text"] = "canary".into();
    own["body"]["channel"]["from"] = json!({"firstName": "canary"});
    let mut said = agent_says("a1", "canary");
    said["body"]["channel"]["from"]["nickname"] = "canary".into();
    said["body"]["content"] = json!([
        {"contentType": "QuickReply", "quickReply": {"text": "canary", "payload": "canary"}},
        {"contentType": "Card", "card": {"title": "canary"}},
    ]);
    let typing = json!({"type": "message", "class": "StructuredMessage", "code": 200,
        "body": {"type": "Event", "direction": "Outbound", "id": "t", "channel": {"from": {"nickname": "canary"}},
            "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}});
    let novelty = json!({"type": "message", "class": "Novelty", "code": 200, "body": {"text": "canary"}});
    for frame in [&own, &said, &typing, &novelty] {
        peer.hear(frame);
        let text = frame.to_string();
        let shown = format!("{:?}", theirs::ServerFrame::parse(&text).unwrap());
        assert!(shown.contains("bytes") && !shown.contains("canary"), "{shown}");
    }
    assert!(!format!("{:?}", peer.conversation).contains("canary"));
    let events = peer.events();
    assert!(matches!(
        events[..],
        [
            Event::OwnMessage(_),
            Event::Message(_),
            Event::Typing { .. },
            Event::Unknown(_)
        ]
    ));
    let shown = format!("{events:?} {events:#?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("text: [6 bytes]"), "{shown}");

    let said = ours::ClientFrame::Message {
        id: id(1),
        text: "canary".into(),
    };
    let heard = r#"{"type":"message","sequence":1,"id":"m","text":"canary","from":{"kind":"agent","name":"canary"},"timestamp":""}"#;
    let heard = ours::ServerFrame::parse(heard).unwrap();
    let message = theirs::GuestMessage::text("canary", None);
    let shown = format!("{said:?} {heard:?} {message:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

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
fn why_the_gateway_lets_nobody_in_can_be_told_by_its_code() {
    let error = |code: &str| json!({"type": "error", "code": code, "message": "some words"});
    let last = |peer: &mut VirtualPeer| match peer.events().pop() {
        Some(Event::Ended(Ending::Rejected(refusal))) => refusal.code,
        other => panic!("{other:?}"),
    };
    for code in FATAL {
        // in place of the answer to the handshake
        let mut peer = VirtualPeer::new(Contract::GuestSessions(guest_sessions()));
        peer.connect();
        peer.hear(&error(code));
        assert_eq!(last(&mut peer), code);
        // in the middle
        let mut peer = VirtualPeer::guest_sessions();
        peer.hear(&error(code));
        assert!(matches!(&peer.events()[..], [Event::Refused(refusal)] if refusal.code == code));
        peer.close(CloseInfo::with_code(1008, "see the error frame"));
        assert_eq!(last(&mut peer), code);
    }
    // before the upgrade
    for status in [403, 404, 409] {
        let mut peer = VirtualPeer::new(Contract::GuestSessions(guest_sessions()));
        peer.conversation.connect(peer.now);
        peer.conversation.handle_refused(status, None, peer.now, 0);
        assert!(matches!(
            peer.events()[..],
            [Event::Ended(Ending::Refused { status: told })] if told == status
        ));
    }
}
