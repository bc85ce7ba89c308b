//! The renewal of one token.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use genesys_api::{Problem, ReplyError, retry};
use secrecy::SecretString;

use crate::{Jitter, Tokens, Window};

/// Upper bound of the first wait after a failure; it doubles with each, up to [`LONGEST_BACK_OFF`]. Our choice.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);

/// Upper bound of any wait that the service did not ask for. Our choice.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// Events kept for a caller that does not poll; then the oldest gives way. [`Rotation::status`] never forgets.
const MOST_EVENTS: usize = 16;

/// How a token is renewed. An intent, not a request: who runs it chooses the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Intent {
    /// Ask for the JWT of a guest's history over the open socket (`getJwt` of web messaging; it lives for a minute).
    FetchJwt,
    /// Present the refresh token to a REST endpoint: a guest who signed in, or a session of `guest-sessions`.
    RefreshByRest,
    /// Send any frame that keeps the session: an anonymous guest of web messaging has nothing to present, and every
    /// message moves the end of the session.
    SlideByFrame,
}

/// The state machine of one token: renews it in its [`Window`], one attempt at a time.
///
/// It does no I/O. Whoever drives it calls [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says, runs what [`poll_renewal`](Self::poll_renewal) hands out, and reports how
/// that ended, exactly once.
///
/// - The token is served until its own end, whatever becomes of its renewals.
/// - A refresh token whose successor is stored is never presented again: the two are replaced together.
/// - After [`Failure::Unknown`] the service may have used up the refresh token. It is tried once more, then
///   [`Event::ReauthRequired`]. A try that ends in [`Failure::Transient`] does not count: the service did not act on it.
///   The other intents present nothing that can be used up, so for them an unknown outcome is a transient one.
#[derive(Debug)]
pub struct Rotation {
    intent: Intent,
    window: Window,
    jitter: Jitter,
    tokens: Tokens,
    expires_at: Instant,
    expiry_told: bool,
    generation: u64,
    attempts: u32,
    in_doubt: bool,
    state: State,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    InFlight,
    Over,
    Waiting { until: Instant, reason: Reason },
}

impl Rotation {
    /// Begins with `tokens`, which were asked for at `sent_at`. Their generation is 0.
    #[must_use]
    pub fn new(tokens: Tokens, intent: Intent, window: Window, jitter: Jitter, sent_at: Instant) -> Self {
        Self {
            intent,
            window,
            jitter,
            expires_at: sent_at + tokens.lifetime(),
            expiry_told: false,
            generation: 0,
            attempts: 0,
            in_doubt: false,
            state: State::Waiting {
                until: window.renew_at(tokens.lifetime(), jitter, sent_at),
                reason: Reason::Renew,
            },
            tokens,
            events: VecDeque::new(),
        }
    }

