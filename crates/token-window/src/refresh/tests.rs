//! Tests of the state machine.

use genesys_api::retry::MAX_RETRY_AFTER;
use proptest::prelude::*;

use super::*;
use crate::tokens::tests::{epoch, issue};

const MINUTE: Duration = Duration::from_secs(60);
const BUSY: RefreshError = RefreshError::Transient { retry_after: None };
const LOST: RefreshError = RefreshError::Unknown { retry_after: None };

fn start_refresh(lifetime: Duration, start: Instant) -> Refresh {
    Refresh::new(
        issue(0, lifetime),
        Window::default(),
        Jitter::of("guest-1"),
        start,
    )
}

/// Advances to the next attempt and returns it with its time.
fn next_attempt(refresh: &mut Refresh) -> (RefreshAttempt, Instant) {
    loop {
        let (now, reason) = refresh.poll_timeout().unwrap();
        refresh.handle_timeout(now);
        match refresh.poll_attempt(now) {
            Some(attempt) => return (attempt, now),
            None => assert_eq!(reason, Reason::Expire),
        }
    }
}

fn events(refresh: &mut Refresh) -> Vec<Event> {
    std::iter::from_fn(|| refresh.poll_event()).collect()
}

#[test]
fn token_of_one_minute_is_refreshed_once_per_lifetime() {
    let start = epoch();
    let mut refresh = start_refresh(MINUTE, start);
    for generation in 1..=60 {
        let (attempt, now) = next_attempt(&mut refresh);
        assert!(refresh.access(now).is_some());
        refresh.handle_refreshed(attempt, issue(generation, MINUTE));
        assert_eq!(events(&mut refresh), [Event::Refreshed { generation }]);
    }
    let (now, _) = refresh.poll_timeout().unwrap();
    let lifetimes = (now - start).as_secs_f64() / 60.0;
    assert!((0.7 * 61.0..=0.75 * 61.0).contains(&lifetimes), "{lifetimes}");
}

#[test]
fn token_is_served_while_refreshes_fail() {
    let start = epoch();
    let mut refresh = start_refresh(60 * MINUTE, start);
    for number in 1..=2 {
        let (attempt, now) = next_attempt(&mut refresh);
        refresh.handle_failed(attempt, BUSY, u64::MAX / 2, now);
        assert!(matches!(events(&mut refresh)[..], [Event::Failed { attempt: n, .. }] if n == number));
        assert!(refresh.access(now).is_some());
    }
    let (attempt, now) = next_attempt(&mut refresh);
    refresh.handle_refreshed(attempt, issue(1, 60 * MINUTE));
    assert_eq!(events(&mut refresh), [Event::Refreshed { generation: 1 }]);
    assert_eq!(refresh.expires_at(), now + 60 * MINUTE);
}

#[test]
fn retry_after_delays_next_attempt_despite_refresh_now() {
    for status in [429, 503] {
        let start = epoch();
        let mut refresh = start_refresh(60 * MINUTE, start);
        let (attempt, now) = next_attempt(&mut refresh);
        let mut problem = Problem::new(status, "unknown", "x");
        problem.retry_after = Some(Duration::from_secs(7));
        refresh.handle_failed(attempt, RefreshError::from(&problem), u64::MAX, now);
        let (at, reason) = refresh.poll_timeout().unwrap();
        assert_eq!(reason, Reason::Retry);
        assert!(at >= now + Duration::from_secs(7) && at <= now + Duration::from_millis(7_500));
        refresh.refresh_now(now);
        assert_eq!(refresh.poll_attempt(now), None, "the backoff is not shortened");
    }
}

/// Fails each attempt until the refresh ends. Returns the waits and the time of the last failure.
fn fail_until_end(refresh: &mut Refresh, error: RefreshError, random: u64) -> (Vec<Duration>, Instant) {
    let mut waits = Vec::new();
    loop {
        let (attempt, now) = next_attempt(refresh);
        refresh.handle_failed(attempt, error, random, now);
        match refresh.status() {
            Status::BackingOff { until, .. } => waits.push(until - now),
            _ => return (waits, now),
        }
    }
}

#[test]
fn unknown_outcome_is_retried_for_24_hours_after_first_failure() {
    let start = epoch();
    let mut refresh = start_refresh(60 * MINUTE, start);
    let (due, _) = refresh.poll_timeout().unwrap();
    let (waits, ended_at) = fail_until_end(&mut refresh, LOST, u64::MAX);
    assert!(waits[0] < Duration::from_millis(501));
    assert_eq!(waits.iter().max(), Some(&(5 * MINUTE - Duration::from_nanos(1))));
    let period = ended_at - due;
    assert!(
        period >= 24 * 60 * MINUTE && period < 24 * 60 * MINUTE + MINUTE,
        "{period:?}"
    );
    let events = events(&mut refresh);
    assert!(matches!(
        events[events.len() - 2..],
        [Event::OutcomeUnknown { .. }, Event::ReauthRequired]
    ));
    refresh.refresh_now(ended_at);
    assert_eq!(refresh.poll_attempt(ended_at), None);
    assert_eq!(refresh.poll_timeout(), None);
}

