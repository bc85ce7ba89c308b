//! The shared recorder.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::group::{
    Counters, Counts, ENDED, REACHED, STAGES, STARTED_COUNT, STARTED_SECONDS, ratio, split_group,
};
use crate::histogram::Histogram;
use crate::snapshot::GroupMetrics;
use crate::timing::{RefreshOutcome, Timing};
use crate::window::{Copy, Windows};
use crate::{EndReason, Group, Now, SessionStage, Snapshot};

/// Largest number of groups with counters of their own.
const MAX_GROUPS: usize = 128;
/// The channel and the jurisdiction of the sessions without a group of their own.
const OTHER: &str = "other";
/// An end in a store of an earlier version, which has no totals of the stages.
const ENDED_UNCOUNTED: &str = "ended";

/// Counts the journeys of all sessions of a process. Clones share the counters.
///
/// A snapshot during recording is consistent: its outcomes add up to its sessions.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// By channel and jurisdiction.
    groups: RwLock<BTreeMap<(String, String), Arc<Counters>>>,
    other: Arc<Counters>,
    pub(crate) times: [Histogram; Timing::ALL.len()],
    pub(crate) started: Started,
    pub(crate) refreshes: [AtomicU64; RefreshOutcome::ALL.len()],
    windows: Mutex<Windows>,
    /// Time of the first call, and milliseconds from it to the next copy for a window.
    first: OnceLock<Instant>,
    next_copy: AtomicU64,
}

/// The times of creation, for the tutorial's average duration.
#[derive(Debug, Default)]
pub(crate) struct Started {
    /// In Unix seconds.
    sum: AtomicU64,
    count: AtomicU64,
}

impl Started {
    pub(crate) fn add(&self, seconds: u64, count: u64) {
        self.count.fetch_add(count, Relaxed);
        self.sum.fetch_add(seconds, Relaxed);
    }
}

impl Metrics {
    /// Counters of zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rebuilds the counters after a restart from the [totals](Group::totals) of all events. An unknown name is ignored.
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
        match name {
            STARTED_SECONDS => self.shared.started.add(total, 0),
            STARTED_COUNT => self.shared.started.add(0, total),
            _ => {}
        }
        let (name, group) = split_group(name);
        let (kind, rest) = name.split_once(' ')?;
        let counters = || match group {
            Some((jurisdiction, channel)) => self.group(channel, jurisdiction).counters,
            None => Arc::clone(&self.shared.other),
        };
        match (kind, rest) {
            (REACHED, stage) => {
                counters().reached[stage_of(stage)? as usize].fetch_add(total, Release);
            }
            (ENDED | ENDED_UNCOUNTED, rest) => {
                let (stage, reason) = rest.split_once(' ')?;
                let (stage, reason) = (stage_of(stage)? as usize, EndReason::from_name(reason)?);
                let counters = counters();
                counters.ended[stage][reason as usize].fetch_add(total, Release);
                for reached in counters.reached[..=stage]
                    .iter()
                    .filter(|_| kind == ENDED_UNCOUNTED)
                {
                    reached.fetch_add(total, Release);
                }
            }
            (kind, rest) => {
                let timing = Timing::ALL.into_iter().find(|timing| timing.name() == kind)?;
                self.shared.times[timing as usize].restore(rest, total)?;
            }
        }
        Some(())
    }

    /// The sessions of a channel and a jurisdiction. Both are labels, so neither may name a guest.
    ///
    /// Beyond 128 groups, sessions of new ones count as `other`. Takes a lock for a look-up.
    #[must_use]
    pub fn group(&self, channel: &str, jurisdiction: &str) -> Group {
        let key = (channel.to_owned(), jurisdiction.to_owned());
        let shared = Arc::clone(&self.shared);
        let groups = &self.shared.groups;
        let known = groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        let counters = known.unwrap_or_else(|| {
            let mut groups = groups.write().unwrap_or_else(PoisonError::into_inner);
            if groups.len() >= MAX_GROUPS && !groups.contains_key(&key) {
                return Arc::clone(&self.shared.other);
            }
            let counters = Arc::new(Counters::new(channel, jurisdiction));
            Arc::clone(groups.entry(key).or_insert(counters))
        });
        Group { shared, counters }
    }

    /// Counts a refresh of a session's tokens. The time from its request to its answer counts if there were tokens: a
    /// refusal takes less.
    pub fn record_refresh(&self, outcome: RefreshOutcome, latency: Duration, now: Instant) {
        self.shared.advance(now);
        self.shared.refreshes[outcome as usize].fetch_add(1, Relaxed);
        if matches!(outcome, RefreshOutcome::Refreshed | RefreshOutcome::Replayed) {
            self.shared.times[Timing::Refresh as usize].record(latency);
        }
    }

    /// Counts a message of a guest, with the time from its acceptance to its acknowledgement.
    pub fn record_delivery(&self, latency: Duration, now: Instant) {
        self.shared.advance(now);
        self.shared.times[Timing::Delivery as usize].record(latency);
    }

    /// Returns the number of open sessions.
    #[must_use]
    pub fn open(&self) -> u64 {
        let counts = self.shared.counts();
        let ended = counts.ended.as_flattened().iter().sum();
        counts.reached[SessionStage::Created as usize].saturating_sub(ended)
    }

    /// Returns the figures of this moment. The cost does not depend on the number of sessions.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Snapshot {
        let shared = &self.shared;
        let passed = shared.advance(now.instant);
        let windows = {
            let current = shared.copy();
            let windows = shared.windows.lock().unwrap_or_else(PoisonError::into_inner);
            windows.figures(passed, &current)
        };
        let groups = shared.groups();
        let mut all = Counts::default();
        groups.iter().for_each(|(_, counts)| all.add(counts));
        let stages = all.stages();
        let ended_by = all.ended_by();
        let (sessions, ended) = (stages[0].reached, ended_by.total());
        let unconnected = sessions - stages[SessionStage::Connected as usize].reached;
        let durations = |timing| shared.times[timing as usize].load().figures();
        let started = shared.started.count.load(Relaxed);
        let start = shared.started.sum.load(Relaxed).checked_div(started);
        Snapshot {
            sessions,
            open: sessions - ended,
            ended,
            ended_by,
            drop_off: ratio(all.silent(), ended),
            tutorial_drop_off_rate: ratio(unconnected, sessions),
            tutorial_avg_duration_seconds: start.map(|start| now.utc.unix_timestamp() as f64 - start as f64),
            durations: durations(Timing::Lifetime),
            time_to_first_reply: durations(Timing::FirstReply),
            connect_time: durations(Timing::Connect),
            refresh_latency: durations(Timing::Refresh),
            delivery_latency: durations(Timing::Delivery),
            stages,
            windows: windows.to_vec(),
            groups: groups
                .iter()
                .map(|((channel, jurisdiction), counts)| GroupMetrics::new(channel, jurisdiction, counts))
                .collect(),
        }
    }
}

