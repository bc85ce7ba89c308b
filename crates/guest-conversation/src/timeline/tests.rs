//! Sentences of each cause, privacy and bounds.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::State;
use crate::event::ServiceRefusal;
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

fn lost(loss: Loss) -> TimelineEvent {
    TimelineEvent::Lost(Box::new(loss))
}

fn ended(ending: Ending) -> TimelineEvent {
    TimelineEvent::Ended(Box::new(ending))
}

fn explanation(event: TimelineEvent) -> String {
    let (mut timeline, _) = start();
    timeline.record(event);
    timeline.explain()
}

fn refusal(code: &str) -> ServiceRefusal {
    ServiceRefusal::new(code, CANARY)
}

#[test]
fn explanation_of_an_ending_keeps_only_a_code_or_a_word() {
    let closed = |reason: &str| Ending::ClosedByServer {
        reason: Some(reason.to_owned()),
    };
    let session_ended = |reason: &str| Ending::SessionEnded {
        reason: reason.to_owned(),
    };
    for (ending, text) in [
        (
            Ending::ByUs,
            "The conversation was ended by this side: open a new one to continue.",
        ),
        (
            closed("signedIn"),
            "The service closed the connection (signedIn): the guest continues where they signed in, open it again as \
             that guest.",
        ),
        (
            closed(CANARY),
            "The service closed the connection (no reason given): unless it was cleared or closed on purpose, see that \
             the session is open in at most three places, then start a new one.",
        ),
        (
            Ending::Rejected(refusal("404")),
            "The service rejected the session: code 404: the deployment or the request is unknown, check the id of \
             the deployment, and that the host is that of its region.",
        ),
        (
            Ending::Rejected(refusal("4017")),
            "The service rejected the session: code 4017: it belongs to a signed-in guest, sign the guest in, or \
             begin with a fresh session token.",
        ),
        (
            Ending::Rejected(refusal("origin.not.allowed")),
            "The service rejected the session: code origin.not.allowed: start a new session, and if that is \
             rejected too, check the deployment.",
        ),
        (
            Ending::Rejected(refusal(CANARY)),
            "The service rejected the session: no reason given: start a new session, and if that is rejected too, \
             check the deployment.",
        ),
        (
            session_ended("expired"),
            "The session was ended elsewhere (expired): start a new one if the guest continues.",
        ),
        (
            session_ended(CANARY),
            "The session was ended elsewhere (no reason given): start a new one if the guest continues.",
        ),
    ] {
        assert_eq!(explanation(ended(ending)), text);
    }
}

#[test]
fn explanation_of_a_loss_has_its_meaning_and_advice() {
    let closed = |code| Loss::Closed(CloseInfo::with_code(code, CANARY));
    let broken = Loss::Closed(CloseInfo::abnormal("no address is known for a.example"));
    for (loss, cause, advice) in [
        (
            closed(1001),
            "The service closed the connection with code 1001 (going away, or the connection was idle or old).",
            "outage",
        ),
        (
            closed(1009),
            "The service closed the connection with code 1009 (a frame was too large).",
            "smaller frames",
        ),
        (
            closed(4999),
            "The service closed the connection with code 4999 (no meaning known).",
            "outage",
        ),
        (
            broken,
            "The connection broke, or could not be made (no address is known for a.example).",
            "the proxy",
        ),
        (
            Loss::NoAnswer,
            "The service did not answer in time.",
            "the network",
        ),
        (Loss::Overrun, "Too many events were not read.", "without pause"),
        (
            Loss::Refused { status: 429 },
            "The handshake was answered 429: too many connections.",
            "fewer sessions",
        ),
        (
            Loss::Refused { status: 503 },
            "The handshake was answered 503.",
            "outage",
        ),
        (
            Loss::Rejected(refusal("500")),
            "The service could not prepare the session: code 500.",
            "the deployment",
        ),
        (
            Loss::Silent,
            "The service answered neither of two pings.",
            "the network",
        ),
    ] {
        let text = explanation(lost(loss));
        assert!(text.starts_with(cause) && text.contains(advice), "{text}");
        assert!(text.contains("It reconnects without help"), "{text}");
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
            Ending::Rejected(ServiceRefusal::new(text, text)),
        ] {
            timeline.at(now).record(ended(ending));
            let shown = format!("{} {timeline} {timeline:?}", timeline.explain());
            assert!(
                !shown.contains("my card") && !shown.contains("7d1f0c9e"),
                "{shown}"
            );
        }
        for loss in [
            Loss::Rejected(ServiceRefusal::new(text, text)),
            Loss::Closed(CloseInfo::with_code(1008, text)),
        ] {
            timeline.at(now).record(lost(loss));
            let shown = format!("{} {timeline} {timeline:?}", timeline.explain());
            assert!(
                !shown.contains("my card") && !shown.contains("7d1f0c9e"),
                "{shown}"
            );
        }
    }
}

