//! Authors of messages, and redaction of their text.

use guest_conversation::{
    AuthorKind, Direction, Event, GuestMachine as _, Machine as _, SessionEvent, State,
};
use serde_json::json;
use web_messaging as theirs;

use crate::virtual_peer::{VirtualPeer, agent_message, echo};

#[test]
fn message_of_the_guest_is_never_emitted_as_an_answer() {
    // a process that was started anew, with the same session: it sent none of these
    let mut peer = VirtualPeer::web_messaging();
    let mut without_id = echo(8);
    without_id["tracingId"].take();
    for late in [echo(9), without_id] {
        for _ in 0..2 {
            peer.receive(&late);
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
    peer.receive(&agent_message("a1", "hello"));
    assert!(
        matches!(&peer.events()[..], [Event::Message(message)] if message.direction == Direction::Outbound)
    );
}

#[test]
fn message_without_a_known_direction_is_unknown() {
    let mut peer = VirtualPeer::web_messaging();
    for (field, value) in [("direction", "Sideways"), ("type", "Receipt")] {
        let mut unusual = agent_message(value, "x");
        unusual["body"][field] = value.into();
        peer.receive(&unusual);
        let events = peer.events();
        assert!(
            matches!(events[..], [Event::Session(SessionEvent::Unknown(_))]),
            "{events:?}"
        );
    }
}

#[test]
fn malformed_frame_is_unknown_and_changes_nothing() {
    let mut peer = VirtualPeer::web_messaging();
    let frame = |class: &str, body: &str| {
        format!(r#"{{"type":"message","class":"{class}","code":200,"body":{body}}}"#)
    };
    for text in [
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        r#""canary""#.to_owned(),
        "[]".to_owned(),
        "[".repeat(100_000),
        frame("StructuredMessage", r#""canary""#),
        frame("StructuredMessage", "[1]"),
        frame("SessionResponse", "7"),
        frame("JwtResponse", r#"{"jwt":["canary"]}"#),
        frame("UploadSuccessEvent", r#"{"attachmentId":""}"#),
        frame("PresignedUrlResponse", r#"{"url":"canary"}"#),
    ] {
        peer.conversation.handle_frame(&text, peer.now);
        let events = peer.events();
        assert!(
            matches!(events[..], [Event::Session(SessionEvent::Unknown(_))]),
            "{text:.80}: {events:?}"
        );
        assert!(!format!("{events:?}").contains("canary"));
        assert_eq!(peer.conversation.state(), State::Configured);
        assert_eq!(peer.conversation.poll_command(), None);
    }
    peer.receive(&agent_message("a1", "hello"));
    assert!(matches!(peer.events()[..], [Event::Message(_)]));
}

#[test]
fn debug_of_events_shows_no_text() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "canary");
    let mut own = echo(2);
    own["body"]["text"] = "canary".into();
    own["body"]["channel"]["from"] = json!({"firstName": "canary"});
    let mut answer = agent_message("a1", "canary");
    answer["body"]["channel"]["from"]["nickname"] = "canary".into();
    answer["body"]["content"] = json!([
        {"contentType": "QuickReply", "quickReply": {"text": "canary", "payload": "canary"}},
        {"contentType": "Card", "card": {"title": "canary"}},
    ]);
    let typing = json!({"type": "message", "class": "StructuredMessage", "code": 200,
        "body": {"type": "Event", "direction": "Outbound", "id": "t", "channel": {"from": {"nickname": "canary"}},
            "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}});
    let unknown = json!({"type": "message", "class": "Novelty", "code": 200, "body": {"text": "canary"}});
    for frame in [&own, &answer, &typing, &unknown] {
        peer.receive(frame);
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
