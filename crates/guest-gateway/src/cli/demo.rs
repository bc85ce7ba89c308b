//! `demo`: the whole road, on loopback, in one process.

use clap::Args;

use super::{Failure, Interrupt, say};
use crate::demo::{self, Report, Told};

/// Walk the whole road with a local Genesys Cloud, a gateway and a CRM, all on loopback
///
/// Starts the simulator (TLS), the gateway in front of it (TLS, SQLite in a temporary folder) and a small CRM in this
/// process, and is then a remote client of the gateway: token, webhook, consent, session, conversation, rotation,
/// withdrawal, deliveries, metrics, audit. A line is ticked only when the step's effect was seen. Exit code 0 only
/// if all were.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Print one report object on stdout in place of the lines
    #[arg(long)]
    json: bool,
    /// Leave all servers running when done, and print their addresses and curl lines that work
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let told = if options.json { Told::AsOne } else { Told::Lines };
    let mut interrupt = Interrupt::listen()?;
    let servers = demo::Servers::start().await.map_err(Failure::failed)?;
    let outcome = tokio::select! {
        report = demo::walk(&servers, told) => tell(&servers, &report, &options, &mut interrupt).await,
        () = interrupt.came() => Err(Failure::interrupted()),
    };
    servers.stop().await;
    outcome
}

async fn tell(
    servers: &demo::Servers,
    report: &Report,
    options: &Options,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    if options.json {
        say(&serde_json::to_string(report).map_err(Failure::failed)?);
    }
    if options.keep {
        let hints = servers.hints();
        if options.json {
            tracing::warn!("{hints}");
        } else {
            say(&hints);
        }
        interrupt.came().await;
    }
    if report.ok {
        Ok(())
    } else {
        Err(Failure::failed(
            "the demo stopped at a step that was not verified",
        ))
    }
}
