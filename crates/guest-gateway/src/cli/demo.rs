//! `demo`: a scenario of the whole product, on loopback, in one process.

use clap::Args;
use genesys_api::error_chain;

use super::{Failure, Interrupt, print_line};
use crate::demo;

/// Run a scenario with a local Genesys Cloud, a gateway and a CRM, all on loopback
///
/// Starts the simulator (TLS), the gateway (TLS, SQLite in a temporary folder) and a small CRM in this process. Then acts
/// as a remote client of the gateway: token, webhook, consent, session, conversation, rotation, withdrawal, deliveries,
/// metrics, audit. Each step is checked by its effect. Exit code 0 if all checks passed.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Print one JSON report on stdout instead of lines
    #[arg(long)]
    json: bool,
    /// Keep the servers running, start a demo shop with a chat, and print the addresses and curl commands
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let servers = demo::Servers::start().await;
    let servers = servers.map_err(|error| Failure::failed(error_chain(&*error)))?;
    let report = tokio::select! {
        report = demo::run(&servers, !options.json) => report,
        () = interrupt.received() => {
            servers.stop().await;
            return Err(Failure::interrupted());
        }
    };
    if options.json {
        print_line(&serde_json::to_string(&report).map_err(Failure::failed)?);
    }
    let kept = match options.keep {
        true => keep(&servers, options.json, interrupt).await,
        false => Ok(()),
    };
    servers.stop().await;
    kept?;
    match report.ok {
        true => Ok(()),
        false => Err(Failure::failed("the check of a step failed")),
    }
}

/// Starts the demo shop, and prints all addresses. The servers run until the interrupt.
async fn keep(servers: &demo::Servers, as_json: bool, mut interrupt: Interrupt) -> Result<(), Failure> {
    let shop = demo::Shop::start().await;
    let shop = shop.map_err(|error| Failure::failed(error_chain(&*error)))?;
    let hints = format!(
        "{}\nOpen the demo shop in a browser: {}\nThe servers run until Ctrl-C.",
        servers.hints(),
        shop.url()
    );
    if as_json {
        tracing::warn!("{hints}");
    } else {
        print_line(&hints);
    }
    interrupt.received().await;
    shop.stop().await;
    Ok(())
}
