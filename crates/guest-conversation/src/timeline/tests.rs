//! Sentences of each cause, privacy and bounds.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::State;
use crate::event::Refusal;
use ws_transport::CloseInfo;

/// Stands for what must never show: a guest's words, or a token.
const CANARY: &str = "my card is 4111 1111";

fn start() -> (Timeline, Instant) {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    let instant = Instant::now();
    let utc = genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
    let mut timeline = Timeline::default();
    timeline.handle_time(Now { instant, utc });
    (timeline, instant)
}

impl Timeline {
    fn at(&mut self, instant: Instant) -> &mut Self {
        let utc = OffsetDateTime::UNIX_EPOCH;
        self.handle_time(Now { instant, utc });
        self
    }
}

fn after_ending(ending: &Ending) -> String {
    let (mut timeline, now) = start();
    timeline.at(now).record_ending(ending);
    timeline.explain()
}

fn after_loss(loss: &Loss) -> String {
    let (mut timeline, now) = start();
    timeline.at(now).record_loss(loss);
    timeline.explain()
}

fn refusal(code: &str) -> Refusal {
    Refusal::new(code, CANARY)
}

fn endings() -> Vec<(Ending, &'static str)> {
    let closed = |reason: Option<&str>| Ending::ClosedByServer {
        reason: reason.map(str::to_owned),
    };
    let ended = |reason: &str| Ending::SessionEnded {
        reason: reason.to_owned(),
    };
    vec![
        (
            Ending::ByUs,
            "This side ended the conversation. Open a new conversation to go on.",
        ),
        (
            closed(None),
            "The service closed the connection for good. If it was not cleared or closed on purpose, see that the \
             session is open in at most three places, then start a new one.",
        ),
        (
            closed(Some("signedIn")),
            "The service closed the connection for good (signedIn). The guest goes on where they signed in; open this \
             one again as the signed-in guest.",
        ),
        (
            closed(Some(CANARY)),
            "The service closed the connection for good. If it was not cleared or closed on purpose, see that the \
             session is open in at most three places, then start a new one.",
        ),
        (
            Ending::LoggedOut,
            "The guest was logged out. Have the guest sign in, then start a new session.",
        ),
        (
            Ending::Rejected(refusal("400")),
            "The service does not know the deployment, or not the request (400). Check the id of the deployment, and that the host is that \
             of its region.",
        ),
        (
            Ending::Rejected(refusal("401")),
            "The service does not know who the guest is (401). Have the guest sign in, then start a new session.",
        ),
        (
            Ending::Rejected(refusal("4007")),
            "The service does not know the session (4007). Start a new session; if that is rejected too, check the \
             deployment.",
        ),
        (
            Ending::Rejected(refusal("4017")),
            "The session belongs to a signed-in guest and cannot be an anonymous one's (4017). Sign the guest in, or \
             begin with a fresh session token.",
        ),
        (
            Ending::Rejected(refusal("origin.not.allowed")),
            "The service rejected the session (origin.not.allowed). Start a new session; if that is rejected too, \
             check the deployment.",
        ),
        (
            Ending::Rejected(refusal(CANARY)),
            "The service rejected the session. Start a new session; if that is rejected too, check the deployment.",
        ),
        (
            Ending::Refused { status: 401 },
            "The handshake was answered 401. Refresh the access token and open again.",
        ),
        (
            Ending::Refused { status: 403 },
            "The handshake was answered 403: the origin is not allowed, or the deployment is not active. Add the \
             origin to the deployment's allowed domains, and see that the deployment is active.",
        ),
        (
            Ending::Refused { status: 404 },
            "The handshake was answered 404. Check the URL of the socket and the session.",
        ),
        (
            ended("expired"),
            "The session was ended elsewhere (expired). Start a new session if the guest goes on.",
        ),
        (
            ended(CANARY),
            "The session was ended elsewhere. Start a new session if the guest goes on.",
        ),
        (
            Ending::SessionExpired,
            "The session's lifetime has passed. Start a new session if the guest goes on.",
        ),
    ]
}

