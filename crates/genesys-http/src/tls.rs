//! TLS settings of the client, and the causes of failed handshakes.

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

use self::verifier::{SelfSigned, SelfSignedDetector};
use crate::endpoint::Endpoint;

/// The TLS settings of a process: TLS 1.2 and 1.3, certificates always verified, sessions resumed.
///
/// A process needs one. Clones share the trusted authorities and the resumable sessions.
#[derive(Clone)]
pub struct Tls {
    pub(crate) config: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the authorities of the operating system.
    ///
    /// # Errors
    /// [`TlsError::NoSystemAuthorities`] if it has none.
    pub fn system() -> Result<Self, TlsError> {
        let verifier = Verifier::new(provider()).map_err(|_| TlsError::NoSystemAuthorities)?;
        Ok(Self::verified_by(Arc::new(verifier)))
    }

    /// Trusts the system's authorities and those in `pem`.
    ///
    /// # Errors
    /// [`TlsError::Empty`] without a certificate in `pem`, [`TlsError::Unreadable`] for an invalid one.
    pub fn with_extra_ca(pem: &[u8]) -> Result<Self, TlsError> {
        let verifier = Verifier::new_with_extra_roots(authorities(pem)?, provider())
            .map_err(|_| TlsError::Unreadable)?;
        Ok(Self::verified_by(Arc::new(verifier)))
    }

    /// Trusts only the authorities in `pem`.
    ///
    /// # Errors
    /// [`TlsError::Empty`] without a certificate in `pem`, [`TlsError::Unreadable`] for an invalid one.
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
            .with_custom_certificate_verifier(Arc::new(SelfSignedDetector::new(verifier)))
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

/// The message of a failed handshake with `endpoint`. `None` if the transport failed, not TLS.
pub(crate) fn failure(error: &io::Error, endpoint: &Endpoint) -> Option<String> {
    Some(match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => return Some(certificate_failure(reason, endpoint)),
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
            format!("{endpoint} does not use TLS: check the port")
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => format!(
            "{endpoint} supports TLS 1.1 at most: update the server, older versions than TLS 1.2 are not secure"
        ),
        rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        )
        | rustls::Error::PeerIncompatible(_) => format!(
            "{endpoint} shares no cipher suite or key exchange with this client: allow ECDHE with AES-GCM or \
             ChaCha20-Poly1305 there"
        ),
        rustls::Error::AlertReceived(alert) => format!(
            "{endpoint} refused the TLS handshake with the alert {alert:?}: check that it serves this host name"
        ),
        _ => other_failure(endpoint),
    })
}

fn certificate_failure(reason: &CertificateError, endpoint: &Endpoint) -> String {
    let rest = match reason {
        CertificateError::BadSignature => {
            "is signed with another key than its CA's: if the CA was renewed, configure the new one"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired: it must be renewed there"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another host name: use the name that it was issued for"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: check the clock of this machine"
        }
        CertificateError::Other(OtherError(error)) if error.is::<SelfSigned>() => {
            "is self-signed: issue it from an authority, which can be your own, and configure that one as CA"
        }
        CertificateError::Revoked => "is revoked: it must be replaced there",
        CertificateError::UnknownIssuer => "comes from an unknown issuer: configure its CA if you trust it",
        _ => return other_failure(endpoint),
    };
    format!("the certificate of {endpoint} {rest}")
}

pub(crate) fn other_failure(endpoint: &Endpoint) -> String {
    format!("the TLS handshake with {endpoint} failed: see the cause")
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

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
