//! A rate limit with bursts.

use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::MAX_DURATION;

/// A rate and its burst.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "plain settings, made by the application"
)]
pub struct Rate {
    /// Requests in each period. 0 counts as 1.
    pub limit: u32,
    /// Length of a period, at most [`MAX_DURATION`].
    pub period: Duration,
    /// Requests that pass at once after a pause. 0 counts as 1.
    pub burst: u32,
}

impl Rate {
    /// At most `total` requests in any period, of which a fifteenth passes at once. 0 counts as 1.
    #[must_use]
    pub const fn within(total: u32, period: Duration) -> Self {
        let burst = if total < 30 { 1 } else { total / 15 };
        Self {
            limit: total.saturating_sub(burst - 1),
            period,
            burst,
        }
    }

    /// `limit` requests in each period, all of which may pass at once: less than twice as many in any period.
    #[must_use]
    pub const fn at_once(limit: u32, period: Duration) -> Self {
        Self {
            limit,
            period,
            burst: limit,
        }
    }
}

impl Default for Rate {
    /// The limit of Genesys Cloud for one access token ([`CALLS_PER_MINUTE`](crate::limits::CALLS_PER_MINUTE)), of which 20
    /// requests pass at once.
    fn default() -> Self {
        Self::within(crate::limits::CALLS_PER_MINUTE, Duration::from_secs(60))
    }
}

/// A generic cell rate algorithm (ITU-T I.371): in any period fewer than `limit + burst` requests, evenly spaced after a burst.
///
/// It stores no history.
#[derive(Clone, Debug)]
pub struct Gcra {
    rate: Rate,
    /// Requests that the service allows in a period, if it allows fewer than `rate`.
    allowed: u32,
    /// Time of the next slot at the steady rate, without burst.
    next: Option<Instant>,
    paused_until: Option<Instant>,
}

impl Gcra {
    /// A limit of which nothing is used.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate: Rate {
                period: rate.period.min(MAX_DURATION),
                ..rate
            },
            allowed: u32::MAX,
            next: None,
            paused_until: None,
        }
    }

    /// Takes one slot.
    ///
    /// # Errors
    /// The time of the next slot, if none is free.
    pub fn try_acquire(&mut self, now: Instant) -> Result<(), Instant> {
        self.check(now)?;
        self.next = Some(self.next.unwrap_or(now).max(now) + self.interval());
        Ok(())
    }

    /// Checks for a free slot without taking it.
    ///
    /// # Errors
    /// The time of the next slot, if none is free.
    pub fn check(&self, now: Instant) -> Result<(), Instant> {
        let tolerance = self.interval() * (self.rate.burst.max(1) - 1);
        let steady = self.next.and_then(|next| next.checked_sub(tolerance));
        let free = steady.max(self.paused_until).filter(|free| now < *free);
        free.map_or(Ok(()), Err)
    }

    /// Returns the time of a slot before which `ahead` others are taken.
    #[must_use]
    pub fn slot_after(&self, ahead: u32, now: Instant) -> Instant {
        let tolerance = self.interval() * (self.rate.burst.max(1) - 1);
        let ahead = self.interval().saturating_mul(ahead).min(MAX_DURATION);
        let steady = self.next.unwrap_or(now).max(now) + ahead;
        let free = steady.checked_sub(tolerance).max(self.paused_until);
        free.map_or(now, |free| free.max(now))
    }

    /// Grants no slot before `until`, for a `Retry-After`. The latest of several pauses counts.
    pub fn pause_until(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// Obeys the headers of a response of Genesys Cloud: `inin-ratelimit-allowed` lowers the limit, also for the burst, and
    /// a used-up window (`inin-ratelimit-count`) pauses until `inin-ratelimit-reset`, at most one period. Other clients with
    /// the same token may use a part of the limit.
    ///
    /// Source: samples of Genesys' SDKs for Python and JavaScript.
    pub fn observe(&mut self, headers: &HeaderMap, now: Instant) {
        let read = |name| -> Option<u32> { headers.get(name)?.to_str().ok()?.trim().parse().ok() };
        let Some(allowed) = read("inin-ratelimit-allowed") else {
            return;
        };
        self.set_allowed(allowed, now);
        let (Some(count), Some(reset)) = (read("inin-ratelimit-count"), read("inin-ratelimit-reset")) else {
            return;
        };
        let remaining = allowed.saturating_sub(count);
        if remaining == 0 {
            self.pause_until(now + Duration::from_secs(reset.into()).min(self.rate.period));
        } else if let Some(missing) = self.rate.burst.checked_sub(remaining) {
            self.next = self.next.max(Some(now + self.interval() * missing));
        }
    }

    /// Keeps the number of used slots, which last longer or shorter at another rate.
    fn set_allowed(&mut self, allowed: u32, now: Instant) {
        let before = self.interval().as_nanos();
        self.allowed = allowed;
        let used = self
            .next
            .map_or(0, |next| next.saturating_duration_since(now).as_nanos());
        if used > 0 {
            let used = used.saturating_mul(self.interval().as_nanos()).div_ceil(before);
            self.next = Some(now + Duration::from_nanos(u64::try_from(used).unwrap_or(u64::MAX)));
        }
    }

    /// Time between two requests at the steady rate.
    fn interval(&self) -> Duration {
        let limit = self.rate.limit.min(self.allowed).max(1);
        // rounded up, so that the limit holds exactly
        self.rate.period / limit + Duration::from_nanos(1)
    }
}

