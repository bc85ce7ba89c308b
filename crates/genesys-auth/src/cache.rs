//! The cache of an access token.

use std::time::{Duration, Instant};

use genesys_api::retry::Backoff;
use secrecy::SecretString;

use crate::TokenResponse;

/// Longest time before expiry at which a token is refreshed, from the founding tutorial.
const MAX_MARGIN: Duration = Duration::from_secs(300);

/// The same as a share of the lifetime. Our choice: without it a token of five minutes would never be cached.
const MARGIN_DIVISOR: u32 = 5;

/// Shortest time between two fetches, however short the lifetime. Our choice.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// A token that replaced a rejected one is kept for this time. Our choice: if a service rejects two tokens in a row so
/// quickly, fetching a third does not help.
const REJECTION_PAUSE: Duration = Duration::from_secs(10);

/// Remaining lifetime at which a token is refreshed: 300 s, or a fifth of a `lifetime` under 1,500 s.
#[must_use]
pub fn refresh_margin(lifetime: Duration) -> Duration {
    MAX_MARGIN.min(lifetime / MARGIN_DIVISOR)
}

/// The state machine of a cached access token, without I/O. The default is an empty cache.
///
/// - A token is refreshed when less than `min(300 s, lifetime / 5)` remains, and served until its expiry.
/// - Lifetimes count from the start of the request, on the monotonic clock.
/// - At most one fetch is in flight, and fetches are at least a second apart.
/// - After a failure no caller fetches until a shared backoff ends: full jitter of 0.5 to 30 s, or `Retry-After`.
#[derive(Debug, Default)]
pub struct TokenCache {
    cached: Option<Cached>,
    generation: u64,
    fetches: u64,
    in_flight: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// The last token that a service rejected, and the time.
    rejected: Option<(SecretString, Instant)>,
}

#[derive(Debug)]
struct Cached {
    token: AccessToken,
    refresh_at: Instant,
    expires_at: Instant,
}

impl TokenCache {
    /// Looks the token up. A caller that gets a [`FetchPermit`] must fetch, and report the outcome exactly once.
    pub fn poll(&mut self, now: Instant) -> Lookup {
        let Some(cached) = self.cached.as_ref().filter(|cached| now < cached.expires_at) else {
            return match self.start_fetch(now) {
                Some(permit) => Lookup::Fetch(permit),
                None if self.in_flight => Lookup::InFlight,
                None => Lookup::BackingOff {
                    until: self.not_before.unwrap_or(now),
                },
            };
        };
        let token = cached.token.clone();
        if now < cached.refresh_at {
            return Lookup::Fresh(token);
        }
        let permit = self.start_fetch(now);
        Lookup::Stale { token, permit }
    }

    /// Stores a fetched token. A permit of another cache or of an earlier fetch is ignored.
    pub fn handle_fetched(&mut self, permit: FetchPermit, response: TokenResponse) {
        if !self.finish_fetch(&permit) {
            return;
        }
        self.failures = 0;
        self.not_before = Some(permit.sent_at + MIN_PAUSE);
        self.generation += 1;
        let margin = refresh_margin(response.expires_in);
        let expires_at = permit.sent_at + response.expires_in;
        self.cached = Some(Cached {
            token: AccessToken {
                secret: response.access_token,
                generation: self.generation,
            },
            refresh_at: expires_at - margin,
            expires_at,
        });
    }

