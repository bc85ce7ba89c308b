//! Verification of certificates that keeps apart what rustls reports alike.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};

use super::TlsFault;

/// Lengths of RSA keys that ring verifies, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A verifier of the system or of configured authorities.
///
/// rustls has one error for a bad signature of a certificate and of the handshake, and for a signature of a key that is
/// too short. This verifier distinguishes the three.
#[derive(Debug)]
pub(super) struct Verifier(pub(super) Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| match error {
                rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
                    match intermediates.iter().find_map(weak_key) {
                        Some(weak) => typed(weak),
                        None => typed(TlsFault::AuthorityKey),
                    }
                }
                other => other,
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = self.0.verify_tls12_signature(message, certificate, signature);
        verified.map_err(|error| handshake_error(error, certificate))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = self.0.verify_tls13_signature(message, certificate, signature);
        verified.map_err(|error| handshake_error(error, certificate))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn handshake_error(error: rustls::Error, certificate: &CertificateDer<'_>) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            weak_key(certificate).map_or(error, typed)
        }
        other => other,
    }
}

fn typed(fault: TlsFault) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(fault))).into()
}

/// The fault of a certificate whose RSA key has a length that is not verified.
fn weak_key(certificate: &CertificateDer<'_>) -> Option<TlsFault> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let bits = rsa_bits(&certificate.subject_public_key_info())?;
    (!RSA_BITS.contains(&bits)).then_some(TlsFault::WeakKey { bits })
}

/// The length of an RSA key, from its `SubjectPublicKeyInfo` (RFC 3279 section 2.3.1). `None` for another kind of key.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    /// The object identifier `rsaEncryption` with tag and length.
    const RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (info, _) = element(key)?;
    let (algorithm, rest) = element(info)?;
    if !algorithm.starts_with(&RSA) {
        return None;
    }
    let (bit_string, _) = element(rest)?;
    let (rsa_key, _) = element(bit_string.get(1..)?)?;
    let (modulus, _) = element(rsa_key)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// Splits the first DER element into its content and the bytes after it.
pub(super) fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = match length {
        ..=0x7f => (usize::from(length), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
