//! The shared recorder.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::histogram::Histogram;
use crate::journey::{ENDED, ENDED_UNCOUNTED, Kind, LIFETIME, REACHED, REPLY_TIME};
use crate::{EndCounts, EndReason, Event, SessionStage, Snapshot, StageMetrics};

const STAGES: usize = SessionStage::ALL.len();
const REASONS: usize = EndReason::ALL.len();

/// Counts the journeys of all sessions of a process. Share it in an `Arc`: recording takes `&self` and no lock.
///
/// A snapshot during recording is consistent: its outcomes add up to its sessions.
#[derive(Debug, Default)]
pub struct Metrics {
    reached: [AtomicU64; STAGES],
    ended: [[AtomicU64; REASONS]; STAGES],
    duration: Histogram,
    reply_time: Histogram,
}

impl Metrics {
    /// Counters of zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds the counters after a restart from the [totals](Event::totals) of all events. An unknown name is ignored.
    #[must_use]
    pub fn restore<'t>(totals: impl IntoIterator<Item = (&'t str, u64)>) -> Self {
        let metrics = Self::new();
        for (name, total) in totals {
            metrics.restore_total(name, total);
        }
        metrics
    }

    fn restore_total(&self, name: &str, total: u64) -> Option<()> {
        let stage_of = |name| SessionStage::ALL.into_iter().find(|stage| stage.name() == name);
        let (kind, rest) = name.split_once(' ')?;
        match (kind, rest) {
            (REACHED, stage) => {
                self.reached[stage_of(stage)? as usize].fetch_add(total, Release);
            }
            (ENDED | ENDED_UNCOUNTED, rest) => {
                let (stage, reason) = rest.split_once(' ')?;
                let (stage, reason) = (stage_of(stage)? as usize, EndReason::from_name(reason)?);
                self.ended[stage][reason as usize].fetch_add(total, Release);
                for reached in self.reached[..=stage].iter().filter(|_| kind == ENDED_UNCOUNTED) {
                    reached.fetch_add(total, Release);
                }
            }
            (LIFETIME, rest) => self.duration.restore(rest, total)?,
            (REPLY_TIME, rest) => self.reply_time.restore(rest, total)?,
            _ => {}
        }
        Some(())
    }

    /// Counts a step of a [`Journey`](crate::Journey), if there is one: a few atomic additions, no lock, no allocation.
    pub fn record(&self, event: impl Into<Option<Event>>) {
        let Some(Event(kind)) = event.into() else {
            return;
        };
        match kind {
            Kind::Created => {
                self.reached[SessionStage::Created as usize].fetch_add(1, Release);
            }
            Kind::Reached { from, to, reply_time } => {
                for stage in &self.reached[from as usize + 1..=to as usize] {
                    stage.fetch_add(1, Release);
                }
                if let Some(reply_time) = reply_time {
                    self.reply_time.record(reply_time);
                }
            }
            Kind::Ended {
                stage,
                reason,
                lifetime,
            } => {
                self.duration.record(lifetime);
                self.ended[stage as usize][reason as usize].fetch_add(1, Release);
            }
        }
    }

    /// Returns the number of open sessions.
    #[must_use]
    pub fn open(&self) -> u64 {
        // ends first: each is preceded by its creation
        let ended = self.ended.as_flattened().iter().map(|count| count.load(Acquire));
        let ended = ended.sum::<u64>();
        self.reached[SessionStage::Created as usize]
            .load(Acquire)
            .saturating_sub(ended)
    }

    /// Returns the figures of this moment. The cost does not depend on the number of sessions.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // reads in reverse order of recording: ends first, later stages before earlier ones
        let mut stages = SessionStage::ALL.map(|stage| {
            let ended = &self.ended[stage as usize];
            let ended_by = EndCounts::by(|reason| ended[reason as usize].load(Acquire));
            StageMetrics {
                stage,
                reached: 0,
                open: 0,
                ended: EndReason::ALL.iter().map(|reason| ended_by.get(*reason)).sum(),
                ended_by,
                drop_off: None,
            }
        });
        let (mut reached_next, mut ended_next) = (0, 0);
        for figures in stages.iter_mut().rev() {
            let reached = self.reached[figures.stage as usize].load(Acquire);
            let ended_of_reached = figures.ended + ended_next;
            // at least that many, unless the events of one session were recorded out of order
            figures.reached = reached.max(reached_next + figures.ended);
            figures.open = figures.reached - reached_next - figures.ended;
            if figures.stage != SessionStage::FirstReply {
                figures.drop_off = ratio(figures.ended, ended_of_reached);
            }
            (reached_next, ended_next) = (figures.reached, ended_of_reached);
        }
        let silent = stages
            .iter()
            .filter(|figures| figures.stage < SessionStage::FirstGuestMessage)
            .map(|figures| figures.ended)
            .sum();
        let sessions = reached_next;
        let unconnected = sessions - stages[SessionStage::Connected as usize].reached;
        Snapshot {
            sessions,
            open: sessions - ended_next,
            ended: ended_next,
            ended_by: EndCounts::by(|reason| stages.iter().map(|figures| figures.ended_by.get(reason)).sum()),
            drop_off: ratio(silent, ended_next),
            tutorial_drop_off_rate: ratio(unconnected, sessions),
            durations: self.duration.read(),
            time_to_first_reply: self.reply_time.read(),
            stages,
        }
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::Journey;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const MINUTE: Duration = Duration::from_secs(60);

    /// Metrics after a restart with these sessions in the store, each with its lifetime if it has ended.
    fn restored(sessions: impl IntoIterator<Item = (Journey, Duration)>) -> Metrics {
        let mut totals = BTreeMap::new();
        let events = sessions
            .into_iter()
            .flat_map(|(journey, lifetime)| journey.events(lifetime).collect::<Vec<_>>());
        for (name, addition) in events.flat_map(|event| event.totals()) {
            *totals.entry(name).or_insert(0) += addition;
        }
        let unknown = [("end nowhere guest", 1), ("duration x", 1), ("other", 1)];
        let totals = totals.iter().map(|(name, total)| (name.as_str(), *total));
        Metrics::restore(totals.chain(unknown))
    }

    #[test]
    fn totals_of_an_earlier_version_count_the_stages_of_ended_sessions() {
        let earlier = [
            ("ended configured guest", 3),
            ("reached created", 2),
            ("duration sum", 7),
        ];
        let snapshot = Metrics::restore(earlier).snapshot();
        assert_eq!((snapshot.sessions, snapshot.open), (5, 2));
        assert_eq!(snapshot.stage(SessionStage::Configured).ended, 3);
    }

    #[test]
    fn empty_metrics_have_no_data() {
        let snapshot = Metrics::new().snapshot();
        assert_eq!(
            (
                snapshot.drop_off,
                snapshot.tutorial_drop_off_rate,
                snapshot.durations
            ),
            (None, None, None)
        );
        let json = serde_json::to_value(snapshot).unwrap();
        assert!(json["dropOff"].is_null() && json["tutorialDropOffRate"].is_null());
        assert!(json["durations"].is_null() && json["timeToFirstReply"].is_null());
    }

    #[test]
    fn open_session_is_not_dropped_off() {
        let metrics = Metrics::new();
        let (_, created) = Journey::begin();
        metrics.record(created);
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.open, snapshot.drop_off), (1, None));
        assert_eq!(
            snapshot.tutorial_drop_off_rate,
            Some(1.0),
            "the tutorial calls it lost"
        );
    }

    #[test]
    fn handshake_is_not_a_guest_message() {
        let metrics = Metrics::new();
        let (mut journey, created) = Journey::begin();
        metrics.record(created);
        metrics.record(journey.reach(SessionStage::Configured, START));
        metrics.record(journey.end(EndReason::Guest, MINUTE));
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.drop_off, Some(1.0));
        assert_eq!(
            snapshot.tutorial_drop_off_rate,
            Some(0.0),
            "the tutorial cannot see it"
        );
        assert_eq!(snapshot.stage(SessionStage::Connected).drop_off, Some(0.0));
        assert_eq!(snapshot.stage(SessionStage::Configured).drop_off, Some(1.0));
        assert_eq!(snapshot.stage(SessionStage::FirstGuestMessage).drop_off, None);
    }

    #[test]
    fn ended_session_keeps_its_duration() {
        let metrics = Metrics::new();
        let (mut journey, created) = Journey::begin();
        metrics.record(created);
        metrics.record(journey.end(EndReason::Agent, MINUTE));
        metrics.record(journey.end(EndReason::Agent, 60 * MINUTE));
        let durations = metrics.snapshot().durations.unwrap();
        assert_eq!((durations.count, durations.mean), (1, MINUTE));
    }

    #[test]
    fn snapshot_reads_back_from_json() {
        let (mut journey, _) = Journey::begin();
        let _ = journey.reach(SessionStage::FirstGuestMessage, START);
        let _ = journey.reach(SessionStage::FirstReply, START + Duration::from_millis(40));
        let _ = journey.end(EndReason::ServerClosed, MINUTE);
        let metrics = restored([(journey, MINUTE)]);
        let snapshot = metrics.snapshot();
        let json = serde_json::to_value(snapshot).unwrap();
        assert_eq!(json["durations"]["meanMs"], 60_000);
        assert_eq!(json["stages"][4]["endedBy"]["server_closed"], 1);
        let back: Snapshot = serde_json::from_value(json).unwrap();
        assert_eq!(
            (back.sessions, back.ended_by, back.stages),
            (1, snapshot.ended_by, snapshot.stages)
        );
    }

    #[test]
    fn snapshot_adds_up_during_recording() {
        let metrics = Metrics::new();
        std::thread::scope(|scope| {
            for reason in [EndReason::Agent, EndReason::Guest] {
                let metrics = &metrics;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let (mut journey, created) = Journey::begin();
                        metrics.record(created);
                        metrics.record(journey.reach(SessionStage::FirstGuestMessage, START));
                        metrics.record(journey.reach(SessionStage::FirstReply, START + MINUTE));
                        metrics.record(journey.end(reason, MINUTE));
                    }
                });
            }
            for _ in 0..2_000 {
                let snapshot = metrics.snapshot();
                let outcomes: u64 = snapshot.stages.iter().map(|stage| stage.open + stage.ended).sum();
                assert_eq!(outcomes, snapshot.sessions);
                assert_eq!(snapshot.open + snapshot.ended, snapshot.sessions);
                assert!(metrics.open() <= metrics.snapshot().sessions);
                assert!(snapshot.stages.is_sorted_by(|a, b| a.reached >= b.reached));
            }
        });
        assert_eq!(metrics.snapshot().ended, 40_000);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Reach(SessionStage),
        End(EndReason),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..STAGES).prop_map(|i| Step::Reach(SessionStage::ALL[i])),
            1 => (0..REASONS).prop_map(|i| Step::End(EndReason::ALL[i])),
        ]
    }

    /// A session as the ledger has it: its stage, the time to the first reply, and its end.
    struct Outcome {
        stage: SessionStage,
        reply_time: Option<Duration>,
        end: Option<(EndReason, Duration)>,
    }

    /// The steps of a session, with their seconds.
    #[derive(Clone, Debug, Default)]
    struct Ledger(Vec<(u64, Step)>);

    impl Ledger {
        /// Replays the rules the slow way.
        fn outcome(&self) -> Outcome {
            let end = self.0.iter().find_map(|(at, step)| match step {
                Step::End(reason) => Some((*reason, *at)),
                Step::Reach(_) => None,
            });
            let live = self
                .0
                .iter()
                .take_while(|(_, step)| matches!(step, Step::Reach(_)));
            let (mut stage, mut asked, mut answered) = (SessionStage::Created, None, None);
            for (at, step) in live {
                match step {
                    Step::Reach(SessionStage::FirstReply) if asked.is_some() => {
                        answered = answered.or(Some(*at))
                    }
                    Step::Reach(SessionStage::FirstReply) => {}
                    Step::Reach(SessionStage::FirstGuestMessage) => asked = asked.or(Some(*at)),
                    Step::Reach(other) => stage = stage.max(*other),
                    Step::End(_) => unreachable!(),
                }
            }
            if asked.is_some() {
                stage = SessionStage::FirstGuestMessage;
            }
            if answered.is_some() {
                stage = SessionStage::FirstReply;
            }
            Outcome {
                stage,
                reply_time: asked
                    .zip(answered)
                    .map(|(asked, answered)| Duration::from_secs(answered - asked)),
                end: end.map(|(reason, at)| (reason, Duration::from_secs(at))),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn figures_equal_those_of_ledger(
            sessions in 0_usize..12,
            steps in proptest::collection::vec((0_usize..12, 1_u64..100, step()), 0..60),
        ) {
            let metrics = Metrics::new();
                let mut journeys = Vec::new();
            for _ in 0..sessions {
                let (journey, created) = Journey::begin();
                metrics.record(created);
                journeys.push((journey, Ledger::default()));
            }
            let mut at = 0;
            for (which, wait, step) in steps {
                at += wait;
                let Some((journey, ledger)) = journeys.get_mut(which) else { continue };
                let age = Duration::from_secs(at);
                metrics.record(match step {
                    Step::Reach(stage) => journey.reach(stage, START + age),
                    Step::End(reason) => journey.end(reason, age),
                });
                ledger.0.push((at, step));
            }

            let stored: Vec<Outcome> = journeys.iter().map(|(_, ledger)| ledger.outcome()).collect();
            let count = |which: &dyn Fn(&Outcome) -> bool| stored.iter().filter(|session| which(session)).count() as u64;
            let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
            let snapshot = metrics.snapshot();
            let ended = count(&|session| session.end.is_some());
            prop_assert_eq!(snapshot.sessions, sessions as u64);
            prop_assert_eq!((snapshot.open, snapshot.ended), (sessions as u64 - ended, ended));
            prop_assert_eq!(metrics.open(), snapshot.open);
            let silent = count(&|session| session.end.is_some() && session.stage < SessionStage::FirstGuestMessage);
            prop_assert_eq!(snapshot.drop_off, share(silent, ended));
            let unconnected = count(&|session| session.stage == SessionStage::Created);
            prop_assert_eq!(snapshot.tutorial_drop_off_rate, share(unconnected, sessions as u64));
            for stage in SessionStage::ALL {
                let figures = snapshot.stage(stage);
                prop_assert_eq!(figures.reached, count(&|session| session.stage >= stage));
                prop_assert_eq!(figures.open, count(&|session| session.stage == stage && session.end.is_none()));
                let here = count(&|session| session.stage == stage && session.end.is_some());
                prop_assert_eq!(figures.ended, here);
                let beyond = count(&|session| session.stage >= stage && session.end.is_some());
                prop_assert_eq!(figures.drop_off, share(here, beyond).filter(|_| stage != SessionStage::FirstReply));
                for reason in EndReason::ALL {
                    let exact = count(&|session| session.stage == stage && session.end.is_some_and(|(why, _)| why == reason));
                    prop_assert_eq!(figures.ended_by.get(reason), exact);
                }
            }
            let duration: Duration = stored.iter().filter_map(|session| session.end).map(|(_, duration)| duration).sum();
            prop_assert_eq!(snapshot.durations.map_or(Duration::ZERO, |all| all.sum), duration);
            let reply_time: Duration = stored.iter().filter_map(|session| session.reply_time).sum();
            prop_assert_eq!(snapshot.time_to_first_reply.map_or(Duration::ZERO, |all| all.sum), reply_time);
            let stored = journeys.iter().map(|(journey, ledger)| {
                let end = ledger.outcome().end;
                (*journey, end.map_or(Duration::ZERO, |(_, lifetime)| lifetime))
            });
            prop_assert_eq!(restored(stored).snapshot(), snapshot, "a restart changes nothing");
        }
    }
}
