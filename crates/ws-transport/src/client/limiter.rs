//! The rate of new connections of a process.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use genesys_api::Clock;

/// Spreads new connections. All sessions of a process share one; clones are the same limiter.
///
/// Genesys Cloud takes 1,000 new connections a minute for a deployment. The default, 15 a second and at most 15 at
/// once, allows 915 in the fullest minute and leaves some for other processes.
///
/// It is the generic cell rate algorithm: a slot is a point in time, and there is no queue. A slot whose session is dropped
/// stays unused.
#[derive(Clone, Debug)]
pub struct ConnectLimiter {
    /// Time between two slots.
    interval: Duration,
    /// Time that a slot may be ahead of its theoretical arrival time.
    tolerance: Duration,
    /// Theoretical arrival time of the next connection.
    theoretical_arrival: Arc<Mutex<Option<Instant>>>,
}

impl Default for ConnectLimiter {
    fn default() -> Self {
        const DEFAULT: NonZeroU32 = NonZeroU32::new(15).expect("15 is not 0");
        Self::new(DEFAULT, DEFAULT)
    }
}

impl ConnectLimiter {
    /// At most `per_second` connections a second on average, and `burst` at once after a quiet time: at most
    /// `60 * per_second + burst` in a minute.
    #[must_use]
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let interval = Duration::from_nanos(1_000_000_000_u64.div_ceil(per_second.get().into()));
        Self {
            interval,
            tolerance: interval * (burst.get() - 1),
            theoretical_arrival: Arc::default(),
        }
    }

    /// Reserves the next slot and returns its time, which is never before `now` or an earlier slot.
    #[must_use = "a slot that is not used is lost"]
    pub fn reserve(&self, now: Instant) -> Instant {
        let mut next = self
            .theoretical_arrival
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let arrival = next.map_or(now, |arrival| arrival.max(now));
        *next = Some(arrival + self.interval);
        let ahead = arrival.saturating_duration_since(now);
        now + ahead.saturating_sub(self.tolerance)
    }

    /// Reserves the next slot and waits for it. Returns the planned wait. If the future is dropped, the slot is lost.
    pub async fn wait(&self, clock: &Clock) -> Duration {
        let now = clock.now().instant;
        let slot = self.reserve(now);
        let wait = slot.saturating_duration_since(now);
        if !wait.is_zero() {
            clock.sleep_until(slot).await;
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    fn of(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn burst_starts_at_once_and_the_rest_is_spread() {
        let start = epoch();
        let limiter = ConnectLimiter::new(of(10), of(3));
        let waits: Vec<_> = (0..6)
            .map(|_| (limiter.clone().reserve(start) - start).as_millis())
            .collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        let later = start + Duration::from_secs(60);
        let waits: Vec<_> = (0..4)
            .map(|_| (limiter.reserve(later) - later).as_millis())
            .collect();
        assert_eq!(waits, [0, 0, 0, 100], "a quiet time allows one burst");
    }

    #[test]
    fn hundred_thousand_connections_are_spread() {
        let start = epoch();
        let limiter = ConnectLimiter::default();
        for _ in 1..100_000 {
            let _ = limiter.reserve(start);
        }
        let last = limiter.reserve(start);
        let expected = Duration::from_secs((100_000 - 15) / 15);
        assert!((last - start).abs_diff(expected) < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn wait_uses_the_clock_of_the_process() {
        let clock = Clock::system();
        let limiter = ConnectLimiter::new(of(1), of(1));
        assert_eq!(limiter.wait(&clock).await, Duration::ZERO);
        let second = tokio::spawn({
            let (limiter, clock) = (limiter.clone(), clock.clone());
            async move { limiter.wait(&clock).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        clock.advance(Duration::from_secs(1));
        assert!(second.await.unwrap() > Duration::from_millis(900));
    }

    proptest! {
        #[test]
        fn limiter_exceeds_its_limit_in_no_minute(
            per_second in 1_u32..20,
            burst in 1_u32..30,
            steps in proptest::collection::vec((0_u64..4000, 1_usize..120), 1..60),
        ) {
            let mut now = epoch();
            let limiter = ConnectLimiter::new(of(per_second), of(burst));
            let most = (60 * per_second + burst) as usize;
            let mut minute = VecDeque::new();
            let mut last = now;
            for (step, count) in steps {
                now += Duration::from_millis(step);
                for _ in 0..count {
                    let slot = limiter.reserve(now);
                    prop_assert!(slot >= now && slot >= last);
                    last = slot;
                    minute.push_back(slot);
                    while minute.front().is_some_and(|first| slot - *first >= Duration::from_secs(60)) {
                        minute.pop_front();
                    }
                    prop_assert!(minute.len() <= most);
                }
            }
        }
    }
}