    /// Starts the backoff after a failed fetch. `random` is any fresh random number. A cached token is kept.
    pub fn handle_failed(&mut self, permit: FetchPermit, failure: FetchFailure, random: u64, now: Instant) {
        if !self.finish_fetch(&permit) {
            return;
        }
        let backoff = Backoff::default();
        let wait = match failure {
            FetchFailure::Fatal => backoff.cap,
            FetchFailure::Transient { retry_after } => {
                backoff.wait(self.failures, retry_after, random).max(backoff.base)
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some((now + wait).max(permit.sent_at + MIN_PAUSE));
    }

    /// Drops the token of `generation`, which a service rejected (401). Returns whether another token can be had, from the
    /// cache or by a fetch.
    ///
    /// A token that was replaced meanwhile changes nothing. One that replaced a rejected token within the last ten
    /// seconds is kept.
    pub fn invalidate(&mut self, generation: u64, now: Instant) -> bool {
        let is_current = |cached: &mut Cached| cached.token.generation == generation;
        let is_recent = |(_, last): &(_, Instant)| now < *last + REJECTION_PAUSE;
        if self.rejected.as_ref().is_some_and(is_recent) {
            return !self.cached.as_mut().is_some_and(is_current);
        }
        let Some(cached) = self.cached.take_if(is_current) else {
            return true;
        };
        self.rejected = Some((cached.token.secret, now));
        if self.failures == 0 {
            self.not_before = None;
        }
        true
    }

    /// Number of fetches so far.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.fetches
    }

    /// Earliest time of the next fetch, if it is restricted.
    #[must_use]
    pub fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    fn start_fetch(&mut self, now: Instant) -> Option<FetchPermit> {
        if self.in_flight || self.not_before.is_some_and(|until| now < until) {
            return None;
        }
        self.in_flight = true;
        self.fetches += 1;
        Some(FetchPermit {
            number: self.fetches,
            sent_at: now,
            rejected: self.rejected.as_ref().map(|(token, _)| token.clone()),
        })
    }

    fn finish_fetch(&mut self, permit: &FetchPermit) -> bool {
        let is_current = self.in_flight && permit.number == self.fetches;
        self.in_flight &= !is_current;
        is_current
    }
}

/// The result of a lookup.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lookup {
    /// No valid token, and no fetch is allowed yet.
    BackingOff {
        /// Earliest time of the next fetch.
        until: Instant,
    },
    /// No valid token: fetch one.
    Fetch(FetchPermit),
    /// A valid token.
    Fresh(AccessToken),
    /// No valid token, and a fetch is in flight.
    InFlight,
    /// A valid token that is due for a refresh.
    Stale {
        /// The token.
        token: AccessToken,
        /// Permit to fetch its successor, unless a fetch is in flight or backing off.
        permit: Option<FetchPermit>,
    },
}

/// A permit to fetch. There is one at a time, and it cannot be copied: its outcome is reported once.
#[derive(Debug)]
pub struct FetchPermit {
    number: u64,
    sent_at: Instant,
    rejected: Option<SecretString>,
}

impl FetchPermit {
    /// The last token that a service rejected. A source that several processes share does not return it again.
    #[must_use]
    pub fn rejected(&self) -> Option<&SecretString> {
        self.rejected.as_ref()
    }
}

/// A cached access token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessToken {
    /// The token as sent in `Authorization: Bearer`.
    pub secret: SecretString,
    /// Number of the token in this cache, from 1.
    pub generation: u64,
}

