//! The limits of failed authentications, and of requests by address and by session.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use genesys_api::{Gcra, Rate, SessionId};

/// Failures at once, and in each minute after them. Our choice.
const FAILURES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);
/// Largest number of counts of each kind, but for those of sessions. Our choice.
const MAX_COUNTS: usize = 16_384;

/// Counts failed authentications per known client and address prefix, and per prefix. The refused codes of sign-ins are
/// counted per session in place of a client.
///
/// A prefix is an address of IPv4, or the first 64 bits of one of IPv6, which is the smallest network of a subscriber.
///
/// - [`check`](Self::check) refuses a known client at a prefix where 10 of its own authentications failed. Nobody else's
///   failures refuse its right secret.
/// - [`count`](Self::count) returns the answer to a failure. It depends on the failures of the prefix only, so it does not
///   show which ids are known.
///
/// A count is kept until it equals a new one, at most two minutes after its last failure. With 16,384 counts the next ones are
/// of a wider prefix, 24 bits of IPv4 and 48 of IPv6. With as many of those, further prefixes are refused until counts are
/// dropped. So no failure displaces the count of another, and the memory is bounded by about 10 MB.
#[derive(Debug, Default)]
pub(crate) struct FailureLimiter {
    hasher: RandomState,
    /// By the hash of the id of a known client and the prefix.
    clients: Counts<(u64, IpAddr)>,
    clients_of_wide_prefixes: Counts<(u64, IpAddr)>,
    prefixes: Counts<IpAddr>,
}

/// Counts requests per address prefix, by the rules of [`FailureLimiter`].
#[derive(Debug)]
pub(crate) struct PrefixLimiter {
    prefixes: Counts<IpAddr>,
    wide_prefixes: Counts<IpAddr>,
}

impl PrefixLimiter {
    /// A limit of this many requests at once, and in each minute after them.
    pub(crate) fn per_minute(limit: u32) -> Self {
        Self {
            prefixes: Counts::new(limit),
            wide_prefixes: Counts::new(limit),
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.prefixes.limit
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The time to wait, if the limit is reached.
    pub(crate) fn count(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let count = match self.prefixes.find(prefix(address), now) {
            Some(count) => count,
            None => self.wide_prefixes.find(wide_prefix(address), now).ok_or(PERIOD)?,
        };
        count
            .try_acquire(now)
            .map_err(|until| until.saturating_duration_since(now))
    }
}

/// Counts requests per session. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct SessionLimiter {
    hasher: RandomState,
    /// Requests of a session at once, and in each minute after them.
    limit: u32,
    /// Largest number of live sessions.
    live: usize,
    sessions: Arc<Mutex<Counts<u64>>>,
}

impl SessionLimiter {
    pub(crate) fn new(limit: u32, live: usize) -> Self {
        let counts = Counts {
            // as many sessions may have ended in the periods of the counts
            capacity: live.saturating_mul(2).max(MAX_COUNTS),
            ..Counts::new(limit)
        };
        Self {
            hasher: RandomState::new(),
            limit,
            live,
            sessions: Arc::new(Mutex::new(counts)),
        }
    }

    /// Continues the counts of the same limits.
    pub(crate) fn continue_from(&mut self, before: &Self) {
        if (self.limit, self.live) == (before.limit, before.live) {
            *self = before.clone();
        }
    }

    /// Counts a request of an admitted session.
    ///
    /// # Errors
    /// The time to wait, if the limit is reached.
    pub(crate) fn count(&self, session: &SessionId, now: Instant) -> Result<(), Duration> {
        let session = self.hasher.hash_one(session.as_str());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sessions.find(session, now).ok_or(PERIOD)?;
        count
            .try_acquire(now)
            .map_err(|until| until.saturating_duration_since(now))
    }
}

impl FailureLimiter {
    /// Checks whether a known client may authenticate at an address.
    ///
    /// # Errors
    /// The time to wait, if the limit is reached.
    pub(crate) fn check(&mut self, client: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let client = self.hasher.hash_one(client);
        let count = match self.clients.find((client, prefix(address)), now) {
            Some(count) => count,
            None => self
                .clients_of_wide_prefixes
                .find((client, wide_prefix(address)), now)
                .ok_or(PERIOD)?,
        };
        count
            .check(now)
            .map_err(|until| until.saturating_duration_since(now))
    }

