//! A chat, event by event, at made-up times.

use genesys_api::Now;
use time::OffsetDateTime;
use ws_transport::{CloseInfo, Direction, Ending, FailureReason, Loss, Refusal, SendError, Session};

use super::*;

/// A chat, and what it showed and asked for since it was last looked at.
struct Fixture {
    chat: Chat,
    now: Now,
}

const SCRIPT: Writer = Writer::Script {
    quiet: Duration::from_secs(2),
};

impl Fixture {
    fn new(writer: Writer) -> Self {
        let now = Now {
            instant: origin(),
            utc: OffsetDateTime::UNIX_EPOCH,
        };
        Self {
            chat: Chat::new(writer),
            now,
        }
    }

    fn connected(writer: Writer) -> Self {
        let mut fixture = Self::new(writer);
        fixture.event(Event::Configured(session()));
        assert_eq!(fixture.lines(), ["* connected: a new conversation"]);
        fixture
    }

    fn line(&mut self, line: &str) -> Vec<String> {
        self.chat.handle_line(line, self.now);
        self.lines()
    }

    fn event(&mut self, event: Event) {
        self.chat.handle_event(event, self.now);
    }

    /// Says something that the conversation takes.
    fn say(&mut self, text: &str, id: u128) {
        self.chat.handle_line(text, self.now);
        let Some(Request::Say(text)) = self.chat.poll_request() else {
            panic!("{text} is not said");
        };
        self.chat.handle_taken(message_id(id), &text, self.now);
    }

    /// Lets time pass, with the chat woken whenever it wants to be.
    fn pass(&mut self, seconds: f64) {
        let end = self.now.instant + Duration::from_secs_f64(seconds);
        while let Some((at, _)) = self.chat.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now.instant = at.max(self.now.instant);
            self.chat.handle_timeout(self.now);
        }
        self.now.instant = end;
    }

    fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.chat.poll_line())
            .map(|line| line.render(Look::Plain))
            .collect()
    }

    fn requests(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.chat.poll_request()).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant cannot be made up otherwise")]
fn origin() -> Instant {
    Instant::now()
}

fn message_id(id: u128) -> MessageId {
    format!("00000000-0000-4000-8000-{id:012x}").parse().unwrap()
}

fn session() -> Session {
    Session {
        new_session: true,
        read_only: false,
        expires_at: None,
    }
}

fn ann() -> Author {
    Author {
        kind: ws_transport::AuthorKind::Human,
        name: Some("Ann".to_owned()),
    }
}

/// A message as the transport reads it; it cannot be made in another way.
fn said(json_text: &str, content: &str) -> Event {
    use secrecy::SecretString;
    use ws_transport::{Contract, Conversation, WebMessaging};
    let now = Now {
        instant: origin(),
        utc: OffsetDateTime::UNIX_EPOCH,
    };
    let contract = WebMessaging::new("b3c2".parse().unwrap(), SecretString::from("t"));
    let mut conversation = Conversation::new(Contract::WebMessaging(contract));
    conversation.connect(now);
    conversation.handle_connected(now);
    while conversation.poll_transmit(now).is_some() {}
    conversation.handle_frame(
        r#"{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true,"newSession":true}}"#,
        now,
    );
    conversation.handle_frame(
        &format!(
            r#"{{"type":"message","class":"StructuredMessage","code":200,"body":{{"type":"Structured","text":"{json_text}","direction":"Outbound","originatingEntity":"Bot","id":"m1","channel":{{"time":"2026-01-01T00:00:00Z","messageId":"m1","type":"Private","from":{{"nickname":"Botty"}}}},"content":[{content}]}}}}"#
        ),
        now,
    );
    std::iter::from_fn(|| conversation.poll_event())
        .find(|event| matches!(event, Event::Message(_)))
        .expect("the frame is a message")
}

fn question() -> Event {
    said(
        "Red or blue?",
        r#"{"contentType":"QuickReply","quickReply":{"text":"Red","payload":"r","action":"Message"}},
           {"contentType":"QuickReply","quickReply":{"text":"Blue","payload":"b","action":"Message"}}"#,
    )
}

fn accepted(id: u128) -> Event {
    Event::Accepted {
        id: message_id(id),
        at: OffsetDateTime::UNIX_EPOCH,
        sequence: None,
    }
}

