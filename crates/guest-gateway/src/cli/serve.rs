//! `serve`: the server.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use clap::Args;
use genesys_api::{Clock, error_chain};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Interrupt, print_line};
use crate::Gateway;
use crate::config::Config;
use crate::resources::{file_size, needed_files, raise_open_files};

/// Serve the guest-sessions API in front of Genesys Cloud
///
/// The contract is spec/guest-sessions/openapi.json: tokens for API clients, guest sessions with consent, token
/// rotation, the WebSocket of the guests, webhooks, metrics and audit trails. gateway.example.toml shows every setting.
/// It can be used as it is, with the simulator in place of Genesys Cloud.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON line on stdout when ready instead of text
    #[arg(long)]
    json: bool,
    /// Only check the configuration and the files and variables that it names; exit code 2 with the reason if it is
    /// invalid
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let config = Config::read(&options.config).map_err(Failure::usage)?;
    if options.check {
        let name = options.config.display();
        let checked = config.check_environment();
        checked.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        print_line(&format!("{name} is valid"));
        for exposed in config.exposed_secrets() {
            print_line(&format!("warning: {exposed}"));
        }
        return Ok(());
    }
    let (mut interrupt, mut hangup) = (Interrupt::listen()?, hangup()?);
    raise_limits(&config);
    // a gateway that cannot start has an invalid configuration
    let started = Gateway::start(config, Clock::system()).await;
    let gateway = started.map_err(|error| Failure::usage(error_chain(&error)))?;
    print_line(&ready(&gateway, options.json));
    notify_systemd("READY=1");
    loop {
        tokio::select! {
            () = interrupt.received_to_end() => break,
            _ = hangup.recv() => {
                // the outcome is logged
                let _ = gateway.reload().await;
            }
        }
    }
    notify_systemd("STOPPING=1");
    tokio::select! {
        () = gateway.stop() => Ok(()),
        () = interrupt.received_to_end() => Err(Failure::failed(
            "stopped by a second signal: requests in progress were cut off, and the audit log is not closed",
        )),
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

/// Raises the limit of open files, and warns of one that is too low for the connections, and of a limit of the size of files.
fn raise_limits(config: &Config) {
    let needed = needed_files(config.listen.connections);
    match raise_open_files() {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "more connections are configured than files may be open: set `LimitNOFILE={needed}` in the unit of systemd, or \
             lower `connections` of [listen]"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
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
            format!("Connected to a SIMULATED Genesys Cloud at {url}: no message leaves this machine.")
        }
        None => "Connected to Genesys Cloud.".to_owned(),
    };
    let shop = demo_page.map_or_else(String::new, |url| format!("\nOpen the demo shop: {url}"));
    let admin = gateway
        .admin()
        .map_or_else(String::new, |url| format!("\nFor operators: {url}"));
    format!("guest-gateway serves {host}. Ctrl-C stops it.\n{genesys}{shop}{admin}")
}
