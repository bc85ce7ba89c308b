//! A limit of log lines for faults that repeat.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A limit of one log line in an interval, for faults that every message or request repeats. It counts those that are not
/// logged.
#[derive(Debug)]
pub struct LogLimit {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Time of the last line.
    last: Option<Instant>,
    /// Faults since the last line.
    unlogged: u64,
}

impl LogLimit {
    /// Returns a limit of one line in `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: Mutex::default(),
        }
    }

    /// Returns the number of faults since the last line that were not logged, if this one is to be logged at `now`.
    #[must_use]
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_early = |last| now.saturating_duration_since(last) < self.interval;
        if state.last.is_some_and(is_early) {
            state.unlogged = state.unlogged.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.unlogged))
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
    }
}
