//! One token, fetched by one flight.

use std::time::{Duration, Instant};

use genesys_api::retry;
use secrecy::SecretString;

use crate::Grant;

/// Longest time before its end at which a token is fetched anew. The founding tutorial's.
const LONGEST_MARGIN: Duration = Duration::from_secs(300);

/// The same as a part of the lifetime: a fifth. Our choice; a token of five minutes would else never be cached.
const MARGIN_DIVISOR: u32 = 5;

/// Fetches are at least this far apart, however short-lived the tokens are. Our choice.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Bounds of the wait after a failure. Our choice.
const SHORTEST_BACK_OFF: Duration = Duration::from_millis(500);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// A token that replaced a rejected one is not given up within this time. Our choice: if two in a row are rejected so
/// quickly, the token is not at fault, and fetching more of them would only add to the trouble.
const REJECTION_PAUSE: Duration = Duration::from_secs(10);

/// The state machine of a cached access token. It does no I/O.
///
/// - A token is fetched anew when less than `min(300 s, lifetime / 5)` remains, and served meanwhile until its own end.
/// - Lifetimes count from when the request was sent, on the monotonic clock: no change of the wall clock matters.
/// - At most one fetch is in flight; fetches are at least a second apart; after a failure nobody fetches until a
///   back-off that all share is over (full jitter, 0.5 to 30 s, or what the service asked for).
#[derive(Debug, Default)]
pub struct TokenCache {
    cached: Option<Cached>,
    generation: u64,
    fetches: u64,
    in_flight: bool,
    failures: u32,
    not_before: Option<Instant>,
    rejected_at: Option<Instant>,
}

#[derive(Debug)]
struct Cached {
    token: Token,
    renew_at: Instant,
    expires_at: Instant,
}

impl TokenCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a token. Whoever is handed a [`Ticket`] must fetch, and report how that ended, exactly once.
    pub fn poll(&mut self, now: Instant) -> Lookup {
        let (token, is_fresh) = match &self.cached {
            Some(cached) if now < cached.expires_at => (cached.token.clone(), now < cached.renew_at),
            _ => {
                return match self.take_off(now) {
                    Some(ticket) => Lookup::Fetch(ticket),
                    None if self.in_flight => Lookup::InFlight,
                    None => Lookup::Blocked {
                        until: self.not_before.unwrap_or(now),
                    },
                };
            }
        };
        if is_fresh {
            return Lookup::Fresh(token);
        }
        Lookup::Stale {
            token,
            ticket: self.take_off(now),
        }
    }

    /// The fetch brought `grant`. A ticket of another cache, or of an earlier fetch, is ignored.
    pub fn handle_granted(&mut self, ticket: Ticket, grant: Grant) {
        if !self.lands(&ticket) {
            return;
        }
        self.failures = 0;
        self.not_before = Some(ticket.sent_at + SHORTEST_PAUSE);
        self.generation += 1;
        let margin = LONGEST_MARGIN.min(grant.expires_in / MARGIN_DIVISOR);
        let expires_at = ticket.sent_at + grant.expires_in;
        self.cached = Some(Cached {
            token: Token {
                secret: grant.access_token,
                generation: self.generation,
            },
            renew_at: expires_at - margin,
            expires_at,
        });
    }

    /// The fetch failed. `random` is any fresh random number. The token that is cached, if any, stays.
    pub fn handle_failed(&mut self, ticket: Ticket, failure: Failure, random: u64, now: Instant) {
        if !self.lands(&ticket) {
            return;
        }
        let jitter = retry::full_jitter(SHORTEST_BACK_OFF, LONGEST_BACK_OFF, self.failures, random)
            .max(SHORTEST_BACK_OFF);
        let wait = match failure {
            Failure::Fatal => LONGEST_BACK_OFF,
            Failure::Transient { retry_after } => {
                retry_after.map_or(jitter, |asked| jitter.max(asked.min(retry::LONGEST_WAIT)))
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some((now + wait).max(ticket.sent_at + SHORTEST_PAUSE));
    }

    /// A service rejected the token of `generation` (401). Says whether there is another to try with, cached or to be
    /// fetched.
    ///
    /// A rejected token that has been replaced since changes nothing. One that itself replaced a rejected token within
    /// the last ten seconds is kept.
    pub fn invalidate(&mut self, generation: u64, now: Instant) -> bool {
        if self
            .cached
            .as_ref()
            .is_none_or(|cached| cached.token.generation != generation)
        {
            return true;
        }
        if self.rejected_at.is_some_and(|last| now < last + REJECTION_PAUSE) {
            return false;
        }
        self.rejected_at = Some(now);
        self.cached = None;
        if self.failures == 0 {
            self.not_before = None;
        }
        true
    }

    /// How many fetches have begun: a cache hit leaves it as it is.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.fetches
    }

    /// When the next fetch may begin, if that is restricted.
    #[must_use]
    pub fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    fn take_off(&mut self, now: Instant) -> Option<Ticket> {
        if self.in_flight || self.not_before.is_some_and(|until| now < until) {
            return None;
        }
        self.in_flight = true;
        self.fetches += 1;
        Some(Ticket {
            number: self.fetches,
            sent_at: now,
        })
    }

    fn lands(&mut self, ticket: &Ticket) -> bool {
        let lands = self.in_flight && ticket.number == self.fetches;
        self.in_flight &= !lands;
        lands
    }
}

