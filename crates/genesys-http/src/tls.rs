//! TLS settings of the client, and the causes of failed handshakes.

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
            .with_custom_certificate_verifier(verifier)
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
    let reason = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => certificate_failure(reason),
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
            "it does not use TLS, check the port"
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "it supports TLS 1.1 at most, update the server, older versions than TLS 1.2 are not secure",
        rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        )
        | rustls::Error::PeerIncompatible(_) => {
            "it shares no cipher suite or key exchange with this client, allow ECDHE with AES-GCM or \
             ChaCha20-Poly1305 there"
        }
        rustls::Error::AlertReceived(alert) => {
            return Some(format!(
                "cannot connect to {endpoint}: it refused the TLS handshake with the alert {alert:?}, check that it \
                 serves this host name"
            ));
        }
        _ => OTHER_FAILURE,
    };
    Some(format!("cannot connect to {endpoint}: {reason}"))
}

fn certificate_failure(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::BadSignature => {
            "its certificate is signed with another key than its CA's, configure the new CA if it was renewed"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, renew it there"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host name, use the name that it was issued for"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, check the clock of this machine"
        }
        // most self-signed certificates are authorities, which cannot identify a server
        CertificateError::Other(OtherError(error))
            if error.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            "its certificate is self-signed, issue it from an authority, which can be your own, and configure that one \
             as CA"
        }
        CertificateError::Revoked => "its certificate is revoked, replace it there",
        CertificateError::UnknownIssuer => {
            "its certificate comes from an unknown issuer, configure its CA, or the certificate itself if it is \
             self-signed"
        }
        _ => OTHER_FAILURE,
    }
}

pub(crate) const OTHER_FAILURE: &str = "the TLS handshake failed, see the cause";

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
