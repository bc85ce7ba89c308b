//! The client of a running gateway, for commands with `--url`.

use std::path::{Path, PathBuf};

use clap::Args;
use genesys_api::{Call, Clock, Host, error_chain};
use genesys_auth::{AuthErrorKind, AuthorizedError, Credentials, Scopes};
use genesys_http::{Client, Proxy, Tls};
use guest_sessions::client::RestClient;
use guest_suite::RemoteConfig;
use secrecy::SecretString;

use super::Failure;

const CLIENT_ID: &str = "GUEST_GATEWAY_CLIENT_ID";
const CLIENT_SECRET: &str = "GUEST_GATEWAY_CLIENT_SECRET";
/// Largest response, in bytes: a page of 1,000 rows.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// The store of a stopped gateway, or a running gateway.
#[derive(Args, Debug)]
pub(super) struct Source {
    #[command(flatten)]
    location: Location,
    /// A CA certificate (PEM) to trust beside the system's, with --url
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Location {
    /// The configuration file of a stopped gateway
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The URL of a running gateway; the environment variables GUEST_GATEWAY_CLIENT_ID and GUEST_GATEWAY_CLIENT_SECRET
    /// have the credentials of an API client
    #[arg(long)]
    url: Option<Host>,
}

impl Source {
    /// Returns the configuration file of a stopped gateway, or a client with this scope of a running one.
    pub(super) fn open(&self, scope: &str) -> Result<Opened<'_>, Failure> {
        match (&self.location.config, &self.location.url) {
            (Some(config), _) => Ok(Opened::Stopped(config)),
            (None, Some(url)) => connect(url, self.ca.as_deref(), scope).map(Opened::Running),
            (None, None) => Err(Failure::usage("invalid arguments: give --config or --url")),
        }
    }
}

/// A running gateway.
#[derive(Args, Debug)]
pub(super) struct Gateway {
    /// The URL of the gateway; the environment variables GUEST_GATEWAY_CLIENT_ID and GUEST_GATEWAY_CLIENT_SECRET have the
    /// credentials of an API client
    #[arg(long)]
    url: Host,
    /// A CA certificate (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Gateway {
    /// Returns a client with this scope.
    pub(super) fn connect(&self, scope: &str) -> Result<RestClient, Failure> {
        connect(&self.url, self.ca.as_deref(), scope)
    }
}

pub(super) enum Opened<'a> {
    /// The configuration file of a stopped gateway.
    Stopped(&'a Path),
    Running(RestClient),
}

fn connect(host: &Host, ca: Option<&Path>, scope: &str) -> Result<RestClient, Failure> {
    let scopes: Scopes = scope.parse().map_err(Failure::usage)?;
    let RemoteConfig {
        http,
        host,
        credentials,
    } = config(host, ca)?;
    Ok(RestClient::with_scopes(http, host, credentials, scopes))
}

/// The client of a gateway, with the credentials of the environment.
pub(super) fn config(host: &Host, ca: Option<&Path>) -> Result<RemoteConfig, Failure> {
    let id = variable(CLIENT_ID)?.parse().map_err(Failure::usage)?;
    let secret = SecretString::from(variable(CLIENT_SECRET)?);
    let credentials = Credentials::new(id, secret).map_err(Failure::usage)?;
    let proxy = Proxy::from_env().map_err(Failure::usage)?;
    let http = Client::builder(tls(ca)?)
        .clock(Clock::system())
        .proxy(proxy)
        .body_limit(MAX_BODY);
    Ok(RemoteConfig {
        http: http.build(),
        host: host.clone(),
        credentials,
    })
}

/// Sends a call, and repeats it within the limits of the client.
pub(super) async fn call<C: Call + Sync>(client: &RestClient, call: &C) -> Result<C::Reply, Failure> {
    client
        .call(call)
        .await
        .map_err(|error| refused(client.host(), error))
}

/// The failure of a call.
pub(super) fn refused(host: &Host, error: AuthorizedError) -> Failure {
    match &error {
        AuthorizedError::Auth(refused) if refused.kind() == AuthErrorKind::Credentials => {
            Failure::failed(format!(
                "cannot sign in to the gateway {host}: it refused the client id or the secret, compare {CLIENT_ID} and \
                 {CLIENT_SECRET} with a [[client]] of its configuration"
            ))
        }
        _ => Failure::caused_by(error),
    }
}

/// The system's certificate authorities, and the one in a file.
pub(super) fn tls(ca: Option<&Path>) -> Result<Tls, Failure> {
    let tls = match ca {
        Some(path) => {
            let pem = crate::input_file::read(path).map_err(|error| {
                Failure::usage(format!(
                    "cannot read the CA certificate {}: {error}",
                    path.display()
                ))
            })?;
            Tls::with_extra_ca(&pem)
        }
        None => Tls::system(),
    };
    tls.map_err(|error| Failure::usage(error_chain(&error)))
}

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| {
        Failure::usage(format!(
            "cannot sign in to the gateway: the environment variable {name} is not set, set {CLIENT_ID} and \
             {CLIENT_SECRET} to the credentials of an API client"
        ))
    })
}
