//! Causes of failed TLS handshakes.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use genesys_api::rfc3339;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use super::TlsVersion;

/// The cause of a failed TLS handshake. Its text has the server as subject and ends with the remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TlsFault {
    /// The certificate was signed by another key than that of the authority with this name.
    AuthorityKey,
    /// The server refused the client certificate, or refused to continue without one.
    ClientCertificateRefused {
        /// Name of the alert (RFC 8446 section 6.2).
        alert: String,
    },
    /// The server requires a client certificate.
    ClientCertificateRequired,
    /// The certificate has expired.
    Expired {
        /// End of its validity, if it is known.
        at: Option<SystemTime>,
    },
    /// The handshake was signed by another key than that of the certificate.
    KeyMismatch,
    /// The certificate has a property that is not allowed, such as a name that its authority may not certify.
    NotAllowed {
        /// Reason of the verifier.
        reason: String,
    },
    /// The certificate is for another purpose than to identify a server.
    NotForServers,
    /// The server does not use TLS.
    NotTls,
    /// The certificate is not valid yet.
    NotYetValid {
        /// Start of its validity, if it is known.
        from: Option<SystemTime>,
    },
    /// TLS 1.2 and 1.3 have no cipher suite or key exchange that both sides support.
    NoCommonCipher,
    /// The server ended the handshake.
    Refused {
        /// Name of the alert (RFC 8446 section 6.2).
        alert: String,
    },
    /// The certificate is revoked.
    Revoked,
    /// The certificate is that of an authority, which cannot identify a server.
    SelfSignedAuthority,
    /// The certificate is signed with an algorithm that is not secure, or not supported.
    SignatureAlgorithm {
        /// Name of the algorithm, if it is a known insecure one.
        name: Option<&'static str>,
    },
    /// The issuer of the certificate is not a trusted authority.
    UnknownIssuer,
    /// Any other failure: the source of the error describes it.
    Unspecified,
    /// The server supports only older versions of TLS.
    Version {
        /// Oldest version that the settings allow.
        minimum: TlsVersion,
    },
    /// The RSA key of the certificate is too short.
    WeakKey {
        /// Length of the key, in bits.
        bits: usize,
    },
    /// The certificate is for other host names.
    WrongName {
        /// Names in the certificate.
        names: Vec<String>,
    },
    /// The server does not serve this host name.
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
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Unspecified)
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

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorityKey => f.write_str(
                "its certificate is signed with another key than its CA's, configure the new CA if it was renewed",
            ),
            Self::ClientCertificateRefused { alert } => write!(
                f,
                "it refused the client certificate, or the absence of one ({alert}), configure a valid one of a CA that it \
                 trusts"
            ),
            Self::ClientCertificateRequired => {
                f.write_str("it requires a client certificate, configure one of a CA that it trusts")
            }
            Self::Expired { at } => {
                write!(f, "its certificate has expired{}, renew it there", Date(" at", *at))
            }
            Self::KeyMismatch => f.write_str(
                "it does not have the key of its certificate, configure the two that were issued together there",
            ),
            Self::NotAllowed { reason } => {
                write!(f, "its certificate is not acceptable ({reason}), replace it there")
            }
            Self::NotForServers => f.write_str(
                "its certificate is not for servers, issue one with the extended key usage serverAuth",
            ),
            Self::NotTls => f.write_str("it does not use TLS, check the port"),
            Self::NotYetValid { from } => write!(
                f,
                "its certificate is not valid yet{}, check the clock of this machine",
                Date(", but from", *from)
            ),
            Self::NoCommonCipher => f.write_str(
                "it shares no cipher suite or key exchange with this client, allow ECDHE with AES-GCM or \
                 ChaCha20-Poly1305 there, or it requires a client certificate",
            ),
            Self::Refused { alert } => {
                write!(f, "it ended the TLS handshake with the alert {alert}, check its log")
            }
            Self::Revoked => f.write_str("its certificate is revoked, replace it there"),
            Self::SelfSignedAuthority => f.write_str(
                "its certificate is self-signed, issue it from an authority, which can be your own, and configure that one \
                 as CA",
            ),
            Self::SignatureAlgorithm { name } => {
                let problem = match name {
                    Some(name) => format!("with {name}, which is not secure"),
                    None => "with an algorithm that is not supported".to_owned(),
                };
                write!(f, "its certificate is signed {problem}, issue it with SHA-256 and RSA, ECDSA P-256 or P-384")
            }
            Self::UnknownIssuer => f.write_str(
                "its certificate comes from an unknown issuer, configure its CA, or the certificate itself if it is \
                 self-signed",
            ),
            Self::Unspecified => f.write_str("the TLS handshake failed, see the cause"),
            Self::Version {
                minimum: TlsVersion::Tls12,
            } => f.write_str(
                "it supports TLS 1.1 at most, update the server, older versions than TLS 1.2 are not secure",
            ),
            Self::Version {
                minimum: TlsVersion::Tls13,
            } => f.write_str("it does not support TLS 1.3, update the server, or configure a lower minimum"),
            Self::WeakKey { bits } => write!(
                f,
                "its certificate has an RSA key of {bits} bits, issue one with 2048 to 8192 bits, or with ECDSA P-256"
            ),
            Self::WrongName { names } => {
                f.write_str("its certificate is for another host name")?;
                match names.split_at_checked(NAMES) {
                    _ if names.is_empty() => {}
                    Some((shown, hidden)) if !hidden.is_empty() => {
                        write!(f, " ({} and {} more)", shown.join(", "), hidden.len())?;
                    }
                    _ => write!(f, " ({})", names.join(", "))?,
                }
                f.write_str(", use the name that it was issued for")
            }
            Self::WrongServer => {
                f.write_str("it does not serve this host name, check the name and the address that it resolves to")
            }
        }
    }
}

impl std::error::Error for TlsFault {}

/// Names of a certificate in an error.
const NAMES: usize = 3;

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
