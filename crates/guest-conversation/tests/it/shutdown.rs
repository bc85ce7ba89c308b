//! Shutdown of a conversation, and its effect at Genesys Cloud.

use std::time::Duration;

use guest_conversation::{
    CloseMode, Command, ConnectionEvent, DeliveryStatus, Ending, Event, FailureReason, GuestMachine as _,
    Machine as _, OutgoingMessage, Reason, SendError, SessionEvent, State, WebMessaging,
};
use serde_json::json;
use ws_transport::{CloseInfo, Transmit};

use crate::virtual_peer::{VirtualPeer, echo, id, refused, session_response, too_many, web_messaging};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn end_waits_for_sent_messages_then_closes() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..6 {
        peer.send(n, "x");
    }
    peer.conversation.end(peer.now);
    assert_eq!(peer.state(), State::Closing);
    assert_eq!(peer.transmits().len(), 5);
    assert_eq!(
        peer.conversation
            .engine_mut()
            .send(id(255), OutgoingMessage::new("x".to_owned()), peer.now),
        Err(SendError::Ended)
    );
    peer.pass(2 * SECOND);
    assert_eq!(peer.transmits().len(), 1);
    for n in 0..6 {
        peer.receive(&echo(n));
    }
    assert_eq!(peer.events().len(), 6);
    assert!(matches!(
        peer.transmits()[..],
        [Transmit::Close { code: 1000, .. }]
    ));
    peer.close(CloseInfo::with_code(1000, ""));
    assert!(matches!(peer.events()[..], [Event::Ended(Ending::ByUs)]));
    assert_eq!(peer.state(), State::Closed);
}

#[test]
fn end_times_out() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..6 {
        peer.send(n, "x");
    }
    peer.frames();
    peer.conversation.end(peer.now);
    peer.pass(5 * SECOND);
    assert!(matches!(peer.transmits()[..], [Transmit::Close { .. }]));
    assert!(
        matches!(peer.events()[..], [Event::Delivery { id: waiting, status: DeliveryStatus::Failed(FailureReason::Ended) }] if waiting == id(5))
    );
    peer.pass(2 * SECOND);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    assert!(
        matches!(&peer.events()[..], [unknown @ .., Event::Ended(Ending::ByUs)] if unknown.len() == 5 && unknown.iter().all(is_unknown))
    );
}

