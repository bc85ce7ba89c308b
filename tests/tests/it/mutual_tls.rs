//! Throw-away certificates, and a listener that demands one of its clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn issuer() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of `127.0.0.1` and its key.
pub(crate) fn issue(issuer: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

/// A listener in front of a server without TLS, for clients with a certificate.
pub(crate) struct MutualTls {
    pub(crate) address: SocketAddr,
    /// The certificate of each connection.
    presented: Arc<Mutex<Vec<CertificateDer<'static>>>>,
    task: JoinHandle<()>,
}

impl MutualTls {
    pub(crate) async fn start(issuer: &Authority, target: String) -> Self {
        let (acceptor, listener) = (acceptor(issuer), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let presented = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let presented = Arc::clone(&presented);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (acceptor, presented, target) =
                        (acceptor.clone(), Arc::clone(&presented), target.clone());
                    tokio::spawn(async move {
                        let mut client = acceptor.accept(client).await?;
                        let certificates = client.get_ref().1.peer_certificates().unwrap();
                        presented.lock().unwrap().push(certificates[0].clone());
                        copy_bidirectional(&mut client, &mut TcpStream::connect(target).await?).await
                    });
                }
            }
        });
        Self {
            address,
            presented,
            task,
        }
    }

    /// Whether a client presented this certificate.
    pub(crate) fn has_seen(&self, pem: &str) -> bool {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        self.presented.lock().unwrap().contains(&certificate)
    }
}

impl Drop for MutualTls {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(issuer: &Authority) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(issuer.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (chain, key) = issue(issuer);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
