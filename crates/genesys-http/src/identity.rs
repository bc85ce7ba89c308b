//! Certificates with their keys, in PEM.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::tls::provider;

/// The certificate of a client with its key, for servers that require one. Clones share it.
#[derive(Clone)]
pub struct ClientIdentity {
    pub(crate) resolver: Arc<SingleCertAndKey>,
}

impl ClientIdentity {
    /// Parses the certificate, its chain and the private key, all in PEM.
    ///
    /// # Errors
    /// See [`IdentityError`]. No error contains the key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let key = certified_key(chain, key)?;
        Ok(Self {
            resolver: Arc::new(SingleCertAndKey::from(key)),
        })
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

/// An invalid certificate or key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No certificate, or an invalid one.
    #[error("invalid certificate: give PEM text that begins with the certificate that belongs to the key")]
    Certificate,
    /// No authority of client certificates, or an invalid one.
    #[error("invalid authority of client certificates: give its certificate as PEM text")]
    ClientAuthority,
    /// No private key, or one of an unknown kind.
    #[error("invalid private key: give an unencrypted RSA, ECDSA or Ed25519 key in PEM")]
    Key,
    /// The key does not match the certificate.
    #[error("invalid private key: it does not match the certificate, give the two that were issued together")]
    Mismatch,
}

/// Parses a certificate with its chain, and its key.
pub(crate) fn certified_key(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, IdentityError> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| IdentityError::Certificate)?;
    if chain.is_empty() {
        return Err(IdentityError::Certificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch,
        rustls::Error::InvalidCertificate(_) => IdentityError::Certificate,
        _ => IdentityError::Key,
    })
}
