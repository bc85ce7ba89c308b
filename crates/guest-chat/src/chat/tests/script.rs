//! A chat whose lines are a script's.

use super::*;
use guest_conversation::{ConnectionEvent, SessionEvent};

#[test]
fn script_waits_for_the_result_of_each_command() {
    let mut guest = Fixture::new(SCRIPT);
    assert!(!guest.chat.wants_input(), "it is not connected");
    guest.event(Event::Connection(ConnectionEvent::Ready(session())));
    for (line, event) in [
        ("/ping", Event::Session(SessionEvent::Health { expires_at: None })),
        (
            "/history",
            Event::Session(SessionEvent::HistoryFailed {
                reason: String::new(),
                retry_after: None,
            }),
        ),
        ("/wait", message("Hello", "")),
        (
            "/clear",
            Event::Session(SessionEvent::Refused {
                request: None,
                refusal: ServiceRefusal {
                    code: "403".to_owned(),
                    message: "no".to_owned(),
                },
            }),
        ),
        ("/clear", Event::Ended(Ending::ClosedByServer { reason: None })),
        ("/new", Event::Connection(ConnectionEvent::Ready(session()))),
    ] {
        assert!(guest.chat.wants_input(), "{line}");
        guest.line(line);
        assert!(!guest.chat.wants_input(), "{line}");
        guest.event(Event::Connection(ConnectionEvent::Throttled {
            retry_after: Duration::ZERO,
        }));
        assert!(!guest.chat.wants_input(), "{line}");
        guest.event(event);
    }
    for line in ["hello", "/why", "/open 1", "/help", "/reconnect", "/dance"] {
        guest.line(line);
        assert!(guest.chat.wants_input(), "{line}");
    }
}

#[test]
fn script_waits_for_no_answer_to_a_refused_file() {
    let cat = || Request::Attach("cat.png".into());
    let mut guest = Fixture::connected(SCRIPT);
    guest.line("/attach cat.png");
    guest.requests();
    guest.chat.handle_failure(&cat(), &"it is too large");
    guest.lines();
    let lines = guest.line("/wait");
    assert_eq!(
        lines,
        ["> /wait", "! cannot wait for an answer: nothing was sent"]
    );
    assert!(guest.chat.wants_input());
    guest.send("hello", 1);
    guest.line("/attach cat.png");
    guest.chat.handle_failure(&cat(), &"it is too large");
    guest.line("/wait");
    assert!(!guest.chat.wants_input(), "the text may be answered");
    let read_only = SessionInfo {
        read_only: true,
        ..session()
    };
    guest.lines();
    guest.event(Event::Connection(ConnectionEvent::Restored(read_only)));
    let expected = "* reconnected: the conversation has ended and is read-only, /new starts another one";
    assert_eq!(guest.lines(), [expected]);
    assert!(
        guest.chat.wants_input(),
        "a read-only conversation has no answers"
    );
}

#[test]
fn script_that_waits_for_a_greeting_shows_that() {
    let mut guest = Fixture::connected(SCRIPT);
    let lines = guest.line("/wait");
    assert_eq!(
        lines,
        [
            "> /wait",
            "* waiting for a greeting, at most 30 s: nothing was sent yet"
        ]
    );
    assert!(!guest.chat.wants_input());
    guest.event(message("Welcome", ""));
    assert!(guest.chat.wants_input());
}

#[test]
fn script_waits_for_a_missing_answer() {
    let mut guest = Fixture::connected(SCRIPT);
    guest.send("hello", 1);
    guest.event(message("Hello", ""));
    guest.line("/wait");
    assert!(guest.chat.wants_input(), "the answer was received");
    guest.send("red", 2);
    guest.line("/wait");
    assert!(!guest.chat.wants_input());
    let mut person = Fixture::connected(InputMode::Interactive);
    person.line("/wait");
    assert!(person.chat.wants_input());
}

#[test]
fn script_does_not_wait_after_the_end() {
    for (event, why) in [
        (
            Event::Ended(Ending::SessionExpired),
            "! cannot wait for an answer: the session has expired: start a new one",
        ),
        (
            Event::Session(SessionEvent::ConversationEnded { read_only: true }),
            "! cannot wait for an answer: the other side has left",
        ),
    ] {
        let mut guest = Fixture::connected(SCRIPT);
        guest.send("hi", 1);
        guest.event(event);
        guest.lines();
        assert_eq!(guest.line("/wait"), ["> /wait", why]);
        assert!(guest.chat.wants_input());
    }
    let mut guest = Fixture::connected(SCRIPT);
    guest.event(Event::Ended(Ending::SessionExpired));
    guest.line("/ping");
    assert!(guest.chat.wants_input());
}

