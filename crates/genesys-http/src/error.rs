//! Errors of requests and connections.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::{TlsFault, TlsVersion};

type Source = Box<dyn StdError + Send + Sync>;

/// A request without a response, or a failed connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Error {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    sent: bool,
    fault: Option<TlsFault>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the request may have reached the server. If `false`, the server certainly did not act.
    pub fn was_sent(&self) -> bool {
        self.inner.sent
    }

    /// The cause of a failed TLS handshake.
    pub fn tls_fault(&self) -> Option<&TlsFault> {
        self.inner.fault.as_ref()
    }

    /// A failed TLS handshake with `server`. The fault describes it, except for an unspecified one.
    pub(crate) fn tls(
        fault: TlsFault,
        server: impl fmt::Display,
        sent: bool,
        source: Option<impl Into<Source>>,
    ) -> Self {
        let message = format!("cannot connect to {server}: {fault}");
        let source = source
            .filter(|_| fault == TlsFault::Unspecified)
            .map(|source| Arc::from(source.into()));
        Self {
            inner: Arc::new(Inner {
                kind: ErrorKind::Tls,
                message,
                sent,
                fault: Some(fault),
                source,
            }),
        }
    }

    /// The error of a request that was also sent before, without a response.
    pub(crate) fn after_earlier_send(mut self) -> Self {
        Arc::make_mut(&mut self.inner).sent = true;
        self
    }

    pub(crate) fn new(kind: ErrorKind, message: String) -> Self {
        Self::build(kind, message, false, None)
    }

    pub(crate) fn caused(kind: ErrorKind, message: String, source: impl Into<Source>) -> Self {
        Self::build(kind, message, false, Some(source.into()))
    }

    pub(crate) fn sent(kind: ErrorKind, message: String, sent: bool) -> Self {
        Self::build(kind, message, sent, None)
    }

    /// An error of the connection pool or of a body. `has_connection`: whether a connection received the request.
    pub(crate) fn of_exchange(error: impl Into<Source>, endpoint: &Endpoint, has_connection: bool) -> Self {
        let error = error.into();
        let mut sent = has_connection;
        let mut found = None;
        let mut link: Option<&(dyn StdError + 'static)> = Some(&*error);
        while let Some(cause) = link {
            if let Some(own) = cause.downcast_ref::<Self>() {
                return own.clone();
            }
            if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
                // hyper returns an unsent request with this error
                sent &= !hyper.is_canceled();
                if hyper.is_parse() {
                    let message = format!(
                        "invalid response of {endpoint}: it is not HTTP/1.1, or its head is too long, check host and port"
                    );
                    found = Some((ErrorKind::Protocol, message));
                }
            }
            let failure = cause.downcast_ref::<io::Error>();
            if let Some(fault) = failure.and_then(|error| TlsFault::of(error, TlsVersion::default())) {
                return Self::tls(fault, endpoint, sent, Some(error));
            }
            link = cause.source();
        }
        let (kind, message) = found.unwrap_or_else(|| {
            let rest = match sent {
                true => "response was complete: whether the server acted on the request is unknown",
                false => "request was sent",
            };
            let message = format!("the connection to {endpoint} closed before the {rest}");
            (ErrorKind::Closed, message)
        });
        Self::build(kind, message, sent, Some(error))
    }

    fn build(kind: ErrorKind, message: String, sent: bool, source: Option<Source>) -> Self {
        let inner = Inner {
            kind,
            message,
            sent,
            fault: None,
            source: source.map(Arc::from),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&**self.inner.source.as_ref()?)
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
