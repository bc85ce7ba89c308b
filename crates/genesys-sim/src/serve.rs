//! The shell around a world: one listener, one task that keeps its time, one for each socket.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{Clock, DeploymentId, Host, Now, entropy};
use genesys_http::server::{self, Identity, Server};
use http::header::HOST;
use http::{Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{Config, Tls};
use crate::pki::{self, LOOPBACK};
use crate::rest::{self, Problem};
use crate::socket;
use crate::world::{Complaint, Counters, Output, SocketId, World};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections may take to end once the simulator stops.
const DRAIN: Duration = Duration::from_millis(1_500);

/// Connections beside those of guests: REST, and handshakes still to be judged.
const SPARE_CONNECTIONS: usize = 256;

/// Most frames waiting for one socket; a guest that does not read them is cut off. Our choice.
const LONGEST_INBOX: usize = 256;

/// A running simulator. Dropping it stops it as well, without waiting.
pub struct Simulator {
    shell: Arc<Shell>,
    host: Host,
    address: SocketAddr,
    deployment: DeploymentId,
    client_id: String,
    client_secret: SecretString,
    ca_pem: Option<String>,
    stop: watch::Sender<()>,
    tasks: [JoinHandle<()>; 2],
}

impl Simulator {
    /// Binds the listener and starts.
    ///
    /// # Errors
    /// If the address cannot be bound, cannot be called over plain HTTP, or the certificate is of no use.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (identity, ca_pem) = identity(config.tls)?;
        let secure = identity.is_some();
        let connections = config.rules.max_connections.saturating_add(SPARE_CONNECTIONS);
        let limits = server::Limits {
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            drain: DRAIN,
            ..server::Limits::default()
        };
        let server = Server::bind(config.listen, identity, limits)
            .await
            .map_err(|error| StartError::new(StartErrorKind::Bind, error))?;
        let address = server.local_addr();
        let host = host(address, secure).map_err(|error| StartError::new(StartErrorKind::Address, error))?;
        let world = World::new(
            config.rules,
            host.clone(),
            config.seed.unwrap_or_else(entropy::bytes),
        );
        let (deployment, client_id) = (world.deployment_id().clone(), world.client_id().to_owned());
        let client_secret = world.client_secret().clone();
        let shell = Arc::new(Shell {
            clock: config.clock,
            state: Mutex::new(State {
                world,
                inboxes: HashMap::new(),
            }),
            deadline_moved: Notify::new(),
        });
        let stop = watch::Sender::new(());
        let tasks = [
            tokio::spawn(serve(server, Arc::clone(&shell), stop.subscribe())),
            tokio::spawn(keep_time(Arc::clone(&shell), stop.subscribe())),
        ];
        Ok(Self {
            shell,
            host,
            address,
            deployment,
            client_id,
            client_secret,
            ca_pem,
            stop,
            tasks,
        })
    }

    /// Every host of Genesys, in one place.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The same as text, as in `https://127.0.0.1:4711`.
    #[must_use]
    pub fn http_url(&self) -> String {
        self.host.to_string()
    }

    /// Where guests connect; `?deploymentId=` has to follow.
    #[must_use]
    pub fn websocket_url(&self) -> String {
        self.host.websocket_url("/v1")
    }

    /// The address that is bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The one deployment.
    #[must_use]
    pub fn deployment_id(&self) -> &DeploymentId {
        &self.deployment
    }

    /// The one API client.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The API client's secret.
    #[must_use]
    pub fn client_secret(&self) -> &SecretString {
        &self.client_secret
    }

    /// What clients have to trust, if the simulator speaks TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The simulator's clock, to move it.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shell.clock
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shell.state().world.counters()
    }

    /// What clients sent that no official client sends.
    #[must_use]
    pub fn complaints(&self) -> Vec<Complaint> {
        self.shell.state().world.complaints()
    }

    /// One line of JSON for whoever started the process: where everything is, the client's secret included. `ca` is
    /// the file that the caller wrote [`ca_pem`](Self::ca_pem) to.
    #[must_use]
    pub fn ready_line(&self, ca: Option<&Path>) -> String {
        let line = ReadyLine {
            event: "ready",
            http: self.http_url(),
            websocket: self.websocket_url(),
            deployment_id: self.deployment.as_str(),
            client_id: &self.client_id,
            client_secret: self.client_secret.expose_secret(),
            ca: ca.map(Path::to_string_lossy),
            seed: self.shell.state().world.seed().to_owned(),
        };
        serde_json::to_string(&line).expect("the line is made of texts")
    }

    /// Closes all sockets with 1001 and stops, within two seconds.
    pub async fn stop(self) {
        drop(self.stop);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the simulator ended badly");
            }
        }
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("host", &self.host)
            .field("deployment", &self.deployment)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct ReadyLine<'a> {
    event: &'static str,
    http: String,
    websocket: String,
    deployment_id: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
    ca: Option<Cow<'a, str>>,
    seed: String,
}

