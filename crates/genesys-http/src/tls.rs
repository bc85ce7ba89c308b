//! TLS settings of the client.

mod fault;
mod stream;
mod verifier;

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

pub use self::fault::TlsFault;
pub use self::stream::TlsStream;
use self::verifier::Verifier;
use crate::ClientIdentity;

/// The TLS settings of a process: certificates always verified, sessions resumed.
///
/// A process needs one. Clones share the trusted authorities and the resumable sessions.
#[derive(Clone)]
pub struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) min_version: TlsVersion,
}

impl Tls {
    /// Trusts the authorities of the operating system.
    ///
    /// # Errors
    /// [`TlsError::NoSystemAuthorities`] if it has none.
    pub fn system() -> Result<Self, TlsError> {
        Self::new(TlsSettings::default())
    }

    /// Trusts the system's authorities and those in `pem`.
    ///
    /// # Errors
    /// [`TlsError::Empty`] without a certificate in `pem`, [`TlsError::Unreadable`] for an invalid one.
    pub fn with_extra_ca(pem: &[u8]) -> Result<Self, TlsError> {
        Self::trusting(Trust::SystemAnd(pem.to_vec()))
    }

    /// Trusts only the authorities in `pem`.
    ///
    /// # Errors
    /// [`TlsError::Empty`] without a certificate in `pem`, [`TlsError::Unreadable`] for an invalid one.
    pub fn only_ca(pem: &[u8]) -> Result<Self, TlsError> {
        Self::trusting(Trust::Only(pem.to_vec()))
    }

    fn trusting(trust: Trust) -> Result<Self, TlsError> {
        Self::new(TlsSettings {
            trust,
            ..TlsSettings::default()
        })
    }

    /// Loads the authorities of `settings`.
    ///
    /// # Errors
    /// See [`TlsError`].
    #[expect(
        clippy::unwrap_in_result,
        reason = "ring has cipher suites for TLS 1.2 and 1.3"
    )]
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(settings.min_version.and_later())
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier(settings.trust.verifier()?)));
        let mut config = match settings.identity {
            Some(identity) => config.with_client_cert_resolver(identity.resolver),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            min_version: settings.min_version,
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The settings of [`Tls::new`].
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "plain settings, made by the application"
)]
pub struct TlsSettings {
    /// Trusted authorities. Default: the system's.
    pub trust: Trust,
    /// Certificate for servers that require one. Default: none.
    pub identity: Option<ClientIdentity>,
    /// Oldest allowed version. Default: TLS 1.2.
    pub min_version: TlsVersion,
}

/// Trusted authorities.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Those of the operating system.
    #[default]
    System,
    /// Those of the operating system and those in this PEM text.
    SystemAnd(Vec<u8>),
    /// Only those in this PEM text.
    Only(Vec<u8>),
}

impl Trust {
    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        Ok(match self {
            Self::System => Arc::new(
                rustls_platform_verifier::Verifier::new(provider())
                    .map_err(|_| TlsError::NoSystemAuthorities)?,
            ),
            Self::SystemAnd(pem) => Arc::new(
                rustls_platform_verifier::Verifier::new_with_extra_roots(authorities(pem)?, provider())
                    .map_err(|_| TlsError::Unreadable)?,
            ),
            Self::Only(pem) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities(pem)? {
                    roots.add(authority).map_err(|_| TlsError::Unreadable)?;
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                    .build()
                    .map_err(|_| TlsError::Unreadable)?
            }
        })
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl TlsVersion {
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS_1_3,
        }
    }
}

/// Invalid or missing authorities.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate in the PEM text.
    #[error(
        "invalid CA file: it has no certificate, give PEM text with at least one BEGIN CERTIFICATE block"
    )]
    Empty,
    /// The operating system has no authorities.
    #[error(
        "no certificate authorities on this system: install its package (such as ca-certificates), or configure a CA"
    )]
    NoSystemAuthorities,
    /// Damaged PEM text, or an invalid certificate.
    #[error("invalid CA file: give unaltered PEM text, with the certificate of an authority in each block")]
    Unreadable,
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

static TLS_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

/// ALPN protocol of client and server.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsError::Unreadable)?;
    if found.is_empty() {
        return Err(TlsError::Empty);
    }
    Ok(found)
}