/// What a cache says.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lookup {
    /// There is no token, and it is too soon to fetch one.
    Blocked {
        /// When to ask again.
        until: Instant,
    },
    /// There is no token: fetch one.
    Fetch(Ticket),
    /// A token with time left.
    Fresh(Token),
    /// There is no token, and one is being fetched.
    InFlight,
    /// A token that is good, and soon to be replaced.
    Stale {
        /// The token.
        token: Token,
        /// Fetch its successor, unless that is being done or must wait.
        ticket: Option<Ticket>,
    },
}

/// The right and duty to fetch, held by one at a time: it cannot be copied.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    sent_at: Instant,
}

/// An access token, and which one it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Token {
    /// What calls carry.
    pub secret: SecretString,
    /// Counts the tokens of this cache, from 1.
    pub generation: u64,
}

/// How a fetch failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// Nothing but a change of configuration can help. It is tried again after 30 seconds, in case there was one.
    Fatal,
    /// It may pass.
    Transient {
        /// How long the service asked to wait; at most 300 seconds are obeyed.
        retry_after: Option<Duration>,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const BUSY: Failure = Failure::Transient { retry_after: None };

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    fn grant(expires_in: Duration) -> Grant {
        Grant {
            access_token: "t".into(),
            expires_in,
            scopes: None,
        }
    }

    fn fetch(cache: &mut TokenCache, now: Instant) -> Ticket {
        match cache.poll(now) {
            Lookup::Fetch(ticket) => ticket,
            other => panic!("expected to fetch: {other:?}"),
        }
    }

    fn filled(expires_in: Duration, now: Instant) -> TokenCache {
        let mut cache = TokenCache::new();
        let ticket = fetch(&mut cache, now);
        cache.handle_granted(ticket, grant(expires_in));
        cache
    }

    #[test]
    fn a_token_is_served_until_its_end_and_renewed_before() {
        let start = epoch();
        for (lifetime, margin) in [(86_400, 300), (1_500, 300), (300, 60), (30, 6)] {
            let end = start + lifetime * SECOND;
            let mut cache = filled(lifetime * SECOND, start);
            assert!(matches!(
                cache.poll(end - (margin + 1) * SECOND),
                Lookup::Fresh(Token { generation: 1, .. })
            ));
            let Lookup::Stale {
                ticket: Some(ticket), ..
            } = cache.poll(end - margin * SECOND)
            else {
                panic!("the margin has begun");
            };
            assert!(matches!(
                cache.poll(end - SECOND),
                Lookup::Stale { ticket: None, .. }
            ));
            assert!(matches!(cache.poll(end), Lookup::InFlight));
            cache.handle_granted(ticket, grant(lifetime * SECOND));
            assert!(matches!(
                cache.poll(end),
                Lookup::Fresh(Token { generation: 2, .. })
            ));
            assert_eq!(cache.fetches(), 2);
        }
    }

    #[test]
    fn a_lifetime_counts_from_when_the_token_was_asked_for() {
        let start = epoch();
        let mut cache = TokenCache::new();
        let ticket = fetch(&mut cache, start);
        cache.handle_granted(ticket, grant(100 * SECOND));
        assert!(matches!(
            cache.poll(start + 99 * SECOND),
            Lookup::Stale { ticket: Some(_), .. }
        ));
        assert!(matches!(cache.poll(start + 100 * SECOND), Lookup::InFlight));
    }

    #[test]
    fn a_stale_token_outlives_failures_and_they_are_not_hammered() {
        let start = epoch();
        let mut cache = filled(300 * SECOND, start);
        let mut now = start + 250 * SECOND;
        for _ in 0..3 {
            let Lookup::Stale {
                ticket: Some(ticket), ..
            } = cache.poll(now)
            else {
                panic!("the back-off is over");
            };
            cache.handle_failed(ticket, BUSY, u64::MAX, now);
            assert!(matches!(cache.poll(now), Lookup::Stale { ticket: None, .. }));
            now = cache.not_before().unwrap();
        }
        assert!(now < start + 260 * SECOND);
        let Lookup::Stale {
            ticket: Some(ticket), ..
        } = cache.poll(now)
        else {
            panic!("the back-off is over");
        };
        let asked = Failure::Transient {
            retry_after: Some(100 * SECOND),
        };
        cache.handle_failed(ticket, asked, 0, now);
        assert!(matches!(
            cache.poll(start + 300 * SECOND),
            Lookup::Blocked { until } if until == now + 100 * SECOND
        ));
    }

    #[test]
    fn a_rejected_token_is_replaced_once() {
        let start = epoch();
        let mut cache = filled(3_600 * SECOND, start);
        assert!(cache.invalidate(1, start));
        assert!(cache.invalidate(1, start), "another task, with the same token");
        let ticket = fetch(&mut cache, start);
        cache.handle_granted(ticket, grant(3_600 * SECOND));
        assert!(cache.invalidate(1, start), "there is a newer one to try with");
        assert!(matches!(
            cache.poll(start),
            Lookup::Fresh(Token { generation: 2, .. })
        ));
        assert!(!cache.invalidate(2, start + SECOND), "the token is not at fault");
        assert!(matches!(cache.poll(start + SECOND), Lookup::Fresh(_)));
        assert_eq!(cache.fetches(), 2);
        assert!(cache.invalidate(2, start + 10 * SECOND));
        assert!(matches!(cache.poll(start + 10 * SECOND), Lookup::Fetch(_)));
    }

    #[test]
    fn a_wrong_secret_is_tried_again_after_half_a_minute() {
        let start = epoch();
        let mut cache = TokenCache::new();
        let ticket = fetch(&mut cache, start);
        cache.handle_failed(ticket, Failure::Fatal, 0, start);
        assert!(matches!(
            cache.poll(start + 29 * SECOND),
            Lookup::Blocked { until } if until == start + 30 * SECOND
        ));
        fetch(&mut cache, start + 30 * SECOND);
    }

    proptest! {
        /// Whatever the lifetime, the latency, the failures and the moments at which tokens are asked for.
        #[test]
        fn fetches_are_at_least_half_a_life_apart(
            lifetime in prop_oneof![Just(0), Just(1_u32), Just(30), Just(299), Just(300), 0_u32..100_000],
            steps in proptest::collection::vec((0_u64..20_000, 0_u64..3_000, any::<Option<u64>>()), 1..400),
        ) {
            let lifetime = lifetime * SECOND;
            let mut now = epoch();
            let mut cache = TokenCache::new();
            let mut granted_at: Option<Instant> = None;
            let mut fetched_at: Option<Instant> = None;
            for (step, latency, failure) in steps {
                now += Duration::from_millis(step);
                let ticket = match cache.poll(now) {
                    Lookup::Fresh(_) | Lookup::Stale { ticket: None, .. } => {
                        prop_assert!(granted_at.is_some_and(|at| now < at + lifetime), "an expired token was served");
                        continue;
                    }
                    Lookup::Stale { ticket: Some(ticket), .. } | Lookup::Fetch(ticket) => ticket,
                    Lookup::Blocked { until } => {
                        prop_assert!(until > now);
                        continue;
                    }
                    Lookup::InFlight => return Err(TestCaseError::fail("no flight is open here")),
                };
                let pause = SECOND.max(match granted_at {
                    Some(at) if fetched_at == Some(at) => lifetime / 2,
                    _ => Duration::ZERO,
                });
                prop_assert!(fetched_at.is_none_or(|at| now >= at + pause));
                let sent_at = now;
                fetched_at = Some(sent_at);
                now += Duration::from_millis(latency);
                prop_assert!(!matches!(cache.poll(now), Lookup::Fetch(_)), "one flight");
                match failure {
                    // a lifetime of zero is an error of the reply
                    None if !lifetime.is_zero() => {
                        granted_at = Some(sent_at);
                        cache.handle_granted(ticket, grant(lifetime));
                    }
                    _ => cache.handle_failed(ticket, BUSY, failure.unwrap_or_default(), now),
                }
            }
        }
    }
}