#[test]
fn explanation_names_the_warnings_before_the_cause() {
    let (mut timeline, start) = start();
    let at = |seconds| start + Duration::from_secs(seconds);
    let warning = |text| TimelineEvent::Warning(text, None);
    timeline.at(at(1)).record(TimelineEvent::State(State::Configured));
    timeline
        .at(at(700))
        .record_frame(Direction::Outbound, "StructuredMessage", 300);
    timeline.at(at(730)).record(warning("a ping was not answered"));
    timeline.at(at(745)).record(lost(Loss::Silent));
    assert_eq!(
        timeline.explain(),
        "The service answered neither of two pings. Before that, it had been ready for 12 min, a ping was not answered, \
         and no frame had arrived for 45 s. It reconnects without help; if that is repeated, check the network, the \
         proxy and the host."
    );
    timeline
        .at(at(745))
        .record(TimelineEvent::State(State::Reconnecting));
    timeline.at(at(750)).record(lost(Loss::NoAnswer));
    for _ in 0..2 {
        timeline.at(at(751)).record(warning("a token was requested"));
    }
    timeline
        .at(at(752))
        .record(TimelineEvent::Warning("reading the history failed", Some(400)));
    timeline
        .at(at(760))
        .record(ended(Ending::AuthorizationRequired(refusal("401"))));
    assert_eq!(
        timeline.explain(),
        "The service accepts no token of this guest: code 401: sign in again. Before that, the connection had been lost 2 \
         times in a row, a ping was not answered, a token was requested, and reading the history failed (400)."
    );
}

#[test]
fn explanation_names_a_clearing_before_the_close() {
    let (mut timeline, start) = start();
    let end = start + Duration::from_secs(7300);
    timeline.at(start).record(TimelineEvent::State(State::Configured));
    let cleared = TimelineEvent::Warning("the conversation was cleared", None);
    timeline.at(end).record(cleared);
    timeline.record(ended(Ending::ClosedByServer { reason: None }));
    let sentence = timeline.explain();
    assert!(
        sentence.contains("ready for 2 h, and the conversation was cleared."),
        "{sentence}"
    );
}

#[test]
fn explanation_without_a_loss_names_what_is_wrong() {
    let (mut timeline, now) = start();
    let state = |state| TimelineEvent::State(state);
    timeline.at(now).record(state(State::Configuring));
    assert_eq!(
        timeline.explain(),
        "The connection has not failed, but it is not ready (state: Configuring)."
    );
    timeline.record(state(State::Configured));
    assert_eq!(timeline.explain(), "The connection has not failed.");
    for _ in 0..2 {
        timeline.record(TimelineEvent::Warning(
            "a message was not acknowledged in time",
            None,
        ));
    }
    assert_eq!(
        timeline.explain(),
        "The connection has not failed, but a message was not acknowledged in time."
    );
    timeline.record(state(State::ReadOnly));
    assert_eq!(
        timeline.explain(),
        "The connection has not failed, but the conversation has ended and is read-only: start a new one."
    );
}

#[test]
fn explanation_of_a_restored_connection_names_what_is_wrong() {
    for (event, end) in [
        (
            TimelineEvent::State(State::ReadOnly),
            "It is connected again, but the conversation has ended and is read-only: start a new one.",
        ),
        (
            TimelineEvent::Warning("a message was not acknowledged in time", None),
            "It is connected again, but a message was not acknowledged in time.",
        ),
    ] {
        let (mut timeline, now) = start();
        timeline.at(now).record(lost(Loss::NoAnswer));
        timeline.record(TimelineEvent::State(State::Configured));
        timeline.record(event);
        assert!(timeline.explain().ends_with(end), "{}", timeline.explain());
    }
}