    /// Notes that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.expiry_told && now >= self.expires_at {
            self.expiry_told = true;
            self.tell(Event::Expired);
        }
    }

    /// The attempt to make, if one is due and none is in flight. Its outcome must be reported.
    pub fn poll_renewal(&mut self, now: Instant) -> Option<Renewal> {
        match self.state {
            State::Waiting { until, .. } if until <= now => {}
            _ => return None,
        }
        self.state = State::InFlight;
        self.attempts = self.attempts.saturating_add(1);
        Some(Renewal {
            attempt: self.attempts,
            generation: self.generation,
            intent: self.intent,
        })
    }

    /// The attempt succeeded with `tokens`, which were asked for at `sent_at`. They replace the old ones as a whole.
    ///
    /// An attempt that is not the one in flight is ignored.
    pub fn handle_renewed(&mut self, renewal: Renewal, tokens: Tokens, sent_at: Instant, now: Instant) {
        if !self.is_in_flight(&renewal) {
            return;
        }
        let sent_at = sent_at.min(now);
        self.generation += 1;
        self.attempts = 0;
        self.in_doubt = false;
        self.expires_at = sent_at + tokens.lifetime();
        self.expiry_told = false;
        self.state = State::Waiting {
            until: self.window.renew_at(tokens.lifetime(), self.jitter, sent_at),
            reason: Reason::Renew,
        };
        self.tokens = tokens;
        self.tell(Event::Renewed {
            generation: self.generation,
        });
    }

    /// The attempt failed. `random` is any fresh random number.
    ///
    /// An attempt that is not the one in flight is ignored.
    pub fn handle_failed(&mut self, renewal: Renewal, failure: Failure, random: u64, now: Instant) {
        if !self.is_in_flight(&renewal) {
            return;
        }
        let may_be_used_up = failure == Failure::Unknown && self.intent == Intent::RefreshByRest;
        if failure == Failure::Refused || (may_be_used_up && self.in_doubt) {
            self.state = State::Over;
            self.tell(Event::ReauthRequired);
            return;
        }
        let jitter = retry::full_jitter(FIRST_BACK_OFF, LONGEST_BACK_OFF, self.attempts - 1, random);
        let next_in = match failure {
            Failure::Transient {
                retry_after: Some(asked),
            } => asked.min(retry::LONGEST_WAIT) + jitter.min(FIRST_BACK_OFF),
            _ => jitter,
        };
        self.state = State::Waiting {
            until: now + next_in,
            reason: Reason::Retry,
        };
        self.in_doubt |= may_be_used_up;
        let attempt = self.attempts;
        self.tell(if may_be_used_up {
            Event::InDoubt { attempt, next_in }
        } else {
            Event::Failed { attempt, next_in }
        });
    }

    /// Renews without waiting for the window. A renewal that is in flight serves as well, and a wait after a failure
    /// is not cut short, so this cannot be used to hammer a service in trouble.
    pub fn renew_now(&mut self, now: Instant) {
        if let State::Waiting {
            until,
            reason: Reason::Renew,
        } = &mut self.state
        {
            *until = now.min(*until);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and [`poll_renewal`](Self::poll_renewal) next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let renewal = match self.state {
            State::Waiting { until, reason } => Some((until, reason)),
            State::InFlight | State::Over => None,
        };
        let expiry = (!self.expiry_told).then_some((self.expires_at, Reason::Expire));
        renewal.into_iter().chain(expiry).min_by_key(|(at, _)| *at)
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The access token, unless it has expired.
    #[must_use]
    pub fn access(&self, now: Instant) -> Option<&SecretString> {
        (now < self.expires_at).then_some(self.tokens.access())
    }

    /// The tokens as a whole, for the request that renews them.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// How often the token has been renewed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When the access token ends.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// What the rotation is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::InFlight => Status::Renewing,
            State::Over => Status::ReauthRequired,
            State::Waiting {
                until,
                reason: Reason::Retry,
            } => Status::BackingOff {
                attempt: self.attempts,
                until,
            },
            State::Waiting { .. } => Status::Resting,
        }
    }

    fn is_in_flight(&self, renewal: &Renewal) -> bool {
        matches!(self.state, State::InFlight)
            && (renewal.generation, renewal.attempt) == (self.generation, self.attempts)
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// One attempt to renew a token. There is one at a time, and it is answered once: it cannot be copied.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Renewal {
    /// Which attempt since the last success, from 1.
    pub attempt: u32,
    /// The generation of the token to renew.
    pub generation: u64,
    /// How to renew it.
    pub intent: Intent,
}

/// How an attempt ended, other than well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The service will not renew this token, now or later.
    Refused,
    /// The service certainly did not act: nothing was sent, or it said so (429, 503). It is tried again.
    Transient {
        /// How long the service asked to wait; at most 300 seconds are obeyed.
        retry_after: Option<Duration>,
    },
    /// The request may have been acted on, and its reply is lost or unusable.
    Unknown,
}

impl From<&Problem> for Failure {
    /// By status: 429 and 503 say that the service did not act, 408 and other 5xx leave it open, and all else is a
    /// refusal.
    fn from(problem: &Problem) -> Self {
        match problem.status {
            429 | 503 => Self::Transient {
                retry_after: problem.retry_after,
            },
            408 | 500..=599 => Self::Unknown,
            _ => Self::Refused,
        }
    }
}

impl From<&ReplyError> for Failure {
    /// As its problem says; a success that cannot be read leaves it open whether there are new tokens.
    fn from(error: &ReplyError) -> Self {
        error.problem().map_or(Self::Unknown, Self::from)
    }
}

/// What happened to the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The access token has ended and is no longer served. Attempts to renew it go on.
    Expired,
    /// An attempt failed for the time being.
    Failed {
        /// Which attempt since the last success, from 1.
        attempt: u32,
        /// How long until the next.
        next_in: Duration,
    },
    /// The reply to an attempt is lost: its refresh token may be used up, and will be presented once more.
    InDoubt {
        /// Which attempt since the last success, from 1.
        attempt: u32,
        /// How long until the next.
        next_in: Duration,
    },
    /// The token cannot be renewed any more: refused, or lost twice. It is served until its end. To go on, create a
    /// session, or have the guest sign in.
    ReauthRequired,
    /// New tokens are stored.
    Renewed {
        /// Their generation.
        generation: u64,
    },
}

