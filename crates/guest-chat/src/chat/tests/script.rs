//! A chat whose lines are a script's.

use super::*;

#[test]
fn a_script_waits_for_what_it_asks_for() {
    let mut guest = Fixture::new(SCRIPT);
    assert!(!guest.chat.wants_input(), "it is not connected");
    guest.event(Event::Configured(session()));
    for (line, event) in [
        ("/ping", Event::Healthy { expires_at: None }),
        ("/history", Event::HistoryUnread { why: String::new() }),
        ("/wait", said("Hello", "")),
        (
            "/clear",
            Event::Refused(Refusal {
                code: "403".to_owned(),
                message: "no".to_owned(),
            }),
        ),
        ("/clear", Event::Ended(Ending::ClosedByServer { reason: None })),
        ("/new", Event::Configured(session())),
    ] {
        assert!(guest.chat.wants_input(), "{line}");
        guest.line(line);
        assert!(!guest.chat.wants_input(), "{line}");
        guest.event(Event::Throttled {
            retry_after: Duration::ZERO,
        });
        assert!(!guest.chat.wants_input(), "{line}");
        guest.event(event);
    }
    for line in ["hello", "/why", "/open 1", "/help", "/reconnect", "/dance"] {
        guest.line(line);
        assert!(guest.chat.wants_input(), "{line}");
    }
}

#[test]
fn a_script_waits_for_an_answer_that_has_not_come_yet() {
    let mut guest = Fixture::connected(SCRIPT);
    guest.say("hello", 1);
    guest.event(said("Hello", ""));
    guest.line("/wait");
    assert!(guest.chat.wants_input(), "it has come");
    guest.say("red", 2);
    guest.line("/wait");
    assert!(!guest.chat.wants_input());
    let mut person = Fixture::connected(Writer::Person);
    person.line("/wait");
    assert!(person.chat.wants_input());
}

#[test]
fn a_script_waits_for_nothing_once_it_is_over() {
    for (event, why) in [
        (
            Event::Ended(Ending::SessionExpired),
            "! no answer can come: the session has expired: start a new one",
        ),
        (
            Event::ConversationEnded { read_only: true },
            "! no answer can come: the other side has left",
        ),
    ] {
        let mut guest = Fixture::connected(SCRIPT);
        guest.say("hi", 1);
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
fn a_script_goes_on_when_what_it_waits_for_does_not_come() {
    let mut guest = Fixture::connected(SCRIPT);
    guest.line("/ping");
    guest.chat.handle_failure(&Request::Ping, &"no");
    assert!(guest.chat.wants_input());
    guest.line("/ping");
    guest.lines();
    guest.pass(29.9);
    assert!(!guest.chat.wants_input());
    guest.pass(0.1);
    assert_eq!(guest.lines(), ["! no word from the service within 30 s"]);
    assert!(guest.chat.wants_input());
}

#[test]
fn a_script_is_left_once_all_is_delivered_and_silent() {
    let mut guest = Fixture::new(SCRIPT);
    guest.say("hi", 1);
    assert_eq!(guest.lines(), ["> hi"]);
    guest.chat.handle_end_of_input(guest.now);
    assert!(!guest.chat.wants_input());
    guest.pass(3.0);
    guest.event(Event::Configured(session()));
    guest.pass(3.0);
    guest.event(accepted(1));
    guest.pass(1.0);
    guest.event(Event::Typing {
        from: ann(),
        during: Duration::from_secs(5),
    });
    guest.pass(4.0);
    guest.event(said("hello", ""));
    guest.pass(1.9);
    assert!(guest.requests().is_empty());
    guest.pass(0.1);
    assert_eq!(guest.requests(), [Request::Leave]);
    assert_eq!(guest.chat.failure(), None);
}

#[test]
fn a_script_does_not_wait_for_ever() {
    let mut guest = Fixture::new(SCRIPT);
    guest.say("hi", 1);
    guest.lines();
    guest.chat.handle_end_of_input(guest.now);
    guest.pass(31.9);
    assert_eq!(guest.lines(), ["… hi (waiting)", "! no connection within 30 s"]);
    assert!(guest.requests().is_empty());
    guest.pass(0.1);
    assert_eq!(guest.requests(), [Request::Leave]);
    assert_eq!(
        guest.chat.failure().as_deref(),
        Some("a message was not delivered")
    );

    let mut chatty = Fixture::connected(SCRIPT);
    chatty.chat.handle_end_of_input(chatty.now);
    for _ in 0..31 {
        chatty.pass(1.0);
        chatty.event(said("and another thing", ""));
    }
    assert!(chatty.requests().is_empty());
    chatty.pass(1.0);
    assert_eq!(chatty.requests(), [Request::Leave]);

    let mut patient = Fixture::connected(Writer::Script { quiet: Duration::MAX });
    patient.chat.handle_end_of_input(patient.now);
    patient.pass(86_401.0);
    assert_eq!(patient.requests(), [Request::Leave]);

    let mut refused = Fixture::new(SCRIPT);
    refused.event(Event::Ended(Ending::Refused { status: 403 }));
    assert!(refused.requests().is_empty(), "lines may come");
    refused.chat.handle_end_of_input(refused.now);
    assert_eq!(refused.requests(), [Request::Leave]);
    assert_eq!(
        refused.chat.failure().as_deref(),
        Some("the conversation never began")
    );
}

#[test]
fn a_script_that_is_far_ahead_waits() {
    let mut guest = Fixture::connected(SCRIPT);
    for id in 0..64 {
        assert!(guest.chat.wants_input());
        guest.say("x", id);
    }
    assert!(!guest.chat.wants_input());
    guest.event(accepted(0));
    assert!(guest.chat.wants_input());
}

#[test]
fn a_service_that_lets_the_connection_wait_is_told_of_once() {
    let mut guest = Fixture::new(SCRIPT);
    let throttled = || Event::Throttled {
        retry_after: Duration::from_secs(1),
    };
    let told = "* the service asks for patience: the connection waits, and is tried again until it is taken";
    guest.event(throttled());
    assert_eq!(guest.lines(), [told]);
    guest.event(throttled());
    assert!(guest.lines().is_empty());
    guest.event(Event::Configured(session()));
    guest.lines();
    guest.event(throttled());
    assert_eq!(
        guest.lines(),
        ["* the service asks for patience: the next message is sent in 1.0 s"]
    );
}
