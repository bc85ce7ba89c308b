//! The export of spans and metrics by OTLP over HTTP, configured by the variables of OpenTelemetry.
//!
//! The spans of the target `otlp` are exported, without the events in them: those can name a session.

mod endpoint;
mod metrics;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use genesys_api::{Clock, Now};
use genesys_http::{Client, Tls};
use opentelemetry::Context;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use self::endpoint::{Endpoint, milliseconds};
use crate::api::{App, Parts};
use crate::metrics::{Format, page};

/// Spans that wait to be sent. Further ones are dropped and counted. Our choice, as that of OpenTelemetry.
const QUEUE: usize = 2_048;
/// Spans of one request.
const BATCH: usize = 512;
/// Longest wait of a span.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time between two warnings.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Spans that were not exported, since the start.
pub(crate) fn dropped_spans() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// An export that has not begun.
pub(crate) struct Telemetry {
    traces: Option<Endpoint>,
    metrics: Option<Endpoint>,
    metrics_interval: Duration,
    timeout: Duration,
    provider: SdkTracerProvider,
    resource: ResourceAttributesWithSchema,
    spans: mpsc::Receiver<SpanData>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // headers can be secret
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Reads the variables. `None` if they name no collector.
    ///
    /// # Errors
    /// An invalid variable, as text without its value.
    pub(crate) fn from_environment() -> Result<Option<Self>, String> {
        let (traces, metrics) = (Endpoint::of("TRACES")?, Endpoint::of("METRICS")?);
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
            Some(_) => Resource::builder(),
            None => Resource::builder().with_service_name("guest-gateway"),
        };
        let resource = resource.build();
        let (queue, spans) = mpsc::channel(QUEUE);
        Ok(Some(Self {
            traces,
            metrics,
            metrics_interval: metrics_interval()?,
            timeout: milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT")?.unwrap_or(Duration::from_secs(10)),
            resource: (&resource).into(),
            provider: SdkTracerProvider::builder()
                .with_resource(resource)
                .with_span_processor(Queue(queue))
                .build(),
            spans,
        }))
    }

    /// The layer that records the spans.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'s> LookupSpan<'s>,
    {
        let has_collector = self.traces.is_some();
        let is_exported =
            filter_fn(move |metadata| has_collector && metadata.is_span() && metadata.target() == "otlp");
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("guest-gateway"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(is_exported.with_max_level_hint(LevelFilter::INFO))
    }

    /// Begins to export.
    ///
    /// # Errors
    /// If the system's roots of trust cannot be read.
    pub(crate) fn start(self, app: &App) -> Result<Exporting, String> {
        let tls = Tls::system().map_err(|error| format!("cannot read the roots of trust: {error}"))?;
        let clock = app.clock.clone();
        let (stop, stopped) = oneshot::channel();
        let now = clock.now();
        let exporter = Exporter {
            client: Client::builder(tls).build().with_deadline(self.timeout),
            metrics_at: now.instant + self.metrics_interval,
            start: nanoseconds(now),
            telemetry: self,
            batch: Vec::new(),
            problem: None,
            warned: 0,
            warn_at: now.instant,
        };
        let task = tokio::spawn(exporter.run(Arc::downgrade(app), clock, stopped));
        Ok(Exporting { stop, task })
    }
}

/// An export in a task of its own, so that no request waits for it.
pub(crate) struct Exporting {
    stop: oneshot::Sender<String>,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends the spans that wait and the last page of metrics, within `timeout`.
    pub(crate) async fn finish(self, page: String, timeout: Duration) {
        let _ = self.stop.send(page);
        if tokio::time::timeout(timeout, self.task).await.is_err() {
            tracing::warn!(
                ?timeout,
                "the last spans and metrics are lost: check the collector"
            );
        }
    }
}

/// The queue of ended spans.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.0.try_send(span).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

struct Exporter {
    telemetry: Telemetry,
    client: Client,
    /// Start of the process in Unix nanoseconds.
    start: u64,
    metrics_at: Instant,
    batch: Vec<SpanData>,
    /// The last failed export since the last warning.
    problem: Option<String>,
    /// Dropped spans of earlier warnings.
    warned: u64,
    warn_at: Instant,
}

