//! Certificate and key of a server.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};

use crate::identity::{IdentityError, certified_key};
use crate::tls::{HTTP_1_1, provider};

/// A certificate with its key, for TLS 1.2 and 1.3. Clones share them and the session tickets.
#[derive(Clone)]
pub struct Identity {
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Identity {
    /// Parses the certificate, its chain and the private key, all in PEM.
    ///
    /// # Errors
    /// See [`IdentityError`]. No error contains the key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        Self::new(chain, key, WebPkiClientVerifier::no_client_auth())
    }

    /// As [`Identity::from_pem`], and also accepts certificates of clients that an authority in `client_ca` signed. A client
    /// without a certificate is served too: [`ClientCertificate`](super::ClientCertificate) distinguishes them.
    ///
    /// # Errors
    /// See [`IdentityError`]. No error contains the key.
    pub fn with_client_ca(chain: &[u8], key: &[u8], client_ca: &[u8]) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(client_ca) {
            let authority = authority.map_err(|_| IdentityError::ClientAuthority)?;
            roots.add(authority).map_err(|_| IdentityError::ClientAuthority)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build();
        Self::new(chain, key, verifier.map_err(|_| IdentityError::ClientAuthority)?)
    }

    #[expect(
        clippy::unwrap_in_result,
        reason = "ring has cipher suites for TLS 1.2 and 1.3"
    )]
    fn new(chain: &[u8], key: &[u8], clients: Arc<dyn ClientCertVerifier>) -> Result<Self, IdentityError> {
        let key = certified_key(chain, key)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // without tickets, which need only randomness, sessions are resumed from a small cache
        if let Ok(tickets) = ring::Ticketer::new() {
            config.ticketer = tickets;
        }
        Ok(Self {
            config: Arc::new(RwLock::new(Arc::new(config))),
        })
    }

    /// Takes the certificate, the key and the authorities of another one, for the connections that begin after it. All
    /// clones change.
    pub fn replace(&self, other: &Self) {
        let config = other.config();
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