/// Ends a configured conversation by clearing it, and takes the frame that requests it.
fn clearing(within: Duration) -> VirtualPeer {
    let mut peer = VirtualPeer::web_messaging();
    peer.conversation.set_close_mode(CloseMode::Clear);
    peer.conversation.end_within(within, peer.now);
    let transmits = peer.transmits();
    let [Transmit::Frame(clear)] = &transmits[..] else {
        panic!("{transmits:?}")
    };
    assert!(clear.contains(r#""presence":{"type":"Clear"}"#));
    peer
}

#[test]
fn end_can_clear_the_conversation() {
    let mut peer = clearing(7 * SECOND);
    peer.receive(&json!({"type": "message", "class": "StructuredMessage", "code": 200, "body": {"type": "Event",
        "direction": "Inbound", "id": "c", "events": [{"eventType": "Presence", "presence": {"type": "Clear"}}]}}));
    assert!(
        peer.transmits().is_empty(),
        "an echo does not confirm the clearing"
    );
    peer.receive(&json!({"type": "message", "class": "SessionClearedEvent", "code": 200, "body": {}}));
    assert!(matches!(
        peer.transmits()[..],
        [Transmit::Close { code: 1000, .. }]
    ));
    peer.receive(&json!({"type": "message", "class": "ConnectionClosedEvent", "code": 200, "body": {}}));
    assert!(peer.transmits().is_empty(), "the close frame was sent");
    assert!(matches!(
        peer.events()[..],
        [Event::Session(SessionEvent::Cleared), Event::Ended(Ending::ByUs)]
    ));
}

#[test]
fn end_closes_if_the_clearing_is_refused() {
    let forbidden = json!({"type": "response", "class": "string", "code": 403,
        "body": "Presence events Conversation Clear are not supported"});
    for (answer, event) in [
        (forbidden, "Refused"),
        (refused(401, None), ""),
        (refused(500, None), "Refused"),
        (too_many(3, None), "Throttled"),
    ] {
        let mut peer = clearing(7 * SECOND);
        peer.receive(&answer);
        assert!(
            matches!(peer.transmits()[..], [Transmit::Close { code: 1000, .. }]),
            "{answer}"
        );
        peer.close(CloseInfo::with_code(1000, ""));
        let events = peer.events();
        assert!(matches!(events.last(), Some(Event::Ended(Ending::ByUs))));
        assert!(format!("{events:?}").contains(event), "{events:?}");
        assert_eq!(peer.state(), State::Closed);
    }
}

#[test]
fn end_times_out_without_any_answer() {
    let mut peer = clearing(SECOND);
    let start = peer.now.instant;
    for (millis, reason) in [(750, Reason::Clear), (1_000, Reason::Close)] {
        let due = peer.conversation.poll_timeout();
        assert_eq!(due, Some((start + Duration::from_millis(millis), reason)));
        let now = peer.now.instant;
        peer.pass(start + Duration::from_millis(millis) - now);
    }
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    assert!(matches!(peer.events()[..], [Event::Ended(Ending::ByUs)]));
}

#[test]
fn close_mode_can_be_changed_during_the_drain() {
    let mut peer = VirtualPeer::new(WebMessaging {
        close_mode: CloseMode::Clear,
        ..web_messaging()
    });
    peer.connect();
    peer.frames();
    peer.receive(&session_response(true));
    peer.send(1, "x");
    peer.frames();
    peer.conversation.end(peer.now);
    assert!(peer.transmits().is_empty(), "the message is unacknowledged");
    peer.conversation.set_close_mode(CloseMode::Leave);
    peer.receive(&echo(1));
    assert!(matches!(peer.transmits()[..], [Transmit::Close { .. }]));
}

#[test]
fn end_does_not_clear_before_the_session_is_configured() {
    let mut peer = VirtualPeer::web_messaging();
    peer.conversation.set_close_mode(CloseMode::Clear);
    peer.drop_socket();
    peer.reconnect();
    assert_eq!(peer.frames().len(), 1);
    peer.conversation.end(peer.now);
    assert!(matches!(peer.transmits()[..], [Transmit::Close { .. }]));
}

#[test]
fn end_clears_a_read_only_conversation() {
    let mut peer = VirtualPeer::web_messaging();
    peer.receive(&refused(409, None));
    assert_eq!(peer.state(), State::ReadOnly);
    peer.conversation.set_close_mode(CloseMode::Clear);
    peer.conversation.end(peer.now);
    assert!(matches!(&peer.transmits()[..], [Transmit::Frame(clear)] if clear.contains("Clear")));
}

#[test]
fn end_within_is_short_with_unacknowledged_messages() {
    for mode in [CloseMode::Clear, CloseMode::Leave] {
        let mut peer = VirtualPeer::new(WebMessaging {
            close_mode: mode,
            ..web_messaging()
        });
        peer.connect();
        peer.frames();
        peer.receive(&session_response(true));
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
        assert_eq!(peer.state(), State::Closed);
        assert!(peer.now.instant - start <= SECOND);
        let events = peer.events();
        assert!(
            matches!(&events[..], [
                Event::Connection(ConnectionEvent::Ready(_)),
                Event::Delivery { status: DeliveryStatus::Failed(FailureReason::Ended), .. },
                unknown @ ..,
                Event::Ended(Ending::ByUs),
            ] if unknown.len() == 5 && unknown.iter().all(is_unknown)),
            "{events:?}"
        );
    }
}

#[test]
fn end_within_only_shortens_a_shutdown() {
    let mut peer = VirtualPeer::web_messaging();
    peer.send(1, "x");
    peer.frames();
    let start = peer.now.instant;
    peer.conversation.end(peer.now);
    let due = |peer: &VirtualPeer| peer.conversation.poll_timeout().unwrap();
    assert_eq!(due(&peer), (start + 5 * SECOND, Reason::Drain));
    peer.conversation.end_within(SECOND, peer.now);
    assert_eq!(due(&peer), (start + SECOND / 2, Reason::Drain));
    peer.conversation.end_within(Duration::MAX, peer.now);
    assert_eq!(due(&peer), (start + SECOND / 2, Reason::Drain));
    peer.receive(&echo(1));
    peer.transmits();
    assert_eq!(due(&peer), (start + SECOND, Reason::Close));
    peer.conversation.end_within(Duration::ZERO, peer.now);
    peer.pass(Duration::ZERO);
    assert_eq!(peer.state(), State::Closed);
    assert!(peer.transmits().is_empty());
}

#[test]
fn conversation_can_be_ended_in_each_state() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.send(1, "x");
    peer.conversation.end(peer.now);
    assert!(matches!(
        peer.events()[..],
        [
            Event::Delivery {
                status: DeliveryStatus::Failed(_),
                ..
            },
            Event::Ended(Ending::ByUs)
        ]
    ));
    let mut peer = VirtualPeer::new(web_messaging());
    peer.conversation.engine_mut().connect(peer.now);
    peer.conversation.poll_command();
    peer.conversation.end(peer.now);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
    assert_eq!(peer.state(), State::Closed);
    let mut peer = VirtualPeer::web_messaging();
    peer.drop_socket();
    peer.conversation.end(peer.now);
    assert_eq!(
        (peer.state(), peer.conversation.poll_timeout()),
        (State::Closed, None)
    );
}

fn is_unknown(event: &Event) -> bool {
    matches!(
        event,
        Event::Delivery {
            status: DeliveryStatus::Unknown,
            ..
        }
    )
}
