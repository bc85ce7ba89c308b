//! Control of a running simulator: its clock, faults, violations and state.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use genesys_api::{Host, HostError, error_chain};
use genesys_http::{Client, Error, ErrorKind, Tls, TlsError};
use genesys_sim::Fault;
use http::{Method, Request};
use serde_json::{Value, json};

use super::super::{Failure, print_line};

/// Longest time of a request to a simulator, which is on this machine. Our choice.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Advance the clock of a running simulator: its timers fire as if the time had passed
    Advance {
        /// A whole number with a unit of ms, s, m, h or d, such as 20m
        time: String,
        #[command(flatten)]
        target: Target,
    },
    /// Inject a fault into a running simulator, such as drop:abrupt@3
    #[command(after_help = Fault::GRAMMAR)]
    Fault {
        /// The fault and its trigger
        text: String,
        /// The token of the session to affect [default: all]
        #[arg(long, value_name = "TOKEN")]
        session: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// List violations: requests that no official client sends
    #[command(name = "complaints")]
    Violations(Target),
    /// Print the counters of a running simulator
    State(Target),
}

#[derive(Args, Debug)]
pub(super) struct Target {
    /// The address of the simulator. Without http:// or https:// the command finds out which one the simulator uses
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "URL", value_parser = address)]
    at: Address,
    /// The CA certificate (PEM) that the simulator wrote when it started with TLS
    #[arg(long, default_value = "genesys-sim-ca.pem", value_name = "FILE")]
    ca: PathBuf,
}

/// The address of a simulator, with a scheme or without one.
#[derive(Clone, Debug)]
enum Address {
    Known(Host),
    /// Both forms of an address on loopback.
    Either {
        plain: Host,
        secure: Host,
    },
}

fn address(text: &str) -> Result<Address, HostError> {
    if text.contains("://") {
        return text.parse().map(Address::Known);
    }
    let secure: Host = format!("https://{text}").parse()?;
    Ok(match format!("http://{text}").parse() {
        Ok(plain) => Address::Either { plain, secure },
        Err(_) => Address::Known(secure),
    })
}

impl Address {
    /// Asks for the time over plain HTTP, which a simulator with TLS refuses.
    async fn host(self) -> Result<Host, Failure> {
        let (plain, secure) = match self {
            Self::Known(host) => return Ok(host),
            Self::Either { plain, secure } => (plain, secure),
        };
        let client = client(Tls::system())?;
        let request = Request::get(plain.uri("/sim/clock")).body(Bytes::new());
        match client.send(request.map_err(Failure::failed)?).await {
            Ok(_) => Ok(plain),
            Err(error) if matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout) => {
                Err(unreachable(&error))
            }
            Err(_) => Ok(secure),
        }
    }
}

fn client(tls: Result<Tls, TlsError>) -> Result<Client, Failure> {
    let tls = tls.map_err(|error| Failure::usage(error_chain(&error)))?;
    let client = Client::builder(tls).connect_timeout(TIMEOUT).deadline(TIMEOUT);
    Ok(client.build())
}

fn unreachable(error: &Error) -> Failure {
    Failure::failed(format!(
        "{}; start a simulator with guest-gateway sim, or give its address with --at",
        error_chain(error)
    ))
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let (target, path, body) = match command {
        Command::Advance { time, target } => (target, "/sim/clock", Some(json!({ "advance": time }))),
        Command::Fault {
            text,
            session,
            target,
        } => {
            let body = match session {
                Some(session) => json!({ "fault": text, "session": session }),
                None => json!({ "fault": text }),
            };
            (target, "/sim/faults", Some(body))
        }
        Command::Violations(target) => (target, "/sim/complaints", None),
        Command::State(target) => (target, "/sim/state", None),
    };
    let host = target.at.host().await?;
    let tls = match host.is_secure() {
        true => {
            let pem = crate::input_file::read(&target.ca).map_err(|error| {
                Failure::usage(format!(
                    "cannot read the CA certificate {}: {error}; use --ca FILE, or --at http://… without TLS",
                    target.ca.display()
                ))
            })?;
            Tls::only_ca(&pem)
        }
        false => Tls::system(),
    };
    let client = client(tls)?;
    let method = match body {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = Request::builder().method(method).uri(host.uri(path));
    let request = request.body(Bytes::from(body)).map_err(Failure::failed)?;
    let response = client.send(request).await.map_err(|error| unreachable(&error))?;
    let answer = String::from_utf8_lossy(response.body());
    if response.status().is_success() {
        print_line(&answer);
        return Ok(());
    }
    let problem: Value = serde_json::from_str(&answer).unwrap_or_default();
    let message = problem["message"].as_str().unwrap_or("no reason given");
    Err(Failure::failed(format!(
        "the simulator refused the command with {}: {message}",
        response.status()
    )))
}