    /// Counts a failure, also of the client if it is known.
    ///
    /// # Errors
    /// The time to wait, if more authentications failed at the prefix than the limit.
    pub(crate) fn count(
        &mut self,
        known_client: Option<&str>,
        address: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        if let Some(client) = known_client {
            let client = self.hasher.hash_one(client);
            let count = match self.clients.find((client, prefix(address)), now) {
                Some(count) => Some(count),
                None => self
                    .clients_of_wide_prefixes
                    .find((client, wide_prefix(address)), now),
            };
            if let Some(count) = count {
                let _ = count.try_acquire(now);
            }
        }
        let count = self.prefixes.find(prefix(address), now).ok_or(PERIOD)?;
        count
            .try_acquire(now)
            .map_err(|until| until.saturating_duration_since(now))
    }
}

fn prefix(address: IpAddr) -> IpAddr {
    masked(address, 32, 64)
}

pub(super) fn wide_prefix(address: IpAddr) -> IpAddr {
    masked(address, 24, 48)
}

/// The first bits of an address.
fn masked(address: IpAddr, v4: u32, v6: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - v4))).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - v6))).into(),
    }
}

/// A bounded map of counts. A count that was not used for a period equals a new one, and is dropped at the end of the next.
#[derive(Debug)]
struct Counts<K> {
    /// Requests at once, and in each period after them.
    limit: u32,
    /// Largest number of counts.
    capacity: usize,
    /// The start of the period.
    since: Option<Instant>,
    /// The counts that were used in this period.
    recent: HashMap<K, Gcra>,
    /// Those of the period before.
    older: HashMap<K, Gcra>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self::new(FAILURES)
    }
}