/// The class of a failed fetch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FetchFailure {
    /// Only a change of configuration helps. The fetch is retried after 30 seconds.
    Fatal,
    /// A retry may succeed.
    Transient {
        /// Wait that the service requested. At most 300 seconds are honored.
        retry_after: Option<Duration>,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const BUSY: FetchFailure = FetchFailure::Transient { retry_after: None };

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    fn response(expires_in: Duration) -> TokenResponse {
        TokenResponse {
            access_token: "t".into(),
            expires_in,
            scopes: None,
        }
    }

    fn fetch(cache: &mut TokenCache, now: Instant) -> FetchPermit {
        match cache.poll(now) {
            Lookup::Fetch(permit) => permit,
            other => panic!("expected to fetch: {other:?}"),
        }
    }

    fn filled(expires_in: Duration, now: Instant) -> TokenCache {
        let mut cache = TokenCache::default();
        let permit = fetch(&mut cache, now);
        cache.handle_fetched(permit, response(expires_in));
        cache
    }

    #[test]
    fn token_is_refreshed_before_expiry_and_served_until_it() {
        let start = epoch();
        for (lifetime, margin) in [(86_400, 300), (1_500, 300), (300, 60), (30, 6)] {
            let end = start + lifetime * SECOND;
            let mut cache = filled(lifetime * SECOND, start);
            assert!(matches!(
                cache.poll(end - (margin + 1) * SECOND),
                Lookup::Fresh(AccessToken { generation: 1, .. })
            ));
            let Lookup::Stale {
                permit: Some(permit), ..
            } = cache.poll(end - margin * SECOND)
            else {
                panic!("the token is due for a refresh");
            };
            assert!(matches!(
                cache.poll(end - SECOND),
                Lookup::Stale { permit: None, .. }
            ));
            assert!(matches!(cache.poll(end), Lookup::InFlight));
            cache.handle_fetched(permit, response(lifetime * SECOND));
            assert!(matches!(
                cache.poll(end),
                Lookup::Fresh(AccessToken { generation: 2, .. })
            ));
            assert_eq!(cache.fetches(), 2);
        }
    }

    #[test]
    fn lifetime_counts_from_start_of_request() {
        let start = epoch();
        let mut cache = TokenCache::default();
        let permit = fetch(&mut cache, start);
        cache.handle_fetched(permit, response(100 * SECOND));
        assert!(matches!(
            cache.poll(start + 99 * SECOND),
            Lookup::Stale { permit: Some(_), .. }
        ));
        assert!(matches!(cache.poll(start + 100 * SECOND), Lookup::InFlight));
    }

    #[test]
    fn stale_token_is_served_during_backoff() {
        let start = epoch();
        let mut cache = filled(300 * SECOND, start);
        let mut now = start + 250 * SECOND;
        for _ in 0..3 {
            let Lookup::Stale {
                permit: Some(permit), ..
            } = cache.poll(now)
            else {
                panic!("the backoff has ended");
            };
            cache.handle_failed(permit, BUSY, u64::MAX, now);
            assert!(matches!(cache.poll(now), Lookup::Stale { permit: None, .. }));
            now = cache.not_before().unwrap();
        }
        assert!(now < start + 260 * SECOND);
        let Lookup::Stale {
            permit: Some(permit), ..
        } = cache.poll(now)
        else {
            panic!("the backoff has ended");
        };
        let asked = FetchFailure::Transient {
            retry_after: Some(100 * SECOND),
        };
        cache.handle_failed(permit, asked, 0, now);
        assert!(matches!(
            cache.poll(start + 300 * SECOND),
            Lookup::BackingOff { until } if until == now + 100 * SECOND
        ));
    }

    #[test]
    fn rejected_token_is_replaced_once() {
        let start = epoch();
        let mut cache = filled(3_600 * SECOND, start);
        assert!(cache.invalidate(1, start));
        assert!(cache.invalidate(1, start), "another task, with the same token");
        let permit = fetch(&mut cache, start);
        cache.handle_fetched(permit, response(3_600 * SECOND));
        assert!(cache.invalidate(1, start), "there is a newer one to try with");
        assert!(matches!(
            cache.poll(start),
            Lookup::Fresh(AccessToken { generation: 2, .. })
        ));
        assert!(!cache.invalidate(2, start + SECOND), "the token is not at fault");
        assert!(matches!(cache.poll(start + SECOND), Lookup::Fresh(_)));
        assert_eq!(cache.fetches(), 2);
        assert!(cache.invalidate(2, start + 10 * SECOND));
        assert!(matches!(cache.poll(start + 10 * SECOND), Lookup::Fetch(_)));
    }

    #[test]
    fn fatal_failure_is_retried_after_30_seconds() {
        let start = epoch();
        let mut cache = TokenCache::default();
        let permit = fetch(&mut cache, start);
        cache.handle_failed(permit, FetchFailure::Fatal, 0, start);
        assert!(matches!(
            cache.poll(start + 29 * SECOND),
            Lookup::BackingOff { until } if until == start + 30 * SECOND
        ));
        fetch(&mut cache, start + 30 * SECOND);
    }

    #[test]
    fn lookups_of_ten_thousand_tasks_get_one_permit_in_each_of_1_000_rounds() {
        let mut now = epoch();
        let mut cache = TokenCache::default();
        for round in 1..=1_000 {
            let mut permits = (0..10_000).filter_map(|_| match cache.poll(now) {
                Lookup::Fetch(permit) => Some(permit),
                Lookup::InFlight => None,
                other => panic!("the token has expired: {other:?}"),
            });
            let permit = permits.next().unwrap();
            assert_eq!(permits.count(), 0);
            cache.handle_fetched(permit, response(60 * SECOND));
            assert_eq!(cache.fetches(), round);
            now += 60 * SECOND;
        }
    }

    /// The cache takes no wall clock, so skew and jumps of one do not matter. A suspended process sees a jump of the
    /// monotonic clock, or none: then the service's token ends while the clock stands still, which nothing can detect.
    #[test]
    fn million_lookups_serve_no_expired_token() {
        let mut now = epoch();
        let mut cache = TokenCache::default();
        let mut random = 1_u64;
        let mut ends = now;
        let mut in_flight: Option<(FetchPermit, Instant, Instant)> = None;
        let (mut served, mut expired) = (0, 0);
        for _ in 0..1_000_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let dice = random >> 33;
            now += match dice % 1_000 {
                0 => Duration::from_secs(dice % 40_000),
                1..20 => Duration::from_secs(dice % 400),
                _ => Duration::from_millis(dice % 2_000),
            };
            if let Some((permit, sent, _)) = in_flight.take_if(|(_, _, arrives)| *arrives <= now) {
                let lifetime = [30, 299, 300, 3_600][(dice % 4) as usize] * SECOND;
                match dice % 10 {
                    0 => cache.handle_failed(permit, BUSY, dice, now),
                    _ => {
                        // the service counts from a later time
                        ends = sent + lifetime;
                        cache.handle_fetched(permit, response(lifetime));
                    }
                }
            }
            let permit = match cache.poll(now) {
                Lookup::Fresh(_) | Lookup::Stale { permit: None, .. } => {
                    served += 1;
                    expired += u64::from(now >= ends);
                    continue;
                }
                Lookup::Stale {
                    permit: Some(permit), ..
                } => {
                    served += 1;
                    expired += u64::from(now >= ends);
                    permit
                }
                Lookup::Fetch(permit) => permit,
                Lookup::BackingOff { .. } | Lookup::InFlight => continue,
            };
            in_flight = Some((permit, now, now + Duration::from_millis(dice % 30_000)));
        }
        assert_eq!(expired, 0);
        assert!(served > 500_000, "{served}");
    }

    proptest! {
        /// Holds for any lifetimes, latencies, failures and times of lookup.
        #[test]
        fn fetches_are_at_least_half_a_lifetime_apart(
            lifetime in prop_oneof![Just(0), Just(1_u32), Just(30), Just(299), Just(300), 0_u32..100_000],
            steps in proptest::collection::vec((0_u64..20_000, 0_u64..3_000, any::<Option<u64>>()), 1..400),
        ) {
            let lifetime = lifetime * SECOND;
            let mut now = epoch();
            let mut cache = TokenCache::default();
            let mut granted_at: Option<Instant> = None;
            let mut fetched_at: Option<Instant> = None;
            for (step, latency, failure) in steps {
                now += Duration::from_millis(step);
                let permit = match cache.poll(now) {
                    Lookup::Fresh(_) | Lookup::Stale { permit: None, .. } => {
                        prop_assert!(granted_at.is_some_and(|at| now < at + lifetime), "an expired token was served");
                        continue;
                    }
                    Lookup::Stale { permit: Some(permit), .. } | Lookup::Fetch(permit) => permit,
                    Lookup::BackingOff { until } => {
                        prop_assert!(until > now);
                        continue;
                    }
                    Lookup::InFlight => return Err(TestCaseError::fail("no fetch is in flight here")),
                };
                let pause = SECOND.max(match granted_at {
                    Some(at) if fetched_at == Some(at) => lifetime / 2,
                    _ => Duration::ZERO,
                });
                prop_assert!(fetched_at.is_none_or(|at| now >= at + pause));
                let sent_at = now;
                fetched_at = Some(sent_at);
                now += Duration::from_millis(latency);
                prop_assert!(!matches!(cache.poll(now), Lookup::Fetch(_)), "one fetch in flight");
                match failure {
                    // a lifetime of zero is rejected when the reply is parsed
                    None if !lifetime.is_zero() => {
                        granted_at = Some(sent_at);
                        cache.handle_fetched(permit, response(lifetime));
                    }
                    _ => cache.handle_failed(permit, BUSY, failure.unwrap_or_default(), now),
                }
            }
        }
    }
}