#[cfg(test)]
mod tests {
    //! Slots on virtual time.

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    fn rate(limit: u32, burst: u32) -> Rate {
        Rate {
            limit,
            period: MINUTE,
            burst,
        }
    }

    fn headers(count: u32, allowed: u32, reset: u32) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("inin-ratelimit-count", HeaderValue::from(count));
        headers.insert("inin-ratelimit-allowed", HeaderValue::from(allowed));
        headers.insert("inin-ratelimit-reset", HeaderValue::from(reset));
        headers
    }

    /// Seconds until each of `n` slots that are taken as early as possible.
    fn waits(gcra: &mut Gcra, start: Instant, n: usize) -> Vec<u64> {
        let mut now = start;
        let slots = std::iter::repeat_with(|| {
            while let Err(free) = gcra.try_acquire(now) {
                now = free;
            }
            (now - start).as_secs()
        });
        slots.take(n).collect()
    }

    #[test]
    fn slots_that_are_foretold_are_those_that_are_free() {
        let mut gcra = Gcra::new(rate(60, 3));
        let start = epoch();
        let foretold: Vec<_> = (0..10).map(|ahead| gcra.slot_after(ahead, start)).collect();
        let mut now = start;
        for slot in foretold {
            while let Err(free) = gcra.try_acquire(now) {
                now = free;
            }
            assert_eq!(slot, now);
        }
    }

    #[test]
    fn burst_passes_at_once_and_the_rest_evenly() {
        let mut gcra = Gcra::new(rate(60, 3));
        assert_eq!(waits(&mut gcra, epoch(), 6), [0, 0, 0, 1, 2, 3]);
    }

    #[test]
    fn headers_lower_the_rate_and_pause_at_a_used_up_window() {
        let start = epoch();
        let mut gcra = Gcra::new(rate(60, 3));
        gcra.observe(&headers(1, 30, 60), start);
        assert_eq!(waits(&mut gcra, start, 5), [0, 0, 0, 2, 4]);
        gcra.observe(&headers(30, 30, 17), start + MINUTE);
        assert_eq!(waits(&mut gcra, start + MINUTE, 1), [17]);
        // missing headers change nothing, a far reset counts as one period
        let mut gcra = Gcra::new(rate(60, 3));
        gcra.observe(&HeaderMap::new(), start);
        assert_eq!(waits(&mut gcra, start, 1), [0]);
        gcra.observe(&headers(9, 9, 86_400), start);
        assert_eq!(waits(&mut gcra, start, 1), [60]);
    }

    #[test]
    fn burst_is_at_most_the_rest_of_the_services_window() {
        let start = epoch();
        let mut gcra = Gcra::new(rate(60, 10));
        gcra.observe(&headers(58, 60, 30), start);
        assert_eq!(waits(&mut gcra, start, 4), [0, 0, 1, 2]);
    }

    #[test]
    fn lowered_limit_keeps_the_used_slots() {
        let start = epoch();
        let mut gcra = Gcra::new(rate(6, 19));
        assert_eq!(waits(&mut gcra, start, 19), [0; 19]);
        let mut lowered = headers(0, 1, 0);
        lowered.remove("inin-ratelimit-count");
        gcra.observe(&lowered, start);
        assert_eq!(waits(&mut gcra, start, 1), [60]);
    }

    #[test]
    fn absurd_rate_is_clamped() {
        let start = epoch();
        let mut gcra = Gcra::new(Rate {
            limit: 0,
            period: Duration::MAX,
            burst: u32::MAX,
        });
        assert_eq!(gcra.try_acquire(start), Ok(()));
        gcra.observe(&headers(0, 1, u32::MAX), start);
        gcra.observe(&headers(0, 2, u32::MAX), start);
        let _ = gcra.try_acquire(start);
        gcra.observe(&headers(2, 2, u32::MAX), start);
        assert!(gcra.try_acquire(start).is_err());
    }

    /// An exact log of the last minute grants whatever the rate grants.
    fn oracle(total: u32) -> impl FnMut(Instant) -> bool {
        let mut granted = std::collections::VecDeque::new();
        move |now| {
            while granted.pop_front_if(|first| *first + MINUTE <= now).is_some() {}
            granted.push_back(now);
            granted.len() <= total as usize
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Acquire(u8),
        Wait(u64),
        Pause(u64),
        Observe { count: u32, allowed: u32, reset: u32 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1_u8..40).prop_map(Step::Acquire),
            4 => (0_u64..20_000).prop_map(Step::Wait),
            1 => (0_u64..90_000).prop_map(Step::Pause),
            1 => (0_u32..400, 0_u32..400, 0_u32..90)
                .prop_map(|(count, allowed, reset)| Step::Observe { count, allowed, reset }),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn rate_within_a_total_agrees_with_a_sliding_log(
            total in 1_u32..400,
            tries in proptest::collection::vec((0_u64..2_000, 1_u8..60), 1..300),
        ) {
            let (mut now, mut granted) = (epoch(), 0);
            let (mut gcra, mut allows) = (Gcra::new(Rate::within(total, MINUTE)), oracle(total));
            for (millis, times) in tries {
                now += Duration::from_millis(millis);
                for _ in 0..times {
                    if gcra.try_acquire(now).is_ok() {
                        granted += 1;
                        prop_assert!(allows(now), "more than {} in a minute", total);
                    }
                }
            }
            prop_assert!(granted > 0);
        }

        #[test]
        fn any_minute_has_at_most_limit_plus_burst(limit in 1_u32..120, burst in 0_u32..20, steps in steps()) {
            let mut now = epoch();
            let mut paused_until = now;
            let mut gcra = Gcra::new(rate(limit, burst));
            let mut passed: Vec<Instant> = Vec::new();
            for step in steps {
                match step {
                    Step::Acquire(tries) => for _ in 0..tries {
                        match gcra.try_acquire(now) {
                            Ok(()) => passed.push(now),
                            // each wait ends
                            Err(free) => prop_assert!(now < free && free <= now + MINUTE * 20),
                        }
                        prop_assert!(passed.last() != Some(&now) || paused_until <= now);
                    },
                    Step::Wait(millis) => now += Duration::from_millis(millis),
                    Step::Pause(millis) => {
                        now += Duration::from_nanos(1);
                        paused_until = paused_until.max(now + Duration::from_millis(millis));
                        gcra.pause_until(paused_until);
                    }
                    Step::Observe { count, allowed, reset } => gcra.observe(&headers(count, allowed, reset), now),
                }
            }
            for (index, first) in passed.iter().enumerate() {
                let inside = passed[index..].iter().take_while(|at| **at < *first + MINUTE).count();
                prop_assert!(inside < (limit + burst.max(1)) as usize, "{inside} in a minute");
            }
        }
    }
}