/// The simulator did not start.
#[derive(Debug)]
pub struct StartError {
    kind: StartErrorKind,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What kept a simulator from starting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StartErrorKind {
    /// Plain HTTP on an address that is no loopback.
    Address,
    /// The address is taken, or not this machine's.
    Bind,
    /// The certificate or its key is of no use.
    Certificate,
}

impl StartError {
    /// What kept it from starting.
    #[must_use]
    pub fn kind(&self) -> StartErrorKind {
        self.kind
    }

    fn new(kind: StartErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StartErrorKind::Address => {
                "the simulator cannot be called at its address: listen on loopback, or turn TLS on"
            }
            StartErrorKind::Bind => "the simulator cannot listen: choose another address, or port 0 for any",
            StartErrorKind::Certificate => "the simulator's certificate cannot be used",
        })
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// What the tasks of a simulator share.
pub(crate) struct Shell {
    clock: Clock,
    state: Mutex<State>,
    deadline_moved: Notify,
}

struct State {
    world: World,
    inboxes: HashMap<SocketId, mpsc::Sender<ToGuest>>,
}

/// What a socket's task is told to do.
#[derive(Debug)]
pub(crate) enum ToGuest {
    Close { code: u16, reason: &'static str },
    Drop,
    Frame { text: String, fragments: u16 },
    Hang { until: Option<Instant> },
}

impl Shell {
    /// One input to the world, and all its outputs on their way, in one go: so no two sockets disagree on the order.
    pub(crate) fn turn<T>(&self, input: impl FnOnce(&mut World, Now) -> T) -> T {
        let mut state = self.state();
        let deadline = state.world.poll_timeout();
        let result = input(&mut state.world, self.clock.now());
        self.dispatch(&mut state);
        let moved = state.world.poll_timeout() != deadline;
        drop(state);
        if moved {
            self.deadline_moved.notify_one();
        }
        result
    }

    /// Has the world judge a handshake, and opens an inbox for the socket that it admits.
    pub(crate) fn admit(
        &self,
        request: &Request<Incoming>,
    ) -> Result<(SocketId, mpsc::Receiver<ToGuest>), Box<Response<Bytes>>> {
        let mut state = self.state();
        let deadline = state.world.poll_timeout();
        let socket = state.world.handle_handshake(request, self.clock.now())?;
        let (sender, receiver) = mpsc::channel(LONGEST_INBOX);
        state.inboxes.insert(socket, sender);
        self.dispatch(&mut state);
        if state.world.poll_timeout() != deadline {
            self.deadline_moved.notify_one();
        }
        Ok((socket, receiver))
    }

    fn body_limit(&self, method: &Method, uri: &Uri) -> usize {
        rest::body_limit(&self.state().world, method, uri, self.clock.now())
    }

    /// Waits until the answer to an admitted handshake may leave.
    pub(crate) async fn opens(&self, socket: SocketId) {
        let opens_at = self.state().world.opens_at(socket);
        if let Some(at) = opens_at {
            self.clock.sleep_until(at).await;
        }
    }

    pub(crate) async fn sleep_until(&self, at: Instant) {
        self.clock.sleep_until(at).await;
    }

