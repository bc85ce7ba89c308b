//! The accept loop of a server: HTTP/1.1 with upgrades, plain or over TLS, within limits.

mod addresses;
mod client_certificate;
mod head_timer;
mod identity;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use genesys_api::{Clock, LogLimit};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::Stream;
use crate::stream::Slot;

#[doc(no_inline)]
pub use hyper_util::service::TowerToHyperService;

pub use self::addresses::AddressLimit;
pub use self::client_certificate::ClientCertificate;
pub use self::identity::Identity;

pub(crate) use self::addresses::AddressSlot;
use self::head_timer::HeadTimer;

/// Limits of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Time for the head of a request, from its first byte, or from the start of a new connection. 10 s.
    pub header_timeout: Duration,
    /// Idle time between two requests. 75 s: longer than the pool of our client keeps a connection, which avoids a race.
    pub idle_timeout: Duration,
    /// Maximum number of headers of a request, otherwise status 431. 64.
    pub headers: usize,
    /// Maximum length of a request head, otherwise status 431. 16 KiB.
    pub header_bytes: usize,
    /// Maximum number of open connections, including upgraded ones. Others wait in the system's queue. 1024.
    pub connections: u32,
    /// Maximum number of open connections of an address of IPv4, or of the first 64 bits of one of IPv6. The next 8 get one
    /// answer: their requests have the extension [`AboveLimit`]. Further ones are closed at once. No limit.
    pub connections_per_address: u32,
    /// Networks without a limit of each address, such as those of reverse proxies. None.
    pub unlimited_networks: Vec<IpNet>,
    /// Time for open connections to end after the start of the shutdown. 20 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            headers: 64,
            header_bytes: 16 * 1024,
            connections: 1024,
            connections_per_address: u32::MAX,
            unlimited_networks: Vec::new(),
            drain: Duration::from_secs(20),
        }
    }
}

/// Address of the client, in the extensions of each request. IPv4-mapped addresses are converted to IPv4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer(pub SocketAddr);

/// Marks the only request of a connection above [`Limits::connections_per_address`], in its extensions. The service should
/// refuse it, for example with status 429.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AboveLimit;

/// A bound listener that does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    identity: Option<Identity>,
    limits: Limits,
    address_limit: AddressLimit,
}

impl Server {
    /// Binds `address`. Port 0 is chosen by the system. With an identity the server accepts only TLS.
    ///
    /// # Errors
    /// Those of the system: the address is in use, absent or not permitted.
    pub async fn bind(address: SocketAddr, identity: Option<Identity>, limits: Limits) -> io::Result<Self> {
        Self::new(TcpListener::bind(address).await?, identity, limits)
    }

    /// Serves a socket that listens already, such as one of systemd.
    ///
    /// # Errors
    /// Those of the system.
    pub fn from_listener(
        listener: std::net::TcpListener,
        identity: Option<Identity>,
        limits: Limits,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Self::new(TcpListener::from_std(listener)?, identity, limits)
    }

