//! The limit of failed authentications.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use genesys_api::{Gcra, Rate, SlidingWindow};

/// Failures of one client id from one address prefix in a minute. Our choice.
const PER_CLIENT: usize = 10;
/// Failures of all client ids from one address prefix at once, and in each minute after them, so that one prefix cannot
/// displace the failures of others. Our choice.
const PER_PREFIX: u32 = 600;
const PERIOD: Duration = Duration::from_secs(60);
/// Counts in one of the two maps of a [`Counts`].
const MAX_KEPT: usize = 8_192;

/// Counts failed authentications per client id and address prefix, and per prefix.
///
/// A prefix is an address of IPv4, or the first 64 bits of one of IPv6, which is the smallest network of a subscriber.
/// Failures from one prefix do not limit a client at another. Client ids are not compared with known ones, so the limit does
/// not show which exist.
///
/// It keeps at most 16,384 counts of each kind, about 10 MB together. If there are more, those that have not been used
/// longest are dropped.
#[derive(Debug, Default)]
pub(super) struct FailureLimiter {
    hasher: RandomState,
    /// By prefix and the hash of the client id.
    clients: Counts<(IpAddr, u64), SlidingWindow>,
    /// In constant memory: the times of 600 failures would be 16 KiB for each prefix.
    prefixes: Counts<IpAddr, Gcra>,
}

impl FailureLimiter {
    /// # Errors
    /// The time to wait, if the limit is reached.
    pub(super) fn check(&mut self, client: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let prefix = prefix(address);
        let client = (prefix, self.hasher.hash_one(client));
        let by_client = self.clients.find(client).and_then(|count| count.check(now).err());
        let by_prefix = self
            .prefixes
            .find(prefix)
            .and_then(|count| count.check(now).err());
        match by_client.max(by_prefix) {
            Some(until) => Err(until.saturating_duration_since(now)),
            None => Ok(()),
        }
    }

    /// Counts a failure.
    pub(super) fn count(&mut self, client: &str, address: IpAddr, now: Instant) {
        let prefix = prefix(address);
        let client = (prefix, self.hasher.hash_one(client));
        let new_client = || SlidingWindow::new(PER_CLIENT, PERIOD);
        let _ = self.clients.find_or_insert(client, new_client).try_acquire(now);
        let new_prefix = || {
            Gcra::new(Rate {
                limit: PER_PREFIX,
                period: PERIOD,
                burst: PER_PREFIX,
            })
        };
        let _ = self.prefixes.find_or_insert(prefix, new_prefix).try_acquire(now);
    }
}

fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = u128::MAX << 64;
            Ipv6Addr::from_bits(address.to_bits() & network).into()
        }
    }
}

/// A bounded map that keeps the counts in use.
#[derive(Debug)]
struct Counts<K, V> {
    recent: HashMap<K, V>,
    /// The counts that were in `recent` before it was full.
    older: HashMap<K, V>,
}

impl<K, V> Default for Counts<K, V> {
    fn default() -> Self {
        Self {
            recent: HashMap::new(),
            older: HashMap::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, V> Counts<K, V> {
    fn find(&mut self, key: K) -> Option<&mut V> {
        if let Some(count) = self.older.remove(&key) {
            self.make_room();
            self.recent.insert(key, count);
        }
        self.recent.get_mut(&key)
    }

    fn find_or_insert(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if self.find(key).is_none() {
            self.make_room();
        }
        self.recent.entry(key).or_insert_with(new)
    }

    fn make_room(&mut self) {
        if self.recent.len() >= MAX_KEPT {
            self.older = std::mem::take(&mut self.recent);
        }
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

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

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

    #[test]
    fn failures_limit_their_client_and_prefix_only() {
        let (mut limiter, start) = start();
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert_eq!(limiter.check("spa", HOME, now), Ok(()));
            limiter.count("spa", HOME, now);
        }
        let now = start + Duration::from_secs(10);
        assert_eq!(limiter.check("spa", HOME, now), Err(Duration::from_secs(50)));
        assert_eq!(limiter.check("crm", HOME, now), Ok(()));
        assert_eq!(limiter.check("spa", address("192.0.2.2"), now), Ok(()));
        assert_eq!(limiter.check("spa", HOME, start + PERIOD), Ok(()));
    }

    #[test]
    fn addresses_of_a_network_of_64_bits_count_together() {
        let (mut limiter, now) = start();
        for host in 0..10 {
            limiter.count("spa", address(&format!("2001:db8:0:1:{host}::{host}")), now);
        }
        let checked = ["2001:db8:0:1:ffff::", "2001:db8:0:2::"]
            .map(|other| limiter.check("spa", address(other), now).is_ok());
        assert_eq!(checked, [false, true]);
    }

    #[test]
    fn ids_of_one_prefix_are_limited_together() {
        let (mut limiter, now) = start();
        for guess in 0..PER_PREFIX {
            let client = format!("client-{guess}");
            assert_eq!(limiter.check(&client, HOME, now), Ok(()));
            limiter.count(&client, HOME, now);
        }
        let wait = limiter.check("spa", HOME, now).unwrap_err();
        assert_eq!(wait.as_millis(), 100, "10 in a second follow");
        assert_eq!(limiter.check("spa", address("192.0.2.2"), now), Ok(()));
    }

    #[test]
    fn counts_are_bounded_and_those_in_use_stay() {
        let (mut limiter, now) = start();
        for _ in 0..PER_CLIENT {
            limiter.count("spa", HOME, now);
        }
        for other in 0..100_000_u32 {
            limiter.count("spa", Ipv6Addr::from_bits(u128::from(other) << 64).into(), now);
            assert!(limiter.clients.len() <= 2 * MAX_KEPT && limiter.prefixes.len() <= 2 * MAX_KEPT);
            assert!(limiter.check("spa", HOME, now).is_err());
        }
    }
}