#[test]
fn each_message_gets_its_mark() {
    let mut guest = Fixture::connected(Writer::Person);
    for (text, id) in [("a", 1), ("b", 2), ("c", 3)] {
        guest.say(text, id);
    }
    assert!(guest.lines().is_empty(), "on its way is worth no line yet");
    guest.event(accepted(1));
    guest.event(Event::Failed {
        id: message_id(2),
        reason: FailureReason::ReadOnly,
    });
    guest.event(Event::InDoubt {
        ids: vec![message_id(3)],
    });
    assert_eq!(
        guest.lines(),
        [
            "✓ a",
            "✗ b (not delivered: the conversation is read-only: start a new one)",
            "? c (sent, but it may not have arrived)"
        ]
    );
    guest.event(accepted(3));
    assert_eq!(guest.lines(), ["✓ c"], "the doubt is settled");
    guest.event(accepted(3));
    assert!(guest.lines().is_empty());
    guest.chat.handle_not_taken("", &SendError::Empty);
    assert_eq!(guest.lines(), ["✗  (not delivered: the message is empty)"]);
}

#[test]
fn a_message_that_waits_is_mentioned_once() {
    let mut guest = Fixture::connected(Writer::Person);
    guest.say("hello", 1);
    guest.pass(0.9);
    assert!(guest.lines().is_empty());
    guest.pass(10.0);
    assert_eq!(guest.lines(), ["… hello (waiting)"]);
    assert_eq!(guest.chat.poll_timeout(), None);
}

#[test]
fn typing_is_shown_once_replaced_by_others_and_gone_after_its_time() {
    let mut guest = Fixture::connected(Writer::Person);
    let typing = |from: Author| Event::Typing {
        from,
        during: Duration::from_secs(5),
    };
    guest.event(typing(ann()));
    guest.pass(4.0);
    guest.event(typing(ann()));
    guest.pass(4.0);
    assert_eq!(guest.lines(), ["Ann is typing …"]);
    guest.pass(1.0);
    assert_eq!(guest.lines(), ["Ann is no longer typing"]);

    guest.event(typing(ann()));
    guest.event(typing(Author {
        kind: ws_transport::AuthorKind::Bot,
        name: None,
    }));
    guest.event(question());
    guest.pass(60.0);
    assert_eq!(
        guest.lines(),
        [
            "Ann is typing …",
            "bot is typing …",
            "Botty (bot): Red or blue? | [1] Red | [2] Blue"
        ],
        "what was being typed was said"
    );
}

#[test]
fn a_quick_reply_is_chosen_by_its_number_while_it_is_offered() {
    let mut guest = Fixture::connected(Writer::Person);
    guest.event(question());
    guest.line("2");
    let requests = guest.requests();
    assert!(
        matches!(&requests[..], [Request::ChooseReply(reply)] if &*reply.payload == "b"),
        "{requests:?}"
    );
    guest.line("2");
    assert!(matches!(&guest.requests()[..], [Request::Say(text)] if text == "2"));

    guest.event(question());
    guest.line(" 2");
    assert!(matches!(&guest.requests()[..], [Request::Say(text)] if text == " 2"));
    guest.event(question());
    guest.event(said("Never mind.", ""));
    guest.line("2");
    assert!(matches!(&guest.requests()[..], [Request::Say(_)]));
}

#[test]
fn every_change_of_state_is_one_plain_line() {
    let mut guest = Fixture::connected(Writer::Person);
    let read_only = Session {
        read_only: true,
        ..session()
    };
    let old = Session {
        new_session: false,
        ..session()
    };
    for (event, line) in [
        (
            Event::Reconnecting {
                attempt: 2,
                after: Duration::from_millis(1_500),
                why: Loss::Closed(CloseInfo::with_code(1006, "gone")),
            },
            r#"! not connected: closed with 1006 "gone"; attempt 2 in 1.5 s"#,
        ),
        (Event::Restored(old), "* connected again"),
        (
            Event::Restored(session()),
            "* connected again, but the service began a new conversation",
        ),
        (Event::Configured(old), "* connected: the conversation goes on"),
        (
            Event::Configured(read_only),
            "* connected; the conversation has ended and can only be read: /new begins another",
        ),
        (
            Event::Throttled {
                retry_after: Duration::from_secs(3),
            },
            "* the service asks for patience: the next message is sent in 3.0 s",
        ),
        (
            Event::ConversationEnded { read_only: true },
            "* the other side has left; this can only be read now: /new begins another",
        ),
        (
            Event::ConversationEnded { read_only: false },
            "* the other side has left; you can still write",
        ),
        (
            Event::SessionExpiring {
                at: Some(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(300)),
            },
            "* the session expires in 5m unless somebody writes",
        ),
        (Event::SessionCleared, "* the conversation was cleared"),
        (
            Event::Refused(Refusal {
                code: "403".to_owned(),
                message: "no\x1b[2J".to_owned(),
            }),
            r"! the service refused: no\u{1b}[2J (403)",
        ),
        (
            Event::Ended(Ending::SessionExpired),
            "! the session has expired: start a new one (/new begins another conversation, /quit leaves)",
        ),
    ] {
        guest.event(event);
        assert_eq!(guest.lines(), [line]);
    }
}