fn losses() -> Vec<(Loss, &'static str)> {
    let closed = |code| Loss::Closed(CloseInfo::with_code(code, CANARY));
    vec![
        (
            closed(1000),
            "The service closed the connection without a reason (1000). It connects again by itself; if it goes on, \
             see whether the service has an outage.",
        ),
        (
            closed(1001),
            "The service went away, or found the connection idle or old (1001). It connects again by itself; if it \
             goes on, see whether the service has an outage.",
        ),
        (
            closed(1009),
            "The service found a frame too large (1009). It connects again by itself; send smaller frames.",
        ),
        (
            closed(4999),
            "The service closed the connection with code 4999. It connects again by itself; if it goes on, see \
             whether the service has an outage.",
        ),
        (
            Loss::Closed(CloseInfo::abrupt(
                "no address is known for a.example: check the name",
            )),
            "The connection broke, or could not be made (no address is known for a.example: check the name). It \
             connects again by itself; if it goes on, check the network, the proxy and the host.",
        ),
        (
            Loss::NoAnswer,
            "The service did not answer in time. It connects again by itself; if it goes on, check the network, the \
             proxy and the host.",
        ),
        (
            Loss::Overrun,
            "Too many events were not read. It connects again by itself; read the events of the conversation without \
             pause.",
        ),
        (
            Loss::Refused { status: 429 },
            "The handshake was answered 429: too many connections were made. It connects again by itself; if it goes \
             on, connect fewer sessions at once.",
        ),
        (
            Loss::Refused { status: 503 },
            "The handshake was answered 503. It connects again by itself; if it goes on, see whether the service has \
             an outage.",
        ),
        (
            Loss::Rejected(refusal("500")),
            "The service could not prepare the session (code 500). It connects again by itself; if it goes on, check \
             the deployment and the session.",
        ),
        (
            Loss::Silent,
            "The service answered neither of two pings. It connects again by itself; if it goes on, check the \
             network, the proxy and the host.",
        ),
    ]
}

#[test]
fn ending_has_a_sentence() {
    for (ending, sentence) in endings() {
        assert_eq!(after_ending(&ending), sentence);
    }
}

#[test]
fn loss_has_a_sentence() {
    for (loss, sentence) in losses() {
        assert_eq!(after_loss(&loss), sentence);
    }
}

#[test]
fn timeline_shows_no_text_of_a_message_and_no_token() {
    let (mut timeline, now) = start();
    let token = "7d1f0c9e-0000-4000-8000-000000000001";
    for text in [CANARY, token] {
        for ending in [
            Ending::ClosedByServer {
                reason: Some(text.to_owned()),
            },
            Ending::SessionEnded {
                reason: text.to_owned(),
            },
            Ending::Rejected(Refusal::new(text, text)),
        ] {
            timeline.at(now).record_ending(&ending);
            let shown = format!("{} {timeline} {timeline:?}", timeline.explain());
            assert!(
                !shown.contains("my card") && !shown.contains("7d1f0c9e"),
                "{shown}"
            );
        }
        for loss in [
            Loss::Rejected(Refusal::new(text, text)),
            Loss::Closed(CloseInfo::with_code(1008, text)),
        ] {
            timeline.at(now).record_loss(&loss);
            let shown = format!("{} {timeline} {timeline:?}", timeline.explain());
            assert!(
                !shown.contains("my card") && !shown.contains("7d1f0c9e"),
                "{shown}"
            );
        }
    }
}

#[test]
fn explanation_names_what_led_to_the_cause() {
    let (mut timeline, start) = start();
    let at = |seconds| start + Duration::from_secs(seconds);
    timeline.at(at(0)).record(TimelineEvent::State(State::Connecting));
    timeline.at(at(1)).record(TimelineEvent::State(State::Configured));
    timeline
        .at(at(700))
        .record_frame(Direction::Outbound, "StructuredMessage", 300);
    timeline.at(at(730)).record(TimelineEvent::PingMissed);
    timeline.at(at(745)).record_loss(&Loss::Silent);
    assert_eq!(
        timeline.explain(),
        "The service answered neither of two pings. Before that, it had been ready for 12 min, and no frame had come \
         for 45 s. It connects again by itself; if it goes on, check the network, the proxy and the host."
    );
    timeline
        .at(at(745))
        .record(TimelineEvent::State(State::Reconnecting));
    timeline.at(at(746)).record(TimelineEvent::Waited {
        limit: Limit::Service,
        wait: Duration::from_secs(3),
    });
    timeline.at(at(750)).record_loss(&Loss::NoAnswer);
    timeline
        .at(at(751))
        .record(TimelineEvent::Token(TokenEvent::Requested));
    timeline
        .at(at(752))
        .record(TimelineEvent::Http(HttpOperation::History, Outcome::Refused(400)));
    timeline
        .at(at(760))
        .record_ending(&Ending::AuthorizationRequired(refusal("401")));
    assert_eq!(
        timeline.explain(),
        "The guest's sign-in was not accepted. Before that, the connection had been lost 2 times in a row, a token was \
         requested and none was given, reading the history failed (answered 400), and the service had limited the rate. Have the guest sign in, then start a new session."
    );
}

#[test]
fn explanation_names_a_recovered_loss() {
    let (mut timeline, now) = start();
    assert_eq!(
        timeline.explain(),
        "Nothing has broken this conversation so far. Nothing is to be done."
    );
    timeline.at(now).record_loss(&Loss::NoAnswer);
    timeline.at(now).record(TimelineEvent::State(State::Connecting));
    timeline.at(now).record(TimelineEvent::State(State::Configured));
    assert_eq!(
        timeline.explain(),
        "The service did not answer in time. It is connected again, and nothing is to be done."
    );
}

