//! Whom the client trusts, and why a handshake failed.

mod verifier;

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{AlertDescription, CertificateError, ClientConfig, OtherError, PeerIncompatible, RootCertStore};
use rustls_platform_verifier::Verifier;

use self::verifier::{Discerning, SelfSigned};
use crate::place::Place;

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
        Ok(Self::verified_by(Arc::new(verifier)))
    }

    /// Trusts the system's authorities, and those in `pem` besides.
    ///
    /// # Errors
    /// If `pem` holds no certificate, or one that cannot be read.
    pub fn with_extra_ca(pem: &[u8]) -> Result<Self, TlsError> {
        let verifier = Verifier::new_with_extra_roots(authorities(pem)?, provider())
            .map_err(|_| TlsError::Unreadable)?;
        Ok(Self::verified_by(Arc::new(verifier)))
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
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|_| TlsError::Unreadable)?;
        Ok(Self::verified_by(verifier))
    }

    fn verified_by(verifier: Arc<dyn ServerCertVerifier>) -> Self {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Discerning::new(verifier)))
            .with_no_client_auth();
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
    /// The server refused with this alert (RFC 8446 section 6).
    Alert(AlertDescription),
    BadSignature,
    Expired,
    /// No cipher suite, key exchange or signature that both know.
    NothingInCommon,
    NotTls,
    NotYetValid,
    Other,
    Revoked,
    SelfSigned,
    /// The server speaks TLS 1.1, 1.0 or SSL at most.
    TooOld,
    UnknownIssuer,
    WrongName,
}

impl TlsFailure {
    /// Reads an error of a TLS stream. `None` if the transport failed, not TLS.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match error {
            rustls::Error::InvalidCertificate(reason) => Self::of_certificate(reason),
            rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => Self::NotTls,
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::TooOld,
            rustls::Error::AlertReceived(
                AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
            )
            | rustls::Error::PeerIncompatible(_) => Self::NothingInCommon,
            rustls::Error::AlertReceived(alert) => Self::Alert(*alert),
            _ => Self::Other,
        })
    }

    fn of_certificate(reason: &CertificateError) -> Self {
        match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::BadSignature => Self::BadSignature,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Other(OtherError(error)) if error.is::<SelfSigned>() => Self::SelfSigned,
            _ => Self::Other,
        }
    }

    /// What went wrong at `place`, and what to do.
    pub(crate) fn tell(self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(alert) => write!(
                f,
                "{place} refused the TLS handshake with the alert {alert:?}: check that it serves this host name"
            ),
            Self::BadSignature => write!(
                f,
                "the certificate of {place} is signed with another key than its CA's: if the CA was made anew, \
                 configure the new one"
            ),
            Self::Expired => write!(
                f,
                "the certificate of {place} has expired: it must be renewed there"
            ),
            Self::NothingInCommon => write!(
                f,
                "{place} shares no cipher suite or key exchange with this client: allow ECDHE with AES-GCM or \
                 ChaCha20-Poly1305 there"
            ),
            Self::NotTls => write!(f, "{place} does not speak TLS: check the port"),
            Self::NotYetValid => write!(
                f,
                "the certificate of {place} is not valid yet: check the clock of this machine"
            ),
            Self::Other => write!(f, "the TLS handshake with {place} failed: the cause says at what"),
            Self::Revoked => write!(
                f,
                "the certificate of {place} is revoked: it must be replaced there"
            ),
            Self::SelfSigned => write!(
                f,
                "the certificate of {place} is self-signed: have it issued by an authority, your own if you like, \
                 and configure that one as CA"
            ),
            Self::TooOld => write!(
                f,
                "{place} speaks an older TLS than 1.2: update the server, older versions are not secure"
            ),
            Self::UnknownIssuer => write!(
                f,
                "the certificate of {place} comes from an unknown issuer: configure its CA if you trust it"
            ),
            Self::WrongName => write!(
                f,
                "the certificate of {place} is for another host name: use the name that it was issued for"
            ),
        }
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Both ends speak HTTP/1.1 only, and say so.
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
