//! The limits of a session, as Genesys counts them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A sliding window log: at most `limit` acquisitions in every half-open window of `period`.
///
/// All other rates of this workspace are a [`Gcra`](genesys_api::Gcra). Genesys counts the frames of a session in windows and
/// allows all of a window at once, such as 5 messages in a second and 2 echoes in a minute. A GCRA with the same bound
/// would hold back the second echo for half a minute, and one with that burst would exceed the bound. This one allows the
/// full burst for any start of the service's window. It stores 16 bytes per acquisition of the current window, at most 60.
#[derive(Clone, Debug)]
pub(crate) struct SlidingWindow {
    limit: usize,
    period: Duration,
    taken: VecDeque<Instant>,
    paused_until: Option<Instant>,
}

impl SlidingWindow {
    /// A window of at most `limit` acquisitions in every `period`. A limit of 0 counts as 1.
    pub(crate) fn new(limit: usize, period: Duration) -> Self {
        Self {
            limit: limit.max(1),
            period,
            taken: VecDeque::new(),
            paused_until: None,
        }
    }

    /// Takes one slot.
    ///
    /// # Errors
    /// The instant of the next free slot, if none is free.
    pub(crate) fn try_acquire(&mut self, now: Instant) -> Result<(), Instant> {
        self.check(now)?;
        self.taken.push_back(now);
        Ok(())
    }

    /// Checks for a free slot without taking it.
    ///
    /// # Errors
    /// The instant of the next free slot, if none is free.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), Instant> {
        let has_passed = |taken: &mut Instant| now.saturating_duration_since(*taken) >= self.period;
        while self.taken.pop_front_if(has_passed).is_some() {}
        if let Some(until) = self.paused_until.filter(|until| now < *until) {
            return Err(until);
        }
        match self.taken.front() {
            Some(first) if self.taken.len() >= self.limit => Err(*first + self.period),
            _ => Ok(()),
        }
    }

    /// Blocks acquisitions before `until`, for a `Retry-After` of the server. The latest of several pauses counts.
    pub(crate) fn pause_until(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    #[test]
    fn full_burst_passes_and_next_waits_for_oldest_slot() {
        let start = epoch();
        let mut window = SlidingWindow::new(5, Duration::from_secs(1));
        for i in 0..5 {
            assert_eq!(window.try_acquire(start + Duration::from_millis(i)), Ok(()));
        }
        assert_eq!(
            window.try_acquire(start + Duration::from_millis(10)),
            Err(start + Duration::from_secs(1))
        );
        assert_eq!(window.try_acquire(start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn pause_blocks_acquisitions() {
        let start = epoch();
        let mut window = SlidingWindow::new(5, Duration::from_secs(1));
        window.pause_until(start + Duration::from_secs(3));
        window.pause_until(start + Duration::from_secs(2));
        assert_eq!(window.try_acquire(start), Err(start + Duration::from_secs(3)));
        assert_eq!(window.try_acquire(start + Duration::from_secs(3)), Ok(()));
    }

    proptest! {
        #[test]
        fn limit_holds_in_every_window(limit in 1_usize..8, steps in proptest::collection::vec(0_u64..700, 1..200)) {
            let mut at = epoch();
            let period = Duration::from_secs(1);
            let mut window = SlidingWindow::new(limit, period);
            let mut passed = Vec::new();
            for step in steps {
                at += Duration::from_millis(step);
                if window.try_acquire(at).is_ok() {
                    passed.push(at);
                }
            }
            for first in &passed {
                let inside = passed.iter().filter(|at| *at >= first && **at < *first + period).count();
                prop_assert!(inside <= limit);
            }
        }
    }
}
