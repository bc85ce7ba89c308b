//! Causes of failed handshakes, each with a server that has the fault.

use std::sync::Arc;

use genesys_api::{Host, error_chain};
use genesys_http::{Client, ClientIdentity, Error, ErrorKind, Tls, TlsFault, TlsSettings, TlsVersion, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, Signer, SingleCertAndKey};
use rustls::{
    RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::loopback::{Raw, get, read_head, write};

/// Returns the fault that `tls` reports at a server with this configuration.
async fn fault(tls: &Tls, config: ServerConfig) -> TlsFault {
    let error = sent(tls, config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    let chain = error_chain(&error);
    assert!(chain.len() < 300 && !chain.contains('['), "{chain}");
    error.tls_fault().unwrap().clone()
}

/// Sends a request to a server that accepts one connection.
async fn sent(tls: &Tls, config: ServerConfig) -> Result<(), Error> {
    sent_by(&Client::builder(tls.clone()).build(), config).await
}

async fn sent_by(client: &Client, config: ServerConfig) -> Result<(), Error> {
    let server = Raw::bind().await;
    let host: Host = format!("https://{}", server.listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let serving = tokio::spawn(async move {
        let (tcp, _) = server.listener.accept().await.unwrap();
        match TlsAcceptor::from(Arc::new(config))
            .accept(tcp)
            .into_fallible()
            .await
        {
            Ok(mut stream) => {
                read_head(&mut stream).await;
                write(&mut stream, "HTTP/1.1 204 No Content\r\n\r\n").await;
            }
            // a socket that is closed with unread bytes is reset, which may destroy the alert
            Err((_, mut tcp)) => {
                tcp.shutdown().await.unwrap();
                let _ = tcp.read_to_end(&mut Vec::new()).await;
            }
        }
    });
    let response = client.send(get(&host, "/")).await;
    serving.await.unwrap();
    response.map(drop)
}

fn versions(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
}

fn serving((chain, key): &(String, String)) -> ServerConfig {
    versions(&[&TLS13, &TLS12])
        .with_no_client_auth()
        .with_single_cert(vec![certificate(chain)], private_key(key))
        .unwrap()
}

/// A server that signs its handshakes with any key, whether or not it is that of the certificate.
fn signing_with(
    version: &'static SupportedProtocolVersion,
    certificate: CertificateDer<'static>,
    key: Arc<dyn rustls::sign::SigningKey>,
) -> ServerConfig {
    let key = CertifiedKey::new(vec![certificate], key);
    versions(&[version])
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn private_key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// An RSA key of any length that signs with zeros.
#[derive(Debug)]
struct FakeRsa {
    /// `RSAPublicKey` (RFC 8017 appendix A.1.1).
    public: Vec<u8>,
    bytes: usize,
}

impl FakeRsa {
    fn new(bits: u16) -> Self {
        let modulus = bits / 8 + 1;
        let mut public = vec![0x30, 0x82];
        public.extend((4 + modulus + 5).to_be_bytes());
        public.extend([0x02, 0x82]);
        public.extend(modulus.to_be_bytes());
        public.extend([0x00, 0xc1]);
        public.resize(public.len() + usize::from(modulus) - 2, 0xc1);
        public.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        Self {
            public,
            bytes: usize::from(bits / 8),
        }
    }
}

impl PublicKeyData for FakeRsa {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for FakeRsa {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0; self.bytes])
    }
}

impl rustls::sign::SigningKey for FakeRsa {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(ZeroSigner(self.bytes)))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::RSA
    }
}

#[derive(Debug)]
struct ZeroSigner(usize);

impl Signer for ZeroSigner {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![0; self.0])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}

