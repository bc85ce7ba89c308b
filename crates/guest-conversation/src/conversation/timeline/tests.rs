//! Each cause has its sentence, none says too much, and no ring grows.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::State;
use crate::conversation::event::Refusal;

/// Stands for what must never show: a guest's words, or a token.
const CANARY: &str = "my card is 4111 1111";

fn start() -> (Timeline, Instant) {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    let instant = Instant::now();
    let utc = genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
    (Timeline::new(Now { instant, utc }), instant)
}

fn after_ending(ending: &Ending) -> String {
    let (mut timeline, now) = start();
    timeline.record_ending(ending, now);
    timeline.explain()
}

fn after_loss(loss: &Loss) -> String {
    let (mut timeline, now) = start();
    timeline.record_loss(loss, now);
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
            "The handshake was answered 401. Renew the access token and open again.",
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
fn every_ending_has_its_sentence() {
    for (ending, sentence) in endings() {
        assert_eq!(after_ending(&ending), sentence);
    }
}

#[test]
fn every_loss_has_its_sentence() {
    for (loss, sentence) in losses() {
        assert_eq!(after_loss(&loss), sentence);
    }
}

#[test]
fn nothing_that_was_said_and_no_token_shows() {
    let (mut timeline, now) = start();
    let token = "7d1f0c9e-0000-4000-8000-000000000001";
    timeline.record_frame(Direction::Outbound, FrameClass::named(CANARY), 9, now);
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
            timeline.record_ending(&ending, now);
            let shown = format!("{} {timeline} {timeline:?}", timeline.explain());
            assert!(!shown.contains("4111") && !shown.contains("7d1f"), "{shown}");
        }
        for loss in [
            Loss::Rejected(Refusal::new(text, text)),
            Loss::Closed(CloseInfo::with_code(1008, text)),
        ] {
            timeline.record_loss(&loss, now);
            let shown = format!("{} {timeline} {timeline:?}", timeline.explain());
            assert!(!shown.contains("4111") && !shown.contains("7d1f"), "{shown}");
        }
    }
}

#[test]
fn what_led_to_it_is_told() {
    let (mut timeline, start) = start();
    let at = |seconds| start + Duration::from_secs(seconds);
    timeline.record(Happening::State(State::Connecting), at(0));
    timeline.record(Happening::State(State::Configured), at(1));
    timeline.record_frame(
        Direction::Outbound,
        FrameClass::named("StructuredMessage"),
        300,
        at(700),
    );
    timeline.record(Happening::PingMissed, at(730));
    timeline.record_loss(&Loss::Silent, at(745));
    assert_eq!(
        timeline.explain(),
        "The service answered neither of two pings. Before that, it had been ready for 12 min, and no frame had come \
         for 45 s. It connects again by itself; if it goes on, check the network, the proxy and the host."
    );
    timeline.record(Happening::State(State::Reconnecting), at(745));
    timeline.record(Happening::waited(Limit::Service, Duration::from_secs(3)), at(746));
    timeline.record_loss(&Loss::NoAnswer, at(750));
    timeline.record(Happening::Token(TokenEvent::Asked), at(751));
    timeline.record(Happening::Errand(Errand::SignIn, Outcome::Refused(400)), at(752));
    timeline.record(Happening::Ended(EndingCause::SignInNeeded), at(760));
    assert_eq!(
        timeline.explain(),
        "The guest's sign-in was not accepted. Before that, the connection had been lost 2 times in a row, a token was \
         asked for and none was given, signing in failed (answered 400), and the service had asked for patience. Have the guest sign in, then start a new session."
    );
}

#[test]
fn a_loss_that_was_overcome_is_called_so() {
    let (mut timeline, now) = start();
    assert_eq!(
        timeline.explain(),
        "Nothing has broken this conversation so far. Nothing is to be done."
    );
    timeline.record_loss(&Loss::NoAnswer, now);
    timeline.record(Happening::State(State::Connecting), now);
    timeline.record(Happening::State(State::Configured), now);
    assert_eq!(
        timeline.explain(),
        "The service did not answer in time. It is connected again, and nothing is to be done."
    );
}

