//! Connections: name resolution, egress check, TCP, proxy tunnel, TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use genesys_api::Clock;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::endpoint::Endpoint;
use crate::proxy::{Hop, open_tunnel};
use crate::{Egress, Error, ErrorKind, Proxy, Stream, Tls, TlsFault};

/// Time before the next address is tried as well (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Opens all connections of a client. Clones share its settings, which are replaced as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    settings: Arc<RwLock<Arc<Settings>>>,
    pub(crate) clock: Clock,
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
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            clock: settings.clock.clone(),
            settings: Arc::new(RwLock::new(Arc::new(settings))),
        }
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the settings of another one but its clock, for the connections that begin after it.
    pub(crate) fn replace(&self, other: &Self) {
        let settings = Settings {
            clock: self.clock.clone(),
            ..Settings::clone(&other.settings())
        };
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    pub(crate) async fn open(&self, endpoint: &Endpoint) -> Result<Stream, Error> {
        let settings = self.settings();
        let deadline = self.clock.now().instant + settings.timeout;
        let hop = settings.hop(endpoint);
        tokio::select! {
            biased;
            opened = settings.open(endpoint, hop.as_ref()) => opened,
            () = self.clock.sleep_until(deadline) => Err(settings.timed_out(endpoint, hop.as_ref())),
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

    async fn open(&self, endpoint: &Endpoint, hop: Option<&Hop>) -> Result<Stream, Error> {
        let tcp = match hop {
            Some(hop) => self.connect_through(hop, endpoint).await?,
            None => self.tcp(endpoint).await?,
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
    async fn connect_through(&self, hop: &Hop, endpoint: &Endpoint) -> Result<TcpStream, Error> {
        let proxy = &hop.endpoint;
        let tcp = self.tcp(proxy).await.map_err(|error| {
            let message = format!(
                "cannot connect to the proxy {proxy} on the way to {endpoint}: check the proxy's address, and that it runs"
            );
            Error::caused(ErrorKind::Connect, message, error)
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

    /// Resolves the name once, and connects only to the permitted ones of its addresses.
    async fn tcp(&self, endpoint: &Endpoint) -> Result<TcpStream, Error> {
        let addresses = lookup_host((endpoint.name.as_str(), endpoint.port))
            .await
            .map_err(|error| Error::caused(ErrorKind::Connect, unresolved(endpoint), error))?;
        let permitted = self.permitted(endpoint, addresses)?;
        self.race(endpoint, &permitted).await
    }

    /// Whether the host has addresses, and connections to none of them are allowed.
    pub(crate) async fn blocks(&self, endpoint: &Endpoint) -> bool {
        if self.egress == Egress::Anywhere {
            return false;
        }
        let deadline = self.clock.now().instant + self.timeout;
        let resolved = tokio::select! {
            biased;
            resolved = lookup_host((endpoint.name.as_str(), endpoint.port)) => resolved,
            () = self.clock.sleep_until(deadline) => return false,
        };
        let permitted = resolved.map(|addresses| self.permitted(endpoint, addresses));
        matches!(permitted, Ok(Err(error)) if error.kind() == ErrorKind::Blocked)
    }

    /// The addresses to which [`Egress`] allows connections.
    fn permitted(
        &self,
        endpoint: &Endpoint,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Error> {
        let (permitted, blocked): (Vec<_>, Vec<_>) =
            addresses.partition(|address| self.egress.permits(address.ip()));
        match blocked.first() {
            _ if !permitted.is_empty() => Ok(permitted),
            Some(address) => {
                let message = format!(
                    "cannot connect to {endpoint}: {} is not a public address, allow its network if this is intended",
                    address.ip()
                );
                Err(Error::new(ErrorKind::Blocked, message))
            }
            None => Err(Error::new(ErrorKind::Connect, unresolved(endpoint))),
        }
    }

    /// Connects to the address that accepts first (RFC 8305). The attempts start in order, each [`ATTEMPT_DELAY`] after the
    /// previous one or when one fails.
    async fn race(&self, endpoint: &Endpoint, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
        let mut waiting = interleaved(addresses).into_iter().peekable();
        let mut running = JoinSet::new();
        let mut error = Error::new(ErrorKind::Connect, unresolved(endpoint));
        while waiting.peek().is_some() || !running.is_empty() {
            if let Some(address) = waiting.next() {
                running.spawn(TcpStream::connect(address));
            }
            let next = waiting.peek().map(|_| self.clock.now().instant + ATTEMPT_DELAY);
            let ended = tokio::select! {
                biased;
                ended = running.join_next() => ended,
                () = self.clock.sleep_until(next) => None,
            };
            let Some(connected) = ended else { continue };
            let connected = connected.unwrap_or_else(|error| Err(error.into()));
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

fn unresolved(endpoint: &Endpoint) -> String {
    format!("cannot resolve {endpoint}: check the name")
}

/// Orders addresses so that the families alternate (RFC 8305 section 4). The resolver's first family is first.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_preferred = |address: &&SocketAddr| {
        addresses
            .first()
            .is_some_and(|first| first.is_ipv6() == address.is_ipv6())
    };
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.iter().partition(is_preferred);
    let turns = 0..preferred.len().max(other.len());
    turns
        .flat_map(|turn| [preferred.get(turn), other.get(turn)])
        .flatten()
        .copied()
        .copied()
        .collect()
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
            let stream = connector.open(&endpoint).await?;
            let opened = connector.clock.now().instant;
            Ok(TokioIo::new(stream.pooled(opened)))
        })
    }
}

#[cfg(test)]
mod tests {
    //! Choice of addresses.

    use genesys_api::Host;
    use tokio::net::TcpSocket;

    use super::*;

    fn settings(egress: Egress) -> Settings {
        let authority = rcgen::generate_simple_self_signed([]).unwrap();
        Settings {
            tls: Tls::only_ca(authority.cert.pem().as_bytes()).unwrap(),
            egress,
            proxy: None,
            timeout: Duration::from_secs(10),
            clock: Clock::system(),
        }
    }

    fn endpoint() -> Endpoint {
        Endpoint::of_host(&"https://rebinding.example".parse::<Host>().unwrap()).unwrap()
    }

    /// A port of which the queue of new connections is full, so that no further one is accepted or refused.
    async fn unresponsive() -> (SocketAddr, Vec<TcpStream>, tokio::net::TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let filling = vec![TcpStream::connect(address).await.unwrap()];
        (address, filling, listener)
    }

    #[tokio::test]
    async fn unresponsive_address_does_not_delay_the_next_by_more_than_its_share() {
        let (silent, _filling, _listener) = unresponsive().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = settings(Egress::Anywhere);
        let clock = settings.clock.clone();
        let start = clock.now().instant;
        let racing =
            tokio::spawn(async move { settings.race(&endpoint(), &[silent, silent, address]).await });
        while !racing.is_finished() {
            if clock.now().instant < start + 2 * ATTEMPT_DELAY {
                clock.advance(Duration::from_millis(50));
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(racing.await.unwrap().unwrap().peer_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn refused_address_is_followed_by_the_next_at_once() {
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let refusing = closed.local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = settings(Egress::Anywhere);
        let tcp = settings.race(&endpoint(), &[refusing, address]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), address);
        let error = settings
            .race(&endpoint(), &[refusing, refusing])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
    }

    #[test]
    fn families_alternate_beginning_with_the_resolvers_first() {
        let addresses =
            |texts: &[&str]| -> Vec<SocketAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let resolved = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        let expected = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleaved(&resolved), expected);
        assert_eq!(interleaved(&[]), []);
    }

    #[test]
    fn no_blocked_address_of_a_rebinding_name_is_ever_tried() {
        let settings = settings(Egress::PublicOnly { allow: Vec::new() });
        let public: SocketAddr = "93.184.215.14:443".parse().unwrap();
        let blocked = [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::a00:1",
            "fd00::1",
            "fe80::1",
        ];
        let blocked = blocked.map(|text| SocketAddr::new(text.parse().unwrap(), 443));
        // each answer of the name has another subset of the addresses
        for flip in 0..1_u32 << blocked.len() {
            let chosen = blocked.iter().enumerate().filter(|(bit, _)| flip >> bit & 1 == 1);
            let answer: Vec<_> = chosen.map(|(_, address)| *address).collect();
            match settings.permitted(&endpoint(), answer.iter().copied()) {
                Ok(permitted) => panic!("{permitted:?}"),
                Err(error) if answer.is_empty() => assert_eq!(error.kind(), ErrorKind::Connect),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Blocked),
            }
            let with_public = answer.iter().copied().chain([public]);
            assert_eq!(settings.permitted(&endpoint(), with_public).unwrap(), [public]);
        }
    }
}