#[test]
fn waits_are_halved_toward_end_of_refresh_token() {
    let start = epoch();
    let tokens = issue(0, 60 * MINUTE).with_refresh_lifetime(120 * MINUTE);
    let mut refresh = Refresh::new(tokens, Window::default(), Jitter(0), start);
    let (waits, ended_at) = fail_until_end(&mut refresh, BUSY, u64::MAX);
    let end = start + 120 * MINUTE;
    assert!(ended_at >= end && ended_at < end + MINUTE);
    // an outage that ends at least a second before the session does not lose it
    let (last, others) = waits.split_last().unwrap();
    assert!(*last <= Duration::from_secs(1), "{last:?}");
    assert!(others.iter().all(|wait| *wait <= 5 * MINUTE));
}

#[test]
fn token_is_refreshed_before_end_of_refresh_token() {
    let start = epoch();
    let tokens = issue(0, 60 * MINUTE).with_refresh_lifetime(20 * MINUTE);
    let refresh = Refresh::new(tokens, Window::default(), Jitter(0), start);
    assert_eq!(
        refresh.poll_timeout(),
        Some((start + 15 * MINUTE, Reason::Refresh))
    );
}

#[test]
fn success_after_unknown_outcomes_starts_over() {
    let mut refresh = start_refresh(60 * MINUTE, epoch());
    for generation in 1..=3 {
        for number in 1..=100 {
            let (attempt, now) = next_attempt(&mut refresh);
            assert_eq!((attempt.number, attempt.generation), (number, generation - 1));
            refresh.handle_failed(attempt, LOST, u64::MAX, now);
        }
        let (attempt, now) = next_attempt(&mut refresh);
        assert!(
            refresh.access(now).is_none(),
            "it expired, and refreshing went on"
        );
        refresh.handle_refreshed(attempt, issue(generation, 60 * MINUTE));
        assert!(refresh.access(now).is_some());
    }
    assert_eq!(refresh.generation(), 3);
}

#[test]
fn refusal_ends_refresh() {
    let mut refresh = start_refresh(MINUTE, epoch());
    let (attempt, now) = next_attempt(&mut refresh);
    refresh.handle_failed(attempt, RefreshError::Refused, 0, now);
    assert_eq!(events(&mut refresh), [Event::ReauthRequired]);
    assert_eq!(refresh.status(), Status::ReauthRequired);
    assert!(refresh.access(now).is_some(), "served until its expiry");
    let end = refresh.expires_at();
    assert_eq!(refresh.poll_timeout(), Some((end, Reason::Expire)));
    refresh.handle_timeout(end);
    assert_eq!(events(&mut refresh), [Event::Expired]);
    refresh.refresh_now(end);
    assert_eq!(refresh.poll_attempt(end + 60 * MINUTE), None);
}

#[test]
fn expiry_is_emitted_once_per_token_and_attempts_continue() {
    let start = epoch();
    let mut refresh = start_refresh(MINUTE, start);
    for generation in 1..=2 {
        let end = refresh.expires_at();
        let (attempt, _) = next_attempt(&mut refresh);
        assert!(refresh.access(end - Duration::from_nanos(1)).is_some());
        assert!(refresh.access(end).is_none());
        refresh.handle_timeout(end);
        refresh.handle_timeout(end);
        assert_eq!(events(&mut refresh), [Event::Expired]);
        refresh.handle_failed(attempt, BUSY, 0, end);
        let (attempt, _) = next_attempt(&mut refresh);
        refresh.handle_refreshed(attempt, issue(generation, 2 * MINUTE));
        assert!(refresh.access(end).is_some());
        assert_eq!(
            events(&mut refresh).last(),
            Some(&Event::Refreshed { generation })
        );
    }
}

#[test]
fn refresh_now_keeps_one_attempt_in_flight() {
    let start = epoch();
    let mut refresh = start_refresh(60 * MINUTE, start);
    assert_eq!(refresh.poll_attempt(start), None);
    refresh.refresh_now(start);
    let attempt = refresh.poll_attempt(start).unwrap();
    refresh.refresh_now(start);
    assert_eq!(refresh.poll_attempt(start), None);
    refresh.handle_refreshed(attempt, issue(1, 60 * MINUTE));
    assert_eq!(refresh.poll_attempt(start), None);
}

