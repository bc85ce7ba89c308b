//! Figures of the last 5 minutes, hour and day: differences to copies of the counters.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::group::{Counts, ratio};
use crate::histogram::Recorded;
use crate::snapshot::WindowMetrics;
use crate::timing::Timing;

/// The length of each window, and the time between two copies.
const LENGTHS: [(Duration, Duration); 3] = [
    (Duration::from_secs(300), Duration::from_secs(15)),
    (Duration::from_secs(3_600), Duration::from_secs(180)),
    (Duration::from_secs(86_400), Duration::from_secs(3_600)),
];

/// All counters at one time.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) counts: Counts,
    pub(crate) times: [Recorded; Timing::ALL.len()],
}

/// The copies that the windows need, with the time since the first one.
#[derive(Debug, Default)]
pub(crate) struct Windows([VecDeque<(Duration, Arc<Copy>)>; LENGTHS.len()]);

impl Windows {
    /// Stores copies where one is due, and returns the time of the next one.
    ///
    /// Call it before each change of the counters whose time is due: they have then been the same since that time.
    pub(crate) fn advance(&mut self, now: Duration, copy: impl Fn() -> Copy) -> Duration {
        let mut current = None;
        let mut next_due = Duration::MAX;
        for (copies, (length, interval)) in self.0.iter_mut().zip(LENGTHS) {
            let mut due = copies.back().map_or(Duration::ZERO, |(at, _)| *at + interval);
            if due <= now {
                let current = current.get_or_insert_with(|| Arc::new(copy()));
                copies.push_back((due, Arc::clone(current)));
                let passed = (now - due).as_millis() / interval.as_millis();
                if let Ok(passed @ 1..) = u32::try_from(passed) {
                    due += interval * passed;
                    copies.push_back((due, Arc::clone(current)));
                }
                due += interval;
            }
            // the second copy is old enough for the window
            while copies.get(1).is_some_and(|(at, _)| *at + length <= now) {
                copies.pop_front();
            }
            next_due = next_due.min(due);
        }
        next_due
    }

    /// The figures of each window at `now`, after [`Windows::advance`].
    pub(crate) fn figures(&self, now: Duration, current: &Copy) -> [WindowMetrics; LENGTHS.len()] {
        std::array::from_fn(|window| {
            let (copies, (length, _)) = (&self.0[window], LENGTHS[window]);
            let old_enough = copies.partition_point(|(at, _)| *at + length <= now);
            let base = old_enough.saturating_sub(1);
            let (at, copy) = &copies[base];
            let mut since = *at;
            // the counters did not change between two entries with one copy
            if copies
                .get(base + 1)
                .is_some_and(|(_, next)| Arc::ptr_eq(copy, next))
            {
                since = since.max(now.saturating_sub(length));
            }
            figures(length, now - since, current, copy)
        })
    }
}

fn figures(length: Duration, covered: Duration, current: &Copy, base: &Copy) -> WindowMetrics {
    let counts = current.counts.since(&base.counts);
    let durations = |timing| {
        let timing = timing as usize;
        current.times[timing].since(&base.times[timing]).figures()
    };
    let ended_by = counts.ended_by();
    let ended = ended_by.total();
    let of_ended = Counts {
        reached: Default::default(),
        ..counts
    };
    WindowMetrics {
        length,
        covered,
        created: counts.reached[0],
        ended,
        ended_by,
        drop_off: ratio(counts.silent(), ended),
        stages: of_ended.stages(),
        durations: durations(Timing::Lifetime),
        time_to_first_reply: durations(Timing::FirstReply),
        connect_time: durations(Timing::Connect),
        refresh_latency: durations(Timing::Refresh),
        delivery_latency: durations(Timing::Delivery),
    }
}
