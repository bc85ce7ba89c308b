//! The certificate of a client.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::Identity;

/// The certificate of the client, in the extensions of each request of a client that has one. It was verified when the
/// connection began.
#[derive(Clone)]
pub struct ClientCertificate {
    leaf: CertificateDer<'static>,
    chain: Arc<[CertificateDer<'static>]>,
    identity: Identity,
}

impl ClientCertificate {
    pub(super) fn of(chain: Arc<[CertificateDer<'static>]>, identity: Identity) -> Option<Self> {
        Some(Self {
            leaf: chain.first()?.clone(),
            chain,
            identity,
        })
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.leaf
    }

    /// Whether it is valid now, by the authorities that are in force: [`Identity::replace`] can change them during a
    /// connection.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.identity
            .trusts(&self.leaf, self.chain.get(1..).unwrap_or_default())
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}
