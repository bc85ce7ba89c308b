//! A new conversation after an ended, a failed or a cleared one.

use super::*;

#[test]
fn new_conversation_starts_only_after_the_last_one() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    let not_yet = ["! cannot start a new conversation: the last one has not ended"];
    assert_eq!(guest.line("/new"), not_yet);
    for (over, request) in [
        (
            Event::Session(SessionEvent::ConversationEnded { read_only: true }),
            Request::StartNew,
        ),
        (Event::Ended(Ending::LoggedOut), Request::OpenAnother),
    ] {
        guest.event(over);
        guest.lines();
        assert!(guest.line("/new").is_empty());
        assert_eq!(guest.requests(), [request]);
        assert_eq!(guest.line("/new"), not_yet, "a new one is being opened");
        guest.event(Event::Connection(ConnectionEvent::Ready(session())));
        assert_eq!(guest.lines(), ["* connected: a new conversation"]);
    }
}

#[test]
fn new_conversation_can_be_retried_after_a_failure() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.event(Event::Session(SessionEvent::ConversationEnded {
        read_only: true,
    }));
    guest.lines();
    for _ in 0..2 {
        guest.line("/new");
        assert_eq!(guest.requests(), [Request::StartNew]);
        guest
            .chat
            .handle_failure(&Request::StartNew, &"it is not connected");
        assert_eq!(guest.lines(), ["! /new failed: it is not connected"]);
    }
}

#[test]
fn cleared_conversation_ends_without_an_error() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.line("/clear");
    assert_eq!(guest.requests(), [Request::Clear]);
    let closed = || Event::Ended(Ending::ClosedByServer { reason: None });
    guest.event(Event::Session(SessionEvent::Cleared));
    guest.event(closed());
    assert_eq!(
        guest.lines(),
        [
            "* the conversation was cleared",
            "* the conversation has ended: /new starts another one, /quit leaves"
        ]
    );
    guest.line("/new");
    guest.event(Event::Connection(ConnectionEvent::Ready(session())));
    guest.lines();
    guest.event(closed());
    assert!(guest.lines()[0].starts_with("! the service closed the connection"));
}

#[test]
fn clear_waits_for_outstanding_deliveries() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.send("a", 1);
    guest.line("/clear");
    assert!(guest.requests().is_empty());
    guest.event(accepted(1));
    assert_eq!(guest.requests(), [Request::Clear]);
    guest.event(Event::Session(SessionEvent::Cleared));
    assert!(guest.requests().is_empty());
}