    fn new(listener: TcpListener, identity: Option<Identity>, limits: Limits) -> io::Result<Self> {
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            identity,
            address_limit: AddressLimit::new(
                limits.connections_per_address,
                limits.unlimited_networks.clone(),
            ),
            limits,
        })
    }

    /// The limit of the connections of each address.
    pub fn address_limit(&self) -> AddressLimit {
        self.address_limit.clone()
    }

    /// The bound address, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then drains: it accepts no more connections, completes requests in flight, answers
    /// a first request of an accepted connection that arrives within half a second, and closes idle connections. Returns when all connections have ended, or after [`Limits::drain`], which closes the
    /// rest.
    ///
    /// An upgraded connection counts as open until it is dropped. The server cannot end it, so its owner should react to
    /// the same signal.
    ///
    /// Each request has its [`Peer`] as an extension. A panic of the service ends only its own connection.
    pub async fn serve<S, B>(self, service: S, shutdown: impl Future<Output = ()>)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
        S: Clone + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let Self {
            listener,
            identity,
            limits,
            address_limit,
            ..
        } = self;
        let slots = Arc::new(Semaphore::new(limits.connections as usize));
        let faults = LogLimit::new(FAULT_LOG_INTERVAL);
        let shared = Arc::new(Shared {
            identity,
            http: http(&limits),
            limits,
        });
        let stop = watch::Sender::new(());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => report(ended),
                (tcp, peer, slot) = accept(&listener, &slots, &faults) => {
                    let Some(address) = address_limit.open(peer.0.ip()) else { continue };
                    let slot = (slot, address);
                    let (shared, service, stopped) = (Arc::clone(&shared), service.clone(), stop.subscribe());
                    connections.spawn(async move {
                        let is_above = slot.1.is_above();
                        let serving = shared.serve(tcp, peer, slot, service, stopped);
                        match is_above {
                            true => drop(timeout(REFUSAL_TIMEOUT, serving).await),
                            false => serving.await,
                        }
                    });
                }
            }
        }
        drop(listener);
        stop.send_replace(());
        let ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
            // upgraded connections have left the set, but still hold their slot
            let _all = slots.acquire_many(shared.limits.connections).await;
        };
        if timeout(shared.limits.drain, ended).await.is_err() {
            tracing::warn!(
                open = shared.limits.connections as usize - slots.available_permits(),
                "closing connections that did not end within the drain time"
            );
            connections.shutdown().await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("secure", &self.identity.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Shared state of the connections of a server.
struct Shared {
    identity: Option<Identity>,
    http: http1::Builder,
    limits: Limits,
}

impl Shared {
    async fn serve<S, B>(
        &self,
        tcp: TcpStream,
        peer: Peer,
        (slot, address): (OwnedSemaphorePermit, AddressSlot),
        service: S,
        mut stopped: watch::Receiver<()>,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
        S: Clone + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let mut open = pin!(self.open(tcp));
        let opened = tokio::select! {
            biased;
            opened = open.as_mut() => opened,
            _ = stopped.changed() => {
                stopped.mark_changed();
                let Ok(opened) = timeout(FIRST_REQUEST, open).await else { return };
                opened
            }
        };
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(peer = %peer.0, %error, "TLS handshake failed");
                return;
            }
        };
        let identity = self.identity.clone();
        let certificate =
            identity.and_then(|identity| ClientCertificate::of(stream.client_chain()?, identity));
        let timer = HeadTimer::new(self.limits.header_timeout, self.limits.idle_timeout);
        let reads = timer.reads();
        let is_above = address.is_above();
        let stream = stream.with_slot(Slot {
            reads: timer.reads(),
            _permit: slot,
            _address: address,
        });
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if is_above {
                request.extensions_mut().insert(AboveLimit);
            }
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            service.call(request)
        });
        let connection = self
            .http
            .clone()
            .keep_alive(!is_above)
            .timer(timer)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            _ = stopped.changed() => {
                let is_new = reads.load(Ordering::Relaxed) == 0;
                let first = if is_new { FIRST_REQUEST } else { Duration::ZERO };
                match timeout(first, connection.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.0, %error, "connection failed");
        }
    }

    async fn open(&self, tcp: TcpStream) -> io::Result<Stream> {
        tcp.set_nodelay(true)?;
        let Some(identity) = &self.identity else {
            return Ok(Stream::plain(tcp));
        };
        let acceptor = TlsAcceptor::from(identity.config());
        Ok(Stream::tls(
            timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await??,
        ))
    }
}

/// Time for the first request of a connection that was accepted before the shutdown: its client gets an answer. Our choice.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// Time for the only request of a connection above the limit of its address. Our choice.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause when the system has no resources for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// Time in which one failed attempt to accept a connection is logged. Our choice.
const FAULT_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Upper bound of a connection's read buffer.
const READ_BUFFER: usize = 64 * 1024;

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    faults: &LogLimit,
) -> (TcpStream, Peer, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                let peer = Peer(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                return (tcp, peer, slot);
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if let Some(unlogged) = faults.admit(Clock::system().now().instant) {
                    tracing::warn!(%error, unlogged, "cannot accept connections at the moment");
                }
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// Whether the error affects only the accepted connection. Otherwise the process lacks a resource, such as file
/// descriptors, and an immediate retry would spin.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // hyper adds it to an instant, which must not overflow
    http.header_read_timeout(limits.header_timeout.min(Duration::from_secs(86_400)))
        .max_headers(limits.headers)
        .max_header_size(limits.header_bytes)
        .max_buf_size(READ_BUFFER.max(limits.header_bytes));
    http
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("the service panicked, and its connection was closed");
    }
}