#[test]
fn script_continues_after_a_timeout() {
    let mut guest = Fixture::connected(SCRIPT);
    guest.line("/ping");
    guest.chat.handle_failure(&Request::Ping, &"no");
    assert!(guest.chat.wants_input());
    guest.line("/ping");
    guest.lines();
    guest.advance(29.9);
    assert!(!guest.chat.wants_input());
    guest.advance(0.1);
    assert_eq!(guest.lines(), ["! no answer to /ping within 30 s"]);
    assert!(guest.chat.wants_input());
}

#[test]
fn script_ends_after_deliveries_and_silence() {
    let mut guest = Fixture::new(SCRIPT);
    guest.send("hi", 1);
    assert_eq!(guest.lines(), ["> hi"]);
    guest.chat.handle_end_of_input(guest.now);
    assert!(!guest.chat.wants_input());
    guest.advance(3.0);
    guest.event(Event::Connection(ConnectionEvent::Ready(session())));
    guest.advance(3.0);
    guest.event(accepted(1));
    guest.advance(1.0);
    guest.event(Event::Session(SessionEvent::Typing {
        from: ann(),
        during: Duration::from_secs(5),
    }));
    guest.advance(4.0);
    guest.event(message("hello", ""));
    guest.advance(1.9);
    assert!(guest.requests().is_empty());
    guest.advance(0.1);
    assert_eq!(guest.requests(), [Request::Leave]);
    assert_eq!(guest.chat.failure(), None);
}

#[test]
fn script_ends_at_its_deadline() {
    let mut guest = Fixture::new(SCRIPT);
    guest.send("hi", 1);
    guest.lines();
    guest.chat.handle_end_of_input(guest.now);
    guest.advance(31.9);
    assert_eq!(guest.lines(), ["… hi (waiting)", "! no connection within 30 s"]);
    assert!(guest.requests().is_empty());
    guest.advance(0.1);
    assert_eq!(guest.requests(), [Request::Leave]);
    assert_eq!(
        guest.chat.failure().as_deref(),
        Some("a message was not delivered")
    );

    let mut active = Fixture::connected(SCRIPT);
    active.chat.handle_end_of_input(active.now);
    for _ in 0..31 {
        active.advance(1.0);
        active.event(message("and another thing", ""));
    }
    assert!(active.requests().is_empty());
    active.advance(1.0);
    assert_eq!(active.requests(), [Request::Leave]);

    let mut idle = Fixture::connected(InputMode::Script {
        idle_timeout: Duration::MAX,
    });
    idle.chat.handle_end_of_input(idle.now);
    idle.advance(86_401.0);
    assert_eq!(idle.requests(), [Request::Leave]);

    let mut refused = Fixture::new(SCRIPT);
    refused.event(Event::Ended(Ending::Refused { status: 403 }));
    assert!(refused.requests().is_empty(), "more lines may follow");
    refused.chat.handle_end_of_input(refused.now);
    assert_eq!(refused.requests(), [Request::Leave]);
    assert_eq!(
        refused.chat.failure().as_deref(),
        Some("the conversation was never connected")
    );
}

#[test]
fn script_waits_at_the_limit_of_outstanding_messages() {
    let mut guest = Fixture::connected(SCRIPT);
    for id in 0..64 {
        assert!(guest.chat.wants_input());
        guest.send("x", id);
    }
    assert!(!guest.chat.wants_input());
    guest.event(accepted(0));
    assert!(guest.chat.wants_input());
}

#[test]
fn rate_limited_connection_is_shown_once() {
    let mut guest = Fixture::new(SCRIPT);
    let throttled = || {
        Event::Connection(ConnectionEvent::Throttled {
            retry_after: Duration::from_secs(1),
        })
    };
    let expected = "* rate limited by the service: the connection is retried until it is accepted";
    guest.event(throttled());
    assert_eq!(guest.lines(), [expected]);
    guest.event(throttled());
    assert!(guest.lines().is_empty());
    guest.event(Event::Connection(ConnectionEvent::Ready(session())));
    guest.lines();
    guest.event(throttled());
    assert_eq!(
        guest.lines(),
        ["* rate limited by the service: the next message is sent in 1.0 s"]
    );
}