    pub(crate) fn leave(&self, socket: SocketId) {
        self.state().inboxes.remove(&socket);
        self.turn(|world, now| world.handle_closed(socket, now));
    }

    fn dispatch(&self, state: &mut State) {
        while let Some(output) = state.world.poll_output() {
            let (socket, order) = match output {
                Output::Advance(by) => {
                    self.clock.advance(by);
                    continue;
                }
                Output::Close { socket, code, reason } => (socket, ToGuest::Close { code, reason }),
                Output::Drop { socket } => (socket, ToGuest::Drop),
                Output::Frame {
                    socket,
                    text,
                    fragments,
                } => (socket, ToGuest::Frame { text, fragments }),
                Output::Hang { socket, until } => (socket, ToGuest::Hang { until }),
            };
            let last = matches!(order, ToGuest::Close { .. } | ToGuest::Drop);
            let sent = state
                .inboxes
                .get(&socket)
                .is_none_or(|inbox| inbox.try_send(order).is_ok());
            if last || !sent {
                state.inboxes.remove(&socket);
            }
            if !sent {
                state.world.handle_closed(socket, self.clock.now());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(tls: Tls) -> Result<(Option<Identity>, Option<String>), StartError> {
    let bad =
        |error: Box<dyn std::error::Error + Send + Sync>| StartError::new(StartErrorKind::Certificate, error);
    let pki = match tls {
        Tls::Given(pki) => pki,
        Tls::Plain => return Ok((None, None)),
        Tls::Throwaway => pki::throwaway_ca(&LOOPBACK).map_err(|error| bad(error.into()))?,
    };
    let key = pki.key_pem.expose_secret();
    let identity =
        Identity::from_pem(pki.cert_pem.as_bytes(), key.as_bytes()).map_err(|error| bad(error.into()))?;
    Ok((Some(identity), Some(pki.ca_pem)))
}

/// Where a client on this machine finds a listener, also one that is bound to all addresses.
fn host(address: SocketAddr, secure: bool) -> Result<Host, genesys_api::HostError> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port())).parse()
}

async fn serve(server: Server, shell: Arc<Shell>, mut stop: watch::Receiver<()>) {
    let service = service_fn(move |request| {
        let shell = Arc::clone(&shell);
        async move { Ok::<_, Infallible>(answer(&shell, request).await) }
    });
    server
        .serve(service, async move {
            // the sender sends nothing: it is dropped
            let _ = stop.changed().await;
        })
        .await;
}

async fn answer(shell: &Arc<Shell>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    // RFC 9112, 3.2
    if request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST) {
        let problem = Problem::bad_request("A request has to name its Host.");
        return shell
            .turn(|world, _| rest::refuse(world, &problem))
            .map(Full::new);
    }
    if rest::takes_sockets(request.uri().path())
        && let Some(response) = socket::accept(shell, &mut request).await
    {
        return response;
    }
    let (parts, body) = request.into_parts();
    let limit = shell.body_limit(&parts.method, &parts.uri);
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    let response = shell.turn(|world, now| match body {
        Ok(Ok(body)) => world.handle_request(Request::from_parts(parts, body.to_bytes()), now),
        Ok(Err(error)) if error.is::<LengthLimitError>() => rest::refuse(world, &Problem::too_large()),
        Ok(Err(_)) => rest::refuse(
            world,
            &Problem::bad_request("The body is malformed, or ended too early."),
        ),
        Err(_) => rest::refuse(world, &Problem::too_slow()),
    });
    response.map(Full::new)
}

async fn keep_time(shell: Arc<Shell>, mut stop: watch::Receiver<()>) {
    loop {
        let deadline = shell.state().world.poll_timeout();
        let due: Pin<Box<dyn Future<Output = ()> + Send>> = match deadline {
            Some((at, _)) => Box::pin(shell.clock.sleep_until(at)),
            None => Box::pin(pending()),
        };
        tokio::select! {
            _ = stop.changed() => break,
            () = shell.deadline_moved.notified() => {}
            () = due => shell.turn(|world, now| world.handle_timeout(now)),
        }
    }
    shell.turn(|world, _| world.handle_shutdown());
}
