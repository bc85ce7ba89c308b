//! `sim`: the simulator as a process, and the control of one that runs.

mod control;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use genesys_api::DeploymentId;
use genesys_sim::{Agent, Config, Fault, Limits, Script, Simulator};
use uuid::Uuid;

use super::{Failure, Interrupt, print_line};

/// Run a local Genesys Cloud web messaging: real sockets, no account
///
/// One listener serves every host of Genesys: POST /oauth/token, the deployment's config.json and domains.json,
/// the WebSocket at /v1?deploymentId=…, the history at /api/v2/webmessaging/messages, and the control of the simulator
/// under /sim (POST /sim/clock {"advance":"14m"} advances its clock). A scripted agent answers every message.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Options {
    #[command(subcommand)]
    control: Option<control::Command>,
    /// Plain HTTP and WS instead of TLS with a throw-away CA
    #[arg(long)]
    plain: bool,
    /// The address to listen on, loopback only; port 0 selects a free one
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Print one JSON line on stdout when ready instead of text
    #[arg(long)]
    json: bool,
    /// The file for the CA certificate (PEM) of TLS
    #[arg(long, default_value = "genesys-sim-ca.pem", value_name = "FILE")]
    ca: PathBuf,
    /// A name in the certificate beside localhost and *.sim.test, such as *.cloud.example; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "plain")]
    tls_name: Vec<String>,
    /// A script of an agent (YAML); may be repeated. The custom attribute `agent` of a guest selects one
    #[arg(long, value_name = "FILE")]
    agent: Vec<PathBuf>,
    /// A fault to inject, such as drop:abrupt@3, delay:2s~10% or rest:503:x3 (`sim fault --help` lists all); may be
    /// repeated
    #[arg(long, value_name = "TEXT")]
    fault: Vec<Fault>,
    /// A seed to repeat a run, up to 64 hexadecimal digits; the ready line names the one of each run
    #[arg(long, value_name = "HEX", value_parser = seed)]
    seed: Option<[u8; 32]>,
    /// Disable the rate limits
    #[arg(long)]
    no_limits: bool,
    /// A domain whose pages may connect, with its subdomains; may be repeated [default: all]
    #[arg(long, value_name = "DOMAIN")]
    allowed_domain: Vec<String>,
    /// The id of the deployment [default: a random one]
    #[arg(long, value_name = "UUID", value_parser = deployment)]
    deployment: Option<DeploymentId>,
    /// The lifetime of a session after its last message [default: 72h, as at Genesys]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    session_duration: Option<Duration>,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    if let Some(command) = options.control {
        return control::run(command).await;
    }
    if !options.listen.ip().is_loopback() {
        return Err(Failure::usage(
            "invalid --listen: the simulator prints its secrets, so it listens on loopback only, use 127.0.0.1:PORT",
        ));
    }
    let mut config = match options.plain {
        true => Config::plain(),
        false => Config::default(),
    };
    config.listen = options.listen;
    config.tls_names.extend(options.tls_name);
    config.seed = options.seed;
    if !options.agent.is_empty() {
        let scripts: Result<Vec<_>, _> = options.agent.iter().map(|path| script(path)).collect();
        config.rules.agent = Agent::Scripts(scripts?);
    }
    config.rules.faults = options.fault;
    if options.no_limits {
        config.rules.limits = Limits::none();
    }
    if !options.allowed_domain.is_empty() {
        config.rules.allowed_domains = Some(options.allowed_domain);
    }
    config.rules.deployment = options.deployment;
    if let Some(duration) = options.session_duration {
        config.rules.session_duration = duration;
    }
    let mut interrupt = Interrupt::listen()?;
    let simulator = Simulator::start(config).await.map_err(Failure::caused_by)?;
    let ca = simulator.ca_pem.as_ref().map(|pem| (options.ca.as_path(), pem));
    if let Some((path, pem)) = ca {
        let name = path.display();
        std::fs::write(path, pem)
            .map_err(|error| Failure::usage(format!("cannot write the CA certificate to {name}: {error}")))?;
    }
    let ready = simulator.ready_line(ca.map(|(path, _)| path));
    match options.json {
        true => print_line(&ready),
        false => print_line(&format!(
            "SIMULATED Genesys Cloud is ready. Ctrl-C stops it.\n{ready}"
        )),
    }
    interrupt.received().await;
    simulator.stop().await;
    Ok(())
}

pub(super) fn script(path: &Path) -> Result<Script, Failure> {
    let name = path.display();
    let text = crate::input_file::read_text(path)
        .map_err(|error| Failure::usage(format!("cannot read the agent script {name}: {error}")))?;
    Script::parse(&name.to_string(), &text).map_err(Failure::usage)
}

/// Genesys' deployments have UUIDs.
fn deployment(text: &str) -> Result<DeploymentId, &'static str> {
    let id = Uuid::try_parse(text).map(DeploymentId::from);
    id.map_err(|_| "invalid deployment: use a UUID such as b3c2a0de-1111-4222-8333-444455556666")
}

fn seed(text: &str) -> Result<[u8; 32], &'static str> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("invalid seed: use 1 to 64 hexadecimal digits");
    }
    let padded = format!("{text:0>64}");
    let number = |digits| u128::from_str_radix(digits, 16).unwrap_or_default().to_be_bytes();
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&number(&padded[..32]));
    seed[16..].copy_from_slice(&number(&padded[32..]));
    Ok(seed)
}
