//! Kinds of receivers of webhooks, as real sockets: the status of a complete header section decides each outcome.

mod programs;
mod receiver;
mod sender;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genesys_api::Clock;
use genesys_http::Tls;
use guest_suite::webhook::Failure;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use self::receiver::Step::{Close, Hold, ReadRequest, Send};
use self::receiver::{Receiver, serve};
use self::sender::Expected::{Delivered, Failed};
use self::sender::Sender;
use self::table::{ANSWERING, OK, OVER_TLS, REFUSING};

async fn loopback() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn receiver_of_each_kind_has_its_outcome() {
    for (kind, steps, expected) in ANSWERING.iter().chain(REFUSING) {
        let sender = Sender::new(Tls::system().unwrap());
        let (listener, address) = loopback().await;
        let receiver = serve(listener, None, sender.clock.clone(), steps);
        assert_eq!(sender.deliver("http", address).await, *expected, "{kind}");
        receiver.abort();
    }
}

fn acceptor(chain: &str, key: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.collect(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// The authority and a certificate of `127.0.0.1` that ended yesterday, or that is valid.
fn identity(is_expired: bool) -> (String, TlsAcceptor) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let now = Clock::system().now().utc;
    params.not_before = now - time::Duration::days(9);
    params.not_after = now + time::Duration::days(if is_expired { -1 } else { 9 });
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(authority, rcgen::KeyPair::generate().unwrap()).unwrap();
    let chain = params.signed_by(&key, &issuer).unwrap().pem();
    (issuer.pem(), acceptor(&chain, &key.serialize_pem()))
}

#[tokio::test]
async fn receiver_with_tls_has_its_outcome() {
    let (ca, acceptor) = identity(false);
    for (kind, steps, expected) in OVER_TLS {
        let sender = Sender::new(Tls::only_ca(ca.as_bytes()).unwrap());
        let (listener, address) = loopback().await;
        let receiver = serve(listener, Some(acceptor.clone()), sender.clock.clone(), steps);
        assert_eq!(sender.deliver("https", address).await, *expected, "{kind}");
        receiver.abort();
    }
    let (expired_ca, expired) = identity(true);
    for (kind, ca, acceptor) in [
        ("expired", &expired_ca, Some(expired)),
        ("unknown authority", &expired_ca, Some(acceptor)),
        ("no TLS", &ca, None),
    ] {
        let sender = Sender::new(Tls::only_ca(ca.as_bytes()).unwrap());
        let (listener, address) = loopback().await;
        let steps = &[Send("HTTP/1.1 400 Bad Request\r\n\r\n"), Hold];
        let receiver = serve(listener, acceptor, sender.clock.clone(), steps);
        assert_eq!(
            sender.deliver("https", address).await,
            Failed(Failure::Tls),
            "{kind}"
        );
        receiver.abort();
    }
}

#[tokio::test]
async fn receiver_that_closed_an_idle_connection_gets_the_same_attempt() {
    let sender = Sender::new(Tls::system().unwrap());
    let (listener, address) = loopback().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let receiver = tokio::spawn({
        let (clock, requests) = (sender.clock.clone(), Arc::clone(&requests));
        async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut receiver = Receiver {
                    io: BufReader::new(Box::new(tcp)),
                    clock: clock.clone(),
                    unread: None,
                };
                receiver.run(&[ReadRequest, Send(OK)]).await;
                receiver.unread = None;
                // the connection of a repeated request is closed after its answer
                if receiver.io.fill_buf().await.unwrap().is_empty() {
                    continue;
                }
                // the next request arrives, and gets no byte of an answer
                receiver.run(&[ReadRequest, Close]).await;
                requests.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for _ in 0..4 {
        assert_eq!(sender.deliver("http", address).await, Delivered(200));
    }
    assert_eq!(requests.load(Ordering::Relaxed), 2, "connections that closed");
    receiver.abort();
}

#[tokio::test]
async fn receiver_without_room_for_connections_is_a_connect_failure() {
    let sender = Sender::new(Tls::system().unwrap());
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    assert_eq!(sender.deliver("http", address).await, Failed(Failure::Connect));
}
