//! TLS on an open connection of another protocol than HTTP.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client};

use super::verifier::element;
use super::{Tls, TlsFault};
use crate::{Error, ErrorKind};

impl Tls {
    /// Runs the handshake on an open connection to the server `name`, for another protocol than HTTP. `alpn` is the name of
    /// the protocol (RFC 7301).
    ///
    /// # Errors
    /// [`Tls`](ErrorKind::Tls) if the server is not trusted, [`Closed`](ErrorKind::Closed) if the connection is lost.
    pub async fn handshake<S>(&self, name: &str, alpn: &[u8], transport: S) -> Result<TlsStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|error| Error::tls(TlsFault::Unspecified, name, false, Some(error)))?;
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![alpn.to_vec()];
        let connected = TlsConnector::from(Arc::new(config))
            .connect(server, transport)
            .await;
        connected
            .map(TlsStream)
            .map_err(|error| match TlsFault::of(&error, self.min_version) {
                Some(fault) => Error::tls(fault, name, false, Some(error)),
                None => {
                    let message = format!(
                        "cannot connect to {name}: it closed the connection during the TLS handshake, check its log"
                    );
                    Error::caused(ErrorKind::Closed, message, error)
                }
            })
    }
}

/// A connection over TLS, whose server is verified.
pub struct TlsStream<S>(client::TlsStream<S>);

impl<S> TlsStream<S> {
    /// The channel binding `tls-server-end-point` (RFC 5929 section 4.1): the digest of the server's certificate. `None` if
    /// the certificate is signed with another algorithm than RSA PKCS #1 or ECDSA with SHA-2.
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        let certificate = self.0.get_ref().1.peer_certificates()?.first()?;
        Some(
            digest(signature_digest(certificate)?, certificate)
                .as_ref()
                .to_owned(),
        )
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
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

/// The digest in the algorithm that signs a certificate.
fn signature_digest(certificate: &CertificateDer<'_>) -> Option<&'static Algorithm> {
    let (content, _) = element(certificate)?;
    let (_, rest) = element(content)?;
    let (algorithm, _) = element(rest)?;
    let (identifier, _) = element(algorithm)?;
    match identifier {
        // sha256WithRSAEncryption and those after it (RFC 8017 appendix C)
        [rest @ .., 0x0b] if rest == RSA => Some(&SHA256),
        [rest @ .., 0x0c] if rest == RSA => Some(&SHA384),
        [rest @ .., 0x0d] if rest == RSA => Some(&SHA512),
        // ecdsa-with-SHA256 and those after it (RFC 5758 section 3.2)
        [rest @ .., 0x02] if rest == ECDSA => Some(&SHA256),
        [rest @ .., 0x03] if rest == ECDSA => Some(&SHA384),
        [rest @ .., 0x04] if rest == ECDSA => Some(&SHA512),
        _ => None,
    }
}

/// 1.2.840.113549.1.1
const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4.3
const ECDSA: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
