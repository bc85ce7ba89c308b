//! `chat`: a guest's conversation in a terminal or through a pipe.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use genesys_api::{Clock, DeploymentId, Host, Hosts, Region};
use genesys_http::{Client, Proxy};
#[cfg(feature = "sim")]
use genesys_sim::Fault;
use guest_chat::{Chat, ChatError, ConnectTarget, Frontend, Request};
use ws_transport::Origin;

use super::{Failure, Interrupt};
use crate::simulator::Simulator;

/// Chat as a guest, directly with Genesys Cloud or with a simulator
///
/// A guest needs no account: the id of the deployment and the domain of its region are enough. Text is sent. A line that
/// starts with a slash is a command; /help lists the commands. A number selects a choice, 1,2 several of a list. Marks:
/// ✓ delivered, ✗ not delivered, ? unknown, … waiting.
///
/// Through a pipe each event is one line on stdout, without colors. A line is read once the chat is connected and the
/// previous command has its result; /wait waits for an answer. After the last line the chat waits at most 30 s for
/// outstanding deliveries, and then until no event was received for --wait. Exit code 0, or 1 if a message was not
/// delivered.
///
/// HTTPS_PROXY and NO_PROXY apply to connections to Genesys Cloud.
#[derive(Args, Debug)]
#[command(
    override_usage = "guest-gateway chat --sim [URL --deployment ID]\n       \
                      guest-gateway chat --deployment ID --domain DOMAIN",
    after_help = EXAMPLES,
    group = ArgGroup::new("target").args(["sim", "domain"]).required(true)
)]
pub(super) struct Options {
    /// Chat with a SIMULATED Genesys Cloud: a new one, or the one that runs at URL
    #[arg(long, value_name = "URL", num_args = 0..=1)]
    sim: Option<Option<Host>>,
    /// The id of the messenger deployment, a UUID that Genesys Cloud shows beside it
    #[arg(long, value_name = "ID")]
    deployment: Option<DeploymentId>,
    /// The region of Genesys Cloud: its domain, such as mypurecloud.ie, or its AWS name, such as eu-west-1
    #[arg(long, requires = "deployment")]
    domain: Option<String>,
    /// The host of the WebSocket [default: https://webmessaging.DOMAIN]
    #[arg(long, value_name = "URL", requires = "domain")]
    messaging_host: Option<Host>,
    /// The host of the history [default: https://api.DOMAIN]
    #[arg(long, value_name = "URL", requires = "domain")]
    api_host: Option<Host>,
    /// The host of the deployment's configuration [default: https://api-cdn.DOMAIN]
    #[arg(long, value_name = "URL", requires = "domain")]
    cdn_host: Option<Host>,
    /// The origin of the guest's page, which the deployment must allow. Default: the host of the WebSocket, as in
    /// Genesys' mobile SDK. A deployment that allows all domains accepts any origin
    #[arg(long, value_name = "URL")]
    origin: Option<Origin>,
    /// A CA certificate (PEM) to trust beside the system's, such as that of `guest-gateway sim`
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file to send first
    #[arg(long, value_name = "FILE")]
    attach: Option<PathBuf>,
    /// The script (YAML) of the agent in a new simulator [default: an echo]
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "FILE", requires = "sim")]
    agent: Option<PathBuf>,
    /// A fault to inject in a new simulator, such as drop:abrupt@3 or delay:2s~10%; may be repeated
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "TEXT", requires = "sim")]
    fault: Vec<Fault>,
    /// Through a pipe: the wait after the last line that ends the chat, at most a day
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = wait)]
    wait: Duration,
}

const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

fn wait(text: &str) -> Result<Duration, String> {
    let wait = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if wait > MAX_WAIT {
        return Err("more than a day: use at most 24h".to_owned());
    }
    Ok(wait)
}

const EXAMPLES: &str = r"Try:
  guest-gateway chat --sim
  guest-gateway chat --sim --fault drop:abrupt@3

  $ printf 'hi\n/wait\n/history\n' | guest-gateway chat --sim
  * SIMULATED Genesys Cloud, no real agent: http://127.0.0.1:42285, deployment 7a70b274-…
  * connected: a new conversation
  > hi
  > /wait
  ✓ hi
  Ann is typing …
  Ann: You said: hi
  > /history
  * history:
  2026-11-22 16:36 UTC you: hi
  2026-11-22 16:36 UTC Ann: You said: hi
  * you have left the conversation";

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let clock = Clock::system();
    let simulator: Option<Simulator> = match options.sim {
        #[cfg(feature = "sim")]
        Some(None) => Some(simulator(&options, &clock).await?),
        #[cfg(not(feature = "sim"))]
        Some(None) => {
            let why = crate::simulator::NOT_BUILT_IN;
            return Err(Failure::usage(format!("invalid --sim: no URL, and {why}")));
        }
        #[cfg(feature = "sim")]
        Some(Some(_)) if options.agent.is_some() || !options.fault.is_empty() => {
            return Err(Failure::usage(
                "invalid arguments: --agent and --fault apply to a new simulator, omit the URL of --sim, or pass them to the \
                 simulator that runs there",
            ));
        }
        _ => None,
    };
    let outcome = run_chat(options, simulator.as_ref(), clock, &mut interrupt).await;
    if let Some(simulator) = simulator {
        simulator.stop().await;
    }
    outcome
}

