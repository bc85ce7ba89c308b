//! `serve`: the server.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
#[cfg(feature = "otlp")]
use std::time::Duration;

use clap::Args;
use genesys_api::{Clock, error_chain};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config::Sources;
use super::{Failure, Interrupt, print_line};
use crate::Gateway;
use crate::resources::{file_size, raise_open_files};
#[cfg(feature = "otlp")]
use crate::{
    metrics::{Format, page},
    telemetry::{Exporting, Telemetry},
};

/// Serve the guest-sessions API in front of Genesys Cloud
///
/// The contract is spec/guest-sessions/openapi.json: tokens for API clients, guest sessions with consent, token
/// rotation, the WebSocket of the guests, webhooks, metrics and audit trails. `guest-gateway config example` prints every
/// setting. It can be used as it is, with the simulator in place of Genesys Cloud.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    sources: Sources,
    /// Print one JSON line on stdout when ready instead of text
    #[arg(long)]
    json: bool,
    #[cfg(feature = "otlp")]
    #[arg(skip)]
    telemetry: Option<Box<Telemetry>>,
}

#[cfg(feature = "otlp")]
impl Options {
    pub(super) fn with_telemetry(self, telemetry: Option<Telemetry>) -> Self {
        let telemetry = telemetry.map(Box::new);
        Self { telemetry, ..self }
    }
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    // a SIGHUP during the start reloads after it
    let mut hangup = hangup()?;
    let config = options.sources.read()?;
    let mut interrupt = Interrupt::listen()?;
    raise_limits();
    let started = tokio::select! {
        started = Gateway::start(config, Clock::system()) => started,
        // opening a large store can take long
        () = interrupt.received_to_end() => {
            return Err(Failure::failed("stopped by a signal before the start: nothing was served"));
        }
    };
    // a gateway that cannot start has an invalid configuration
    let gateway = started.map_err(|error| Failure::usage(error_chain(&error)))?;
    #[cfg(feature = "otlp")]
    let exporting = options
        .telemetry
        .map(|telemetry| telemetry.start(gateway.app()))
        .transpose()
        .map_err(Failure::usage)?;
    #[cfg(not(feature = "otlp"))]
    if std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("OTEL_EXPORTER_OTLP_")) {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_* has no effect: this program is built without the feature `otlp`"
        );
    }
    print_line(&ready(&gateway, options.json));
    notify_systemd("READY=1");
    loop {
        tokio::select! {
            () = interrupt.received_to_end() => break,
            () = gateway.store_lost() => {
                return Err(Failure::failed(
                    "the store in PostgreSQL was taken by another gateway, or could not be reached for 9 s: this one served \
                     no longer; start it again, and it stands by",
                ));
            }
            _ = hangup.recv() => {
                // the outcome is logged
                let _ = gateway.reload().await;
            }
        }
    }
    notify_systemd("STOPPING=1");
    #[cfg(feature = "otlp")]
    let stopping = stop(gateway, exporting);
    #[cfg(not(feature = "otlp"))]
    let stopping = gateway.stop();
    tokio::select! {
        () = stopping => Ok(()),
        () = interrupt.received_to_end() => Err(Failure::failed(
            "stopped by a second signal: requests in progress were cut off, and the audit log is not closed",
        )),
    }
}

/// The shortest time to send the last spans and metrics, also after a drain that was used up. Our choice.
#[cfg(feature = "otlp")]
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Stops the gateway, and sends the last spans and metrics within what is left of the drain.
#[cfg(feature = "otlp")]
async fn stop(gateway: Gateway, exporting: Option<Exporting>) {
    let (clock, drain) = (Clock::system(), gateway.drain());
    let began = clock.now().instant;
    let (_, page) = page(gateway.app(), Format::OpenMetrics).await;
    gateway.stop().await;
    if let Some(exporting) = exporting {
        let passed = clock.now().instant.saturating_duration_since(began);
        let left = drain.saturating_sub(passed).max(LAST_EXPORT);
        exporting.finish(page, left).await;
    }
}

/// A receiver of SIGHUP, which reloads the configuration.
fn hangup() -> Result<Signal, Failure> {
    signal(SignalKind::hangup()).map_err(Failure::failed)
}

/// Sends a state to systemd, if it started the process with `Type=notify` (sd_notify(3)).
fn notify_systemd(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent =
        UnixDatagram::unbound().and_then(|socket| socket.send_to(state.as_bytes(), PathBuf::from(path)));
    if let Err(error) = sent {
        tracing::warn!(%error, state, "cannot notify systemd");
    }
}

/// Raises the limit of open files, and warns of a limit of the size of files.
fn raise_limits() {
    if let Err(error) = raise_open_files() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    if let Ok(Some(limit)) = file_size() {
        tracing::warn!(
            limit,
            "the size of files is limited to these bytes, above which the store cannot grow: set `LimitFSIZE=infinity` in the \
             unit of systemd, or run `ulimit -f unlimited`"
        );
    }
}

fn ready(gateway: &Gateway, as_json: bool) -> String {
    let host = gateway.host();
    let (simulator, demo_page) = (gateway.simulator_url(), gateway.demo_page_url());
    if as_json {
        let mut ready = json!({ "event": "ready", "http": host.to_string(), "simulator": simulator });
        if let Some(url) = gateway.admin() {
            ready["admin"] = url.to_string().into();
        }
        if let Some(url) = demo_page {
            ready["demoPage"] = url.into();
        }
        return ready.to_string();
    }
    let genesys = match simulator {
        Some(url) => {
            format!("It uses a SIMULATED Genesys Cloud at {url}: no message leaves this machine.")
        }
        None => "It uses Genesys Cloud. The path /health/ready reports the connection.".to_owned(),
    };
    let shop = demo_page.map_or_else(String::new, |url| format!("\nOpen the demo shop: {url}"));
    let admin = gateway
        .admin()
        .map_or_else(String::new, |url| format!("\nFor operators: {url}"));
    format!("guest-gateway serves {host}. Ctrl-C stops it.\n{genesys}{shop}{admin}")
}