impl Shared {
    /// Copies the counters for the windows if that is due. Returns the time since the first call.
    pub(crate) fn advance(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(*self.first.get_or_init(|| now));
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if millis(passed) >= self.next_copy.load(Acquire) {
            let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            let next = windows.advance(passed, || self.copy());
            self.next_copy.store(millis(next), Release);
        }
        passed
    }

    fn copy(&self) -> Copy {
        Copy {
            counts: self.counts(),
            times: self.times.each_ref().map(|times| times.load().coarse()),
        }
    }

    fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.groups().iter().for_each(|(_, counts)| all.add(counts));
        all
    }

    /// The counts of each group, by channel and jurisdiction. The last one is `other`.
    fn groups(&self) -> Vec<((String, String), Counts)> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let named = groups.iter().map(|(name, counters)| (name.clone(), counters));
        let other = ((OTHER.to_owned(), OTHER.to_owned()), &self.other);
        let groups: Vec<_> = named.chain([other]).collect();
        // reads in reverse order of recording: ends first, later stages before earlier ones
        let mut counts: Vec<_> = groups.iter().map(|(_, counters)| counters.ends()).collect();
        for stage in (0..STAGES).rev() {
            for (counts, (_, counters)) in counts.iter_mut().zip(&groups) {
                counts.reached[stage] = counters.reached[stage].load(Acquire);
            }
        }
        groups.into_iter().map(|(name, _)| name).zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::group::REASONS;
    use crate::{Event, Journey};

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const MINUTE: Duration = Duration::from_secs(60);

    /// So many seconds after the first call.
    fn at(seconds: u64) -> Now {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let first = *FIRST.get_or_init(Instant::now);
        Now {
            instant: first + Duration::from_secs(seconds),
            utc: START + Duration::from_secs(seconds),
        }
    }

    fn counters() -> (Metrics, Group) {
        let metrics = Metrics::new();
        let group = metrics.group("web", "EU");
        (metrics, group)
    }

    fn record(group: &Group, event: impl Into<Option<Event>>) {
        group.record(event, at(0).instant);
    }

    /// Metrics after a restart with these sessions in the store, each with its lifetime if it has ended.
    fn restored(sessions: impl IntoIterator<Item = (Journey, Duration)>) -> Metrics {
        let mut totals = BTreeMap::new();
        let (_, group) = counters();
        let events = sessions
            .into_iter()
            .flat_map(|(journey, lifetime)| journey.events(START, lifetime).collect::<Vec<_>>());
        for (name, addition) in events.flat_map(|event| group.totals(&event)) {
            *totals.entry(name).or_insert(0) += addition;
        }
        let unknown = [("end nowhere guest", 1), ("duration x", 1), ("other", 1)];
        let totals = totals.iter().map(|(name, total)| (name.as_str(), *total));
        let metrics = Metrics::restore(totals.chain(unknown));
        let _ = metrics.group("web", "EU");
        metrics
    }

    #[test]
    fn totals_of_an_earlier_version_count_the_stages_of_ended_sessions() {
        let earlier = [
            ("ended configured guest", 3),
            ("reached created", 2),
            ("duration sum", 7),
        ];
        let snapshot = Metrics::restore(earlier).snapshot(at(0));
        assert_eq!((snapshot.sessions, snapshot.open), (5, 2));
        assert_eq!(snapshot.stage(SessionStage::Configured).ended, 3);
    }

    #[test]
    fn empty_metrics_have_no_data() {
        let snapshot = Metrics::new().snapshot(at(0));
        assert_eq!(
            (
                snapshot.drop_off,
                snapshot.tutorial_drop_off_rate,
                snapshot.durations
            ),
            (None, None, None)
        );
        let json = serde_json::to_value(&snapshot).unwrap();
        assert!(json["dropOff"].is_null() && json["tutorialDropOffRate"].is_null());
        assert!(json["durations"].is_null() && json["timeToFirstReply"].is_null());
    }

    #[test]
    fn open_session_is_not_dropped_off() {
        let (metrics, group) = counters();
        let (_, created) = Journey::begin(START);
        record(&group, created);
        let snapshot = metrics.snapshot(at(0));
        assert_eq!((snapshot.open, snapshot.drop_off), (1, None));
        assert_eq!(
            snapshot.tutorial_drop_off_rate,
            Some(1.0),
            "the tutorial calls it lost"
        );
    }

    #[test]
    fn handshake_is_not_a_guest_message() {
        let (metrics, group) = counters();
        let (mut journey, created) = Journey::begin(START);
        record(&group, created);
        record(&group, journey.reach(SessionStage::Configured, START));
        record(&group, journey.end(EndReason::Guest, MINUTE));
        let snapshot = metrics.snapshot(at(0));
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
        let (metrics, group) = counters();
        let (mut journey, created) = Journey::begin(START);
        record(&group, created);
        record(&group, journey.end(EndReason::Agent, MINUTE));
        record(&group, journey.end(EndReason::Agent, 60 * MINUTE));
        let durations = metrics.snapshot(at(0)).durations.unwrap();
        assert_eq!((durations.count, durations.mean), (1, MINUTE));
    }

    #[test]
    fn snapshot_reads_back_from_json() {
        let (mut journey, _) = Journey::begin(START);
        let _ = journey.reach(SessionStage::FirstGuestMessage, START);
        let _ = journey.reach(SessionStage::FirstReply, START + Duration::from_millis(40));
        let _ = journey.end(EndReason::ServerClosed, MINUTE);
        let metrics = restored([(journey, MINUTE)]);
        let snapshot = metrics.snapshot(at(0));
        let json = serde_json::to_value(&snapshot).unwrap();
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
        let (metrics, group) = counters();
        std::thread::scope(|scope| {
            for reason in [EndReason::Agent, EndReason::Guest] {
                let group = &group;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let (mut journey, created) = Journey::begin(START);
                        record(group, created);
                        record(group, journey.reach(SessionStage::FirstGuestMessage, START));
                        record(group, journey.reach(SessionStage::FirstReply, START + MINUTE));
                        record(group, journey.end(reason, MINUTE));
                    }
                });
            }
            for _ in 0..2_000 {
                let snapshot = metrics.snapshot(at(0));
                let outcomes: u64 = snapshot.stages.iter().map(|stage| stage.open + stage.ended).sum();
                assert_eq!(outcomes, snapshot.sessions);
                assert_eq!(snapshot.open + snapshot.ended, snapshot.sessions);
                assert!(metrics.open() <= metrics.snapshot(at(0)).sessions);
                assert!(snapshot.stages.is_sorted_by(|a, b| a.reached >= b.reached));
            }
        });
        assert_eq!(metrics.snapshot(at(0)).ended, 40_000);
    }

    #[test]
    fn window_forgets_what_is_older() {
        let (metrics, group) = counters();
        let session = |second| {
            let (mut journey, created) = Journey::begin(at(second).utc);
            group.record(created, at(second).instant);
            let ended = journey.end(EndReason::Guest, Duration::from_secs(second + 1));
            group.record(ended, at(second).instant);
        };
        let ended = |second| {
            let windows = metrics.snapshot(at(second)).windows;
            <[u64; 3]>::try_from(windows.iter().map(|window| window.ended).collect::<Vec<_>>()).unwrap()
        };
        session(0);
        session(7);
        assert_eq!(ended(8), [2, 2, 2]);
        assert_eq!(ended(300), [2, 2, 2]);
        assert_eq!(ended(400), [0, 2, 2]);
        session(4_000);
        assert_eq!(ended(4_100), [1, 1, 3]);
        let first = &metrics.snapshot(at(4_100)).windows[0];
        assert!(first.covered >= first.length && first.covered <= first.length + Duration::from_secs(15));
        assert_eq!((first.created, first.drop_off), (1, Some(1.0)));
        let duration = first.durations.unwrap();
        let error = duration.p50.abs_diff(Duration::from_secs(4_001));
        assert!(
            duration.count == 1 && error < Duration::from_secs(280),
            "{duration:?}"
        );
        assert_eq!(ended(100_000), [0, 0, 0]);
        assert_eq!(metrics.snapshot(at(100_000)).ended, 3);
    }

    proptest! {
        #[test]
        fn windows_equal_those_of_a_list(steps in proptest::collection::vec((0_u64..4_000, any::<bool>()), 1..20)) {
            let (metrics, group) = counters();
            let (mut now, mut created) = (0, Vec::new());
            let _ = metrics.snapshot(at(now));
            for (wait, is_read) in steps {
                now += wait;
                if is_read {
                    for window in metrics.snapshot(at(now)).windows {
                        let covered = window.covered.as_secs();
                        prop_assert!(covered <= now && covered <= window.length.as_secs() * 105 / 100);
                        prop_assert!(covered >= now.min(window.length.as_secs()));
                        let expected = created.iter().filter(|at| **at >= now - covered).count() as u64;
                        let older = created.iter().filter(|at| **at > now - covered).count() as u64;
                        prop_assert!((older..=expected).contains(&window.created), "{window:?} at {now}: {created:?}");
                    }
                }
                group.record(Journey::begin(at(now).utc).1, at(now).instant);
                created.push(now);
            }
        }
    }

    #[test]
    fn groups_are_apart_and_survive_a_restart() {
        let metrics = Metrics::new();
        let mut totals = BTreeMap::new();
        for (channel, jurisdiction, count) in [("web", "EU", 2), ("app", "US-CA", 3)] {
            let group = metrics.group(channel, jurisdiction);
            for _ in 0..count {
                let (_, created) = Journey::begin(at(0).utc);
                for (name, addition) in group.totals(&created) {
                    *totals.entry(name).or_insert(0) += addition;
                }
                record(&group, created);
            }
        }
        let snapshot = metrics.snapshot(at(0));
        let groups = snapshot.groups.iter();
        let groups: Vec<_> = groups
            .map(|group| (&*group.channel, &*group.jurisdiction, group.open))
            .collect();
        assert_eq!(
            groups,
            [("app", "US-CA", 3), ("web", "EU", 2), ("other", "other", 0)]
        );
        let totals = totals.iter().map(|(name, total)| (name.as_str(), *total));
        let restored = Metrics::restore(totals).snapshot(at(60));
        assert_eq!(restored.groups, snapshot.groups);
        assert_eq!(restored.tutorial_avg_duration_seconds, Some(60.0));
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
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn figures_equal_those_of_ledger(
            sessions in 0_usize..24,
            steps in proptest::collection::vec((0_usize..24, 1_u64..100, step()), 0..120),
        ) {
            let (metrics, group) = counters();
                let mut journeys = Vec::new();
            for _ in 0..sessions {
                let (journey, created) = Journey::begin(START);
                record(&group, created);
                journeys.push((journey, Ledger::default()));
            }
            let mut second = 0;
            for (which, wait, step) in steps {
                second += wait;
                let Some((journey, ledger)) = journeys.get_mut(which) else { continue };
                let age = Duration::from_secs(second);
                record(&group, match step {
                    Step::Reach(stage) => journey.reach(stage, START + age),
                    Step::End(reason) => journey.end(reason, age),
                });
                ledger.0.push((second, step));
            }

            let stored: Vec<Outcome> = journeys.iter().map(|(_, ledger)| ledger.outcome()).collect();
            let count = |which: &dyn Fn(&Outcome) -> bool| stored.iter().filter(|session| which(session)).count() as u64;
            let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
            let snapshot = metrics.snapshot(at(0));
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
            let mut restarted = restored(stored).snapshot(at(0));
            // the time to the connection is counted in its own transaction, and windows begin anew
            (restarted.connect_time, restarted.windows) = (snapshot.connect_time, snapshot.windows.clone());
            prop_assert_eq!(restarted, snapshot, "a restart changes nothing");
        }
    }
}
