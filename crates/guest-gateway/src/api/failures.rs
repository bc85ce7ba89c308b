//! The limit of failed authentications.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use genesys_api::SlidingWindow;

/// Failures of one client id from one address prefix in a minute. Our choice.
const PER_CLIENT: usize = 10;
/// Failures of all client ids from one address prefix in a minute, so that one prefix cannot displace the failures of
/// others. Our choice.
const PER_PREFIX: usize = 600;
const PERIOD: Duration = Duration::from_secs(60);
/// Failures that are kept in one of the two maps, by client id and prefix.
const MAX_KEPT: usize = 8_192;

/// Counts failed authentications per client id and address prefix, and per prefix.
///
/// A prefix is an address of IPv4, or the first 64 bits of one of IPv6, which is the smallest network of a subscriber.
/// Failures from one prefix do not limit a client at another. Client ids are not compared with known ones, so the limit does
/// not show which exist.
///
/// It keeps at most 16,384 counts. If there are more, those that have not been used longest are dropped.
#[derive(Debug, Default)]
pub(super) struct FailureLimiter {
    hasher: RandomState,
    recent: HashMap<Key, SlidingWindow>,
    /// The counts that were in `recent` before it was full.
    older: HashMap<Key, SlidingWindow>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Key {
    prefix: IpAddr,
    /// A hash of the client id, or `None` for all.
    client: Option<u64>,
}

impl FailureLimiter {
    /// # Errors
    /// The time to wait, if the limit is reached.
    pub(super) fn check(&mut self, client: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let windows = self.keys(client, address);
        let checked = windows.map(|key| self.find(key).map_or(Ok(()), |window| window.check(now)));
        let until = checked.into_iter().filter_map(Result::err).max();
        until.map_or(Ok(()), |until| Err(until.saturating_duration_since(now)))
    }

    /// Counts a failure.
    pub(super) fn count(&mut self, client: &str, address: IpAddr, now: Instant) {
        for key in self.keys(client, address) {
            if self.find(key).is_none() {
                let limit = if key.client.is_some() {
                    PER_CLIENT
                } else {
                    PER_PREFIX
                };
                self.keep(key, SlidingWindow::new(limit, PERIOD));
            }
            if let Some(window) = self.find(key) {
                let _ = window.try_acquire(now);
            }
        }
    }

    fn keys(&self, client: &str, address: IpAddr) -> [Key; 2] {
        let prefix = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                let network = u128::MAX << 64;
                Ipv6Addr::from_bits(address.to_bits() & network).into()
            }
        };
        let client = self.hasher.hash_one(client);
        [Some(client), None].map(|client| Key { prefix, client })
    }

    fn find(&mut self, key: Key) -> Option<&mut SlidingWindow> {
        if let Some(window) = self.older.remove(&key) {
            self.keep(key, window);
        }
        self.recent.get_mut(&key)
    }

    fn keep(&mut self, key: Key, window: SlidingWindow) {
        if self.recent.len() >= MAX_KEPT {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, window);
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
        assert_eq!(limiter.check("spa", HOME, now), Err(PERIOD));
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
            assert!(limiter.recent.len() + limiter.older.len() <= 2 * MAX_KEPT);
            assert!(limiter.check("spa", HOME, now).is_err());
        }
    }
}
