//! `load`: simulated guests of a running gateway.

mod figures;
mod guest;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use genesys_api::{ChannelId, Clock, Host, Origin};
use guest_payload::Jurisdictions;
use guest_suite::GuestSessions;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::task::JoinSet;
use ws_transport::AdmittedOrigin;

use self::figures::Figures;
use super::{Failure, Interrupt, print_line, remote};
use crate::resources::{OTHER_FILES, raise_open_files};

/// Largest number of guests. Our choice.
const MAX_SESSIONS: i64 = 100_000;
/// Most guests a second: a deployment of Genesys Cloud takes 1,000 connections a minute.
const MAX_RATE: f64 = 15.0;
/// Guests who leave in a second. Two requests of each stay below the default limit of requests of an API client.
const LEAVING: u32 = 20;
/// Longest wait for the guests to leave after Ctrl-C.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two updates of the progress bar.
const TICK: Duration = Duration::from_millis(200);

/// Simulate guests of a running gateway, and report latencies and errors
///
/// Guests arrive at a rate, connect, and send a message after each pause, without a wait for the answer. When all have
/// arrived, the conversations go on for a time, then all guests leave. Each guest is a session of the contract
/// guest-sessions, with a conversation at Genesys Cloud: use a gateway in front of a simulator, or a test deployment.
/// Ctrl-C ends the sessions for at most 10 s, then prints the report so far; a second one prints it at once. Exit code 1
/// if an operation failed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(super) struct Options {
    /// The URL of the gateway; the environment variables GUEST_GATEWAY_CLIENT_ID and GUEST_GATEWAY_CLIENT_SECRET have the
    /// credentials of an API client
    #[arg(long)]
    url: Host,
    /// The channel of the sessions
    #[arg(long, value_name = "ID")]
    channel: ChannelId,
    /// The origin of the guests' page, which the gateway must allow
    #[arg(long, value_name = "URL")]
    origin: Origin,
    /// Guests in conversation at once, at most 100000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_SESSIONS))]
    sessions: u32,
    /// Guests who arrive in a second, at most 15: Genesys Cloud takes 1,000 connections a minute
    #[arg(long, value_name = "R", default_value = "10", value_parser = rate)]
    rate: f64,
    /// Mean pause of a guest before each message, from 100ms to 1h; each pause is between half and one and a half of it
    #[arg(long, value_name = "T", default_value = "30s", value_parser = think)]
    think: Duration,
    /// The time for which the conversations go on after the last arrival, at most 24h
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = duration)]
    hold: Duration,
    /// The jurisdiction of the guests, who agree to everything
    #[arg(long, value_name = "CODE", default_value = "EU")]
    jurisdiction: Jurisdictions,
    /// A CA certificate (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "Try:
  guest-gateway serve --config gateway.example.toml &
  GUEST_GATEWAY_CLIENT_ID=your_service_account_client_id \\
  GUEST_GATEWAY_CLIENT_SECRET=your_service_account_client_secret \\
  guest-gateway load --url http://127.0.0.1:8080 --channel your_web_messaging_channel_config_id \\
    --origin https://yourdomain.com --sessions 100 --rate 10 --think 5s";

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "use a number such as 10 or 0.5")?;
    if !(0.01..=MAX_RATE).contains(&rate) {
        return Err(format!("use 0.01 to {MAX_RATE} guests a second"));
    }
    Ok(rate)
}

fn think(text: &str) -> Result<Duration, String> {
    let think = duration(text)?;
    if !(Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&think) {
        return Err("use 100ms to 1h".to_owned());
    }
    Ok(think)
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration > Duration::from_secs(24 * 3_600) {
        return Err("use at most 24h".to_owned());
    }
    Ok(duration)
}

/// The shared state of the guests.
struct Load {
    suite: GuestSessions,
    clock: Clock,
    channel: ChannelId,
    jurisdictions: Jurisdictions,
    page: AdmittedOrigin,
    think: Duration,
    figures: Mutex<Figures>,
    /// Whether the guests leave.
    stop: watch::Sender<bool>,
}

