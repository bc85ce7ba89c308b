//! Connections: name resolution, egress check, TCP, proxy tunnel, TLS.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use genesys_api::Clock;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::endpoint::Endpoint;
use crate::proxy::{Hop, open_tunnel};
use crate::{Egress, Error, ErrorKind, Proxy, Stream, Tls, TlsFault};

/// Opens all connections of a client. Clones share its settings.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) settings: Arc<Settings>,
}

/// The settings of the connections of a client.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) tls: Tls,
    pub(crate) egress: Egress,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) timeout: Duration,
    pub(crate) clock: Clock,
}

impl Connector {
    pub(crate) async fn open(&self, endpoint: &Endpoint) -> Result<Stream, Error> {
        let Settings { timeout, clock, .. } = &*self.settings;
        let deadline = clock.now().instant + *timeout;
        let hop = self.settings.hop(endpoint);
        tokio::select! {
            biased;
            opened = self.settings.open(endpoint, hop.as_ref(), deadline) => opened,
            () = clock.sleep_until(deadline) => Err(self.settings.timed_out(endpoint, hop.as_ref())),
        }
    }
}

impl Settings {
    /// Returns the proxy for `endpoint`. With checked egress there is none, because a proxy resolves names itself.
    fn hop(&self, endpoint: &Endpoint) -> Option<Hop> {
        match self.egress {
            Egress::Anywhere => self.proxy.as_ref()?.hop(endpoint),
            Egress::PublicOnly { .. } => None,
        }
    }

    async fn open(&self, endpoint: &Endpoint, hop: Option<&Hop>, deadline: Instant) -> Result<Stream, Error> {
        let tcp = match hop {
            Some(hop) => self.connect_through(hop, endpoint, deadline).await?,
            None => self.tcp(endpoint, deadline).await?,
        };
        if !endpoint.secure {
            return Ok(Stream::plain(tcp));
        }
        let name = ServerName::try_from(endpoint.name.clone())
            .map_err(|error| Error::tls(TlsFault::Unspecified, endpoint, false, Some(error)))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls.config));
        connector.connect(name, tcp).await.map(Stream::tls).map_err(|error| {
            match TlsFault::of(&error, self.tls.min_version) {
                Some(fault) => Error::tls(fault, endpoint, false, Some(error)),
                None => {
                    let message = format!(
                        "cannot connect to {endpoint}: it closed the connection during the TLS handshake, check the \
                         port, and that the server supports TLS 1.2 or 1.3"
                    );
                    Error::caused(ErrorKind::Connect, message, error)
                }
            }
        })
    }

    /// Connects to `endpoint` through a proxy.
    async fn connect_through(
        &self,
        hop: &Hop,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<TcpStream, Error> {
        let proxy = &hop.endpoint;
        let tcp = self.tcp(proxy, deadline).await.map_err(|error| match error.kind() {
            ErrorKind::Timeout => self.timed_out(endpoint, Some(hop)),
            _ => {
                let message = format!(
                    "cannot connect to the proxy {proxy} on the way to {endpoint}: check the proxy's address, and that \
                     it runs"
                );
                Error::caused(ErrorKind::Connect, message, error)
            }
        })?;
        open_tunnel(tcp, hop, endpoint).await
    }

    fn timed_out(&self, endpoint: &Endpoint, hop: Option<&Hop>) -> Error {
        let limit = self.timeout;
        let message = match hop {
            Some(hop) => format!(
                "cannot connect to {endpoint}: no connection through the proxy {} within {limit:?}, check both and the network",
                hop.endpoint
            ),
            None => {
                format!(
                    "cannot connect to {endpoint}: no connection within {limit:?}, check the address and the network"
                )
            }
        };
        Error::new(ErrorKind::Timeout, message)
    }

    /// Tries each permitted address in turn. Each gets an equal share of the remaining time, so that an unresponsive one
    /// does not block the others.
    async fn tcp(&self, endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream, Error> {
        let unresolved = || format!("cannot resolve {endpoint}: check the name");
        let (permitted, blocked): (Vec<_>, Vec<_>) = lookup_host((endpoint.name.as_str(), endpoint.port))
            .await
            .map_err(|error| Error::caused(ErrorKind::Connect, unresolved(), error))?
            .partition(|address| self.egress.permits(address.ip()));
        let mut error = match blocked.first() {
            Some(address) => {
                let message = format!(
                    "cannot connect to {endpoint}: {} is not a public address, allow its network if this is intended",
                    address.ip()
                );
                Error::new(ErrorKind::Blocked, message)
            }
            None => Error::new(ErrorKind::Connect, unresolved()),
        };
        for (address, left) in permitted.iter().zip((1..=permitted.len() as u32).rev()) {
            let now = self.clock.now().instant;
            let share = now + deadline.saturating_duration_since(now) / left;
            let connected = tokio::select! {
                biased;
                connected = TcpStream::connect(address) => connected,
                () = self.clock.sleep_until(share) => {
                    error = self.timed_out(endpoint, None);
                    continue;
                }
            };
            match connected.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)) {
                Ok(tcp) => return Ok(tcp),
                Err(cause) => {
                    let message =
                        format!("cannot connect to {endpoint}: check the address, and that the service runs");
                    error = Error::caused(ErrorKind::Connect, message, cause);
                }
            }
        }
        Err(error)
    }
}

/// The connector of the pool.
impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let endpoint = Endpoint::of_uri(&uri)?;
            connector.open(&endpoint).await.map(TokioIo::new)
        })
    }
}
