//! Whom the client trusts, and why a handshake failed.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::Verifier;

/// The TLS settings of a process: TLS 1.2 and 1.3, certificates always verified, sessions resumed.
///
/// Make one and clone it: clones share the trusted authorities and the sessions that can be resumed.
#[derive(Clone)]
pub struct Tls {
    pub(crate) config: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the authorities that the operating system trusts.
    ///
    /// # Errors
    /// [`TlsError::NoSystemAuthorities`] if it trusts none.
    pub fn system() -> Result<Self, TlsError> {
        let verifier = Verifier::new(provider()).map_err(|_| TlsError::NoSystemAuthorities)?;
        Ok(Self::verified_by(verifier))
    }

    /// Trusts the system's authorities, and those in `pem` besides.
    ///
    /// # Errors
    /// If `pem` holds no certificate, or one that cannot be read.
    pub fn with_extra_ca(pem: &[u8]) -> Result<Self, TlsError> {
        let verifier = Verifier::new_with_extra_roots(authorities(pem)?, provider())
            .map_err(|_| TlsError::Unreadable)?;
        Ok(Self::verified_by(verifier))
    }

    /// Trusts the authorities in `pem` and no others.
    ///
    /// # Errors
    /// If `pem` holds no certificate, or one that cannot be read.
    pub fn only_ca(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities(pem)? {
            roots.add(authority).map_err(|_| TlsError::Unreadable)?;
        }
        Ok(Self::finish(builder().with_root_certificates(roots)))
    }

    fn verified_by(verifier: Verifier) -> Self {
        Self::finish(
            builder()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier)),
        )
    }

    fn finish(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Self {
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Self {
            config: Arc::new(config),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The authorities to trust cannot be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Not a single certificate in the PEM text.
    #[error("the CA file has no certificate: give PEM text with at least one BEGIN CERTIFICATE block")]
    Empty,
    /// The operating system trusts nobody.
    #[error(
        "this system trusts no certificate authority: install its package of them (such as ca-certificates), or \
         configure a CA"
    )]
    NoSystemAuthorities,
    /// Damaged PEM text, or a certificate that is none.
    #[error(
        "the CA file cannot be read: give unaltered PEM text, with the certificate of an authority in each block"
    )]
    Unreadable,
}

/// Why a handshake failed, in the classes that ask for different cures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TlsFailure {
    BadSignature,
    Expired,
    NotTls,
    NotYetValid,
    Other,
    Revoked,
    UnknownIssuer,
    WrongName,
}

impl TlsFailure {
    /// Reads an error of a TLS stream. `None` if the transport failed, not TLS.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match error {
            rustls::Error::InvalidCertificate(reason) => match reason {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::WrongName
                }
                CertificateError::BadSignature => Self::BadSignature,
                CertificateError::Revoked => Self::Revoked,
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                _ => Self::Other,
            },
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Other,
        })
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Both ends speak HTTP/1.1 only, and say so.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
}

fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsError::Unreadable)?;
    if found.is_empty() {
        return Err(TlsError::Empty);
    }
    Ok(found)
}