impl Load {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        self.clock.now().instant
    }
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let load = Arc::new(prepare(&options)?);
    tokio::select! {
        signed_in = sign_in(&load, &options.url) => signed_in?,
        () = interrupt.received() => return Err(Failure::interrupted()),
    }
    let mut guests = JoinSet::new();
    let bar = progress_bar(options.sessions);
    let started = load.now();
    let mut interrupted = tokio::select! {
        () = converse(&load, &mut guests, &options) => false,
        () = update(&bar, &load) => false,
        () = interrupt.received() => true,
    };
    let elapsed = load.now() - started;
    load.figures().finish(elapsed, load.think);
    load.stop.send_replace(true);
    if !interrupted {
        interrupted = tokio::select! {
            () = leave(&mut guests) => false,
            () = update(&bar, &load) => false,
            () = interrupt.received() => true,
        };
    }
    if interrupted {
        tokio::select! {
            () = leave(&mut guests) => {}
            () = update(&bar, &load) => {}
            () = load.clock.sleep(END_TIMEOUT) => {}
            () = interrupt.received() => {}
        }
    }
    bar.finish_and_clear();
    let report = load.figures().report(options.sessions, interrupted);
    match options.json {
        true => print_line(&serde_json::to_string(&report).map_err(Failure::failed)?),
        false => print_line(&report.to_string()),
    }
    match report.failed() {
        _ if interrupted => Err(Failure::interrupted()),
        0 => Ok(()),
        failed => Err(Failure::failed(format!(
            "{failed} operations of guests failed, see the report"
        ))),
    }
}

fn prepare(options: &Options) -> Result<Load, Failure> {
    let files = raise_open_files()
        .map_err(|error| Failure::failed(format!("cannot raise the limit of open files: {error}")))?;
    let needed = u64::from(options.sessions) + OTHER_FILES;
    if files < needed {
        return Err(Failure::usage(format!(
            "invalid --sessions {}: they need {needed} open files and this process may have {files}, raise the limit \
             (`ulimit -n`) or use fewer",
            options.sessions
        )));
    }
    let config = remote::config(&options.url, options.ca.as_deref())?;
    let clock = config.http.clock().clone();
    Ok(Load {
        suite: GuestSessions::remote(config),
        clock,
        channel: options.channel.clone(),
        jurisdictions: options.jurisdiction.clone(),
        page: AdmittedOrigin::own(options.origin.clone()),
        think: options.think,
        figures: Mutex::new(Figures::new()),
        stop: watch::Sender::new(false),
    })
}

/// Fetches the first access token, so that wrong credentials are one error.
async fn sign_in(load: &Load, url: &Host) -> Result<(), Failure> {
    let authenticator = load.suite.authenticator();
    let token = authenticator
        .expect("remote mode has an authenticator")
        .token()
        .await;
    token
        .map(drop)
        .map_err(|error| remote::refused(url, error.into()))
}

/// Starts the guests, and waits for the time after the last one.
async fn converse(load: &Arc<Load>, guests: &mut JoinSet<()>, options: &Options) {
    let started = load.now();
    for number in 0..options.sessions {
        let due = started + Duration::from_secs_f64(f64::from(number) / options.rate);
        load.clock.sleep_until(due).await;
        load.figures().arrived(load.now() - due);
        guests.spawn(guest::run(Arc::clone(load), load.stop.subscribe(), number));
    }
    let arrived = load.now() - started;
    load.figures().all_arrived(arrived);
    load.clock.sleep(options.hold).await;
}

async fn leave(guests: &mut JoinSet<()>) {
    while let Some(ended) = guests.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// A bar on stderr, if that is a terminal.
fn progress_bar(sessions: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed} {wide_bar} {pos}/{len} guests, {msg}");
    ProgressBar::new(sessions.into()).with_style(style.expect("the template is well formed"))
}

async fn update(bar: &ProgressBar, load: &Load) {
    loop {
        let (arrived, message) = load.figures().progress();
        bar.set_position(arrived);
        bar.set_message(message);
        load.clock.sleep(TICK).await;
    }
}
