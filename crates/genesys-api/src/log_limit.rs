//! A limit of log lines for faults that repeat.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A limit of one log line in an interval, for faults that every message or request repeats. It counts those that are not
/// logged. Each place in the source has a limit of its own, so that a frequent fault hides no other one.
#[derive(Debug)]
pub struct LogLimit {
    interval: Duration,
    last: Mutex<HashMap<&'static Location<'static>, Line>>,
}

#[derive(Debug)]
struct Line {
    at: Instant,
    /// Faults since then.
    unlogged: u64,
}

impl LogLimit {
    /// Returns a limit of one line in `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: Mutex::default(),
        }
    }

    /// Returns the number of faults since the last line of the caller that were not logged, if this one is to be logged at
    /// `now`.
    #[must_use]
    #[track_caller]
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Location::caller();
        let line = Line { at: now, unlogged: 0 };
        let Some(known) = last.get_mut(place) else {
            last.insert(place, line);
            return Some(0);
        };
        if now.saturating_duration_since(known.at) < self.interval {
            known.unlogged = known.unlogged.saturating_add(1);
            return None;
        }
        Some(std::mem::replace(known, line).unlogged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    fn log_limit_admits_one_line_per_interval_and_counts_the_others() {
        let (limit, start) = (LogLimit::new(Duration::from_secs(10)), Instant::now());
        let admit = |seconds| limit.admit(start + Duration::from_secs(seconds));
        assert_eq!(admit(0), Some(0));
        for second in 0..10 {
            assert_eq!(admit(second), None);
        }
        assert_eq!(admit(10), Some(10));
        assert_eq!(admit(19), None);
        assert_eq!(admit(40), Some(1));
        assert_eq!(admit(50), Some(0));
        assert_eq!(limit.admit(start), Some(0), "another place has a line of its own");
    }
}
