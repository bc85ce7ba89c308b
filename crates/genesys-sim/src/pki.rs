//! Throw-away certificates, for servers on this machine.

use std::net::IpAddr;

use genesys_api::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use secrecy::SecretString;

/// Names of this machine.
pub const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Lifetime of a certificate, in days. Our choice.
const LIFETIME: i64 = 365;

/// One certificate, and the authority that signed it. The authority's key is discarded.
#[derive(Clone, Debug)]
pub struct Pki {
    /// The authority, which clients have to trust.
    pub ca_pem: String,
    /// The certificate.
    pub cert_pem: String,
    /// Its key.
    pub key_pem: SecretString,
}

/// Creates an authority, and a certificate under it for `names`: host names and addresses, at least one. The first label
/// of a host name may be `*`.
///
/// Its dates are by the system's clock, as TLS libraries use it, also under a simulated clock.
///
/// # Errors
/// If a name is not valid in a certificate.
pub fn throwaway_ca(names: &[&str]) -> Result<Pki, PkiError> {
    let error = |source| PkiError {
        names: names.join(", "),
        source,
    };
    if !names.iter().all(|name| is_valid(name)) {
        return Err(error(None));
    }
    create(names).map_err(|source| error(Some(source)))
}

/// An address, or the labels of a host name (RFC 1123, 2.1).
fn is_valid(name: &str) -> bool {
    let label = |label: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.chars().all(is_allowed)
    };
    let host = name.strip_prefix("*.").unwrap_or(name);
    name.parse::<IpAddr>().is_ok() || host.split('.').all(label)
}

fn create(names: &[&str]) -> Result<Pki, rcgen::Error> {
    let today = Clock::system().now().utc;
    let dated = |params: &mut CertificateParams, name: &str| {
        params.not_before = today - time::Duration::days(1);
        params.not_after = today + time::Duration::days(LIFETIME);
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, name);
    };

    let mut authority = CertificateParams::default();
    dated(&mut authority, "Guest Suite throw-away authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate()?;
    let ca_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut server = CertificateParams::new(names)?;
    dated(&mut server, "Guest Suite throw-away server");
    server.is_ca = IsCa::ExplicitNoCa;
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let cert_pem = server.signed_by(&key, &issuer)?.pem();
    Ok(Pki {
        ca_pem,
        cert_pem,
        key_pem: key.serialize_pem().into(),
    })
}

/// A certificate could not be created.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot create a certificate for {names:?}: use addresses and host names such as api.sim.test or *.sim.test"
)]
pub struct PkiError {
    names: String,
    source: Option<rcgen::Error>,
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn key_is_generated_and_hidden_in_debug() {
        let pki = throwaway_ca(&LOOPBACK).unwrap();
        assert!(pki.ca_pem.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(pki.cert_pem.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(pki.key_pem.expose_secret().contains("PRIVATE KEY"));
        assert!(!format!("{pki:?}").contains("PRIVATE KEY"));
        assert_ne!(throwaway_ca(&LOOPBACK).unwrap().ca_pem, pki.ca_pem);
    }

    #[test]
    fn name_of_no_host_is_refused() {
        for name in ["münchen.example", "a b", "", "a.*.test", "*", "https://sim.test"] {
            let error = throwaway_ca(&["127.0.0.1", name]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
