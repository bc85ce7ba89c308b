//! Trust, and errors of TLS handshakes.

use std::sync::Arc;

use bytes::Bytes;
use genesys_http::server::{Identity, Limits};
use genesys_http::{Client, Error, ErrorKind, IdentityError, Tls, TlsError};
use http::Request;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::authority::Authority;
use crate::loopback::{Loopback, Raw, answer, client, get, read_head, write};

async fn served(identity: Identity) -> Loopback {
    Loopback::start(Some(identity), Limits::default(), |_| async {
        answer(200, "hello")
    })
    .await
}

async fn refused(tls: Tls, identity: Identity) -> Error {
    let server = served(identity).await;
    let error = Client::builder(tls)
        .build()
        .send(server.get("/"))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Tls, false));
    error
}

#[tokio::test]
async fn configured_authority_is_trusted() {
    let authority = Authority::new();
    let server = served(authority.loopback()).await;
    for tls in [
        authority.trusted(),
        Tls::with_extra_ca(authority.pem().as_bytes()).unwrap(),
    ] {
        let client = Client::builder(tls).build();
        assert_eq!(client.send(server.get("/")).await.unwrap().body(), "hello");
        let by_name = format!("https://localhost:{}/", server.address.port());
        let by_name = Request::get(by_name).body(Bytes::new()).unwrap();
        assert_eq!(client.send(by_name).await.unwrap().body(), "hello");
        assert!(client.connect(&server.host).await.unwrap().is_secure());
    }
}