async fn run_chat(
    options: Options,
    simulator: Option<&Simulator>,
    clock: Clock,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let hosts = hosts(&options, simulator)?;
    let deployment = deployment(&options, simulator)?;
    let host = hosts.messaging.clone();
    let http = http(&options, clock)?;
    let mut target = ConnectTarget::new(http, hosts, deployment.clone(), options.origin).map_err(failure)?;
    if let Some(path) = options.attach.as_deref().filter(|path| !path.is_file()) {
        return Err(Failure::usage(format!(
            "cannot attach {}: no such file",
            path.display()
        )));
    }
    tokio::select! {
        rules = target.load_rules() => rules.map_err(failure)?,
        () = interrupt.received() => return Err(Failure::interrupted()),
    }
    let now = target.now();
    // last, because it changes the terminal
    let frontend = Frontend::open(options.wait);
    let mut chat = Chat::new(frontend.input_mode, now);
    chat.announce(&match options.sim {
        Some(_) => format!("SIMULATED Genesys Cloud, no real agent: {host}, deployment {deployment}"),
        None => format!(
            "Genesys Cloud: {host}, deployment {deployment}, from {}",
            target.origin()
        ),
    });
    if let Some(path) = options.attach {
        chat.handle_request(Request::Attach(path), now);
    }
    guest_chat::run(chat, target, frontend, interrupt.received())
        .await
        .map_err(failure)
}

fn failure(error: ChatError) -> Failure {
    match error {
        ChatError::Invalid(_) => Failure::usage(error),
        _ => Failure::failed(error),
    }
}

fn hosts(options: &Options, simulator: Option<&Simulator>) -> Result<Hosts, Failure> {
    let mut hosts = match (&options.sim, simulator, &options.domain) {
        (_, Some(simulator), _) => Hosts::single(simulator.host()),
        (Some(Some(host)), ..) => Hosts::single(host),
        (_, _, domain) => hosts_of_domain(domain.as_deref().unwrap_or_default())?,
    };
    hosts.api = options.api_host.clone().unwrap_or(hosts.api);
    hosts.cdn = options.cdn_host.clone().unwrap_or(hosts.cdn);
    hosts.messaging = options.messaging_host.clone().unwrap_or(hosts.messaging);
    Ok(hosts)
}

/// The hosts of a known region, or of another domain.
fn hosts_of_domain(domain: &str) -> Result<Hosts, Failure> {
    let domain = match domain.parse::<Region>() {
        Ok(region) => region.domain,
        Err(_) if domain.contains('.') => domain,
        Err(unknown) => return Err(Failure::usage(format!("--domain: {unknown}"))),
    };
    Hosts::of_domain(domain).map_err(|error| Failure::usage(format!("--domain: {error}")))
}

fn deployment(options: &Options, simulator: Option<&Simulator>) -> Result<DeploymentId, Failure> {
    let simulated = simulator.map(Simulator::deployment_id);
    let deployment = options.deployment.as_ref().or(simulated).ok_or_else(|| {
        Failure::usage(
            "invalid arguments: --sim URL needs --deployment ID, which the simulator printed when it started",
        )
    })?;
    // a simulator accepts any id
    if options.domain.is_some() && uuid::Uuid::try_parse(deployment.as_str()).is_err() {
        return Err(Failure::usage(format!(
            "invalid --deployment: invalid UUID {deployment}, copy the id that Genesys Cloud shows beside the messenger deployment"
        )));
    }
    Ok(deployment.clone())
}

fn http(options: &Options, clock: Clock) -> Result<Client, Failure> {
    let tls = super::remote::tls(options.ca.as_deref())?;
    let proxy = match options.domain {
        Some(_) => Proxy::from_env().map_err(Failure::usage)?,
        None => None,
    };
    Ok(Client::builder(tls).clock(clock).proxy(proxy).build())
}

/// Starts a simulator. For a person its agent answers with a delay, so that the typing indicator is visible.
#[cfg(feature = "sim")]
async fn simulator(options: &Options, clock: &Clock) -> Result<Simulator, Failure> {
    use std::io::IsTerminal as _;

    let mut config = genesys_sim::Config::plain();
    config.clock = clock.clone();
    config.rules.deployment.clone_from(&options.deployment);
    config.rules.faults.clone_from(&options.fault);
    if let Some(path) = &options.agent {
        config.rules.agent = genesys_sim::Agent::Scripts(vec![super::sim::script(path)?]);
    }
    if std::io::stdin().is_terminal() {
        config.rules.agent_delay = Duration::from_millis(1_200);
    }
    Simulator::start(config).await.map_err(Failure::caused_by)
}
