//! `guest-gateway`: serve, sim, chat, demo, audit, consent, policy.

mod audit;
#[cfg(feature = "chat")]
mod chat;
mod consent;
#[cfg(feature = "sim")]
mod demo;
mod policy;
mod serve;
#[cfg(feature = "sim")]
mod sim;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Guest sessions of Genesys Cloud web messaging: a gateway, a simulator, a chat, a demo and an auditor's tool.
#[derive(Debug, Parser)]
#[command(
    name = "guest-gateway",
    version,
    after_help = "Logs go to stderr; RUST_LOG chooses how much (default: info, but warn for the demo, error for the chat).\n\
                  Ctrl-C ends every command cleanly.\n\n\
                  Begin with:\n  guest-gateway demo\n  guest-gateway serve --config gateway.example.toml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "chat")]
    Chat(Box<chat::Options>),
    #[cfg(feature = "sim")]
    Demo(demo::Options),
    Serve(serve::Options),
    #[cfg(feature = "sim")]
    Sim(Box<sim::Options>),
    #[command(subcommand)]
    Audit(audit::Command),
    #[command(subcommand)]
    Consent(consent::Command),
    #[command(subcommand)]
    Policy(policy::Command),
}

/// Runs the command that the arguments name. Exit codes: 0 done, 1 it failed, 2 the arguments or the configuration
/// are wrong, 130 Ctrl-C came before it was done.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.command {
        #[cfg(feature = "chat")]
        Command::Chat(_) => "error",
        #[cfg(feature = "sim")]
        Command::Demo(_) => "warn",
        _ => "info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the runtime: {error}"), 1),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            #[cfg(feature = "chat")]
            Command::Chat(options) => chat::run(*options).await,
            #[cfg(feature = "sim")]
            Command::Demo(options) => demo::run(options).await,
            Command::Serve(options) => serve::run(options).await,
            #[cfg(feature = "sim")]
            Command::Sim(options) => sim::run(*options).await,
            Command::Audit(command) => audit::run(command).await,
            Command::Consent(command) => consent::run(command).await,
            Command::Policy(command) => policy::run(&command),
        }
    });
    // whatever still runs has been told to stop; it gets no longer than this
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => fail(&message, code),
    }
}

/// Why a command failed, for people, and its exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The command did not do what it was asked to.
    fn failed(error: impl std::fmt::Display) -> Self {
        Self {
            message: error.to_string(),
            code: 1,
        }
    }

    /// Ctrl-C came before it was done.
    #[cfg(any(feature = "chat", feature = "sim"))]
    fn interrupted() -> Self {
        Self {
            message: "interrupted before it was done".to_owned(),
            code: 130,
        }
    }

    /// The arguments or the configuration are wrong.
    fn usage(error: impl std::fmt::Display) -> Self {
        Self {
            message: error.to_string(),
            code: 2,
        }
    }
}

/// Writes a line that the command was asked for. A reader that went away is no failure.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _gone = writeln!(std::io::stderr(), "guest-gateway: {message}");
    ExitCode::from(code)
}

/// Hears Ctrl-C and SIGTERM from when it is made: one that comes while a command still starts is not lost.
struct Interrupt {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    fn listen() -> Result<Self, Failure> {
        let hear = |kind| signal(kind).map_err(Failure::failed);
        Ok(Self {
            hangup: hear(SignalKind::hangup())?,
            interrupt: hear(SignalKind::interrupt())?,
            terminate: hear(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them.
    async fn came(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