#[tokio::test]
async fn self_signed_certificate_is_named_in_error() {
    for (is_ca, expected) in [
        (IsCa::NoCa, "unknown issuer"),
        (
            IsCa::Ca(BasicConstraints::Unconstrained),
            "is self-signed, issue it",
        ),
    ] {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        let identity = Identity::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let error = refused(Authority::new().trusted(), identity.clone()).await;
        assert!(error.to_string().contains(expected), "{error}");
        let extra = Tls::with_extra_ca(Authority::new().pem().as_bytes()).unwrap();
        let error = refused(extra, identity).await;
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Returns the error of a client whose server sends `answer` and closes.
async fn answered(answer: &'static [u8]) -> Error {
    let server = Raw::bind().await;
    let host = format!("https://{}", server.listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let sending = tokio::spawn(async move { client().send(get(&host, "/")).await });
    let (mut tcp, _) = server.listener.accept().await.unwrap();
    let mut header = [0; 5];
    tcp.read_exact(&mut header).await.unwrap();
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    tcp.read_exact(&mut hello).await.unwrap();
    tcp.write_all(answer).await.unwrap();
    tcp.shutdown().await.unwrap();
    sending.await.unwrap().unwrap_err()
}

/// The `ServerHello` of a server that supports at most `minor` of SSL 3: RFC 5246 section 7.4.1.3, with zeros for
/// randomness, no session, and RSA with AES-128-CBC.
const fn old_hello(minor: u8) -> [u8; 47] {
    let mut hello = [0; 47];
    let head = [22, 3, minor, 0, 42, 2, 0, 0, 38, 3, minor];
    let mut at = 0;
    while at < head.len() {
        hello[at] = head[at];
        at += 1;
    }
    hello[45] = 0x2f;
    hello
}

#[tokio::test]
async fn missing_server_capability_is_named_in_error() {
    const SSL_3: &[u8] = &old_hello(0);
    const TLS_1_0: &[u8] = &old_hello(1);
    const TLS_1_1: &[u8] = &old_hello(2);
    for (answer, kind, expected) in [
        // alerts: RFC 8446 section 6, in the record of an old server and of a new one
        (
            &[21, 3, 1, 0, 2, 2, 70][..],
            ErrorKind::Tls,
            "supports TLS 1.1 at most",
        ),
        (
            &[21, 3, 3, 0, 2, 2, 70],
            ErrorKind::Tls,
            "supports TLS 1.1 at most",
        ),
        (SSL_3, ErrorKind::Tls, "supports TLS 1.1 at most"),
        (TLS_1_0, ErrorKind::Tls, "supports TLS 1.1 at most"),
        (TLS_1_1, ErrorKind::Tls, "supports TLS 1.1 at most"),
        (&[21, 3, 3, 0, 2, 2, 40], ErrorKind::Tls, "shares no cipher suite"),
        (
            &[21, 3, 3, 0, 2, 2, 112],
            ErrorKind::Tls,
            "does not serve this host name",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            ErrorKind::Tls,
            "does not use TLS",
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", ErrorKind::Tls, "does not use TLS"),
        // as from a load balancer without a server: retryable
        (
            b"",
            ErrorKind::Connect,
            "closed the connection during the TLS handshake",
        ),
    ] {
        let error = answered(answer).await;
        assert!(error.to_string().contains(expected), "{answer:?}: {error}");
        assert_eq!((error.kind(), error.was_sent()), (kind, false), "{error}");
    }
}

#[tokio::test]
async fn tls_and_plain_mismatch_is_reported() {
    let authority = Authority::new();
    let client = Client::builder(authority.trusted()).build();
    let plain = Loopback::plain(|_| async { answer(200, "hello") }).await;
    let request = Request::get(format!("https://{}/", plain.address))
        .body(Bytes::new())
        .unwrap();
    let error = client.send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("does not use TLS"), "{error}");

    let secure = served(authority.loopback()).await;
    let request = Request::get(format!("http://{}/", secure.address))
        .body(Bytes::new())
        .unwrap();
    assert_eq!(
        client.send(request).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
}

#[tokio::test]
async fn tls_1_2_and_1_3_work_and_sessions_resume() {
    let authority = Authority::new();
    let (chain, key) = authority.issue_pem(|_| {});
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let server = Raw::bind().await;
        let host = format!("https://{}", server.listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let client = Client::builder(authority.trusted()).build();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let sending = tokio::spawn({
                let (client, request) = (client.clone(), get(&host, "/"));
                async move { client.send(request).await }
            });
            let (tcp, _) = server.listener.accept().await.unwrap();
            let mut stream = acceptor.accept(tcp).await.unwrap();
            read_head(&mut stream).await;
            write(
                &mut stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            )
            .await;
            sending.await.unwrap().unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(
            kinds,
            [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed],
            "{version:?}"
        );
    }
}

#[test]
fn invalid_pem_is_rejected_without_repeating_it() {
    let authority = Authority::new();
    let (chain, key) = authority.issue_pem(|_| {});
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(Tls::only_ca(b"").unwrap_err(), TlsError::Empty);
    assert_eq!(Tls::with_extra_ca(key.as_bytes()).unwrap_err(), TlsError::Empty);
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        Tls::only_ca(damaged.as_bytes()).unwrap_err(),
        TlsError::Unreadable
    );
    assert_eq!(
        Tls::with_extra_ca(damaged.as_bytes()).unwrap_err(),
        TlsError::Unreadable
    );
    for (chain, key, expected) in [
        ("", key.as_str(), IdentityError::Certificate),
        (damaged, &key, IdentityError::Certificate),
        (&chain, "", IdentityError::Key),
        (&chain, &chain, IdentityError::Key),
        (&chain, &other_key, IdentityError::Mismatch),
    ] {
        assert_eq!(
            Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err(),
            expected
        );
    }
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(
        format!("{identity:?} {:?}", authority.trusted()),
        "Identity { .. } Tls { .. }"
    );
}

#[tokio::test]
async fn system_authorities_are_trusted_by_default() {
    let server = served(Authority::new().loopback()).await;
    match Tls::system() {
        Ok(tls) => {
            let error = Client::builder(tls)
                .build()
                .send(server.get("/"))
                .await
                .unwrap_err();
            assert!(error.to_string().contains("unknown issuer"), "{error}");
        }
        Err(error) => assert_eq!(error, TlsError::NoSystemAuthorities),
    }
    drop(client());
}
