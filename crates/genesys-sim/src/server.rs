//! The simulator as a server: one listener, one task for its timers, one for each socket.

mod shared;
mod socket;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use genesys_api::{Clock, DeploymentId, Host, HostError, entropy};
use genesys_http::server::{self, Identity, Server};
use http::header::HOST;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cloud::{Cloud, Counters, Problem, Violation};
use crate::config::{Config, Tls};
use crate::pki::{self, LOOPBACK};
use crate::rest;
use shared::Shared;

const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Time in which connections have to end once the simulator stops.
const DRAIN: Duration = Duration::from_millis(1_500);

/// Connections beside those of guests: REST, and handshakes that are not admitted yet.
const SPARE_CONNECTIONS: usize = 256;

/// A running simulator. Dropping it stops it as well, without waiting.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    host: Host,
    /// The bound address.
    pub address: SocketAddr,
    deployment: DeploymentId,
    /// The one API client.
    pub client_id: String,
    /// The API client's secret.
    pub client_secret: SecretString,
    /// The certificate that clients have to trust, if the simulator uses TLS.
    pub ca_pem: Option<String>,
    stop: watch::Sender<()>,
    tasks: [JoinHandle<()>; 2],
}

impl Simulator {
    /// Binds the listener and starts.
    ///
    /// # Errors
    /// If the address cannot be bound or needs TLS, or the certificate is invalid.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (identity, ca_pem) = identity(config.tls, &config.tls_names).map_err(StartError::Certificate)?;
        let secure = identity.is_some();
        let connections = config.rules.max_connections.saturating_add(SPARE_CONNECTIONS);
        let limits = server::Limits {
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            drain: DRAIN,
            ..server::Limits::default()
        };
        let server = Server::bind(config.listen, identity, limits).await;
        let server = server.map_err(|source| StartError::Bind {
            address: config.listen,
            source,
        })?;
        let address = server.local_addr();
        let host = host(address, secure).map_err(StartError::Address)?;
        let seed = config.seed.unwrap_or_else(entropy::bytes);
        let cloud = Cloud::new(config.rules, host.clone(), seed);
        let deployment = cloud.deployment.clone();
        let client_id = cloud.client_id.clone();
        let client_secret = cloud.client_secret.clone();
        let shared = Arc::new(Shared::new(cloud, config.clock));
        let stop = watch::Sender::new(());
        Ok(Self {
            host,
            address,
            deployment,
            client_id,
            client_secret,
            ca_pem,
            tasks: [
                tokio::spawn(serve(server, Arc::clone(&shared), stop.subscribe())),
                tokio::spawn(run_timers(Arc::clone(&shared), stop.subscribe())),
            ],
            shared,
            stop,
        })
    }

    /// The host that stands for every host of Genesys.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The URL for guests, without `?deploymentId=`.
    pub fn websocket_url(&self) -> String {
        self.host.websocket_url("/v1")
    }

    /// The one deployment.
    pub fn deployment_id(&self) -> &DeploymentId {
        &self.deployment
    }

    /// The simulator's clock, which can be moved.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Counters since the start.
    pub fn counters(&self) -> Counters {
        self.shared.read(Cloud::counters)
    }

    /// Requests and frames that no official client sends.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.read(|cloud| cloud.violations.list())
    }

    /// One line of JSON with URLs, ids and secrets. `ca` is the file to which the caller wrote the certificate.
    pub fn ready_line(&self, ca: Option<&Path>) -> String {
        let ca = ca.map(Path::to_string_lossy);
        let line = ReadyLine {
            event: "ready",
            http: &self.host.to_string(),
            websocket: &self.websocket_url(),
            deployment_id: self.deployment.as_str(),
            client_id: &self.client_id,
            client_secret: self.client_secret.expose_secret(),
            ca: ca.as_deref(),
            seed: &self.shared.read(|cloud| cloud.seed_text.clone()),
        };
        serde_json::to_string(&line).expect("the line consists of texts")
    }

    /// Closes all sockets with 1001 and stops, within two seconds.
    pub async fn stop(self) {
        drop(self.stop);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the simulator failed");
            }
        }
    }
}

#[derive(Serialize)]
struct ReadyLine<'a> {
    event: &'a str,
    http: &'a str,
    websocket: &'a str,
    deployment_id: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
    ca: Option<&'a str>,
    seed: &'a str,
}

fn identity(tls: Tls, names: &[String]) -> Result<(Option<Identity>, Option<String>), Source> {
    let pki = match tls {
        Tls::Given(pki) => pki,
        Tls::Plain => return Ok((None, None)),
        Tls::Throwaway => {
            let names = names.iter().map(String::as_str);
            pki::throwaway_ca(&LOOPBACK.into_iter().chain(names).collect::<Vec<_>>())?
        }
    };
    let key = pki.key_pem.expose_secret();
    let identity = Identity::from_pem(pki.cert_pem.as_bytes(), key.as_bytes())?;
    Ok((Some(identity), Some(pki.ca_pem)))
}

/// The host under which a client on this machine reaches the listener, also one that is bound to all addresses.
fn host(address: SocketAddr, secure: bool) -> Result<Host, HostError> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port())).parse()
}

async fn serve(server: Server, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let stopped = async move {
        // the sender sends nothing: it is dropped
        let _ = stop.changed().await;
    };
    server.serve(service, stopped).await;
}

async fn answer(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let refuse = |problem| {
        let response = shared.input(|state, _| rest::respond(&mut state.cloud, Err(problem)));
        response.map(Full::new)
    };
    // RFC 9112, 3.2
    if request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST) {
        return refuse(Problem::bad_request("invalid request: it needs a header Host"));
    }
    if rest::accepts_sockets(request.uri().path())
        && let Some(response) = socket::accept(shared, &mut request).await
    {
        return response;
    }
    let (parts, body) = request.into_parts();
    let now = shared.clock.now();
    let limit = shared.read(|cloud| rest::body_limit(cloud, &parts.method, &parts.uri, now));
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    match body {
        Ok(Ok(body)) => {
            let request = Request::from_parts(parts, body.to_bytes());
            let response = shared.input(|state, now| state.cloud.handle_request(request, now));
            response.map(Full::new)
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => refuse(Problem::TOO_LARGE),
        Ok(Err(_)) => refuse(Problem::bad_request(
            "invalid body: it is malformed, or ended too early",
        )),
        Err(_) => refuse(Problem::TOO_SLOW),
    }
}

async fn run_timers(shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            due = shared.deadline() => if due {
                shared.input(|state, now| state.cloud.handle_timeout(now));
            },
        }
    }
    shared.input(|state, _| state.cloud.handle_shutdown());
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A simulator could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Plain HTTP on an address that is not loopback.
    #[error("cannot start the simulator: plain HTTP needs a loopback address, use one or turn TLS on")]
    Address(#[source] HostError),
    /// The address is taken, or does not belong to this machine.
    #[error("cannot bind {address}: use another address, or port 0 for any")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The certificate or its key is invalid.
    #[error("invalid certificate or key of the simulator")]
    Certificate(#[source] Source),
}
