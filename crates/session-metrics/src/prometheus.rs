//! The figures as metrics of `prometheus-client`, which writes the text formats of Prometheus and OpenMetrics.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::timing::{RefreshOutcome, Timing};
use crate::{EndReason, Metrics, Now};

/// Bounds of the buckets, in microseconds: 5 ms to a day.
const BOUNDS: [u64; 17] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    7_200_000_000,
    86_400_000_000,
];

const TIMES: [(Timing, &str, &str); 5] = [
    (
        Timing::Lifetime,
        "guest_sessions_duration_seconds",
        "Duration of ended guest sessions",
    ),
    (
        Timing::FirstReply,
        "guest_sessions_time_to_first_reply_seconds",
        "Time from the guest's first message to the first reply",
    ),
    (
        Timing::Connect,
        "guest_sessions_connect_seconds",
        "Time from the guest's first connection to a configured session",
    ),
    (
        Timing::Refresh,
        "guest_sessions_refresh_seconds",
        "Time from the request of a token refresh to its answer",
    ),
    (
        Timing::Delivery,
        "guest_sessions_delivery_seconds",
        "Time from the acceptance of a guest's message to its acknowledgement",
    ),
];

/// The figures at one time, for a registry of `prometheus-client`.
#[derive(Clone, Debug)]
pub struct Scrape {
    metrics: Metrics,
    now: Now,
}

impl Metrics {
    /// Returns the figures at `now` for a registry of `prometheus-client`: at most 2,000 series.
    #[must_use]
    pub fn scrape(&self, now: Now) -> Scrape {
        let metrics = self.clone();
        Scrape { metrics, now }
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let snapshot = self.metrics.snapshot(self.now);
        let shared = &self.metrics.shared;

        let help = "Guest sessions created";
        page.counter("guest_sessions_created", help, [([], snapshot.sessions)])?;
        let open = snapshot
            .stages
            .iter()
            .map(|stage| ([("stage", stage.stage.name())], stage.open as f64));
        page.gauge("guest_sessions_open", "Open guest sessions, by stage", open)?;
        let ended = snapshot.stages.iter().flat_map(|stage| {
            EndReason::ALL.map(|reason| {
                let labels = [("stage", stage.stage.name()), ("reason", reason.name())];
                (labels, stage.ended_by.get(reason))
            })
        });
        let help = "Ended guest sessions, by last stage and reason";
        page.counter("guest_sessions_ended", help, ended)?;
        let help = "Share of ended guest sessions without a guest message";
        let drop_off = snapshot.drop_off.map(|ratio| ([], ratio));
        page.gauge("guest_sessions_drop_off_ratio", help, drop_off)?;

        let groups = &snapshot.groups;
        let reached = groups.iter().flat_map(|group| {
            let (channel, jurisdiction) = (&*group.channel, &*group.jurisdiction);
            group.stages.iter().map(move |stage| {
                let stage_label = ("stage", stage.stage.name());
                let labels = [("channel", channel), ("jurisdiction", jurisdiction), stage_label];
                (labels, stage.reached)
            })
        });
        let help = "Guest sessions that reached a stage, by channel and jurisdiction";
        page.counter("guest_sessions_reached", help, reached)?;
        let outcomes = groups.iter().flat_map(|group| {
            let (channel, jurisdiction) = (&*group.channel, &*group.jurisdiction);
            EndReason::ALL.map(|reason| {
                let outcome = ("outcome", reason.name());
                let labels = [("channel", channel), ("jurisdiction", jurisdiction), outcome];
                (labels, group.ended_by.get(reason))
            })
        });
        let help = "Ended guest sessions, by channel, jurisdiction and outcome";
        page.counter("guest_sessions_outcomes", help, outcomes)?;
        let silent = groups.iter().map(|group| {
            let labels = [
                ("channel", &*group.channel),
                ("jurisdiction", &*group.jurisdiction),
            ];
            (labels, group.silent())
        });
        let help = "Ended guest sessions without a guest message, by channel and jurisdiction";
        page.counter("guest_sessions_dropped_off", help, silent)?;
        let ungrouped = groups.last().map(|other| ([], other.sessions));
        let help = "Guest sessions counted as other, since 128 groups of channel and jurisdiction exist";
        page.counter("guest_sessions_ungrouped", help, ungrouped)?;

        let refreshes = RefreshOutcome::ALL.map(|outcome| {
            let count = shared.refreshes[outcome as usize].load(Relaxed);
            ([("outcome", outcome.name())], count)
        });
        let help = "Token refreshes since the start, by outcome";
        page.counter("guest_sessions_refreshes", help, refreshes)?;
        for (timing, name, help) in TIMES {
            let recorded = shared.times[timing as usize].load();
            let counts = recorded.count_between(&BOUNDS);
            let seconds = |micros: u64| micros as f64 / 1e6;
            let bounds = BOUNDS.map(seconds).into_iter().chain([f64::INFINITY]);
            let count = counts.iter().sum();
            let buckets: Vec<_> = bounds.zip(counts).collect();
            page.histogram(name, help, seconds(recorded.sum), count, &buckets)?;
        }
        let help = "The founding tutorial's drop-off, over open and ended sessions, for comparison";
        let ratio = snapshot.tutorial_drop_off_rate.map(|ratio| ([], ratio));
        page.gauge("tutorial_drop_off_rate", help, ratio)?;
        let help = "The founding tutorial's mean time since the creation of a session, also of an ended one";
        let average = snapshot
            .tutorial_avg_duration_seconds
            .map(|seconds| ([], seconds));
        page.gauge("tutorial_avg_duration_seconds", help, average)
    }
}