impl Exporter {
    async fn run(mut self, app: Weak<Parts>, clock: Clock, mut stop: oneshot::Receiver<String>) {
        let mut due = std::pin::pin!(clock.sleep(INTERVAL));
        let page = loop {
            let room = BATCH - self.batch.len();
            let is_due = tokio::select! {
                page = &mut stop => break page,
                () = &mut due => true,
                _ = self.telemetry.spans.recv_many(&mut self.batch, room) => false,
            };
            if is_due || self.batch.len() == BATCH {
                self.send_spans().await;
            }
            if is_due {
                let now = clock.now();
                if now.instant >= self.metrics_at
                    && let Some(app) = app.upgrade()
                {
                    self.metrics_at = now.instant + self.telemetry.metrics_interval;
                    let (_, page) = page(&app, Format::OpenMetrics).await;
                    drop(app);
                    self.send_metrics(&page, now).await;
                }
                self.warn(now.instant);
                due.set(clock.sleep(INTERVAL));
            }
        };
        loop {
            let room = BATCH - self.batch.len();
            let received = std::iter::from_fn(|| self.telemetry.spans.try_recv().ok());
            self.batch.extend(received.take(room));
            if self.batch.is_empty() {
                break;
            }
            self.send_spans().await;
        }
        if let Ok(page) = page {
            self.send_metrics(&page, clock.now()).await;
        }
        self.warn_at = clock.now().instant;
        self.warn(self.warn_at);
    }

    async fn send_spans(&mut self) {
        let (count, batch) = (self.batch.len() as u64, std::mem::take(&mut self.batch));
        let Some(endpoint) = self.telemetry.traces.as_ref().filter(|_| count > 0) else {
            return;
        };
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.telemetry.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        let dropped = match endpoint.post(&self.client, request.encode_to_vec()).await {
            Ok(answer) => {
                let answer = ExportTraceServiceResponse::decode(answer).ok();
                let rejected = answer.and_then(|answer| answer.partial_success);
                // of a faulty collector it can be any number
                rejected.map_or(0, |partial| {
                    u64::try_from(partial.rejected_spans).unwrap_or(0).min(count)
                })
            }
            Err(error) => {
                self.problem = Some(error);
                count
            }
        };
        DROPPED.fetch_add(dropped, Ordering::Relaxed);
    }

    async fn send_metrics(&mut self, page: &str, now: Now) {
        let Some(endpoint) = &self.telemetry.metrics else {
            return;
        };
        let metrics = metrics::of_page(page, self.start, nanoseconds(now));
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![metrics::with_resource(metrics, &self.telemetry.resource)],
        };
        if let Err(error) = endpoint.post(&self.client, request.encode_to_vec()).await {
            self.problem = Some(error);
        }
    }

    /// Warns of spans and metrics that were not exported, at most once a minute.
    fn warn(&mut self, now: Instant) {
        let dropped = dropped_spans();
        if now < self.warn_at || self.problem.is_none() && dropped == self.warned {
            return;
        }
        let (error, spans) = (self.problem.take(), dropped - self.warned);
        tracing::warn!(
            spans,
            error,
            "cannot export all spans and metrics: check the collector and OTEL_EXPORTER_OTLP_ENDPOINT"
        );
        (self.warned, self.warn_at) = (dropped, now + WARN_INTERVAL);
    }
}

/// The time between two exports of metrics. Default: 1 minute, as that of OpenTelemetry.
fn metrics_interval() -> Result<Duration, String> {
    let name = "OTEL_METRIC_EXPORT_INTERVAL";
    let interval = milliseconds(name)?.unwrap_or(Duration::from_secs(60));
    // a task checks it at each multiple
    match interval.as_millis() % INTERVAL.as_millis() {
        0 if !interval.is_zero() => Ok(interval),
        _ => Err(format!(
            "invalid {name}: give a multiple of {}",
            INTERVAL.as_millis()
        )),
    }
}

fn nanoseconds(now: Now) -> u64 {
    u64::try_from(now.utc.unix_timestamp_nanos()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::Tracer as _;

    use super::*;

    #[test]
    fn full_queue_drops_and_counts_spans() {
        let (queue, mut spans) = mpsc::channel(2);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Queue(queue))
            .build();
        let (tracer, before) = (provider.tracer("test"), dropped_spans());
        for _ in 0..5 {
            drop(tracer.start("span"));
        }
        assert_eq!(dropped_spans() - before, 3);
        assert_eq!(std::iter::from_fn(|| spans.try_recv().ok()).count(), 2);
    }
}
