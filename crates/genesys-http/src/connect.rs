//! Opens connections: name to addresses, egress check, TCP, a proxy's tunnel, TLS.

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

use crate::error::Reason;
use crate::place::Place;
use crate::proxy::{Hop, ProxyFailure, dig};
use crate::tls::TlsFailure;
use crate::{Egress, Error, ErrorKind, Proxy, Stream, Tls};

/// The one way out of the process. Clones share its settings.
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

    pub(crate) async fn open(&self, place: &Place) -> Result<Stream, Error> {
        let Settings { timeout, clock, .. } = &*self.settings;
        let deadline = clock.now().instant + *timeout;
        let hop = self.settings.hop(place);
        tokio::select! {
            biased;
            opened = self.settings.open(place, hop.as_ref(), deadline) => opened,
            () = clock.sleep_until(deadline) => Err(self.settings.late(place, hop.as_ref())),
        }
    }
}

impl Settings {
    /// The proxy on the way to `place`. What is behind a proxy cannot be checked, so there is none where it must be.
    fn hop(&self, place: &Place) -> Option<Hop> {
        match self.egress {
            Egress::Anywhere => self.proxy.as_ref()?.before(place),
            Egress::PublicOnly { .. } => None,
        }
    }

    async fn open(&self, place: &Place, hop: Option<&Hop>, deadline: Instant) -> Result<Stream, Error> {
        let tcp = match hop {
            Some(hop) => self.through(hop, place, deadline).await?,
            None => self.tcp(place, deadline).await?,
        };
        if !place.secure {
            return Ok(Stream::plain(tcp));
        }
        let name = ServerName::try_from(place.name.clone())
            .map_err(|error| Error::caused(Reason::Tls(TlsFailure::Other), place, error))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls.config));
        match connector.connect(name, tcp).await {
            Ok(tls) => Ok(Stream::tls(tls)),
            Err(error) => {
                let reason = TlsFailure::of(&error).map_or(Reason::HandshakeCut, Reason::Tls);
                Err(Error::caused(reason, place, error))
            }
        }
    }

    /// A connection to `place` through a proxy.
    async fn through(&self, hop: &Hop, place: &Place, deadline: Instant) -> Result<TcpStream, Error> {
        let tcp = self
            .tcp(&hop.place, deadline)
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::Timeout => self.late(place, Some(hop)),
                _ => Error::caused(
                    Reason::Proxy(hop.place.clone(), ProxyFailure::Unreachable),
                    place,
                    error,
                ),
            })?;
        dig(tcp, hop, place).await.map_err(|(failure, cause)| {
            let reason = Reason::Proxy(hop.place.clone(), failure);
            match cause {
                Some(cause) => Error::caused(reason, place, cause),
                None => Error::new(reason, Some(place)),
            }
        })
    }

    fn late(&self, place: &Place, hop: Option<&Hop>) -> Error {
        let reason = match hop {
            Some(hop) => Reason::Proxy(hop.place.clone(), ProxyFailure::Timeout(self.timeout)),
            None => Reason::ConnectTimeout(self.timeout),
        };
        Error::new(reason, Some(place))
    }

    /// Tries each permitted address in turn. Each may use an equal share of the time that is left, so that one that
    /// never answers does not hide the next.
    async fn tcp(&self, place: &Place, deadline: Instant) -> Result<TcpStream, Error> {
        let found: Vec<_> = lookup_host((place.name.as_str(), place.port))
            .await
            .map_err(|error| Error::caused(Reason::Resolve, place, error))?
            .collect();
        let (permitted, blocked): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|address| self.egress.permits(address.ip()));
        let mut error = match blocked.first() {
            Some(address) => Error::new(Reason::Blocked(address.ip()), Some(place)),
            None => Error::new(Reason::Resolve, Some(place)),
        };
        for (address, left) in permitted.iter().zip((1..=permitted.len() as u32).rev()) {
            let now = self.clock.now().instant;
            let share = now + deadline.saturating_duration_since(now) / left;
            let connected = tokio::select! {
                biased;
                connected = TcpStream::connect(address) => connected,
                () = self.clock.sleep_until(share) => {
                    error = Error::new(Reason::ConnectTimeout(self.timeout), Some(place));
                    continue;
                }
            };
            match connected.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)) {
                Ok(tcp) => return Ok(tcp),
                Err(cause) => error = Error::caused(Reason::Connect, place, cause),
            }
        }
        Err(error)
    }
}

/// For the connection pool.
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
            let place = Place::of_uri(&uri).ok_or_else(|| Error::new(Reason::Request, None))?;
            connector.open(&place).await.map(TokioIo::new)
        })
    }
}