#[test]
fn a_new_conversation_begins_only_after_the_last_one() {
    let mut guest = Fixture::connected(Writer::Person);
    assert_eq!(
        guest.line("/new"),
        ["! the conversation has not ended: /new is for afterwards"]
    );
    for over in [
        Event::ConversationEnded { read_only: true },
        Event::Ended(Ending::LoggedOut),
    ] {
        guest.event(over);
        guest.lines();
        assert!(guest.line("/new").is_empty());
        assert_eq!(guest.requests(), [Request::StartNew]);
        guest.event(Event::Configured(session()));
        assert_eq!(guest.lines(), ["* connected: a new conversation"]);
    }
}

#[test]
fn commands_are_asked_for_and_mistakes_are_explained() {
    let mut guest = Fixture::connected(Writer::Person);
    for (line, name) in [
        ("/why", "/why"),
        ("/history", "/history"),
        ("/clear", "/clear"),
        ("/reconnect", "/reconnect"),
        ("/attach a.png", "/attach"),
    ] {
        assert!(guest.line(line).is_empty());
        let requests = guest.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].name(), name);
        guest.chat.handle_impossible(&requests[0]);
        assert_eq!(
            guest.lines(),
            [format!("! {name} is not possible in this version")]
        );
    }
    let unknown = guest.line("/whyever");
    assert!(
        unknown[0].starts_with("! there is no /whyever, but /attach /clear"),
        "{unknown:?}"
    );
    assert_eq!(guest.line("/attach"), ["! write /attach FILE"]);
    assert_eq!(guest.line("/help").len(), COMMANDS.len() + 2);
    assert!(guest.line("  ").is_empty());
    assert!(guest.requests().is_empty());
}

#[test]
fn the_history_is_shown_with_its_times() {
    let mut guest = Fixture::connected(Writer::Person);
    let Event::Message(bot) = question() else {
        unreachable!("it is a message");
    };
    let mut own = (*bot).clone();
    own.from.kind = ws_transport::AuthorKind::Guest;
    own.direction = Direction::Inbound;
    own.content.clear();
    guest.chat.handle_history([&*bot, &own]);
    assert_eq!(
        guest.lines(),
        [
            "* what was said so far:",
            "2026-01-01 00:00 UTC Botty (bot): Red or blue? | [1] Red | [2] Blue",
            "2026-01-01 00:00 UTC you: Red or blue?"
        ]
    );
    guest.chat.handle_history([]);
    assert_eq!(guest.lines(), ["* nothing was said so far"]);
}

#[test]
fn typing_is_told_of_text_and_of_nothing_else() {
    let mut guest = Fixture::new(Writer::Person);
    guest.chat.handle_editing("hello");
    assert!(guest.requests().is_empty(), "nobody is there yet");
    guest.event(Event::Configured(session()));
    for nothing in ["", " ", "/", "/why", "/attach x"] {
        guest.chat.handle_editing(nothing);
        assert!(guest.requests().is_empty(), "{nothing}");
    }
    guest.chat.handle_editing("h");
    guest.chat.handle_editing("he");
    assert_eq!(guest.requests(), [Request::Typing]);
    guest.chat.handle_editing("//");
    assert_eq!(guest.requests(), [Request::Typing]);
}

#[test]
fn a_person_leaves_at_once() {
    for leave in ["/quit", "", "^C"] {
        let mut guest = Fixture::connected(Writer::Person);
        guest.say("a", 1);
        match leave {
            "" => guest.chat.handle_end_of_input(guest.now),
            "^C" => guest.chat.handle_interrupt(),
            _ => guest.chat.handle_line(leave, guest.now),
        }
        assert_eq!(guest.requests(), [Request::Leave], "{leave}");
        assert!(!guest.chat.wants_input());
        assert_eq!(guest.chat.poll_timeout(), None);
        guest.line("more");
        assert!(guest.requests().is_empty());
        assert_eq!(guest.chat.failure(), None);
    }
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
    guest.chat.handle_end_of_input(guest.now);
    guest.pass(31.9);
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
fn debug_shows_nothing_that_anybody_said() {
    let mut guest = Fixture::connected(SCRIPT);
    guest.chat.handle_line("sesame", guest.now);
    let (line, request) = (guest.chat.poll_line(), guest.chat.poll_request());
    let shown = format!("{:?} {line:?} {request:?}", guest.chat);
    assert!(!shown.contains("sesame"), "{shown}");
}
