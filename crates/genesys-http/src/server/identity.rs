//! Certificate and key of a server.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::{HTTP_1_1, provider};

/// A certificate with its key, for TLS 1.2 and 1.3. Clones share the session tickets.
#[derive(Clone)]
pub struct Identity {
    pub(super) config: Arc<ServerConfig>,
}

impl Identity {
    /// Parses the certificate, its chain and the private key, all in PEM.
    ///
    /// # Errors
    /// See [`IdentityError`]. No error contains the key.
    #[expect(
        clippy::unwrap_in_result,
        reason = "ring has cipher suites for TLS 1.2 and 1.3"
    )]
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| IdentityError::Certificate)?;
        if chain.is_empty() {
            return Err(IdentityError::Certificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch,
                rustls::Error::InvalidCertificate(_) => IdentityError::Certificate,
                _ => IdentityError::Key,
            })?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // without tickets, which need only randomness, sessions are resumed from a small cache
        if let Ok(tickets) = ring::Ticketer::new() {
            config.ticketer = tickets;
        }
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// An invalid certificate or key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No certificate, or an invalid one.
    #[error("invalid certificate: give PEM text that begins with the server's own certificate")]
    Certificate,
    /// No private key, or one of an unknown kind.
    #[error("invalid private key: give an unencrypted RSA, ECDSA or Ed25519 key in PEM")]
    Key,
    /// The key does not match the certificate.
    #[error("invalid private key: it does not match the certificate, give the two that were issued together")]
    Mismatch,
}
