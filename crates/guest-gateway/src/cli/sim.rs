//! `sim`: the simulator as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use genesys_sim::{Config, Simulator};

use super::{Failure, Interrupt, say};

/// Run a local Genesys Cloud web messaging: real sockets, no account
///
/// One listener serves every host of Genesys: POST /oauth/token, the deployment's config.json and domains.json,
/// the WebSocket at /v1?deploymentId=…, the history at /api/v2/webmessaging/messages, and the simulator's own
/// controls under /sim (POST /sim/clock {"advance":"14m"} moves its time). A scripted agent answers every message.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Plain HTTP and WS in place of TLS with a throw-away CA
    #[arg(long)]
    plain: bool,
    /// Address to listen on; port 0 takes a free one. Loopback only
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Print one JSON line on stdout when ready, in place of text
    #[arg(long)]
    json: bool,
    /// Where to write the CA's certificate (PEM) when speaking TLS
    #[arg(long, default_value = "genesys-sim-ca.pem", value_name = "FILE")]
    ca: PathBuf,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    if !options.listen.ip().is_loopback() {
        return Err(Failure::usage(
            "the simulator listens on loopback only: its secrets are printed. Give 127.0.0.1:PORT",
        ));
    }
    let mut config = if options.plain {
        Config::plain()
    } else {
        Config::default()
    };
    config.listen = options.listen;
    let mut interrupt = Interrupt::listen()?;
    let simulator = Simulator::start(config).await.map_err(Failure::failed)?;
    let ca = match simulator.ca_pem() {
        Some(pem) => {
            std::fs::write(&options.ca, pem).map_err(|error| {
                Failure::usage(format!(
                    "cannot write the CA to {}: {error}",
                    options.ca.display()
                ))
            })?;
            Some(options.ca.as_path())
        }
        None => None,
    };
    let ready = simulator.ready_line(ca);
    if options.json {
        say(&ready);
    } else {
        say(&format!(
            "SIMULATED Genesys Cloud is ready. Ctrl-C ends it.\n{ready}"
        ));
    }
    interrupt.came().await;
    simulator.stop().await;
    Ok(())
}