#[test]
fn explanation_of_a_frame_that_is_too_large_has_its_size() {
    let (mut timeline, now) = start();
    timeline
        .at(now)
        .record_frame(Direction::Inbound, "onMessage", 140_000);
    timeline.record_frame(Direction::Outbound, "StructuredMessage", 300);
    timeline.record(lost(Loss::Closed(CloseInfo::with_code(1009, CANARY))));
    let text = timeline.explain();
    let expected = "The service closed the connection with code 1009 (a frame was too large): the last one, onMessage, \
                    had 140000 bytes. It reconnects";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn explanation_names_a_restored_connection() {
    let (mut timeline, now) = start();
    assert_eq!(timeline.explain(), "The connection has not failed.");
    timeline.at(now).record(lost(Loss::NoAnswer));
    timeline.at(now).record(TimelineEvent::State(State::Connecting));
    timeline.at(now).record(TimelineEvent::State(State::Configured));
    assert_eq!(
        timeline.explain(),
        "The service did not answer in time. It is connected again."
    );
}

#[test]
fn timeline_displays_its_entries() {
    let (mut timeline, now) = start();
    assert_eq!(timeline.to_string(), "no events yet");
    let later = |millis| now + Duration::from_millis(millis);
    timeline.at(now).record(TimelineEvent::State(State::Connecting));
    timeline
        .at(later(10))
        .record_wait("the limit of new connections", later(1250));
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
        .record(lost(Loss::Closed(CloseInfo::with_code(1011, ""))));
    timeline.at(later(61_239)).record(TimelineEvent::ReconnectIn {
        attempt: 1,
        wait: Duration::from_millis(320),
    });
    assert_eq!(
        timeline.to_string(),
        "12:30:00.00  state: Connecting\n\
         12:30:00.01  the limit of new connections: waits 1.2 s\n\
         12:30:02.00  -> onMessage x1, 200 bytes\n\
         12:30:02.50  <- StructuredMessage x2, 700 bytes\n\
         12:31:01.23  lost: the service closed the connection with code 1011 (internal error of the service)\n\
         12:31:01.23  attempt 1 to reconnect in 0.3 s"
    );
}

#[test]
fn timeline_is_small() {
    assert!(size_of::<Timeline>() < 200, "{}", size_of::<Timeline>());
    let (mut timeline, now) = start();
    assert_eq!(timeline.entries.capacity(), 0);
    for n in 0..1000 {
        timeline
            .at(now)
            .record(TimelineEvent::Warning("a ping was not answered", None));
        let class = if n % 2 == 0 { "echo" } else { "getJwt" };
        timeline.at(now).record_frame(Direction::Inbound, class, 1);
    }
    let entries = timeline.entries.capacity();
    let bytes = entries * size_of::<Entry>() + size_of::<Timeline>();
    assert!(
        bytes <= 3072,
        "{entries} entries of {} bytes: {bytes}",
        size_of::<Entry>()
    );
}

fn event() -> impl Strategy<Value = TimelineEvent> {
    prop_oneof![
        Just(TimelineEvent::Warning("a ping was not answered", None)),
        Just(TimelineEvent::Warning("the conversation was cleared", None)),
        Just(TimelineEvent::State(State::Configured)),
        Just(TimelineEvent::State(State::Reconnecting)),
        Just(ended(Ending::LoggedOut)),
        any::<u16>().prop_map(|code| lost(Loss::Closed(CloseInfo::with_code(code, "")))),
        any::<u16>().prop_map(|status| TimelineEvent::Warning("uploading a file failed", Some(status))),
        any::<(u32, u32)>().prop_map(|(n, ms)| TimelineEvent::ReconnectIn {
            attempt: n,
            wait: Duration::from_millis(ms.into())
        }),
        any::<u32>().prop_map(|millis| TimelineEvent::Waited {
            limit: "the limit of requests",
            millis
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
            prop_assert!(timeline.entries().count() <= EVENTS + FRAMES);
            prop_assert!(timeline.entries().is_sorted_by_key(|(at, _)| at));
            let sentence = timeline.explain();
            prop_assert!(sentence.ends_with('.') && sentence.len() < 700, "{sentence}");
        }
        prop_assert!(timeline.to_string().lines().count() <= EVENTS + FRAMES);
    }
}
