//! An open connection of a client or of a server.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "server")]
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsStream;
#[cfg(feature = "server")]
use tokio_rustls::rustls::pki_types::CertificateDer;

/// An open connection, plain or over TLS.
pub struct Stream {
    transport: Transport,
    owner: Owner,
}

enum Transport {
    Plain(TcpStream),
    // boxed: the state of a TLS session is about a kilobyte
    Tls(Box<TlsStream<TcpStream>>),
}

enum Owner {
    /// A caller of the client.
    Caller,
    /// The pool of a client.
    Pool(Arc<Usage>),
    /// A server, until the connection is dropped by hyper or by the owner of an upgrade.
    #[cfg(feature = "server")]
    Server(Slot),
}

/// The use of a pooled connection.
#[derive(Debug)]
pub(crate) struct Usage {
    opened: Instant,
    /// Reads with bytes. It wraps, which is harmless: only a change is detected.
    reads: AtomicU32,
    /// `reads` after the last completed exchange.
    completed: AtomicU32,
}

impl Usage {
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    /// Handles a response that was read completely.
    pub(crate) fn handle_completed(&self) {
        self.completed
            .store(self.reads.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether an earlier exchange was completed and no byte was read since.
    pub(crate) fn is_stale(&self) -> bool {
        let completed = self.completed.load(Ordering::Relaxed);
        completed != 0 && completed == self.reads.load(Ordering::Relaxed)
    }
}

/// A server's permits of one connection, and the counter of its reads.
#[cfg(feature = "server")]
pub(crate) struct Slot {
    pub(crate) reads: Arc<AtomicU32>,
    pub(crate) _permit: OwnedSemaphorePermit,
    pub(crate) _address: crate::server::AddressSlot,
}

trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl Stream {
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self {
            transport: Transport::Plain(tcp),
            owner: Owner::Caller,
        }
    }

    pub(crate) fn tls(tls: impl Into<TlsStream<TcpStream>>) -> Self {
        Self {
            transport: Transport::Tls(Box::new(tls.into())),
            owner: Owner::Caller,
        }
    }

    #[cfg(feature = "server")]
    pub(crate) fn with_slot(mut self, slot: Slot) -> Self {
        self.owner = Owner::Server(slot);
        self
    }

    /// The connection as one of a pool, opened at `opened`.
    pub(crate) fn pooled(mut self, opened: Instant) -> Self {
        self.owner = Owner::Pool(Arc::new(Usage {
            opened,
            reads: AtomicU32::new(0),
            completed: AtomicU32::new(0),
        }));
        self
    }

    /// Whether the connection uses TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// The certificate of the client with its intermediates, if it has a verified one.
    #[cfg(feature = "server")]
    pub(crate) fn client_chain(&self) -> Option<Arc<[CertificateDer<'static>]>> {
        let Transport::Tls(tls) = &self.transport else {
            return None;
        };
        Some(tls.get_ref().1.peer_certificates()?.into())
    }

    fn io(&mut self) -> Pin<&mut dyn Io> {
        match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp),
            Transport::Tls(tls) => Pin::new(tls),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("secure", &self.is_secure())
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.io().poll_read(cx, buf))?;
        if buf.filled().len() > before {
            match &self.owner {
                Owner::Caller => {}
                Owner::Pool(usage) => drop(usage.reads.fetch_add(1, Ordering::Relaxed)),
                #[cfg(feature = "server")]
                Owner::Server(slot) => drop(slot.reads.fetch_add(1, Ordering::Relaxed)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(tcp) => tcp.is_write_vectored(),
            Transport::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match &self.owner {
            Owner::Pool(usage) => Connected::new().extra(Arc::clone(usage)),
            Owner::Caller => Connected::new(),
            #[cfg(feature = "server")]
            Owner::Server(_) => Connected::new(),
        }
    }
}
