//! The page of metrics: figures of sessions, requests, store, webhooks and process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use guest_sessions::SubscriptionBody;
use guest_store::{LogState, Stats, StoreError, Webhook};
use http::header::ACCEPT;
use http::{HeaderMap, Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::{Parts, RefusedOrigin};

/// Bounds of the durations of requests, in seconds.
const BOUNDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Counts of requests since the start. Labels are templates of routes, known methods, and classes of status codes.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    answers: Family<Answer, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    origins: Family<Reason, Counter>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Answer {
    route: String,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Default for Requests {
    fn default() -> Self {
        let requests = Self {
            answers: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            origins: Family::default(),
        };
        // a rate needs a first value of zero
        for reason in ["malformed", "missing", "not_allowed", "several"] {
            drop(requests.origins.get_or_create(&Reason { reason }));
        }
        requests
    }
}

impl Requests {
    /// Counts an answer to a request of the route with this template.
    pub(crate) fn record(
        &self,
        method: &Method,
        route: &str,
        status: StatusCode,
        refused: Option<&RefusedOrigin>,
        duration: Duration,
    ) {
        let method = known_method(method);
        let class = match status.as_u16() {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        let answer = Answer {
            route: route.to_owned(),
            method,
            status: class,
        };
        self.answers.get_or_create(&answer).inc();
        let Answer { route, .. } = answer;
        let durations = self.durations.get_or_create(&Route { route, method });
        durations.observe(duration.as_secs_f64());
        if let Some(RefusedOrigin(reason)) = refused {
            self.origins.get_or_create(&Reason { reason }).inc();
        }
    }

    fn register(&self, registry: &mut Registry) {
        let help = "Answered requests since the start";
        registry.register("guest_gateway_http_requests", help, self.answers.clone());
        let help = "Time from a request to its answer";
        registry.register(
            "guest_gateway_http_request_duration_seconds",
            help,
            self.durations.clone(),
        );
        let help = "Requests that were refused for their origin, since the start";
        registry.register("guest_gateway_origin_rejected", help, self.origins.clone());
    }
}

/// The name of a method as a label, of which there are few.
pub(crate) fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "DELETE" => "DELETE",
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "PUT" => "PUT",
        _ => "other",
    }
}

/// The format of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    /// OpenMetrics if the client accepts it, as Prometheus does.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let accepted = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut types = accepted.flat_map(|value| value.split(','));
        match types.any(|media_type| {
            media_type
                .trim_start()
                .starts_with("application/openmetrics-text")
        }) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }
}

/// Returns the media type and the text of the page.
pub(crate) async fn page(app: &Parts, format: Format) -> (&'static str, String) {
    let mut registry = Registry::default();
    let now = app.clock.now();
    registry.register_collector(Box::new(app.direct.counters().scrape(now)));
    app.requests.register(&mut registry);
    let refused = ConstCounter::new(app.address_limit.refused());
    let help = "Connections that were refused because their address had too many, since the start";
    registry.register("guest_gateway_connections_refused", help, refused);
    let lost = ConstCounter::new(app.direct.lost_events());
    let help = "Events of conversations that the store refused and no webhook gets, since the start";
    registry.register("guest_webhook_events_lost", help, lost);
    #[cfg(feature = "otlp")]
    registry.register(
        "guest_gateway_spans_dropped",
        "Spans that were not exported, since the start",
        ConstCounter::new(crate::telemetry::dropped_spans()),
    );
    let mut gauge =
        |name: &str, help: &str, value: f64| registry.register(name, help, ConstGauge::new(value));
    gauge(
        "guest_gateway_conversations",
        "Live conversations",
        app.hub.len() as f64,
    );
    let help = "Open WebSockets and event streams of guests";
    gauge("guest_gateway_sockets", help, app.hub.open_sockets() as f64);
    let help = "Whether checkpoints of the audit log cannot be published";
    let is_failing = !app.audit.warnings().is_empty();
    gauge(
        "guest_audit_checkpoint_failing",
        help,
        f64::from(u8::from(is_failing)),
    );
    let (verified, altered) = match app.direct.audit_log().monitor().state() {
        LogState::Verifying(entries) | LogState::Verified(entries) => (entries, 0.0),
        _ => (0, 1.0),
    };
    let help = "Entries of the audit log that the running or last verification has verified";
    gauge("guest_audit_entries_verified", help, verified as f64);
    let help = "Whether the verification found the audit log altered";
    gauge("guest_audit_altered", help, altered);
    register_process(&mut registry);
    let reached = labeled();
    for (organization, is_reached) in app.health.organizations() {
        set(
            &reached,
            "organization",
            organization,
            u8::from(is_reached).into(),
        );
    }
    let help = "Whether the last connection to the organization of Genesys Cloud succeeded";
    registry.register("guest_gateway_genesys_up", help, reached);
    let waiting = Labeled::<2>::default();
    for (organization, deployment, count) in app.direct.waiting_connections() {
        let labels = [
            ("organization", organization.to_owned()),
            ("deployment", deployment.to_string()),
        ];
        waiting.get_or_create(&labels).set(count as f64);
    }
    let help = "Sockets to Genesys that wait for the limit of their deployment";
    registry.register("guest_gateway_connections_waiting", help, waiting);
    let store = app.direct.store();
    register_store(
        &mut registry,
        store.stats().await,
        store.webhooks().await,
        app.store_file.as_deref(),
    );
    let mut page = String::new();
    let (media_type, written) = match format {
        Format::OpenMetrics => (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            text::encode(&mut page, &registry),
        ),
        Format::Prometheus => (
            prometheus_text::CONTENT_TYPE,
            prometheus_text::encode(&mut page, &registry),
        ),
    };
    written.expect("writing to a String does not fail");
    (media_type, page)
}

