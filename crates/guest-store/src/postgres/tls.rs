//! TLS of the connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use genesys_http::{Error, Tls, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};

/// Verifies the certificate of a server, and its name.
#[derive(Clone)]
pub(super) struct Connector(pub(super) Tls);

impl MakeTlsConnect<Socket> for Connector {
    type Stream = SecureSocket;
    type TlsConnect = Handshake;
    type Error = Error;

    fn make_tls_connect(&mut self, name: &str) -> Result<Handshake, Error> {
        Ok(Handshake {
            tls: self.0.clone(),
            name: name.to_owned(),
        })
    }
}

pub(super) struct Handshake {
    tls: Tls,
    name: String,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = SecureSocket;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<SecureSocket, Error>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let secured = self.tls.handshake(&self.name, ALPN, socket).await;
            secured.map(SecureSocket)
        })
    }
}

pub(super) struct SecureSocket(TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for SecureSocket {
    fn channel_binding(&self) -> ChannelBinding {
        match self.0.server_end_point() {
            Some(digest) => ChannelBinding::tls_server_end_point(digest),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for SecureSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for SecureSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The protocol's name, which PostgreSQL 17 and later check.
const ALPN: &[u8] = b"postgresql";
