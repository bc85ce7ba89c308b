//! Counters of the sessions of one channel and jurisdiction.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Instant;

use crate::histogram::Histogram;
use crate::journey::Kind;
use crate::metrics::Shared;
use crate::snapshot::StageMetrics;
use crate::timing::Timing;
use crate::{EndCounts, EndReason, Event, SessionStage};

pub(crate) const STAGES: usize = SessionStage::ALL.len();
pub(crate) const REASONS: usize = EndReason::ALL.len();

/// First words of the names of totals.
pub(crate) const REACHED: &str = "reached";
pub(crate) const ENDED: &str = "end";
/// The sum of the times of creation, in Unix seconds, and the number of sessions in it.
pub(crate) const STARTED_SECONDS: &str = "started seconds";
pub(crate) const STARTED_COUNT: &str = "started count";

/// The sessions of one channel and jurisdiction, from [`Metrics::group`](crate::Metrics::group).
#[derive(Clone, Debug)]
pub struct Group {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
}

impl Group {
    /// Counts a step of a [`Journey`](crate::Journey), if there is one: a few atomic additions. The first step in 15 s
    /// also copies the counters for the windows, under a lock.
    pub fn record(&self, event: impl Into<Option<Event>>, now: Instant) {
        let Some(Event(kind)) = event.into() else {
            return;
        };
        let (shared, counters) = (&self.shared, &*self.counters);
        shared.advance(now);
        match kind {
            Kind::Created { at } => {
                shared.started.add(at, 1);
                counters.reached[SessionStage::Created as usize].fetch_add(1, Release);
            }
            Kind::Reached { from, to, time } => {
                for stage in &counters.reached[from as usize + 1..=to as usize] {
                    stage.fetch_add(1, Release);
                }
                if let Some((timing, time)) = time {
                    shared.times[timing as usize].record(time);
                }
            }
            Kind::Ended {
                stage,
                reason,
                lifetime,
            } => {
                shared.times[Timing::Lifetime as usize].record(lifetime);
                counters.ended[stage as usize][reason as usize].fetch_add(1, Release);
            }
        }
    }

    /// The totals to which an event adds, with its additions.
    ///
    /// A store adds them up by name in the transaction of the step, so that a restart reads no session and counts erased
    /// ones. [`Metrics::restore`](crate::Metrics::restore) reads them.
    #[must_use]
    pub fn totals(&self, event: &Event) -> Vec<(String, u64)> {
        let suffix = &self.counters.suffix;
        let reached = |stage: &SessionStage| (format!("{REACHED} {}{suffix}", stage.name()), 1);
        let (mut totals, time) = match event.0 {
            Kind::Created { at } => {
                let started = [(STARTED_SECONDS.to_owned(), at), (STARTED_COUNT.to_owned(), 1)];
                let created = reached(&SessionStage::Created);
                (started.into_iter().chain([created]).collect(), None)
            }
            Kind::Reached { from, to, time } => {
                let stages = &SessionStage::ALL[from as usize + 1..=to as usize];
                (stages.iter().map(reached).collect::<Vec<_>>(), time)
            }
            Kind::Ended {
                stage,
                reason,
                lifetime,
            } => {
                let name = format!("{ENDED} {} {}{suffix}", stage.name(), reason.name());
                (vec![(name, 1)], Some((Timing::Lifetime, lifetime)))
            }
        };
        if let Some((timing, time)) = time {
            let additions = Histogram::totals(time).into_iter();
            totals.extend(additions.map(|(name, addition)| (format!("{} {name}", timing.name()), addition)));
        }
        totals
    }
}

/// The counters of a group.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// End of the names of its totals. Empty for the sessions without a group of their own.
    suffix: String,
    pub(crate) reached: [AtomicU64; STAGES],
    pub(crate) ended: [[AtomicU64; REASONS]; STAGES],
}

impl Counters {
    pub(crate) fn new(channel: &str, jurisdiction: &str) -> Self {
        Self {
            suffix: format!("{SEPARATOR}{jurisdiction} {channel}"),
            ..Self::default()
        }
    }

    /// Returns the ends so far.
    pub(crate) fn ends(&self) -> Counts {
        Counts {
            reached: [0; STAGES],
            ended: self
                .ended
                .each_ref()
                .map(|ended| ended.each_ref().map(|count| count.load(Acquire))),
        }
    }
}

const SEPARATOR: &str = " @";

/// The name of a total without its group, and the jurisdiction and the channel of the group.
pub(crate) fn split_group(name: &str) -> (&str, Option<(&str, &str)>) {
    match name.split_once(SEPARATOR) {
        Some((name, group)) => (name, group.split_once(' ')),
        None => (name, None),
    }
}

/// Counts at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reached: [u64; STAGES],
    pub(crate) ended: [[u64; REASONS]; STAGES],
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    /// The counts since an earlier time.
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        self.combine(earlier, u64::saturating_sub);
        self
    }

    fn combine(&mut self, other: &Self, operation: fn(u64, u64) -> u64) {
        let counts = self.reached.iter_mut().chain(self.ended.as_flattened_mut());
        let others = other.reached.iter().chain(other.ended.as_flattened());
        for (count, other) in counts.zip(others) {
            *count = operation(*count, *other);
        }
    }

    pub(crate) fn ended_by(&self) -> EndCounts {
        EndCounts::by(|reason| self.ended.iter().map(|ended| ended[reason as usize]).sum())
    }

    /// Ended sessions without a message of the guest.
    pub(crate) fn silent(&self) -> u64 {
        let silent = &self.ended[..SessionStage::FirstGuestMessage as usize];
        silent.as_flattened().iter().sum()
    }

    /// The funnel.
    pub(crate) fn stages(&self) -> [StageMetrics; STAGES] {
        let mut stages = SessionStage::ALL.map(|stage| {
            let ended = &self.ended[stage as usize];
            StageMetrics {
                stage,
                reached: 0,
                open: 0,
                ended: ended.iter().sum(),
                ended_by: EndCounts::by(|reason| ended[reason as usize]),
                drop_off: None,
            }
        });
        let (mut reached_next, mut ended_next) = (0, 0);
        for figures in stages.iter_mut().rev() {
            let ended_of_reached = figures.ended + ended_next;
            // at least that many, unless the events of one session were recorded out of order
            figures.reached = self.reached[figures.stage as usize].max(reached_next + figures.ended);
            figures.open = figures.reached - reached_next - figures.ended;
            if figures.stage != SessionStage::FirstReply {
                figures.drop_off = ratio(figures.ended, ended_of_reached);
            }
            (reached_next, ended_next) = (figures.reached, ended_of_reached);
        }
        stages
    }
}

pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
