//! Causes of failed TLS handshakes.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use genesys_api::rfc3339;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use super::TlsVersion;

/// The cause of a failed TLS handshake. Its text has the server as subject and ends with the remedy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {
    /// The certificate was signed by another key than that of the authority with this name.
    #[error(
        "its certificate is signed with another key than its CA's, configure the new CA if it was renewed"
    )]
    AuthorityKey,
    /// The server refused the client certificate, or refused to continue without one.
    #[error(
        "it refused the client certificate, or the absence of one ({alert}), configure a valid one of a CA that it \
         trusts"
    )]
    ClientCertificateRefused {
        /// Name of the alert (RFC 8446 section 6.2).
        alert: String,
    },
    /// The server requires a client certificate.
    #[error("it requires a client certificate, configure one of a CA that it trusts")]
    ClientCertificateRequired,
    /// The certificate has expired.
    #[error("its certificate has expired{}, renew it there", Date(" at", *at))]
    Expired {
        /// End of its validity, if it is known.
        at: Option<SystemTime>,
    },
    /// The handshake was signed by another key than that of the certificate.
    #[error("it does not have the key of its certificate, configure the two that were issued together there")]
    KeyMismatch,
    /// The certificate has a property that is not allowed, such as a name that its authority may not certify.
    #[error("its certificate is not acceptable ({reason}), replace it there")]
    NotAllowed {
        /// Reason of the verifier.
        reason: String,
    },
    /// The certificate is for another purpose than to identify a server.
    #[error("its certificate is not for servers, issue one with the extended key usage serverAuth")]
    NotForServers,
    /// The server does not use TLS.
    #[error("it does not use TLS, check the port")]
    NotTls,
    /// The certificate is not valid yet.
    #[error("its certificate is not valid yet{}, check the clock of this machine", Date(", but from", *from))]
    NotYetValid {
        /// Start of its validity, if it is known.
        from: Option<SystemTime>,
    },
    /// TLS 1.2 and 1.3 have no cipher suite or key exchange that both sides support.
    #[error(
        "it shares no cipher suite or key exchange with this client, allow ECDHE with AES-GCM or ChaCha20-Poly1305 \
         there, or it requires a client certificate"
    )]
    NoCommonCipher,
    /// The server ended the handshake.
    #[error("it ended the TLS handshake with the alert {alert}, check its log")]
    Refused {
        /// Name of the alert (RFC 8446 section 6.2).
        alert: String,
    },
    /// The certificate is revoked.
    #[error("its certificate is revoked, replace it there")]
    Revoked,
    /// The certificate is that of an authority, which cannot identify a server.
    #[error(
        "its certificate is self-signed, issue it from an authority, which can be your own, and configure that one \
         as CA"
    )]
    SelfSignedAuthority,
    /// The certificate is signed with an algorithm that is not secure, or not supported.
    #[error(
        "its certificate is signed with {}, issue it with SHA-256 and RSA, ECDSA P-256 or P-384",
        name.unwrap_or("an algorithm that is not supported")
    )]
    SignatureAlgorithm {
        /// Name of the algorithm, if it is a known insecure one.
        name: Option<&'static str>,
    },
    /// The issuer of the certificate is not a trusted authority.
    #[error(
        "its certificate comes from an unknown issuer, configure its CA, or the certificate itself if it is \
         self-signed"
    )]
    UnknownIssuer,
    /// Any other failure: the source of the error describes it.
    #[error("the TLS handshake failed, see the cause")]
    Unspecified,
    /// The server supports only older versions of TLS.
    #[error("it supports {}", older_versions(*minimum))]
    Version {
        /// Oldest version that the settings allow.
        minimum: TlsVersion,
    },
    /// The RSA key of the certificate is too short.
    #[error(
        "its certificate has an RSA key of {bits} bits, issue one with 2048 to 8192 bits, or with ECDSA P-256"
    )]
    WeakKey {
        /// Length of the key, in bits.
        bits: usize,
    },
    /// The certificate is for other host names.
    #[error(
        "its certificate is for another host name{}, use the name that it was issued for",
        Names(names)
    )]
    WrongName {
        /// Names in the certificate.
        names: Vec<String>,
    },
    /// The server does not serve this host name.
    #[error("it does not serve this host name, check the name and the address that it resolves to")]
    WrongServer,
}

