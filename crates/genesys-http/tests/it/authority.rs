//! A throw-away certificate authority.

use genesys_http::Tls;
use genesys_http::server::Identity;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("throw-away CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn trusted(&self) -> Tls {
        Tls::only_ca(self.pem().as_bytes()).unwrap()
    }

    /// The identity of `127.0.0.1` and `localhost`.
    pub(crate) fn loopback(&self) -> Identity {
        self.issue(|_| {})
    }

    pub(crate) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (chain, key) = self.issue_pem(change);
        Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    /// Certificate and key.
    pub(crate) fn issue_pem(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A certificate of `127.0.0.1` for any public key.
    pub(crate) fn certify(&self, key: &impl PublicKeyData) -> CertificateDer<'static> {
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }
}