#[test]
fn a_clearing_explains_the_close_that_follows() {
    let (mut timeline, now) = start();
    timeline.record(Happening::State(State::Configured), now);
    timeline.record(Happening::Cleared, now + Duration::from_secs(7300));
    timeline.record_ending(
        &Ending::ClosedByServer { reason: None },
        now + Duration::from_secs(7300),
    );
    let sentence = timeline.explain();
    assert!(
        sentence.contains("ready for 2 h, and the conversation was cleared."),
        "{sentence}"
    );
}

#[test]
fn a_terminal_can_show_it() {
    let (mut timeline, now) = start();
    assert_eq!(timeline.to_string(), "nothing has happened yet");
    let later = |millis| now + Duration::from_millis(millis);
    timeline.record(Happening::State(State::Connecting), now);
    timeline.record(
        Happening::waited(Limit::Connections, Duration::from_millis(1240)),
        later(10),
    );
    timeline.record_frame(
        Direction::Inbound,
        FrameClass::named("onMessage"),
        200,
        later(2000),
    );
    timeline.record_frame(
        Direction::Outbound,
        FrameClass::named("StructuredMessage"),
        300,
        later(2010),
    );
    timeline.record_frame(
        Direction::Outbound,
        FrameClass::named("StructuredMessage"),
        400,
        later(2500),
    );
    timeline.record_loss(&Loss::Closed(CloseInfo::with_code(1011, "")), later(61_239));
    timeline.record(
        Happening::reconnect_in(1, Duration::from_millis(320)),
        later(61_239),
    );
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
fn it_is_small() {
    assert!(size_of::<Timeline>() < 200, "{}", size_of::<Timeline>());
    let (mut timeline, now) = start();
    assert_eq!(timeline.turns.capacity() + timeline.frames.capacity(), 0);
    for n in 0..1000 {
        timeline.record(Happening::PingMissed, now);
        let class = FrameClass::named(if n % 2 == 0 { "echo" } else { "getJwt" });
        timeline.record_frame(Direction::Inbound, class, 1, now);
    }
    let entries = timeline.turns.capacity() + timeline.frames.capacity();
    let bytes = entries * size_of::<Entry>() + size_of::<Timeline>();
    assert!(
        bytes <= 2048,
        "{entries} entries of {} bytes: {bytes}",
        size_of::<Entry>()
    );
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        Just(Happening::Cleared),
        Just(Happening::PingMissed),
        Just(Happening::State(State::Configured)),
        Just(Happening::State(State::Reconnecting)),
        Just(Happening::Ended(EndingCause::LoggedOut)),
        any::<Option<u16>>().prop_map(|code| Happening::Lost(LossCause::Closed(code))),
        any::<u16>().prop_map(|status| Happening::Errand(Errand::History, Outcome::Refused(status))),
        any::<(u32, u32)>().prop_map(|(n, ms)| Happening::reconnect_in(n, Duration::from_millis(ms.into()))),
        any::<u64>().prop_map(|ms| Happening::waited(Limit::Service, Duration::from_millis(ms))),
    ]
}

proptest! {
    #[test]
    fn the_ring_is_bounded_in_order_and_always_explains(
        steps in proptest::collection::vec((happening(), 0_u64..10_000_000_000, any::<usize>()), 0..100),
    ) {
        let (mut timeline, mut now) = start();
        for (what, millis, bytes) in steps {
            timeline.record(what, now);
            timeline.record_frame(Direction::Outbound, FrameClass::OTHER, bytes, now);
            now = now.checked_add(Duration::from_millis(millis)).unwrap_or(now);
            prop_assert!(timeline.entries().count() <= TURNS + FRAMES);
            prop_assert!(timeline.entries().is_sorted_by_key(|(at, _)| at));
            let sentence = timeline.explain();
            prop_assert!(sentence.ends_with('.') && sentence.len() < 700, "{sentence}");
        }
        prop_assert!(timeline.to_string().lines().count() <= TURNS + FRAMES);
    }
}
