//! Why a request got no response.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::place::Place;
use crate::proxy::ProxyFailure;
use crate::tls::TlsFailure;

/// A request that got no response, or a connection that could not be had. Clones share it.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

struct Inner {
    place: Option<Place>,
    reason: Reason,
    sent: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// What went wrong, in the classes that ask for different answers.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.inner.reason {
            Reason::Blocked(_) => ErrorKind::Blocked,
            Reason::Broken => ErrorKind::Closed,
            Reason::Connect | Reason::HandshakeCut | Reason::Resolve => ErrorKind::Connect,
            Reason::Proxy(_, failure) => failure.kind(),
            Reason::ConnectTimeout(_) | Reason::Deadline(_) => ErrorKind::Timeout,
            Reason::Request | Reason::Response => ErrorKind::Protocol,
            Reason::Tls(_) => ErrorKind::Tls,
            Reason::BodyTooLarge(_) => ErrorKind::TooLarge,
        }
    }

    /// Whether any of the request may have reached the server. `false` is certain: it was not acted on.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        self.inner.sent
    }

    pub(crate) fn new(reason: Reason, place: Option<&Place>) -> Self {
        Self::build(reason, place, false, None)
    }

    pub(crate) fn caused(
        reason: Reason,
        place: &Place,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::build(reason, Some(place), false, Some(source.into()))
    }

    /// An error of the connection pool, or of reading a body. `handed_over`: whether a connection had the request.
    pub(crate) fn of_exchange(
        error: impl Into<Box<dyn StdError + Send + Sync>>,
        place: &Place,
        handed_over: bool,
    ) -> Self {
        let error = error.into();
        let mut reason = Reason::Broken;
        let mut sent = handed_over;
        let mut link: Option<&(dyn StdError + 'static)> = Some(&*error);
        while let Some(cause) = link {
            if let Some(own) = cause.downcast_ref::<Self>() {
                return own.clone();
            }
            if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
                // hyper gives an unsent request back with this error
                sent &= !hyper.is_canceled();
                if hyper.is_parse() {
                    reason = Reason::Response;
                }
            }
            if let Some(failure) = cause.downcast_ref::<io::Error>().and_then(TlsFailure::of) {
                reason = Reason::Tls(failure);
            }
            link = cause.source();
        }
        Self::build(reason, Some(place), sent, Some(error))
    }

    pub(crate) fn sent(reason: Reason, place: &Place, sent: bool) -> Self {
        Self::build(reason, Some(place), sent, None)
    }

    fn build(
        reason: Reason,
        place: Option<&Place>,
        sent: bool,
        source: Option<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                place: place.cloned(),
                reason,
                sent,
                source,
            }),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.inner.place else {
            return f.write_str(
                "the request has no target: give an absolute http or https URI without credentials",
            );
        };
        match &self.inner.reason {
            Reason::Blocked(address) => write!(
                f,
                "{place} leads to {address}, which is no public address: allow its network if that is meant"
            ),
            Reason::BodyTooLarge(limit) => write!(
                f,
                "{place} answered with more than {limit} bytes: raise the limit if that is expected"
            ),
            Reason::Broken if self.inner.sent => write!(
                f,
                "the connection to {place} ended before the answer was complete: whether the request was acted on is \
                 not known"
            ),
            Reason::Broken => write!(f, "the connection to {place} ended before the request was sent"),
            Reason::Connect => write!(
                f,
                "cannot connect to {place}: check the address, and that the service runs"
            ),
            Reason::ConnectTimeout(limit) => write!(
                f,
                "no connection to {place} within {limit:?}: check the address and the network"
            ),
            Reason::Deadline(limit) => write!(f, "no complete answer from {place} within {limit:?}"),
            Reason::HandshakeCut => write!(
                f,
                "{place} closed the connection during the TLS handshake: check the port, and that the server speaks \
                 TLS 1.2 or 1.3"
            ),
            Reason::Proxy(proxy, failure) => failure.tell(proxy, place, f),
            Reason::Request => write!(
                f,
                "the request to {place} cannot be sent: a header of it has characters that HTTP does not allow"
            ),
            Reason::Resolve => write!(f, "no address is known for {place}: check the name"),
            Reason::Response => write!(
                f,
                "{place} did not answer in HTTP/1.1, or with more headers than are read: check host and port"
            ),
            Reason::Tls(failure) => failure.tell(place, f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("reason", &self.inner.reason)
            .field("place", &self.inner.place)
            .field("sent", &self.inner.sent)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// The class of an [`Error`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Every address that the name leads to is outside of what [`Egress`](crate::Egress) allows.
    Blocked,
    /// The connection ended before the response was complete.
    Closed,
    /// The name has no address, or no address of it accepts connections.
    Connect,
    /// The request cannot be sent as HTTP, or the answer is not HTTP.
    Protocol,
    /// The proxy on the way refuses, or is none.
    Proxy,
    /// A deadline passed.
    Timeout,
    /// The peer's certificate is not trusted, or TLS failed otherwise.
    Tls,
    /// The response is larger than the limit.
    TooLarge,
}

/// The kind, with what its message needs.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    Blocked(IpAddr),
    BodyTooLarge(usize),
    Broken,
    Connect,
    ConnectTimeout(Duration),
    Deadline(Duration),
    HandshakeCut,
    Proxy(Place, ProxyFailure),
    Request,
    Resolve,
    Response,
    Tls(TlsFailure),
}