impl TlsFault {
    /// Returns the cause of a failed read, write or handshake. `None` if the transport failed, not TLS.
    pub(crate) fn of(error: &io::Error, minimum: TlsVersion) -> Option<Self> {
        Some(match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => Self::NotTls,
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            )
            | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => Self::Version { minimum },
            rustls::Error::PeerIncompatible(_) => Self::NoCommonCipher,
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert),
            _ => Self::Unspecified,
        })
    }

    /// Whether another attempt fails in the same way until somebody changes the server, the network or the settings.
    ///
    /// `false` for [`NoCommonCipher`](Self::NoCommonCipher) and [`WrongServer`](Self::WrongServer): load balancers also send
    /// the alerts `handshake_failure` and `unrecognized_name` while their configuration is replaced.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::NoCommonCipher | Self::Refused { .. } | Self::Unspecified | Self::WrongServer
        )
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired => Self::Expired { at: None },
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired {
                at: system_time(*not_after),
            },
            CertificateError::NotValidYet => Self::NotYetValid { from: None },
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYetValid {
                from: system_time(*not_before),
            },
            CertificateError::NotValidForName => Self::WrongName { names: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => Self::WrongName {
                names: presented.iter().map(|name| bare_name(name)).collect(),
            },
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            // the verifier of this crate reports the bad signature of a certificate as `AuthorityKey`
            CertificateError::BadSignature => Self::KeyMismatch,
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id,
                ..
            }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id,
                ..
            } => Self::SignatureAlgorithm {
                name: insecure_algorithm(signature_algorithm_id),
            },
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::NotForServers
            }
            CertificateError::Other(OtherError(error)) => {
                if let Some(fault) = error.downcast_ref::<Self>() {
                    return fault.clone();
                }
                match error.downcast_ref() {
                    // most self-signed certificates are authorities
                    Some(webpki::Error::CaUsedAsEndEntity) => Self::SelfSignedAuthority,
                    // the platform's verifier has a private type for it on Linux
                    None if error.to_string() == "certificate had invalid extensions" => Self::NotForServers,
                    _ => Self::NotAllowed {
                        reason: error.to_string(),
                    },
                }
            }
            other => Self::NotAllowed {
                reason: other.to_string(),
            },
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                Self::NoCommonCipher
            }
            AlertDescription::UnrecognisedName => Self::WrongServer,
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
                Self::ClientCertificateRequired
            }
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate => Self::ClientCertificateRefused {
                alert: format!("{alert:?}"),
            },
            _ => Self::Refused {
                alert: format!("{alert:?}"),
            },
        }
    }
}

/// The first names of a certificate in parentheses.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [a, b, c, _, ..] => write!(f, " ({a}, {b}, {c} and {} more)", self.0.len() - 3),
            few => write!(f, " ({})", few.join(", ")),
        }
    }
}

fn older_versions(minimum: TlsVersion) -> &'static str {
    match minimum {
        TlsVersion::Tls12 => "TLS 1.1 at most, update the server, older versions than TLS 1.2 are not secure",
        TlsVersion::Tls13 => "TLS 1.2 at most, update the server, or configure a lower minimum",
    }
}

/// A date after these words, if it is known.
struct Date(&'static str, Option<SystemTime>);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            // certificates have whole seconds
            Some(time) => write!(f, "{} {}", self.0, rfc3339(time.into()).replace(".000Z", "Z")),
            None => Ok(()),
        }
    }
}

fn system_time(time: UnixTime) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()))
}

/// Removes the kind from a name of webpki: `DnsName("a.example")` becomes `a.example`.
fn bare_name(name: &str) -> String {
    let inner = name
        .split_once('(')
        .and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

/// The name of an insecure signature algorithm by the DER of its identifier (RFC 3279 section 2.2).
fn insecure_algorithm(identifier: &[u8]) -> Option<&'static str> {
    const ALGORITHMS: [(&[u8], &str); 4] = [
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03], "SHA-1"),
    ];
    // tag and length of the object identifier precede it
    let oid = identifier.get(2..)?;
    let found = ALGORITHMS.iter().find(|(known, _)| oid.starts_with(known));
    found.map(|(_, name)| *name)
}
