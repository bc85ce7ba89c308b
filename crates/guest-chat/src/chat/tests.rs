//! The chat, event by event, in virtual time.

use genesys_api::Now;
use guest_conversation::{
    ConnectionEvent, DeliveryStatus, Direction, Ending, FailureReason, Loss, OutgoingMessage, SendError,
    ServiceRefusal, SessionEvent, SessionInfo,
};
use time::OffsetDateTime;
use ws_transport::CloseInfo;

use super::command::COMMANDS;
use super::*;

mod content;
mod new_conversation;
mod script;
mod uploads;

/// A chat and the present virtual time.
struct Fixture {
    chat: Chat,
    now: Now,
}

const SCRIPT: InputMode = InputMode::Script {
    idle_timeout: Duration::from_secs(2),
};

impl Fixture {
    fn new(input_mode: InputMode) -> Self {
        let now = Now {
            instant: origin(),
            utc: OffsetDateTime::UNIX_EPOCH,
        };
        Self {
            chat: Chat::new(input_mode, now),
            now,
        }
    }

    fn connected(input_mode: InputMode) -> Self {
        let mut fixture = Self::new(input_mode);
        fixture.event(Event::Connection(ConnectionEvent::Ready(session())));
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

    /// Sends a message that the conversation queues.
    fn send(&mut self, text: &str, id: u128) {
        self.chat.handle_line(text, self.now);
        let Some(Request::Send(message)) = self.chat.poll_request() else {
            panic!("{text} is not sent");
        };
        self.chat.handle_queued(message_id(id), &message, self.now);
    }

    /// Advances the time, with each timeout of the chat.
    fn advance(&mut self, seconds: f64) {
        let end = self.now.instant + Duration::from_secs_f64(seconds);
        while let Some((at, _)) = self.chat.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now.instant = at.max(self.now.instant);
            self.chat.handle_timeout(self.now);
        }
        self.now.instant = end;
    }

    fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.chat.poll_line())
            .map(|line| line.render(Style::Plain))
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

fn session() -> SessionInfo {
    SessionInfo {
        new_session: true,
        read_only: false,
        expires_at: None,
    }
}

fn ann() -> Author {
    Author {
        kind: guest_conversation::AuthorKind::Human,
        name: Some("Ann".to_owned()),
    }
}

/// A message of a bot, whose id is m1.
fn message(json_text: &str, content: &str) -> Event {
    let event = event_of(
        "StructuredMessage",
        &format!(
            r#"{{"type":"Structured","text":"{json_text}","direction":"Outbound","originatingEntity":"Bot","id":"m1","channel":{{"time":"2026-01-01T00:00:00Z","messageId":"m1","type":"Private","from":{{"nickname":"Botty"}}}},"content":[{content}]}}"#
        ),
    );
    assert!(matches!(event, Event::Message(_)), "{event:?}");
    event
}

