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
use crate::error::Reason;
use crate::proxy::{Hop, ProxyFailure, open_tunnel};
use crate::tls::TlsFailure;
use crate::{Egress, Error, ErrorKind, Proxy, Stream, Tls};

/// Opens all connections of a client. Clones share its settings.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    settings: Arc<Settings>,
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) tls: Tls,
    pub(crate) egress: Egress,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) timeout: Duration,
    pub(crate) clock: Clock,
}

impl Connector {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

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
            .map_err(|error| Error::caused(Reason::Tls(TlsFailure::Other), endpoint, error))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls.config));
        match connector.connect(name, tcp).await {
            Ok(tls) => Ok(Stream::tls(tls)),
            Err(error) => {
                let reason = TlsFailure::of(&error).map_or(Reason::HandshakeCut, Reason::Tls);
                Err(Error::caused(reason, endpoint, error))
            }
        }
    }

    /// Connects to `endpoint` through a proxy.
    async fn connect_through(
        &self,
        hop: &Hop,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<TcpStream, Error> {
        let tcp = self
            .tcp(&hop.endpoint, deadline)
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::Timeout => self.timed_out(endpoint, Some(hop)),
                _ => Error::caused(
                    Reason::Proxy(hop.endpoint.clone(), ProxyFailure::Unreachable),
                    endpoint,
                    error,
                ),
            })?;
        open_tunnel(tcp, hop, endpoint).await.map_err(|(failure, cause)| {
            let reason = Reason::Proxy(hop.endpoint.clone(), failure);
            match cause {
                Some(cause) => Error::caused(reason, endpoint, cause),
                None => Error::new(reason, Some(endpoint)),
            }
        })
    }

    fn timed_out(&self, endpoint: &Endpoint, hop: Option<&Hop>) -> Error {
        let reason = match hop {
            Some(hop) => Reason::Proxy(hop.endpoint.clone(), ProxyFailure::Timeout(self.timeout)),
            None => Reason::ConnectTimeout(self.timeout),
        };
        Error::new(reason, Some(endpoint))
    }

    /// Tries each permitted address in turn. Each gets an equal share of the remaining time, so that an unresponsive one
    /// does not block the others.
    async fn tcp(&self, endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream, Error> {
        let found: Vec<_> = lookup_host((endpoint.name.as_str(), endpoint.port))
            .await
            .map_err(|error| Error::caused(Reason::Resolve, endpoint, error))?
            .collect();
        let (permitted, blocked): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|address| self.egress.permits(address.ip()));
        let mut error = match blocked.first() {
            Some(address) => Error::new(Reason::Blocked(address.ip()), Some(endpoint)),
            None => Error::new(Reason::Resolve, Some(endpoint)),
        };
        for (address, left) in permitted.iter().zip((1..=permitted.len() as u32).rev()) {
            let now = self.clock.now().instant;
            let share = now + deadline.saturating_duration_since(now) / left;
            let connected = tokio::select! {
                biased;
                connected = TcpStream::connect(address) => connected,
                () = self.clock.sleep_until(share) => {
                    error = Error::new(Reason::ConnectTimeout(self.timeout), Some(endpoint));
                    continue;
                }
            };
            match connected.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)) {
                Ok(tcp) => return Ok(tcp),
                Err(cause) => error = Error::caused(Reason::Connect, endpoint, cause),
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
            let endpoint = Endpoint::of_uri(&uri).ok_or_else(|| Error::new(Reason::Request, None))?;
            connector.open(&endpoint).await.map(TokioIo::new)
        })
    }
}
