//! `chat`: a guest's conversation in a terminal, or through a pipe.

mod drive;
mod surface;
mod terminal;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use genesys_api::{Clock, DeploymentId, Host, Hosts, Region};
use genesys_http::{Client, Proxy, Tls};
use genesys_sim::{Config, Simulator};
use ws_transport::{AdmittedOrigin, Origin, OriginPolicy, SocketUrl};

use self::drive::Driver;
use self::surface::Surface;
use super::{Failure, Interrupt};
use crate::causes::chain;
use crate::chat::{Chat, Request};

/// Chat as a guest, directly with Genesys Cloud or with a simulator
///
/// A guest needs no account: the deployment's id and its region's domain are enough. What you write is said; what
/// begins with a slash is a command, and /help lists them. ✓ marks what was delivered, ✗ what was not, ? what may not
/// have been, and … what waits.
///
/// Through a pipe each event is one line on stdout, without colours. After the last line of input the chat waits for
/// outstanding deliveries, at most 30 s, and then until nothing was heard for --wait. Exit code 0 then; 1 if something
/// was not delivered.
#[derive(Args, Debug)]
#[command(
    override_usage = "guest-gateway chat --sim [URL --deployment ID]\n       \
                      guest-gateway chat --deployment ID --domain DOMAIN",
    after_help = "Try:\n  guest-gateway chat --sim\n  printf 'hi\\n/help\\n' | guest-gateway chat --sim"
)]
pub(super) struct Options {
    /// Chat with a SIMULATED Genesys Cloud, started just for this; or with the one that runs at URL
    #[arg(long, value_name = "URL", num_args = 0..=1, required_unless_present = "domain")]
    sim: Option<Option<Host>>,
    /// The deployment of the messenger, a UUID that Genesys Cloud shows beside it
    #[arg(long, value_name = "ID")]
    deployment: Option<DeploymentId>,
    /// The region of Genesys Cloud: its domain, such as mypurecloud.ie, or its AWS name, such as eu-west-1
    #[arg(long, requires = "deployment", conflicts_with = "sim")]
    domain: Option<String>,
    /// Where the guests' WebSocket is, in place of https://webmessaging.DOMAIN
    #[arg(long, value_name = "URL", requires = "domain")]
    messaging_host: Option<Host>,
    /// The page that you come from, which the deployment must allow. Default: the host of the WebSocket itself, as
    /// Genesys' mobile SDK has it; a deployment that allows all domains takes any
    #[arg(long, value_name = "URL")]
    origin: Option<Origin>,
    /// A CA's certificate (PEM) to trust besides the system's, such as that of `guest-gateway sim`
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send a file first
    #[arg(long, value_name = "FILE")]
    attach: Option<PathBuf>,
    /// Through a pipe: how long a silence after the last line means that no answer is coming; a day at most
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let clock = Clock::system();
    let simulator = match options.sim {
        Some(None) => Some(simulator(&options, &clock).await?),
        _ => None,
    };
    let outcome = match place(&options, simulator.as_ref(), clock) {
        Ok(place) => {
            // not before everything else is right: from here on the terminal is not as it was
            let surface = Surface::open(options.wait);
            let mut chat = Chat::new(surface.writer());
            chat.announce(&place.greeting());
            if let Some(path) = options.attach {
                chat.handle_request(Request::Attach(path));
            }
            Driver::new(chat, place, surface).run(&mut interrupt).await
        }
        Err(failure) => Err(failure),
    };
    if let Some(simulator) = simulator {
        simulator.stop().await;
    }
    outcome
}

/// Where the guest goes, and how.
struct Place {
    http: Client,
    url: SocketUrl,
    origin: AdmittedOrigin,
    deployment: DeploymentId,
    simulated: bool,
}

impl Place {
    fn greeting(&self) -> String {
        let (host, deployment) = (self.url.host(), &self.deployment);
        if self.simulated {
            format!("SIMULATED Genesys Cloud, nobody real answers: {host}, deployment {deployment}")
        } else {
            format!(
                "Genesys Cloud: {host}, deployment {deployment}, from {}",
                self.origin
            )
        }
    }
}

fn place(options: &Options, simulator: Option<&Simulator>, clock: Clock) -> Result<Place, Failure> {
    let host = match (&options.sim, simulator, &options.domain) {
        (_, Some(simulator), _) => simulator.host().clone(),
        (Some(Some(host)), ..) => host.clone(),
        (_, _, Some(domain)) => options
            .messaging_host
            .clone()
            .map_or_else(|| messaging_host(domain), Ok)?,
        _ => return Err(Failure::usage("give --sim, or --deployment and --domain")),
    };
    let deployment = options
        .deployment
        .clone()
        .or_else(|| simulator.map(|it| it.deployment_id().clone()))
        .ok_or_else(|| {
            Failure::usage("--sim URL needs --deployment ID, which the simulator said when it started")
        })?;
    let tls = match &options.ca {
        Some(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::usage(format!("--ca: cannot read {}: {error}", path.display())))?;
            Tls::with_extra_ca(&pem)
        }
        None => Tls::system(),
    };
    let origin = match &options.origin {
        Some(origin) => origin.clone(),
        None => host.to_string().parse().map_err(Failure::usage)?,
    };
    let admitted = OriginPolicy::new([origin.to_string()])
        .map_err(Failure::usage)?
        .admit_own(&origin)
        .map_err(Failure::usage)?;
    Ok(Place {
        http: Client::builder(tls.map_err(|error| Failure::usage(chain(&error)))?)
            .clock(clock)
            .proxy(Proxy::from_env().map_err(Failure::usage)?)
            .build(),
        url: SocketUrl::of_host(&host, "/v1").map_err(Failure::usage)?,
        origin: admitted,
        deployment,
        simulated: options.sim.is_some(),
    })
}

/// A region's, or that of a domain which is in no table.
fn messaging_host(domain: &str) -> Result<Host, Failure> {
    let domain = match domain.parse::<Region>() {
        Ok(region) => region.domain,
        Err(_) if domain.contains('.') => domain,
        Err(unknown) => return Err(Failure::usage(format!("--domain: {unknown}"))),
    };
    let hosts = Hosts::of_domain(domain).map_err(|error| Failure::usage(format!("--domain: {error}")))?;
    Ok(hosts.messaging)
}

/// A simulator of one's own. For a person its agent takes a moment to answer, so that typing can be seen.
async fn simulator(options: &Options, clock: &Clock) -> Result<Simulator, Failure> {
    let mut config = Config::plain();
    config.clock = clock.clone();
    config.rules.deployment.clone_from(&options.deployment);
    if std::io::stdin().is_terminal() {
        config.rules.agent_delay = Duration::from_millis(1_200);
    }
    Simulator::start(config).await.map_err(Failure::failed)
}