/// The event of a frame. Messages have no other constructor.
fn event_of(class: &str, body: &str) -> Event {
    use guest_conversation::{Conversation, GuestMachine as _, Machine as _, WebMessaging};
    use secrecy::SecretString;
    let now = Now {
        instant: origin(),
        utc: OffsetDateTime::UNIX_EPOCH,
    };
    let contract = WebMessaging::new("b3c2".parse().unwrap(), SecretString::from("t"));
    let mut conversation = Conversation::new(contract);
    conversation.engine_mut().connect(now);
    conversation.handle_connected(now);
    while conversation.poll_transmit(now).is_some() {}
    conversation.handle_frame(
        r#"{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true,"newSession":true}}"#,
        now,
    );
    while conversation.poll_event().is_some() {}
    conversation.handle_frame(
        &format!(r#"{{"type":"message","class":"{class}","code":200,"body":{body}}}"#),
        now,
    );
    conversation.poll_event().expect("the frame yields an event")
}

fn question() -> Event {
    message(
        "Red or blue?",
        r#"{"contentType":"QuickReply","quickReply":{"text":"Red","payload":"r","action":"Message"}},
           {"contentType":"QuickReply","quickReply":{"text":"Blue","payload":"b","action":"Message"}}"#,
    )
}

fn accepted(id: u128) -> Event {
    Event::Delivery {
        id: message_id(id),
        status: DeliveryStatus::Delivered {
            message: None,
            at: OffsetDateTime::UNIX_EPOCH,
            sequence: None,
        },
    }
}

#[test]
fn message_line_shows_its_delivery_status() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    for (text, id) in [("a", 1), ("b", 2), ("c", 3)] {
        guest.send(text, id);
    }
    assert!(guest.lines().is_empty(), "a message in flight has no line");
    guest.event(accepted(1));
    guest.event(Event::Delivery {
        id: message_id(2),
        status: DeliveryStatus::Failed(FailureReason::ReadOnly),
    });
    guest.event(Event::Delivery {
        id: message_id(3),
        status: DeliveryStatus::Unknown,
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
    assert_eq!(guest.lines(), ["✓ c"], "an unknown status can be resolved");
    guest.event(accepted(3));
    assert!(guest.lines().is_empty());
    guest
        .chat
        .handle_not_queued(&OutgoingMessage::new(""), &SendError::Empty);
    assert_eq!(
        guest.lines(),
        ["✗  (not delivered: invalid message: it is empty, give it a text or content)"]
    );
}

#[test]
fn slow_message_is_shown_as_waiting_once() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.send("hello", 1);
    guest.advance(0.9);
    assert!(guest.lines().is_empty());
    guest.advance(10.0);
    assert_eq!(guest.lines(), ["… hello (waiting)"]);
    assert_eq!(guest.chat.poll_timeout(), None);
}

#[test]
fn typing_indicator_is_shown_once_and_expires() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    let typing = |from: Author| {
        Event::Session(SessionEvent::Typing {
            from,
            during: Duration::from_secs(5),
        })
    };
    guest.event(typing(ann()));
    guest.advance(4.0);
    guest.event(typing(ann()));
    guest.advance(4.0);
    assert_eq!(guest.lines(), ["Ann is typing …"]);
    guest.advance(1.0);
    assert!(guest.lines().is_empty());

    guest.event(typing(ann()));
    guest.event(typing(Author {
        kind: guest_conversation::AuthorKind::Bot,
        name: None,
    }));
    guest.event(question());
    guest.advance(60.0);
    assert_eq!(
        guest.lines(),
        [
            "Ann is typing …",
            "bot is typing …",
            "Botty (bot): Red or blue? | [1] Red | [2] Blue"
        ],
        "the message replaces the indicator"
    );
}

#[test]
fn state_change_is_one_line() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    let read_only = SessionInfo {
        read_only: true,
        ..session()
    };
    let old = SessionInfo {
        new_session: false,
        ..session()
    };
    for (event, line) in [
        (
            Event::Connection(ConnectionEvent::Reconnecting {
                attempt: 2,
                after: Duration::from_millis(1_500),
                cause: Loss::Closed(CloseInfo::with_code(1006, "gone")),
            }),
            "! not connected: the service closed the connection with code 1006 (gone); attempt 2 in 1.5 s",
        ),
        (Event::Connection(ConnectionEvent::Restored(old)), "* reconnected"),
        (
            Event::Connection(ConnectionEvent::Restored(session())),
            "* reconnected, but the service started a new conversation",
        ),
        (
            Event::Connection(ConnectionEvent::Ready(old)),
            "* connected: the conversation continues",
        ),
        (
            Event::Connection(ConnectionEvent::Ready(read_only)),
            "* connected: the conversation has ended and is read-only, /new starts another one",
        ),
        (
            Event::Connection(ConnectionEvent::Throttled {
                retry_after: Duration::from_secs(3),
            }),
            "* rate limited by the service: the next message is sent in 3.0 s",
        ),
        (
            Event::Session(SessionEvent::ConversationEnded { read_only: true }),
            "* the other side has left: the conversation is read-only, /new starts another one",
        ),
        (
            Event::Session(SessionEvent::ConversationEnded { read_only: false }),
            "* the other side has left: you can still write",
        ),
        (
            Event::Session(SessionEvent::Expiring {
                at: Some(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(300)),
            }),
            "* the session expires in 5 min unless a message is sent",
        ),
        (
            Event::Session(SessionEvent::Health { expires_at: None }),
            "* the service is healthy",
        ),
        (
            Event::Session(SessionEvent::Health {
                expires_at: Some(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(3_720)),
            }),
            "* the service is healthy; the session expires in 1 h 2 min unless a message is sent",
        ),
        (
            Event::Session(SessionEvent::HistoryFailed {
                reason: "the API is silent\x07".to_owned(),
                retry_after: None,
            }),
            r"! cannot read the history: the API is silent\u{7}; /history tries again",
        ),
        (
            Event::Session(SessionEvent::HistoryUnread {
                reason: "it failed".to_owned(),
                after: None,
                before: None,
            }),
            "! messages may be missing here: it failed; /history shows them",
        ),
        (
            Event::Connection(ConnectionEvent::SignedIn(session())),
            "* you are signed in",
        ),
        (
            Event::Session(SessionEvent::Refused {
                request: None,
                refusal: ServiceRefusal {
                    code: "403".to_owned(),
                    message: "no\x1b[2J".to_owned(),
                },
            }),
            r"! the service refused: no\u{1b}[2J (403)",
        ),
        (
            Event::Ended(Ending::SessionExpired),
            "! the session has expired: start a new one (/new starts another conversation, /quit leaves)",
        ),
    ] {
        guest.event(event);
        assert_eq!(guest.lines(), [line]);
    }
}