/// Why a rotation wants to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The access token ends.
    Expire,
    /// The token enters its window.
    Renew,
    /// The wait after a failure is over.
    Retry,
}

/// What a rotation is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// It waits after a failure.
    BackingOff {
        /// Which attempt failed.
        attempt: u32,
        /// When the next is due.
        until: Instant,
    },
    /// It has ended.
    ReauthRequired,
    /// An attempt is in flight.
    Renewing,
    /// It waits for the token's window.
    Resting,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::tests::{epoch, issue};

    const MINUTE: Duration = Duration::from_secs(60);
    const BUSY: Failure = Failure::Transient { retry_after: None };

    fn rotation(intent: Intent, lifetime: Duration, start: Instant) -> Rotation {
        Rotation::new(
            issue(0, lifetime),
            intent,
            Window::default(),
            Jitter::of("guest-1"),
            start,
        )
    }

    /// Moves time to the next deadline and takes the attempt that is due there.
    fn next_renewal(rotation: &mut Rotation) -> (Renewal, Instant) {
        loop {
            let (now, reason) = rotation.poll_timeout().unwrap();
            rotation.handle_timeout(now);
            match rotation.poll_renewal(now) {
                Some(renewal) => return (renewal, now),
                None => assert_eq!(reason, Reason::Expire),
            }
        }
    }

    fn events(rotation: &mut Rotation) -> Vec<Event> {
        std::iter::from_fn(|| rotation.poll_event()).collect()
    }

    #[test]
    fn a_minute_is_renewed_once_a_lifetime() {
        let start = epoch();
        let mut rotation = rotation(Intent::FetchJwt, MINUTE, start);
        for generation in 1..=60 {
            let (renewal, now) = next_renewal(&mut rotation);
            assert!(rotation.access(now).is_some());
            rotation.handle_renewed(renewal, issue(generation, MINUTE), now, now);
            assert_eq!(events(&mut rotation), [Event::Renewed { generation }]);
        }
        let (now, _) = rotation.poll_timeout().unwrap();
        let lifetimes = (now - start).as_secs_f64() / 60.0;
        assert!((0.7 * 61.0..=0.75 * 61.0).contains(&lifetimes), "{lifetimes}");
    }

    #[test]
    fn a_service_in_trouble_costs_nothing_while_the_token_lives() {
        let start = epoch();
        let mut rotation = rotation(Intent::RefreshByRest, 60 * MINUTE, start);
        for attempt in 1..=2 {
            let (renewal, now) = next_renewal(&mut rotation);
            rotation.handle_failed(renewal, BUSY, u64::MAX / 2, now);
            assert!(matches!(events(&mut rotation)[..], [Event::Failed { attempt: n, .. }] if n == attempt));
            assert!(rotation.access(now).is_some());
        }
        let (renewal, now) = next_renewal(&mut rotation);
        rotation.handle_renewed(renewal, issue(1, 60 * MINUTE), now, now);
        assert_eq!(events(&mut rotation), [Event::Renewed { generation: 1 }]);
        assert_eq!(rotation.expires_at(), now + 60 * MINUTE);
    }

    #[test]
    fn the_service_says_how_long_to_wait() {
        let start = epoch();
        let mut rotation = rotation(Intent::RefreshByRest, 60 * MINUTE, start);
        let (renewal, now) = next_renewal(&mut rotation);
        let failure = Failure::Transient {
            retry_after: Some(Duration::from_secs(7)),
        };
        rotation.handle_failed(renewal, failure, u64::MAX, now);
        let (at, reason) = rotation.poll_timeout().unwrap();
        assert_eq!(reason, Reason::Retry);
        assert!(at >= now + Duration::from_secs(7) && at <= now + Duration::from_millis(7_500));
        rotation.renew_now(now);
        assert_eq!(rotation.poll_renewal(now), None, "a wait is not cut short");
    }

    #[test]
    fn a_lost_reply_is_tried_once_more_and_no_more() {
        let start = epoch();
        let mut rotation = rotation(Intent::RefreshByRest, 60 * MINUTE, start);
        let (renewal, now) = next_renewal(&mut rotation);
        rotation.handle_failed(renewal, Failure::Unknown, 0, now);
        assert!(matches!(
            events(&mut rotation)[..],
            [Event::InDoubt { attempt: 1, .. }]
        ));
        // the service did not act on this one, so the one more try is still to come
        let (renewal, now) = next_renewal(&mut rotation);
        rotation.handle_failed(renewal, BUSY, 0, now);
        let (renewal, now) = next_renewal(&mut rotation);
        rotation.handle_failed(renewal, Failure::Unknown, 0, now);
        assert!(matches!(
            events(&mut rotation)[..],
            [Event::Failed { attempt: 2, .. }, Event::ReauthRequired]
        ));
        assert_eq!(rotation.status(), Status::ReauthRequired);
        assert!(rotation.access(now).is_some(), "served until its own end");
        assert_eq!(
            rotation.poll_timeout(),
            Some((start + 60 * MINUTE, Reason::Expire))
        );
        rotation.handle_timeout(start + 60 * MINUTE);
        assert_eq!(events(&mut rotation), [Event::Expired]);
        rotation.renew_now(start + 60 * MINUTE);
        assert_eq!(rotation.poll_renewal(start + 60 * MINUTE), None);
        assert_eq!(rotation.poll_timeout(), None);
    }

    #[test]
    fn a_lost_reply_that_is_made_good_leaves_no_doubt() {
        let start = epoch();
        let mut rotation = rotation(Intent::RefreshByRest, 60 * MINUTE, start);
        for generation in 1..=3 {
            let (renewal, now) = next_renewal(&mut rotation);
            rotation.handle_failed(renewal, Failure::Unknown, 0, now);
            let (renewal, now) = next_renewal(&mut rotation);
            rotation.handle_renewed(renewal, issue(generation, 60 * MINUTE), now, now);
        }
        assert_eq!(rotation.generation(), 3);
    }

    #[test]
    fn what_presents_nothing_is_never_in_doubt() {
        for intent in [Intent::SlideByFrame, Intent::FetchJwt] {
            let mut rotation = rotation(intent, MINUTE, epoch());
            for _ in 0..5 {
                let (renewal, now) = next_renewal(&mut rotation);
                rotation.handle_failed(renewal, Failure::Unknown, 0, now);
            }
            assert!(matches!(rotation.status(), Status::BackingOff { attempt: 5, .. }));
        }
    }

    #[test]
    fn a_refusal_is_final() {
        let mut rotation = rotation(Intent::SlideByFrame, MINUTE, epoch());
        let (renewal, now) = next_renewal(&mut rotation);
        rotation.handle_failed(renewal, Failure::Refused, 0, now);
        assert_eq!(events(&mut rotation), [Event::ReauthRequired]);
        assert_eq!(rotation.poll_renewal(now + 60 * MINUTE), None);
    }

    #[test]
    fn each_token_ends_once_and_attempts_go_on() {
        let start = epoch();
        let mut rotation = rotation(Intent::RefreshByRest, MINUTE, start);
        for generation in 1..=2 {
            let end = rotation.expires_at();
            let (renewal, now) = next_renewal(&mut rotation);
            assert!(rotation.access(end - Duration::from_nanos(1)).is_some());
            assert!(rotation.access(end).is_none());
            rotation.handle_timeout(end);
            rotation.handle_timeout(end);
            assert_eq!(events(&mut rotation), [Event::Expired]);
            rotation.handle_failed(renewal, BUSY, 0, end);
            let (renewal, _) = next_renewal(&mut rotation);
            rotation.handle_renewed(renewal, issue(generation, 2 * MINUTE), now, end);
            assert!(rotation.access(end).is_some());
            assert_eq!(events(&mut rotation).last(), Some(&Event::Renewed { generation }));
        }
    }

    #[test]
    fn renewing_at_once_is_one_flight() {
        let start = epoch();
        let mut rotation = rotation(Intent::RefreshByRest, 60 * MINUTE, start);
        assert_eq!(rotation.poll_renewal(start), None);
        rotation.renew_now(start);
        let renewal = rotation.poll_renewal(start).unwrap();
        rotation.renew_now(start);
        assert_eq!(rotation.poll_renewal(start), None);
        rotation.handle_renewed(renewal, issue(1, 60 * MINUTE), start, start);
        assert_eq!(rotation.poll_renewal(start), None);
    }

    #[test]
    fn statuses_that_leave_it_open_are_told_from_refusals() {
        let problem = |status| Failure::from(&ReplyError::Refused(Box::new(Problem::new(status, "x", "x"))));
        for (status, failure) in [
            (429, BUSY),
            (503, BUSY),
            (408, Failure::Unknown),
            (500, Failure::Unknown),
            (502, Failure::Unknown),
            (504, Failure::Unknown),
            (400, Failure::Refused),
            (401, Failure::Refused),
            (404, Failure::Refused),
        ] {
            assert_eq!(problem(status), failure, "{status}");
        }
        let garbled = ReplyError::Malformed {
            status: 200,
            expected: "tokens",
        };
        assert_eq!(Failure::from(&garbled), Failure::Unknown);
    }

    #[test]
    fn events_are_bounded() {
        let mut rotation = rotation(Intent::SlideByFrame, MINUTE, epoch());
        for _ in 0..1_000 {
            let (renewal, now) = next_renewal(&mut rotation);
            rotation.handle_failed(renewal, BUSY, 0, now + Duration::from_secs(1));
        }
        assert_eq!(events(&mut rotation).len(), MOST_EVENTS);
    }

    fn outcome() -> impl Strategy<Value = Option<Failure>> {
        prop_oneof![
            6 => Just(None),
            3 => proptest::option::of(0_u64..1_000).prop_map(|seconds| Some(Failure::Transient {
                retry_after: seconds.map(Duration::from_secs),
            })),
            2 => Just(Some(Failure::Unknown)),
            1 => Just(Some(Failure::Refused)),
        ]
    }

    proptest! {
        /// For any schedule of outcomes, given that a reply takes less than the lead.
        #[test]
        fn one_in_flight_and_never_late(
            lifetime in 5_u64..200_000,
            outcomes in proptest::collection::vec((outcome(), 0_u32..1_000, any::<u64>()), 1..80),
        ) {
            let lifetime = Duration::from_secs(lifetime);
            let start = epoch();
            let mut rotation = rotation(Intent::RefreshByRest, lifetime, start);
            let lead = Window::default().lead(lifetime);
            let mut issued = 0;
            let mut lost = 0;
            for (outcome, latency, random) in outcomes {
                let (renewal, sent_at) = next_renewal(&mut rotation);
                let ends = rotation.expires_at();
                let presented = format!("{:?}", secrecy::ExposeSecret::expose_secret(rotation.tokens().refresh().unwrap()));
                prop_assert_eq!(presented, format!("\"refresh-{issued}\""), "never one that has a successor");
                prop_assert_eq!(renewal.generation, issued);
                if renewal.attempt == 1 {
                    prop_assert!(ends - sent_at >= lead, "first tried before the window");
                }
                let now = sent_at + lead * latency / 1_000;
                rotation.handle_timeout(now);
                for at in [sent_at, now, ends, ends + lifetime] {
                    prop_assert!(rotation.poll_renewal(at).is_none(), "one in flight");
                }
                if renewal.attempt == 1 {
                    prop_assert!(rotation.access(now).is_some(), "a first attempt never comes too late");
                }
                match outcome {
                    None => {
                        issued += 1;
                        lost = 0;
                        rotation.handle_renewed(renewal, issue(issued, lifetime), sent_at, now);
                        prop_assert_eq!(rotation.expires_at(), sent_at + lifetime);
                        prop_assert!(rotation.access(now).is_some());
                    }
                    Some(failure) => {
                        lost += u32::from(failure == Failure::Unknown);
                        rotation.handle_failed(renewal, failure, random, now);
                        prop_assert_eq!(rotation.access(now).is_some(), now < ends, "served until its own end");
                        let over = failure == Failure::Refused || lost == 2;
                        prop_assert_eq!(rotation.status() == Status::ReauthRequired, over);
                        if over {
                            break;
                        }
                        let Status::BackingOff { until, .. } = rotation.status() else {
                            return Err(TestCaseError::fail("a failure is followed by a wait"));
                        };
                        let longest = match failure {
                            Failure::Transient { retry_after: Some(asked) } => asked.min(retry::LONGEST_WAIT) + FIRST_BACK_OFF,
                            _ => LONGEST_BACK_OFF,
                        };
                        prop_assert!(until - now <= longest);
                    }
                }
            }
        }
    }
}