#[tokio::test]
async fn certificate_faults_are_distinguished_by_both_verifiers() {
    let authority = Authority::new();
    let expired = authority.issue_pem(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let future = authority.issue_pem(|params| params.not_before = date_time_ymd(3000, 1, 1));
    let other_name = authority.issue_pem(|params| {
        params.subject_alt_names.clear();
        let names = CertificateParams::new(["a.example".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        params.subject_alt_names.extend(names.subject_alt_names);
    });
    let for_clients = authority.issue_pem(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let is_authority = authority.issue_pem(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    // the same name as the trusted one, so that only the signature differs
    let renewed = Authority::new().issue_pem(|_| {});
    let unknown = Authority::named("another CA").issue_pem(|_| {});
    for tls in [
        authority.trusted(),
        Tls::with_extra_ca(authority.pem().as_bytes()).unwrap(),
    ] {
        let expired = fault(&tls, serving(&expired)).await;
        assert!(
            matches!(expired, TlsFault::Expired { at: Some(_) }),
            "{expired:?}"
        );
        assert_eq!(
            expired.to_string(),
            "its certificate has expired at 2020-01-01T00:00:00Z, renew it there"
        );
        let future = fault(&tls, serving(&future)).await;
        assert!(
            matches!(future, TlsFault::NotYetValid { from: Some(_) }),
            "{future:?}"
        );
        assert!(
            future.to_string().contains("not valid yet, but from 3000-01-01"),
            "{future}"
        );
        let other_name = fault(&tls, serving(&other_name)).await;
        let names = ["a.example", "192.0.2.1"].map(str::to_owned).to_vec();
        assert_eq!(other_name, TlsFault::WrongName { names });
        assert!(
            other_name.to_string().contains("(a.example, 192.0.2.1)"),
            "{other_name}"
        );
        assert_eq!(fault(&tls, serving(&for_clients)).await, TlsFault::NotForServers);
        assert_eq!(
            fault(&tls, serving(&is_authority)).await,
            TlsFault::SelfSignedAuthority
        );
        assert_eq!(fault(&tls, serving(&renewed)).await, TlsFault::AuthorityKey);
        let unknown = fault(&tls, serving(&unknown)).await;
        assert_eq!(unknown, TlsFault::UnknownIssuer);
        assert!(unknown.is_permanent());
    }
}

#[tokio::test]
async fn server_without_key_of_its_certificate_is_distinguished_from_renewed_authority() {
    let authority = Authority::new();
    let (chain, _) = authority.issue_pem(|_| {});
    let other = KeyPair::generate().unwrap().serialize_pem();
    for version in [&TLS12, &TLS13] {
        let other = rustls::crypto::ring::sign::any_supported_type(&private_key(&other)).unwrap();
        let config = signing_with(version, certificate(&chain), other);
        assert_eq!(fault(&authority.trusted(), config).await, TlsFault::KeyMismatch);
    }
}

#[tokio::test]
async fn short_rsa_key_is_reported_with_its_length() {
    for bits in [1024, 2040, 2048] {
        let authority = Authority::new();
        let key = Arc::new(FakeRsa::new(bits));
        let certificate = authority.certify(&*key);
        for version in [&TLS12, &TLS13] {
            let config = signing_with(version, certificate.clone(), key.clone());
            let expected = match usize::from(bits) {
                2048.. => TlsFault::KeyMismatch,
                bits => TlsFault::WeakKey { bits },
            };
            assert_eq!(fault(&authority.trusted(), config).await, expected);
        }
    }
}

#[tokio::test]
async fn signature_with_sha_1_is_reported_by_name() {
    const SHA_256: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, FakeRsa::new(2048)).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    for (last, name) in [(0x05, Some("SHA-1")), (0x04, Some("MD5")), (0x0e, None)] {
        let mut der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        while let Some(at) = der.windows(SHA_256.len()).position(|part| part == SHA_256) {
            der[at + SHA_256.len() - 1] = last;
        }
        let key = rustls::crypto::ring::sign::any_supported_type(&private_key(&key.serialize_pem())).unwrap();
        let tls = Tls::only_ca(issuer.pem().as_bytes()).unwrap();
        let found = fault(&tls, signing_with(&TLS13, der.into(), key)).await;
        assert_eq!(found, TlsFault::SignatureAlgorithm { name });
    }
}

#[tokio::test]
async fn demanded_client_certificate_is_reported_and_sent_if_configured() {
    let authority = Authority::new();
    let (chain, key) = authority.issue_pem(|_| {});
    let identity = |authority: &Authority| {
        let (chain, key) = authority.issue_pem(|_| {});
        ClientIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    };
    for version in [&TLS12, &TLS13] {
        let config = || {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(&authority.pem())).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            versions(&[version])
                .with_client_cert_verifier(verifier.build().unwrap())
                .with_single_cert(vec![certificate(&chain)], private_key(&key))
                .unwrap()
        };
        let tls = |identity| {
            Tls::new(TlsSettings {
                trust: Trust::Only(authority.pem().into_bytes()),
                identity,
                ..TlsSettings::default()
            })
            .unwrap()
        };
        let absent = fault(&tls(None), config()).await;
        assert_eq!(absent, TlsFault::ClientCertificateRequired, "{version:?}");
        let untrusted = identity(&Authority::named("another CA"));
        let untrusted = tls(Some(untrusted));
        let refused = fault(&untrusted, config()).await;
        let alert = "UnknownCA".to_owned();
        assert_eq!(
            refused,
            TlsFault::ClientCertificateRefused { alert },
            "{version:?}"
        );
        let trusted = tls(Some(identity(&authority)));
        sent(&trusted, config()).await.unwrap();
        let client = Client::builder(untrusted).build();
        let clone = client.clone();
        client.replace_settings(&Client::builder(trusted).build());
        sent_by(&clone, config()).await.unwrap();
    }
}

#[tokio::test]
async fn minimum_version_excludes_older_servers() {
    let authority = Authority::new();
    let (chain, key) = authority.issue_pem(|_| {});
    let minimum = TlsVersion::Tls13;
    let tls = Tls::new(TlsSettings {
        trust: Trust::Only(authority.pem().into_bytes()),
        min_version: minimum,
        ..TlsSettings::default()
    })
    .unwrap();
    let config = |version| {
        versions(&[version])
            .with_no_client_auth()
            .with_single_cert(vec![certificate(&chain)], private_key(&key))
            .unwrap()
    };
    let old = fault(&tls, config(&TLS12)).await;
    assert_eq!(old, TlsFault::Version { minimum });
    assert!(
        old.to_string().starts_with("it supports TLS 1.2 at most"),
        "{old}"
    );
    sent(&tls, config(&TLS13)).await.unwrap();
}