#[test]
fn only_invalid_grant_is_a_refusal() {
    for (status, code, error) in [
        (429, "x", BUSY),
        (503, "x", LOST),
        (503, "service.unavailable", LOST),
        (400, "invalid_grant", RefreshError::Refused),
        (401, "invalid_grant", LOST),
        (400, "invalid_request", LOST),
        (400, "unknown", LOST),
        (401, "bad.credentials", LOST),
        (403, "unknown", LOST),
        (404, "not.found", LOST),
        (408, "x", LOST),
        (500, "x", LOST),
        (502, "unknown", LOST),
        (504, "unknown", LOST),
    ] {
        let problem = Problem::new(status, code, "x");
        assert_eq!(RefreshError::from(&problem), error, "{status} {code}");
    }
}

#[test]
fn event_queue_is_bounded() {
    let mut refresh = start_refresh(MINUTE, epoch());
    for _ in 0..1_000 {
        let (attempt, now) = next_attempt(&mut refresh);
        refresh.handle_failed(attempt, BUSY, 0, now + Duration::from_secs(1));
    }
    assert_eq!(events(&mut refresh).len(), MAX_EVENTS);
}

fn outcome() -> impl Strategy<Value = Option<RefreshError>> {
    prop_oneof![
        6 => Just(None),
        3 => proptest::option::of(0_u64..1_000).prop_map(|seconds| Some(RefreshError::Transient {
            retry_after: seconds.map(Duration::from_secs),
        })),
        2 => proptest::option::of(0_u64..1_000).prop_map(|seconds| Some(RefreshError::Unknown {
            retry_after: seconds.map(Duration::from_secs),
        })),
        1 => Just(Some(RefreshError::Refused)),
    ]
}

proptest! {
    /// Holds for any sequence of outcomes whose replies take less than the lead.
    #[test]
    fn refresh_starts_before_lead_with_one_attempt_in_flight(
        lifetime in 5_u64..200_000,
        outcomes in proptest::collection::vec((outcome(), 0_u32..1_000, any::<u64>()), 1..80),
    ) {
        let lifetime = Duration::from_secs(lifetime);
        let start = epoch();
        let mut refresh = start_refresh(lifetime, start);
        let lead = Window::default().lead(lifetime);
        let mut issued = 0;
        let mut failing_since = None;
        for (outcome, latency, random) in outcomes {
            let (attempt, sent_at) = next_attempt(&mut refresh);
            let ends = refresh.expires_at();
            let presented = format!("{:?}", secrecy::ExposeSecret::expose_secret(refresh.tokens().refresh().unwrap()));
            prop_assert_eq!(presented, format!("\"refresh-{issued}\""), "a replaced refresh token is never presented");
            prop_assert_eq!(attempt.generation, issued);
            if attempt.number == 1 {
                prop_assert!(ends - sent_at >= lead, "first attempt within the window");
            }
            let now = sent_at + lead * latency / 1_000;
            refresh.handle_timeout(now);
            for at in [sent_at, now, ends, ends + lifetime] {
                prop_assert!(refresh.poll_attempt(at).is_none(), "one in flight");
            }
            if attempt.number == 1 {
                prop_assert!(refresh.access(now).is_some(), "the first attempt ends before expiry");
            }
            match outcome {
                None => {
                    issued += 1;
                    failing_since = None;
                    refresh.handle_refreshed(attempt, issue(issued, lifetime));
                    prop_assert_eq!(refresh.expires_at(), sent_at + lifetime);
                    prop_assert!(refresh.access(now).is_some());
                }
                Some(failure) => {
                    let ends_at = *failing_since.get_or_insert(sent_at) + UNKNOWN_LIFETIME;
                    refresh.handle_failed(attempt, failure, random, now);
                    prop_assert_eq!(refresh.access(now).is_some(), now < ends, "served until its expiry");
                    let over = failure == RefreshError::Refused || now >= ends_at;
                    prop_assert_eq!(refresh.status() == Status::ReauthRequired, over);
                    if over {
                        break;
                    }
                    let Status::BackingOff { until, .. } = refresh.status() else {
                        return Err(TestCaseError::fail("a failure is followed by a backoff"));
                    };
                    let longest = match failure {
                        RefreshError::Transient { retry_after: Some(asked) }
                        | RefreshError::Unknown { retry_after: Some(asked) } => asked.min(MAX_RETRY_AFTER) + BACKOFF.base,
                        _ => BACKOFF.cap,
                    };
                    prop_assert!(until - now <= longest.min(BACKOFF.base.max((ends_at - now) / 2)));
                }
            }
        }
    }
}