/// A page of families.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn counter<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let samples = samples.into_iter();
        self.family(name, help, MetricType::Counter, samples, |mut sample, count| {
            sample.encode_counter::<NoLabelSet, u64, u64>(&count, None)
        })
    }

    fn gauge<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'l str, &'l str); N], f64)>,
    ) -> fmt::Result {
        let samples = samples.into_iter();
        self.family(name, help, MetricType::Gauge, samples, |mut sample, value| {
            sample.encode_gauge(&value)
        })
    }

    fn family<'l, const N: usize, T>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl Iterator<Item = ([(&'l str, &'l str); N], T)>,
        encode: impl Fn(MetricEncoder<'_>, T) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            encode(family.encode_family(&labels)?, value)?;
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        count: u64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}

#[cfg(test)]
mod tests {
    //! Pages for Prometheus.

    use std::time::Duration;

    use prometheus_client::encoding::{prometheus_text, text};
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::{Journey, SessionStage};

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    fn now() -> Now {
        Now {
            instant: std::time::Instant::now(),
            utc: time::OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn page(metrics: &Metrics, now: Now) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics.scrape(now)));
        let mut page = String::new();
        prometheus_text::encode(&mut page, &registry).unwrap();
        page
    }

    fn series(page: &str) -> usize {
        page.lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn page_has_figures_of_groups_and_none_without_data() {
        let (metrics, now) = (Metrics::new(), now());
        let empty = page(&metrics, now);
        assert!(
            !empty.contains("\nguest_sessions_drop_off_ratio ") && !empty.contains("\ntutorial_"),
            "{empty}"
        );
        assert!(empty.contains("\nguest_sessions_created_total 0\n"), "{empty}");

        let group = metrics.group("web", "EU");
        let (mut journey, created) = Journey::begin(now.utc);
        group.record(created, now.instant);
        group.record(
            journey.reach(SessionStage::FirstGuestMessage, now.utc),
            now.instant,
        );
        group.record(
            journey.end(EndReason::Agent, Duration::from_secs(90)),
            now.instant,
        );
        metrics.record_refresh(RefreshOutcome::Reused, Duration::from_millis(20), now.instant);
        let page = page(&metrics, now);
        for line in [
            "guest_sessions_ended_total{stage=\"first_guest_message\",reason=\"agent\"} 1",
            "guest_sessions_outcomes_total{channel=\"web\",jurisdiction=\"EU\",outcome=\"agent\"} 1",
            "guest_sessions_reached_total{channel=\"web\",jurisdiction=\"EU\",stage=\"connected\"} 1",
            "guest_sessions_refreshes_total{outcome=\"reused\"} 1",
            "guest_sessions_duration_seconds_sum 90.0",
            "guest_sessions_duration_seconds_bucket{le=\"60\"} 0",
            "guest_sessions_duration_seconds_bucket{le=\"300\"} 1",
            "guest_sessions_drop_off_ratio 0.0",
            "tutorial_avg_duration_seconds 0.0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in {page}");
        }
    }

    #[test]
    fn series_of_any_number_of_groups_are_at_most_2000() {
        let (metrics, now) = (Metrics::new(), now());
        for number in 0..1_000 {
            let group = metrics.group("web", &number.to_string());
            group.record(Journey::begin(now.utc).1, now.instant);
        }
        let page = page(&metrics, now);
        assert!((1_500..=2_000).contains(&series(&page)), "{}", series(&page));
        assert!(page.contains("guest_sessions_ungrouped_total 872\n"));
        assert!(page.contains("guest_sessions_created_total 1000\n"));
    }

    #[test]
    fn open_metrics_page_ends_with_its_mark() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Metrics::new().scrape(now())));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        assert!(page.ends_with("# EOF\n"));
        assert!(page.contains("# TYPE guest_sessions_created counter\n"));
    }
}
