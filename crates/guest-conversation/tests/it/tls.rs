//! TLS problems of a server, as the cause of a loss.

use std::future::IntoFuture;
use std::net::SocketAddr;

use genesys_http::{Client, Proxy, Tls};
use guest_conversation::client::{ConnectError, ConnectLimiter, Connection, Settings};
use guest_conversation::{ConnectionEvent, Conversation, Event, Loss};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ws_transport::{CloseInfo, OriginPolicy};

use crate::virtual_peer::web_messaging;

/// The first loss at a server that answers the first flight with `answer` and closes.
async fn first_loss(answer: &[u8]) -> (SocketAddr, CloseInfo) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut connection = Connection::open(
        Conversation::new(web_messaging()),
        Settings {
            http: Client::builder(Tls::system().unwrap()).build(),
            url: format!("wss://{address}/v1").parse().unwrap(),
            origin: OriginPolicy::new(["https://shop.example"])
                .unwrap()
                .admit(["https://shop.example"])
                .unwrap(),
            limiter: ConnectLimiter::default(),
        },
    );
    let (tcp, _) = listener.accept().await.unwrap();
    answer_hello(tcp, answer).await;
    match connection.next_event().await {
        Some(Event::Connection(ConnectionEvent::Reconnecting {
            cause: Loss::Closed(info),
            ..
        })) => {
            assert_eq!(info.code(), None);
            (address, info)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn loss_names_the_tls_problem_and_what_to_do() {
    for (answer, expected, permanent) in [
        // the alert protocol_version, RFC 8446 section 6
        (
            &[21, 3, 1, 0, 2, 2, 70][..],
            "supports TLS 1.1 at most, update the server",
            true,
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "does not use TLS, check the port",
            true,
        ),
        (
            b"",
            "closed the connection during the TLS handshake, check the port",
            false,
        ),
    ] {
        let (address, info) = first_loss(answer).await;
        let reason = info.reason();
        assert_eq!(info.is_permanent(), permanent, "{reason}");
        assert!(
            reason.contains(expected) && reason.contains(&address.to_string()),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn connect_returns_permanent_fault_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let proxy = Proxy::new(&proxy.into(), "").unwrap();
    let http = Client::builder(Tls::system().unwrap()).proxy(proxy).build();
    let deployment = "7a70b274-0000-4000-8000-000000000001".parse().unwrap();
    let mut connect = Connection::connect("mypurecloud.ie", deployment).origin("https://shop.example");
    connect.http = Some(http);
    let connecting = tokio::spawn(connect.into_future());
    let (mut tcp, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    answer_hello(tcp, b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let error = connecting.await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("does not use TLS"), "{error}");
}

/// Reads the first flight of a client, answers and closes.
async fn answer_hello(mut tcp: TcpStream, answer: &[u8]) {
    let mut header = [0; 5];
    tcp.read_exact(&mut header).await.unwrap();
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    tcp.read_exact(&mut hello).await.unwrap();
    tcp.write_all(answer).await.unwrap();
    tcp.shutdown().await.unwrap();
}
