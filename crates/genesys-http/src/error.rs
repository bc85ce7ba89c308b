//! Errors of requests and connections.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::proxy::ProxyFailure;
use crate::tls::TlsFailure;

/// A request without a response, or a failed connection. Clones share it.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Option<Endpoint>,
    reason: Reason,
    sent: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// The class of the error.
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

    /// Whether the request may have reached the server. If `false`, the server certainly did not act.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        self.inner.sent
    }

    pub(crate) fn new(reason: Reason, endpoint: Option<&Endpoint>) -> Self {
        Self::build(reason, endpoint, false, None)
    }

    pub(crate) fn caused(
        reason: Reason,
        endpoint: &Endpoint,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::build(reason, Some(endpoint), false, Some(source.into()))
    }

    /// An error of the connection pool or of a body. `handed_over`: whether a connection received the request.
    pub(crate) fn of_exchange(
        error: impl Into<Box<dyn StdError + Send + Sync>>,
        endpoint: &Endpoint,
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
                // hyper returns an unsent request with this error
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
        Self::build(reason, Some(endpoint), sent, Some(error))
    }

    pub(crate) fn sent(reason: Reason, endpoint: &Endpoint, sent: bool) -> Self {
        Self::build(reason, Some(endpoint), sent, None)
    }

    fn build(
        reason: Reason,
        endpoint: Option<&Endpoint>,
        sent: bool,
        source: Option<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                endpoint: endpoint.cloned(),
                reason,
                sent,
                source,
            }),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(endpoint) = &self.inner.endpoint else {
            return f
                .write_str("invalid request URI: give an absolute http or https URI without credentials");
        };
        match &self.inner.reason {
            Reason::Blocked(address) => write!(
                f,
                "blocked: {endpoint} resolves to {address}, which is not a public address, allow its network if this is intended"
            ),
            Reason::BodyTooLarge(limit) => write!(
                f,
                "response of {endpoint} too long: more than {limit} bytes, raise the limit if this is expected"
            ),
            Reason::Broken if self.inner.sent => write!(
                f,
                "the connection to {endpoint} closed before the response was complete: whether the server acted on the \
                 request is unknown"
            ),
            Reason::Broken => write!(
                f,
                "the connection to {endpoint} closed before the request was sent"
            ),
            Reason::Connect => write!(
                f,
                "cannot connect to {endpoint}: check the address, and that the service runs"
            ),
            Reason::ConnectTimeout(limit) => write!(
                f,
                "no connection to {endpoint} within {limit:?}: check the address and the network"
            ),
            Reason::Deadline(limit) => write!(f, "no complete response from {endpoint} within {limit:?}"),
            Reason::HandshakeCut => write!(
                f,
                "cannot connect to {endpoint}: it closed the connection during the TLS handshake, check the port, and that \
                 the server supports TLS 1.2 or 1.3"
            ),
            Reason::Proxy(proxy, failure) => failure.write(proxy, endpoint, f),
            Reason::Request => write!(
                f,
                "cannot send the request to {endpoint}: a header has characters that HTTP does not allow"
            ),
            Reason::Resolve => write!(f, "cannot resolve {endpoint}: check the name"),
            Reason::Response => write!(
                f,
                "invalid response of {endpoint}: it is not HTTP/1.1, or its head is too long, check host and port"
            ),
            Reason::Tls(failure) => failure.write(endpoint, f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("reason", &self.inner.reason)
            .field("endpoint", &self.inner.endpoint)
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
    /// [`Egress`](crate::Egress) allows none of the resolved addresses.
    Blocked,
    /// The connection closed before the response was complete.
    Closed,
    /// The name does not resolve, or none of its addresses accepts connections.
    Connect,
    /// The request or the response is not valid HTTP.
    Protocol,
    /// The proxy refused, or is not a proxy.
    Proxy,
    /// A deadline passed.
    Timeout,
    /// The peer's certificate is not trusted, or TLS failed otherwise.
    Tls,
    /// The response is larger than the limit.
    TooLarge,
}

/// The kind, with the fields of its message.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    Blocked(IpAddr),
    BodyTooLarge(usize),
    Broken,
    Connect,
    ConnectTimeout(Duration),
    Deadline(Duration),
    HandshakeCut,
    Proxy(Endpoint, ProxyFailure),
    Request,
    Resolve,
    Response,
    Tls(TlsFailure),
}
