//! TLS problems of a server, as the cause of a loss.

use std::net::SocketAddr;

use genesys_http::{Client, Tls};
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{ConnectionEvent, Conversation, Event, Loss};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use ws_transport::OriginPolicy;

use crate::virtual_peer::web_messaging;

/// Text of the first loss at a server that answers the first flight with `answer` and closes.
async fn first_loss(answer: &[u8]) -> (SocketAddr, String) {
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
    let (mut tcp, _) = listener.accept().await.unwrap();
    let mut header = [0; 5];
    tcp.read_exact(&mut header).await.unwrap();
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    tcp.read_exact(&mut hello).await.unwrap();
    tcp.write_all(answer).await.unwrap();
    tcp.shutdown().await.unwrap();
    match connection.next_event().await {
        Some(Event::Connection(ConnectionEvent::Reconnecting {
            cause: Loss::Closed(info),
            ..
        })) => {
            assert_eq!(info.code(), None);
            (address, info.reason().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn loss_names_the_tls_problem_and_what_to_do() {
    for (answer, expected) in [
        // the alert protocol_version, RFC 8446 section 6
        (
            &[21, 3, 1, 0, 2, 2, 70][..],
            "supports TLS 1.1 at most, update the server",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "does not use TLS, check the port",
        ),
        (
            b"",
            "closed the connection during the TLS handshake, check the port",
        ),
    ] {
        let (address, reason) = first_loss(answer).await;
        assert!(
            reason.contains(expected) && reason.contains(&address.to_string()),
            "{reason}"
        );
    }
}
