//! `serve`: the gateway.

use std::path::PathBuf;

use clap::Args;
use genesys_api::{Clock, error_chain};
use serde_json::json;

use super::{Failure, Interrupt, say};
use crate::config::Config;
use crate::{Gateway, StartError};

/// Serve the guest-sessions API in front of Genesys Cloud
///
/// The contract is spec/guest-sessions/openapi.json: tokens for API clients, guest sessions with consent, rotation,
/// the guests' WebSocket, webhooks, metrics and audit trails. gateway.example.toml shows every setting, and runs as
/// it is, with the simulator in place of Genesys Cloud.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON line on stdout when ready, in place of text
    #[arg(long)]
    json: bool,
    /// Only check the configuration, and that the files and variables that it names are there; exit code 2 and what
    /// is at fault if it cannot be used
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let config = Config::read(&options.config).map_err(Failure::usage)?;
    if options.check {
        config
            .check_surroundings()
            .map_err(|error| Failure::usage(format!("{}: {error}", options.config.display())))?;
        say(&format!("{} can be used", options.config.display()));
        return Ok(());
    }
    let mut interrupt = Interrupt::listen()?;
    let gateway = Gateway::start(config, Clock::system())
        .await
        .map_err(|error| failure(&error))?;
    say(&ready(&gateway, options.json));
    interrupt.came().await;
    gateway.stop().await;
    Ok(())
}

fn ready(gateway: &Gateway, as_json: bool) -> String {
    let host = gateway.host();
    let simulator = gateway.simulator_url();
    if as_json {
        return json!({ "event": "ready", "http": host.to_string(), "simulator": simulator }).to_string();
    }
    let genesys = match simulator {
        Some(url) => format!("SIMULATED Genesys Cloud at {url}: no message leaves this machine."),
        None => "In front of Genesys Cloud.".to_owned(),
    };
    format!("guest-gateway serves {host}. Ctrl-C ends it.\n{genesys}")
}

/// What is wrong with the configuration or its files is the caller's to mend, as wrong arguments are.
fn failure(error: &StartError) -> Failure {
    Failure::usage(error_chain(error))
}