#[test]
fn explanation_names_a_clearing_before_the_close() {
    let (mut timeline, now) = start();
    timeline.at(now).record(TimelineEvent::State(State::Configured));
    timeline
        .at(now + Duration::from_secs(7300))
        .record(TimelineEvent::Cleared);
    timeline
        .at(now + Duration::from_secs(7300))
        .record_ending(&Ending::ClosedByServer { reason: None });
    let sentence = timeline.explain();
    assert!(
        sentence.contains("ready for 2 h, and the conversation was cleared."),
        "{sentence}"
    );
}

#[test]
fn timeline_displays_its_entries() {
    let (mut timeline, now) = start();
    assert_eq!(timeline.to_string(), "nothing has happened yet");
    let later = |millis| now + Duration::from_millis(millis);
    timeline.at(now).record(TimelineEvent::State(State::Connecting));
    timeline.at(later(10)).record(TimelineEvent::Waited {
        limit: Limit::Connections,
        wait: Duration::from_millis(1240),
    });
    timeline
        .at(later(2000))
        .record_frame(Direction::Inbound, "onMessage", 200);
    timeline
        .at(later(2010))
        .record_frame(Direction::Outbound, "StructuredMessage", 300);
    timeline
        .at(later(2500))
        .record_frame(Direction::Outbound, "StructuredMessage", 400);
    timeline
        .at(later(61_239))
        .record_loss(&Loss::Closed(CloseInfo::with_code(1011, "")));
    timeline.at(later(61_239)).record(TimelineEvent::ReconnectIn {
        attempt: 1,
        wait: Duration::from_millis(320),
    });
    assert_eq!(
        timeline.to_string(),
        "12:30:00.00  state: Connecting\n\
         12:30:00.01  the limit of new connections: waits 1.2 s\n\
         12:30:02.00  -> onMessage, 200 bytes\n\
         12:30:02.50  <- StructuredMessage x2, 700 bytes\n\
         12:31:01.23  lost: the service had trouble of its own (1011)\n\
         12:31:01.23  attempt 1 to reconnect in 0.3 s"
    );
}

#[test]
fn timeline_is_small() {
    assert!(size_of::<Log>() < 200, "{}", size_of::<Log>());
    let (mut timeline, now) = start();
    let log = timeline.0.as_deref().unwrap();
    assert_eq!(log.turns.capacity() + log.frames.capacity(), 0);
    for n in 0..1000 {
        timeline.at(now).record(TimelineEvent::PingMissed);
        let class = if n % 2 == 0 { "echo" } else { "getJwt" };
        timeline.at(now).record_frame(Direction::Inbound, class, 1);
    }
    let log = timeline.0.as_deref().unwrap();
    let entries = log.turns.capacity() + log.frames.capacity();
    let bytes = entries * size_of::<Entry>() + size_of::<Log>();
    assert!(
        bytes <= 3072,
        "{entries} entries of {} bytes: {bytes}",
        size_of::<Entry>()
    );
}

fn event() -> impl Strategy<Value = TimelineEvent> {
    prop_oneof![
        Just(TimelineEvent::Cleared),
        Just(TimelineEvent::PingMissed),
        Just(TimelineEvent::State(State::Configured)),
        Just(TimelineEvent::State(State::Reconnecting)),
        Just(TimelineEvent::Ended(Box::new(Ending::LoggedOut))),
        any::<u16>()
            .prop_map(|code| TimelineEvent::Lost(Box::new(Loss::Closed(CloseInfo::with_code(code, ""))))),
        any::<u16>().prop_map(|status| TimelineEvent::Http(HttpOperation::History, Outcome::Refused(status))),
        any::<(u32, u32)>().prop_map(|(n, ms)| TimelineEvent::ReconnectIn {
            attempt: n,
            wait: Duration::from_millis(ms.into())
        }),
        any::<u64>().prop_map(|ms| TimelineEvent::Waited {
            limit: Limit::Service,
            wait: Duration::from_millis(ms)
        }),
    ]
}

proptest! {
    #[test]
    fn timeline_is_bounded_ordered_and_always_explains(
        steps in proptest::collection::vec((event(), 0_u64..10_000_000_000, any::<usize>()), 0..100),
    ) {
        let (mut timeline, mut now) = start();
        for (what, millis, bytes) in steps {
            timeline.at(now).record(what);
            timeline.at(now).record_frame(Direction::Outbound, "other", bytes);
            now = now.checked_add(Duration::from_millis(millis)).unwrap_or(now);
            prop_assert!(timeline.entries().count() <= TURNS + FRAMES);
            prop_assert!(timeline.entries().is_sorted_by_key(|(at, _)| at));
            let sentence = timeline.explain();
            prop_assert!(sentence.ends_with('.') && sentence.len() < 700, "{sentence}");
        }
        prop_assert!(timeline.to_string().lines().count() <= TURNS + FRAMES);
    }
}