/// Registers what the store holds. Without an answer of the store only that is shown.
fn register_store(
    registry: &mut Registry,
    stats: Result<Stats, StoreError>,
    webhooks: Result<Vec<Webhook>, StoreError>,
    file: Option<&Path>,
) {
    let is_usable = stats.as_ref().is_ok_and(|stats| stats.fault.is_none());
    let mut gauge =
        |name: &str, help: &str, value: f64| registry.register(name, help, ConstGauge::new(value));
    let help = "Whether the store accepts changes";
    gauge("guest_store_up", help, f64::from(u8::from(is_usable)));
    if let Some(file) = file {
        let bytes = ["", "-wal"].map(|suffix| {
            let mut name = file.as_os_str().to_owned();
            name.push(suffix);
            fs::metadata(name).map_or(0, |file| file.len())
        });
        let help = "Size of the files of the store";
        gauge("guest_store_size_bytes", help, bytes.iter().sum::<u64>() as f64);
    }
    let (Ok(stats), Ok(webhooks)) = (stats, webhooks) else {
        return;
    };
    let help = "Entries of the audit log";
    gauge("guest_audit_entries", help, stats.audit_entries as f64);
    let help = "Time of the oldest event that was not delivered, 0 if there is none";
    let oldest = stats.outbox_oldest.map_or(0, |at| at.unix_timestamp());
    gauge("guest_outbox_oldest_timestamp_seconds", help, oldest as f64);
    let (pending, snapshots, failures) = (labeled(), labeled(), labeled());
    let (enabled, disabled) = (labeled(), labeled());
    for webhook in webhooks {
        let queue = stats.queues.get(&webhook.id).copied().unwrap_or_default();
        set(&pending, "webhook", &webhook.id, queue.pending as f64);
        set(&snapshots, "webhook", &webhook.id, queue.snapshots as f64);
        set(&failures, "webhook", &webhook.id, webhook.failures.into());
        let is_enabled = u8::from(webhook.enabled);
        set(&enabled, "webhook", &webhook.id, is_enabled.into());
        // one that cannot be read was disabled too
        let is_paused = SubscriptionBody::parse(&webhook.document).is_ok_and(|wanted| !wanted.enabled);
        let is_disabled = u8::from(!webhook.enabled && !is_paused);
        set(&disabled, "webhook", &webhook.id, is_disabled.into());
    }
    let help = "Pending events of a webhook";
    registry.register("guest_outbox_pending", help, pending);
    let help = "Sessions whose snapshot or erasure was not delivered to a webhook";
    registry.register("guest_outbox_snapshots_pending", help, snapshots);
    let help = "Failed deliveries to a webhook since the last success";
    registry.register("guest_webhook_consecutive_failures", help, failures);
    let help = "Whether a webhook receives events";
    registry.register("guest_webhook_enabled", help, enabled);
    let help = "Whether a webhook was disabled for its failures, and not by its owner";
    registry.register("guest_webhook_disabled", help, disabled);
}

type Labeled<const LABELS: usize> =
    Family<[(&'static str, String); LABELS], Gauge<f64, std::sync::atomic::AtomicU64>>;

fn labeled() -> Labeled<1> {
    Family::default()
}

/// Sets the gauge with this label. The values of the label are ids of the configuration or the store, which both bounds.
fn set(gauges: &Labeled<1>, label: &'static str, value: &impl ToString, figure: f64) {
    gauges.get_or_create(&[(label, value.to_string())]).set(figure);
}

/// Registers the memory and the files of this process, where the system is Linux.
fn register_process(registry: &mut Registry) {
    let mut gauge = |name: &str, help: &str, value: u64| {
        registry.register(name, help, ConstGauge::new(value as f64));
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    if let Some(kibibytes) = kibibytes {
        gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            kibibytes * 1_024,
        );
    }
    let open = fs::read_dir("/proc/self/fd").map(Iterator::count);
    if let Ok(open) = open {
        gauge("process_open_fds", "Open file descriptors", open as u64);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let most = files.and_then(|line| line.split_whitespace().next()?.parse().ok());
    if let Some(most) = most {
        gauge("process_max_fds", "Largest number of file descriptors", most);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn format_follows_accept() {
        for (accept, expected) in [
            ("", Format::Prometheus),
            ("text/plain", Format::Prometheus),
            (
                "text/plain;q=0.5, application/openmetrics-text;version=1.0.0",
                Format::OpenMetrics,
            ),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Format::of(&headers), expected, "{accept}");
        }
    }

    #[test]
    fn any_method_and_status_counts_under_a_closed_set_of_labels() {
        let requests = Requests::default();
        for number in 0..100 {
            let method = Method::from_bytes(format!("X{number}").as_bytes()).unwrap();
            let status = StatusCode::from_u16(100 + number).unwrap();
            requests.record(&method, "unknown", status, None, Duration::from_millis(1));
        }
        let mut registry = Registry::default();
        requests.register(&mut registry);
        let mut page = String::new();
        prometheus_text::encode(&mut page, &registry).unwrap();
        let line =
            "guest_gateway_http_requests_total{route=\"unknown\",method=\"other\",status=\"1xx\"} 100\n";
        assert!(page.contains(line), "{page}");
    }
}
