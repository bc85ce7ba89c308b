//! Rate limits of the service, and messages that wait for them.

use std::time::Duration;

use guest_conversation::{
    Command, ConnectionEvent, DeliveryStatus, Event, GuestMachine as _, Machine as _, Reason, State,
};

use crate::virtual_peer::{VirtualPeer, agent_message, id, session_response, too_many, web_messaging};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn messages_are_limited_to_five_a_second() {
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
fn message_that_has_to_wait_is_reported_as_queued_then_as_sending() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..6 {
        peer.send(n, "x");
    }
    peer.frames();
    // the others were sent at once
    assert_eq!(peer.deliveries(), [(id(5), DeliveryStatus::Queued)]);
    peer.pass(2 * SECOND);
    peer.frames();
    assert_eq!(peer.deliveries(), [(id(5), DeliveryStatus::Sending)]);
    peer.receive(&too_many(3, Some(id(5))));
    peer.frames();
    assert_eq!(peer.deliveries(), [(id(5), DeliveryStatus::Queued)]);
    peer.drop_socket();
    peer.send(6, "x");
    let queued = peer.deliveries();
    assert_eq!(queued, [(id(6), DeliveryStatus::Queued)], "each is reported once");
}

#[test]
fn requests_are_limited_to_sixty_a_minute() {
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
fn typing_is_limited_to_once_in_five_seconds() {
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
fn throttled_message_waits_and_keeps_its_order() {
    for tracing in [Some(id(1)), None] {
        let mut peer = VirtualPeer::web_messaging();
        peer.send(1, "first");
        assert_eq!(peer.frames().len(), 1);
        peer.send(2, "second");
        peer.receive(&too_many(3, tracing));
        assert!(
            matches!(peer.events()[..], [Event::Connection(ConnectionEvent::Throttled { retry_after })] if retry_after == 3 * SECOND)
        );
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
fn throttled_configuration_is_repeated() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.connect();
    peer.frames();
    peer.receive(&too_many(3, None));
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Throttled { .. })]
    ));
    peer.pass(3 * SECOND);
    assert_eq!(peer.frames()[0]["action"], "configureSession");
    peer.receive(&session_response(false));
    assert_eq!(peer.state(), State::Configured);
}

#[test]
fn unread_events_are_bounded() {
    let mut peer = VirtualPeer::web_messaging();
    for n in 0..2000 {
        peer.receive(&agent_message(&format!("a{n}"), "x"));
    }
    assert_eq!(peer.conversation.backlog(), 1024);
    assert_eq!(peer.conversation.poll_command(), Some(Command::Disconnect));
}

#[test]
fn rate_limit_of_the_service_outlives_the_connection() {
    let mut peer = VirtualPeer::new(web_messaging());
    peer.connect();
    assert_eq!(peer.frames().len(), 1);
    peer.receive(&too_many(60, None));
    let asked = peer.now.instant + 60 * SECOND;
    peer.drop_socket();
    peer.reconnect();
    assert_eq!(peer.frames().len(), 0);
    assert_eq!(peer.conversation.poll_timeout().unwrap().1, Reason::Heartbeat);
    peer.conversation.handle_alive();
    while peer.now.instant < asked {
        assert_eq!(peer.frames().len(), 0);
        peer.pass(SECOND);
        peer.conversation.handle_alive();
    }
    assert_eq!(peer.frames()[0]["action"], "configureSession");
}
