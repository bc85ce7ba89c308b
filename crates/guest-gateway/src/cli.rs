//! `guest-gateway`: serve, sim, chat, demo, load, config, doctor, audit, consent, guest, policy, receive, store, webhook.

mod audit;
#[cfg(feature = "chat")]
mod chat;
mod config;
mod consent;
#[cfg(feature = "sim")]
mod demo;
mod doctor;
mod guest;
mod load;
mod policy;
mod receive;
mod remote;
mod serve;
#[cfg(feature = "sim")]
mod sim;
mod store;
mod webhook;

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand, ValueEnum};
use genesys_api::error_chain;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Guest sessions of Genesys Cloud web messaging: gateway, simulator, chat, demo and audit tools.
#[derive(Debug, Parser)]
#[command(name = "guest-gateway", version, after_help = AFTER_HELP)]
struct Cli {
    /// The form of the log on stderr
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[cfg(feature = "sim")]
const AFTER_HELP: &str = "Logs go to stderr. RUST_LOG sets their level (default: warn; serve and sim: info; chat: error).\n\
                          Ctrl-C stops every command cleanly.\n\n\
                          Start with:\n  guest-gateway demo\n  guest-gateway serve --config gateway.example.toml";
#[cfg(not(feature = "sim"))]
const AFTER_HELP: &str = "Logs go to stderr. RUST_LOG sets their level (default: warn; serve: info; chat: error).\n\
                          Ctrl-C stops every command cleanly.\n\n\
                          This program is built without the simulator, so without the commands sim and demo.";

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "chat")]
    Chat(Box<chat::Options>),
    #[cfg(feature = "sim")]
    Demo(demo::Options),
    Doctor(doctor::Options),
    Load(load::Options),
    Receive(receive::Options),
    Serve(serve::Options),
    #[cfg(feature = "sim")]
    Sim(Box<sim::Options>),
    #[command(subcommand)]
    Audit(audit::Command),
    #[command(subcommand)]
    Config(config::Command),
    #[command(subcommand)]
    Consent(consent::Command),
    #[command(subcommand)]
    Guest(guest::Command),
    #[command(subcommand)]
    Policy(policy::Command),
    #[command(subcommand)]
    Store(store::Command),
    #[command(subcommand)]
    Webhook(webhook::Command),
}

/// Runs the command of the arguments. Exit codes: 0 success, 1 failure, 2 invalid arguments or configuration,
/// 130 interrupted.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.command {
        #[cfg(feature = "chat")]
        Command::Chat(_) => "error",
        Command::Serve(_) => "info",
        #[cfg(feature = "sim")]
        Command::Sim(_) => "info",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // spans are for a collector
    let only_events = filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let log = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // a log that cannot be written ends no task: the message about it would panic, on the same stderr
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    let log = match cli.log_format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(log.with_filter(filter.and(only_events)));
    #[cfg(feature = "otlp")]
    let (subscriber, telemetry) = {
        let telemetry = match cli.command {
            Command::Serve(_) => crate::telemetry::Telemetry::from_environment(),
            _ => Ok(None),
        };
        let telemetry = match telemetry {
            Ok(telemetry) => telemetry,
            Err(message) => return fail(&message, 2),
        };
        let layer = telemetry.as_ref().map(crate::telemetry::Telemetry::layer);
        (subscriber.with(layer), telemetry)
    };
    subscriber.init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the runtime: {error}"), 1),
    };
    let outcome = runtime.block_on(async {
        keep_file_size_signal()?;
        match cli.command {
            #[cfg(feature = "chat")]
            Command::Chat(options) => chat::run(*options).await,
            #[cfg(feature = "sim")]
            Command::Demo(options) => demo::run(options).await,
            Command::Doctor(options) => doctor::run(options).await,
            Command::Load(options) => load::run(options).await,
            Command::Receive(options) => receive::run(options).await,
            Command::Serve(options) => {
                #[cfg(feature = "otlp")]
                let options = options.with_telemetry(telemetry);
                serve::run(options).await
            }
            #[cfg(feature = "sim")]
            Command::Sim(options) => sim::run(*options).await,
            Command::Audit(command) => audit::run(command).await,
            Command::Config(command) => config::run(&command),
            Command::Consent(command) => consent::run(command).await,
            Command::Guest(command) => guest::run(command).await,
            Command::Policy(command) => policy::run(&command),
            Command::Store(command) => store::run(command).await,
            Command::Webhook(command) => webhook::run(command).await,
        }
    });
    // remaining tasks have been signaled to stop
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    match outcome.and_then(|()| check_output()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => fail(&message, code),
    }
}

#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn failed(error: impl Display) -> Self {
        Self {
            message: error.to_string(),
            code: 1,
        }
    }

    /// The command failed. The message has the sources of the error.
    fn caused_by(error: impl std::error::Error) -> Self {
        Self::failed(error_chain(&error))
    }

    fn interrupted() -> Self {
        Self {
            code: 130,
            ..Self::failed("interrupted")
        }
    }

    /// The arguments or the configuration are invalid.
    fn usage(error: impl Display) -> Self {
        Self {
            code: 2,
            ..Self::failed(error)
        }
    }
}

/// The first error of stdout.
static OUTPUT_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Writes a line to stdout. An error of stdout is the outcome of a command that is otherwise successful.
fn print_line(line: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        let _ = OUTPUT_ERROR.set(error);
    }
}

/// Whether nothing more can be written to stdout: a line failed, or the reader of the pipe has gone.
fn is_output_closed() -> bool {
    let out = io::stdout();
    let mut files = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let is_gone = poll(&mut files, PollTimeout::ZERO).is_ok()
        && files[0]
            .revents()
            .is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP));
    is_gone || OUTPUT_ERROR.get().is_some()
}

/// Writes a line for a person to stderr.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A number with its noun.
fn counted(number: impl TryInto<u64>, one: &str, more: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    }
}

/// Fails if a line was not written to stdout. A closed stdout is not an error.
fn check_output() -> Result<(), Failure> {
    match OUTPUT_ERROR.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "cannot write to stdout: {error}; the command took effect, what it printed is incomplete"
        ))),
        _ => Ok(()),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    note(&format!("guest-gateway: {message}"));
    ExitCode::from(code)
}

/// Handles the signal of a file at its largest size, which would end the process: the write fails with `EFBIG` in its place,
/// as it does on a full disk.
fn keep_file_size_signal() -> Result<(), Failure> {
    // 25 on all systems that Rust supports but MIPS; the handler stays when its receiver is dropped
    const SIGXFSZ: i32 = 25;
    signal(SignalKind::from_raw(SIGXFSZ))
        .map(drop)
        .map_err(|error| Failure::failed(format!("cannot handle the signal SIGXFSZ: {error}")))
}

/// A receiver of SIGHUP, SIGINT and SIGTERM. Signals that arrive while a command starts are queued.
struct Interrupt([Signal; 3]);

impl Interrupt {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::failed);
        Ok(Self([
            listen(SignalKind::hangup())?,
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        ]))
    }

    /// Waits for SIGINT or SIGTERM, of a command to which SIGHUP means something else.
    async fn received_to_end(&mut self) {
        let [_, interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    async fn received(&mut self) {
        let [hangup, interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
