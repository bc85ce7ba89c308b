//! Authors of messages, and redaction of their text.

use guest_conversation::{AuthorKind, Direction, Event, SessionEvent};
use serde_json::json;
use web_messaging as theirs;

use crate::virtual_peer::{VirtualPeer, agent_says, echo};

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
        let [Event::Session(SessionEvent::OwnMessage(message))] = &events[..] else {
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
fn what_is_neither_said_nor_heard_is_no_message() {
    let mut peer = VirtualPeer::web_messaging();
    for (field, value) in [("direction", "Sideways"), ("type", "Receipt")] {
        let mut odd = agent_says(value, "x");
        odd["body"][field] = value.into();
        peer.hear(&odd);
        let events = peer.events();
        assert!(
            matches!(events[..], [Event::Session(SessionEvent::Unknown(_))]),
            "{events:?}"
        );
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
            Event::Session(SessionEvent::OwnMessage(_)),
            Event::Message(_),
            Event::Session(SessionEvent::Typing { .. }),
            Event::Session(SessionEvent::Unknown(_))
        ]
    ));
    let shown = format!("{events:?} {events:#?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("text: [6 bytes]"), "{shown}");

    let message = theirs::GuestMessage::text("canary", None);
    let shown = format!("{message:?}");
    assert!(!shown.contains("canary"), "{shown}");
}
