//! Certificate and key of a server.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};

use crate::identity::{IdentityError, certified_key};
use crate::tls::{HTTP_1_1, provider};

/// A certificate with its key, for TLS 1.2 and 1.3. Clones share them and the session tickets.
#[derive(Clone)]
pub struct Identity {
    current: Arc<RwLock<Current>>,
}

#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    /// Verifies the certificates of clients, if some are accepted.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Identity {
    /// Parses the certificate, its chain and the private key, all in PEM.
    ///
    /// # Errors
    /// See [`IdentityError`]. No error contains the key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        Self::new(chain, key, None)
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
        Self::new(
            chain,
            key,
            Some(verifier.map_err(|_| IdentityError::ClientAuthority)?),
        )
    }

    #[expect(
        clippy::unwrap_in_result,
        reason = "ring has cipher suites for TLS 1.2 and 1.3"
    )]
    fn new(
        chain: &[u8],
        key: &[u8],
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<Self, IdentityError> {
        let key = certified_key(chain, key)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_client_cert_verifier(
                clients
                    .clone()
                    .unwrap_or_else(WebPkiClientVerifier::no_client_auth),
            )
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // without tickets, which need only randomness, sessions are resumed from a small cache
        if let Ok(tickets) = ring::Ticketer::new() {
            config.ticketer = tickets;
        }
        Ok(Self {
            current: Arc::new(RwLock::new(Current {
                config: Arc::new(config),
                clients,
            })),
        })
    }

    /// Takes the certificate, the key and the authorities of another one, for the connections that begin after it. All
    /// clones change. [`ClientCertificate::is_trusted`](super::ClientCertificate::is_trusted) uses the new authorities at once.
    pub fn replace(&self, other: &Self) {
        let current = other.current();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.current().config
    }

    /// Whether an authority in force signed this certificate of a client, and it is valid now.
    pub(super) fn trusts(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> bool {
        let clients = self.current().clients;
        clients.is_some_and(|clients| {
            clients
                .verify_client_cert(leaf, intermediates, UnixTime::now())
                .is_ok()
        })
    }

    fn current(&self) -> Current {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
