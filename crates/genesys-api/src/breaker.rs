//! A circuit breaker.

use std::time::{Duration, Instant};

use crate::retry::jitter;

/// Stops the calls of one operation to one host while most of them fail, and probes with one call at a time.
///
/// Opens if at least half of at least 20 calls in 10 s fail. The first probe follows after 2.5 to 5 s, and the wait doubles
/// with each failed probe up to 60 s. It never stays open: each wait ends with a probe. Our choice.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Calls pass. Counts those since `start`.
    Closed {
        start: Instant,
        calls: u32,
        failures: u32,
    },
    /// Calls are refused until a probe at `until`.
    Open { until: Instant, failed_probes: u32 },
    /// One probe is sent. If its result is never recorded, another one is allowed at `until`.
    HalfOpen { until: Instant, failed_probes: u32 },
}

impl Breaker {
    const WINDOW: Duration = Duration::from_secs(10);
    const MIN_CALLS: u32 = 20;
    const FIRST_WAIT: Duration = Duration::from_secs(5);
    const MAX_WAIT: Duration = Duration::from_secs(60);
    /// Longest time that a probe blocks other calls.
    const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

    /// A closed breaker.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Closed {
                start: now,
                calls: 0,
                failures: 0,
            },
        }
    }

    /// Admits a call, whose result is then given to [`Self::record`].
    ///
    /// # Errors
    /// The time of the next probe, while the breaker is open.
    pub fn admit(&mut self, now: Instant) -> Result<Permit, Instant> {
        match self.state {
            State::Closed { .. } => Ok(Permit::default()),
            State::Open { until, .. } | State::HalfOpen { until, .. } if now < until => Err(until),
            State::Open { failed_probes, .. } | State::HalfOpen { failed_probes, .. } => {
                self.state = State::HalfOpen {
                    until: now + Self::PROBE_TIMEOUT,
                    failed_probes,
                };
                Ok(Permit { probe: true })
            }
        }
    }

    /// Records the result of an admitted call. `random` is any fresh random number.
    pub fn record(&mut self, permit: Permit, failed: bool, now: Instant, random: u64) {
        match &mut self.state {
            State::Closed {
                start,
                calls,
                failures,
            } => {
                if now.saturating_duration_since(*start) >= Self::WINDOW {
                    (*start, *calls, *failures) = (now, 0, 0);
                }
                *calls += 1;
                *failures += u32::from(failed);
                if *calls >= Self::MIN_CALLS && *failures * 2 >= *calls {
                    self.open(0, now, random);
                }
            }
            State::HalfOpen { failed_probes, .. } if permit.probe => match failed {
                true => {
                    let failed_probes = failed_probes.saturating_add(1);
                    self.open(failed_probes, now, random);
                }
                false => *self = Self::new(now),
            },
            // a call that was admitted before it opened
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    /// Whether it is closed and has counted no failure.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0, .. })
    }

    fn open(&mut self, failed_probes: u32, now: Instant, random: u64) {
        let doubled = Self::FIRST_WAIT.saturating_mul(2_u32.saturating_pow(failed_probes));
        let half = doubled.min(Self::MAX_WAIT) / 2;
        self.state = State::Open {
            until: now + half + jitter(half, random),
            failed_probes,
        };
    }
}

/// An admitted call. The default is one that was admitted before there was a breaker.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "the breaker needs the result of each call"]
pub struct Permit {
    probe: bool,
}

#[cfg(test)]
mod tests {
    //! States of a breaker on virtual time.

    use super::*;

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A breaker that just opened, with the time of its first probe.
    fn opened(now: Instant) -> (Breaker, Instant) {
        let mut breaker = Breaker::new(now);
        for _ in 0..20 {
            let permit = breaker.admit(now).unwrap();
            breaker.record(permit, true, now, u64::MAX);
        }
        let until = breaker.admit(now).unwrap_err();
        (breaker, until)
    }

    #[test]
    fn breaker_opens_at_half_of_twenty_calls_in_ten_seconds() {
        let start = epoch();
        for (failures, step, opens) in [(10, 0, true), (9, 0, false), (20, 600, false)] {
            let mut breaker = Breaker::new(start);
            let mut now = start;
            for call in 0..20 {
                let permit = breaker.admit(now).unwrap();
                // the last call fails, because only then the rest decides
                breaker.record(permit, call >= 20 - failures, now, 0);
                now += Duration::from_millis(step);
            }
            assert_eq!(breaker.admit(now).is_err(), opens, "{failures} {step}");
        }
    }

    #[test]
    fn open_breaker_admits_one_probe_after_its_wait() {
        let start = epoch();
        let (mut breaker, until) = opened(start);
        assert!(until > start + seconds(4) && until <= start + seconds(5));
        let probe = breaker.admit(until).unwrap();
        assert_eq!(breaker.admit(until).unwrap_err(), until + seconds(30));
        breaker.record(probe, false, until, 0);
        assert!(breaker.admit(until).is_ok() && breaker.is_idle());
    }

    #[test]
    fn failed_probes_double_the_wait_up_to_a_minute() {
        let (mut breaker, mut now) = opened(epoch());
        let mut waits = Vec::new();
        for _ in 0..6 {
            let probe = breaker.admit(now).unwrap();
            breaker.record(probe, true, now, u64::MAX);
            let until = breaker.admit(now).unwrap_err();
            waits.push((until - now).as_secs_f64().round());
            now = until;
        }
        assert_eq!(waits, [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]);
    }

    #[test]
    fn lost_probe_is_followed_by_another() {
        let (mut breaker, until) = opened(epoch());
        let _ = breaker.admit(until).unwrap();
        assert!(breaker.admit(until + seconds(30)).is_ok());
    }

    #[test]
    fn late_result_of_an_earlier_call_changes_nothing() {
        let start = epoch();
        let mut breaker = Breaker::new(start);
        let earlier = breaker.admit(start).unwrap();
        for _ in 0..20 {
            let permit = breaker.admit(start).unwrap();
            breaker.record(permit, true, start, 0);
        }
        let until = breaker.admit(start).unwrap_err();
        breaker.record(earlier, false, start, 0);
        assert_eq!(breaker.admit(start).unwrap_err(), until);
        let probe = breaker.admit(until).unwrap();
        breaker.record(earlier, true, until, 0);
        breaker.record(probe, false, until, 0);
        assert!(breaker.admit(until).is_ok());
    }
}
