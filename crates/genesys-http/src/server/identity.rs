//! Certificate and key of a server.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::SingleCertAndKey;

use crate::identity::{IdentityError, certified_key};
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
        let key = certified_key(chain, key)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
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
