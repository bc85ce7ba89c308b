//! The figures of a load, and their report.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use genesys_api::wire::sanitize;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest recorded latency, in microseconds: an hour.
const MAX_LATENCY: u64 = 3_600_000_000;

/// An operation of a guest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Operation {
    /// The request that creates a session.
    Create,
    /// From the upgrade to the configured session.
    Connect,
    /// From a message to its acknowledgement by Genesys Cloud.
    Deliver,
    /// From a message to the next one of the agent or the bot.
    Reply,
    /// The time between, in which a conversation can end too early or take no message. It has no latency.
    Converse,
    /// From the close of the socket to the end of the session.
    End,
}

impl Operation {
    /// Those with a latency.
    const TIMED: [Self; 5] = [Self::Create, Self::Connect, Self::Deliver, Self::Reply, Self::End];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Connect => "connect",
            Self::Deliver => "deliver",
            Self::Reply => "reply",
            Self::Converse => "converse",
            Self::End => "end",
        }
    }
}

/// The figures so far. Their size does not depend on the number of guests.
pub(super) struct Figures {
    /// Microseconds.
    latencies: BTreeMap<Operation, Histogram<u64>>,
    errors: BTreeMap<(Operation, &'static str), Failed>,
    arrived: u64,
    live: u64,
    live_at_most: u64,
    opening_at_most: u64,
    sent: u64,
    /// Longest delay of an arrival by this process.
    late: Duration,
    /// Time of the last arrival, and the messages until then.
    all_arrived: Option<(Duration, u64)>,
    summary: Summary,
}

struct Failed {
    count: u64,
    example: String,
}

/// Figures of the moment at which the guests begin to leave.
#[derive(Clone, Default)]
struct Summary {
    elapsed: Duration,
    unacknowledged: u64,
    messages_per_second: Option<f64>,
    expected_per_second: f64,
}

impl Figures {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_LATENCY, 3).expect("the bounds are valid");
        Self {
            latencies: Operation::TIMED
                .map(|operation| (operation, histogram.clone()))
                .into(),
            errors: BTreeMap::new(),
            arrived: 0,
            live: 0,
            live_at_most: 0,
            opening_at_most: 0,
            sent: 0,
            late: Duration::ZERO,
            all_arrived: None,
            summary: Summary::default(),
        }
    }

    pub(super) fn arrived(&mut self, late: Duration) {
        self.arrived += 1;
        self.late = self.late.max(late);
        let opened = self.count(Operation::Connect);
        let failed = self.errors_of(Operation::Create) + self.errors_of(Operation::Connect);
        let opening = self.arrived.saturating_sub(opened + failed);
        self.opening_at_most = self.opening_at_most.max(opening);
    }

    pub(super) fn all_arrived(&mut self, after: Duration) {
        self.all_arrived = Some((after, self.sent));
    }

    pub(super) fn joined(&mut self) {
        self.live += 1;
        self.live_at_most = self.live_at_most.max(self.live);
    }

    pub(super) fn left(&mut self) {
        self.live -= 1;
    }

    pub(super) fn sent(&mut self) {
        self.sent += 1;
    }

    pub(super) fn succeeded(&mut self, operation: Operation, latency: Duration) {
        if let Some(histogram) = self.latencies.get_mut(&operation) {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn failed(
        &mut self,
        operation: Operation,
        name: &'static str,
        example: impl FnOnce() -> String,
    ) {
        let failed = self.errors.entry((operation, name)).or_insert_with(|| Failed {
            count: 0,
            example: sanitize(&example()),
        });
        failed.count += 1;
    }

    /// Keeps the figures of the moment at which the guests begin to leave.
    pub(super) fn finish(&mut self, elapsed: Duration, think: Duration) {
        let acknowledged = self.count(Operation::Deliver) + self.errors_of(Operation::Deliver);
        self.summary = Summary {
            elapsed,
            unacknowledged: self.sent.saturating_sub(acknowledged),
            messages_per_second: self.all_arrived.and_then(|(after, sent)| {
                let seconds = elapsed.saturating_sub(after).as_secs_f64();
                (seconds > 0.0).then(|| (self.sent - sent) as f64 / seconds)
            }),
            expected_per_second: self.live as f64 / think.as_secs_f64(),
        };
    }

    /// The arrivals, and a line for people.
    pub(super) fn progress(&self) -> (u64, String) {
        let failed: u64 = self.errors.values().map(|failed| failed.count).sum();
        let (live, sent) = (self.live, self.sent);
        let line = format!("{live} in conversation, {sent} messages, {failed} failures");
        (self.arrived, line)
    }

    fn count(&self, operation: Operation) -> u64 {
        self.latencies.get(&operation).map_or(0, Histogram::len)
    }

    fn errors_of(&self, operation: Operation) -> u64 {
        let errors = self.errors.iter().filter(|((of, _), _)| *of == operation);
        errors.map(|(_, failed)| failed.count).sum()
    }

    pub(super) fn report(&self, requested: u32, interrupted: bool) -> Report {
        let summary = &self.summary;
        Report {
            interrupted,
            seconds: summary.elapsed.as_secs_f64(),
            sessions: Sessions {
                requested,
                created: self.count(Operation::Create),
                live_at_most: self.live_at_most,
                ended: self.count(Operation::End),
            },
            latencies: self
                .latencies
                .iter()
                .filter_map(|(operation, histogram)| Latency::of(*operation, histogram))
                .collect(),
            errors: self
                .errors
                .iter()
                .map(|((operation, reason), failed)| Errors {
                    operation: operation.name(),
                    reason,
                    count: failed.count,
                    first: failed.example.clone(),
                })
                .collect(),
            saturation: Saturation {
                messages_per_second: summary.messages_per_second,
                expected_per_second: summary.expected_per_second,
                unacknowledged: summary.unacknowledged,
                opening_at_most: self.opening_at_most,
                arrival_delay_ms: milliseconds(self.late.as_micros()),
            },
        }
    }
}

/// A report. `Display` is for people.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    interrupted: bool,
    /// Until the guests began to leave.
    seconds: f64,
    sessions: Sessions,
    /// In the order of the operations. One without data is absent.
    latencies: Vec<Latency>,
    errors: Vec<Errors>,
    saturation: Saturation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sessions {
    requested: u32,
    created: u64,
    live_at_most: u64,
    ended: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Latency {
    operation: &'static str,
    count: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Errors {
    operation: &'static str,
    reason: &'static str,
    count: u64,
    /// The first one, for people.
    first: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Saturation {
    /// Sent after the last arrival.
    messages_per_second: Option<f64>,
    /// By the guests in conversation and their pauses.
    expected_per_second: f64,
    /// Messages without an acknowledgement when the guests began to leave.
    unacknowledged: u64,
    /// Guests who were creating a session or connecting.
    opening_at_most: u64,
    /// Longest delay of an arrival by this process: its own saturation.
    arrival_delay_ms: f64,
}

impl Report {
    /// Number of failed operations.
    pub(super) fn failed(&self) -> u64 {
        self.errors.iter().map(|errors| errors.count).sum()
    }
}

impl Latency {
    fn of(operation: Operation, histogram: &Histogram<u64>) -> Option<Self> {
        let quantile = |quantile| milliseconds(histogram.value_at_quantile(quantile).into());
        (!histogram.is_empty()).then(|| Self {
            operation: operation.name(),
            count: histogram.len(),
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            max_ms: milliseconds(histogram.max().into()),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sessions {
            requested,
            created,
            live_at_most,
            ended,
        } = self.sessions;
        if self.interrupted {
            writeln!(f, "interrupted: the figures so far")?;
        }
        writeln!(
            f,
            "guests {requested}, sessions created {created}, in conversation at most {live_at_most}, ended {ended}, after {:.1} s\n",
            self.seconds
        )?;
        writeln!(
            f,
            "{:<10}{:>9}{:>11}{:>11}{:>11}{:>11}{:>11}",
            "latency ms", "count", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for latency in &self.latencies {
            writeln!(
                f,
                "{:<10}{:>9}{:>11.1}{:>11.1}{:>11.1}{:>11.1}{:>11.1}",
                latency.operation,
                latency.count,
                latency.p50_ms,
                latency.p90_ms,
                latency.p99_ms,
                latency.p999_ms,
                latency.max_ms
            )?;
        }
        writeln!(f, "\nfailed operations: {}", self.failed())?;
        for errors in &self.errors {
            writeln!(
                f,
                "  {} {}: {}, the first: {}",
                errors.operation, errors.reason, errors.count, errors.first
            )?;
        }
        let saturation = &self.saturation;
        let sent = saturation
            .messages_per_second
            .map_or_else(|| "not measured".to_owned(), |rate| format!("{rate:.1}"));
        write!(
            f,
            "\nsaturation\n  messages a second after the last arrival: {sent}, expected {:.1}\n  \
             messages without an acknowledgement at the end: {}\n  guests who were connecting at once: at most {}\n  \
             delay of an arrival by this process: at most {:.1} ms",
            saturation.expected_per_second,
            saturation.unacknowledged,
            saturation.opening_at_most,
            saturation.arrival_delay_ms
        )
    }
}

fn milliseconds(micros: u128) -> f64 {
    micros as f64 / 1_000.0
}