#[test]
fn token_request_is_declined() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    guest.event(Event::Connection(ConnectionEvent::TokenNeeded { attempt: 1 }));
    assert_eq!(guest.requests(), [Request::DeclineToken]);
    assert_eq!(
        guest.lines(),
        ["! the service requires the guest to sign in: this client cannot"]
    );
}

#[test]
fn commands_become_requests_and_errors_become_lines() {
    let mut guest = Fixture::connected(InputMode::Interactive);
    for (line, name) in [
        ("/why", "/why"),
        ("/history", "/history"),
        ("/history 2", "/history"),
        ("/clear", "/clear"),
        ("/ping", "/ping"),
        ("/attach a.png", "/attach"),
    ] {
        assert!(guest.line(line).is_empty());
        let requests = guest.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].name(), name);
        guest.chat.handle_failure(&requests[0], &"it is not possible");
        assert_eq!(guest.lines(), [format!("! {name} failed: it is not possible")]);
    }
    let unknown = guest.line("/whyever");
    assert!(
        unknown[0].starts_with("! unknown command /whyever: use /attach /clear"),
        "{unknown:?}"
    );
    assert_eq!(guest.line("/attach"), ["! usage: /attach FILE"]);
    assert!(guest.line("/reconnect").is_empty());
    assert_eq!(
        guest.requests(),
        [Request::Reconnect],
        "an open connection is dropped"
    );
    assert!(guest.requests().is_empty());
    guest.event(Event::Connection(ConnectionEvent::Reconnecting {
        attempt: 1,
        after: Duration::from_secs(9),
        cause: Loss::Silent,
    }));
    guest.lines();
    assert!(guest.line("/reconnect").is_empty());
    assert_eq!(guest.requests(), [Request::Reconnect]);
    assert_eq!(guest.line("/help").len(), COMMANDS.len() + 2);
    assert!(guest.line("  ").is_empty());
    assert!(guest.requests().is_empty());
}

#[test]
fn typing_indicator_is_sent_for_text_only() {
    let mut guest = Fixture::new(InputMode::Interactive);
    guest.chat.handle_editing("hello");
    assert!(guest.requests().is_empty(), "it is not connected");
    guest.event(Event::Connection(ConnectionEvent::Ready(session())));
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
fn person_leaves_at_once() {
    for leave in ["/quit", "", "^C"] {
        let mut guest = Fixture::connected(InputMode::Interactive);
        guest.send("a", 1);
        match leave {
            "" => guest.chat.handle_end_of_input(guest.now),
            "^C" => guest.chat.leave(),
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