impl<K> Counts<K> {
    fn new(limit: u32) -> Self {
        Self {
            limit,
            capacity: MAX_COUNTS,
            since: None,
            recent: HashMap::new(),
            older: HashMap::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Counts<K> {
    /// Returns a count, which is new if there is none. `None` if there is none and the map is full.
    fn find(&mut self, key: K, now: Instant) -> Option<&mut Gcra> {
        let age = self.since.map(|since| now.saturating_duration_since(since));
        if age.is_none_or(|age| age >= PERIOD) {
            self.older = std::mem::take(&mut self.recent);
            if age.is_some_and(|age| age >= 2 * PERIOD) {
                self.older.clear();
            }
            self.since = Some(now);
        }
        let is_full = self.recent.len() + self.older.len() >= self.capacity;
        let count = match self.older.remove(&key) {
            Some(count) => count,
            None if is_full && !self.recent.contains_key(&key) => return None,
            None => Gcra::new(Rate::at_once(self.limit, PERIOD)),
        };
        Some(self.recent.entry(key).or_insert(count))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }
}

#[cfg(test)]
mod tests {
    //! The two limits, prefixes, and the bound.

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    fn start() -> (FailureLimiter, Instant) {
        (FailureLimiter::default(), Instant::now())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// An address in a network of its own.
    fn network(number: u32, bits: u32) -> IpAddr {
        Ipv6Addr::from_bits(u128::from(number) << (128 - bits)).into()
    }

    #[test]
    fn failures_limit_their_client_and_prefix_only() {
        let (mut limiter, now) = start();
        for _ in 0..10 {
            assert_eq!(limiter.check("spa", HOME, now), Ok(()));
            assert_eq!(limiter.count(Some("spa"), HOME, now), Ok(()));
        }
        let wait = limiter.check("spa", HOME, now).unwrap_err();
        assert_eq!(wait.as_secs(), 6);
        assert_eq!(limiter.check("crm", HOME, now), Ok(()));
        assert_eq!(limiter.check("spa", address("192.0.2.2"), now), Ok(()));
        assert_eq!(limiter.check("spa", HOME, now + wait), Ok(()));
        for guess in 0..20 {
            let later = now + PERIOD * 2;
            let is_limited = limiter.check("spa", HOME, later).is_err();
            assert_eq!(is_limited, guess >= 10, "{guess}");
            if !is_limited {
                limiter.count(Some("spa"), HOME, later).unwrap();
            }
        }
    }

    #[test]
    fn addresses_of_a_network_of_64_bits_count_together() {
        let (mut limiter, now) = start();
        for host in 0..10 {
            let host = address(&format!("2001:db8:0:1:{host}::{host}"));
            limiter.count(Some("spa"), host, now).unwrap();
        }
        let checked = ["2001:db8:0:1:ffff::", "2001:db8:0:2::"]
            .map(|other| limiter.check("spa", address(other), now).is_ok());
        assert_eq!(checked, [false, true]);
    }

    #[test]
    fn unknown_ids_limit_no_known_client() {
        let (mut limiter, now) = start();
        for guess in 0..10_000 {
            assert_eq!(limiter.count(None, HOME, now).is_ok(), guess < 10);
        }
        assert_eq!(limiter.check("spa", HOME, now), Ok(()));
    }

    #[test]
    fn answer_to_a_failure_is_the_same_for_known_and_unknown_clients() {
        let (mut limiter, now) = start();
        let other = address("192.0.2.2");
        for guess in 0..30 {
            let now = now + Duration::from_secs(guess);
            let client = (limiter.check("spa", HOME, now).is_ok()).then_some("spa");
            let known = limiter.count(client, HOME, now);
            assert_eq!(known, limiter.count(None, other, now), "{guess}");
            assert!(client.is_some() || known.is_err(), "{guess}");
        }
    }

    #[test]
    fn failures_displace_no_limited_client() {
        let (mut limiter, now) = start();
        for _ in 0..10 {
            let _ = limiter.count(Some("spa"), HOME, now);
        }
        for other in 0..100_000 {
            let _ = limiter.count(Some("spa"), network(other, 64), now);
            let _ = limiter.count(Some("crm"), network(other, 48), now);
            let _ = limiter.count(None, network(other, 32), now);
            assert!(limiter.check("spa", HOME, now).is_err());
        }
        assert!(limiter.clients.len() <= MAX_COUNTS && limiter.prefixes.len() <= MAX_COUNTS);
        assert!(limiter.clients_of_wide_prefixes.len() <= MAX_COUNTS);
        // with both maps full
        assert_eq!(limiter.check("spa", network(99_999, 40), now), Err(PERIOD));
        assert!(limiter.check("spa", HOME, now).is_err());
        // two minutes later there is room
        assert_eq!(
            limiter.check("spa", network(99_999, 40), now + PERIOD * 2),
            Ok(())
        );
    }

    #[test]
    fn number_of_counts_is_bounded_over_many_periods() {
        let (mut limiter, start) = start();
        for period in 0..4 {
            let now = start + PERIOD * period;
            // those of the periods before, and as many new ones
            for other in 0..(period + 1) * MAX_COUNTS as u32 {
                let _ = limiter.count(Some("spa"), network(other, 48), now);
            }
            assert!(limiter.clients.len() <= MAX_COUNTS, "{period}");
            assert!(limiter.clients_of_wide_prefixes.len() <= MAX_COUNTS, "{period}");
            assert!(limiter.prefixes.len() <= MAX_COUNTS, "{period}");
        }
    }

    #[test]
    fn limited_client_stays_limited_over_the_change_of_the_period() {
        let (mut limiter, start) = start();
        let _ = limiter.count(None, HOME, start);
        let now = start + PERIOD - Duration::from_secs(1);
        for _ in 0..10 {
            let _ = limiter.count(Some("spa"), HOME, now);
        }
        assert!(limiter.check("spa", HOME, start + PERIOD).is_err());
        assert_eq!(limiter.check("spa", HOME, now + PERIOD), Ok(()));
        assert_eq!(limiter.clients.len(), 1);
    }
}
