//! The server's driver, with the client's on the other end.

use futures_util::{SinkExt, StreamExt};
use guest_conversation::{Contract, Ending, Event};
use guest_sessions::{self, ClientFrame, ServerFrame, TokenPlacement};
use http::Request;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use ws_transport::server::{Incoming, Limits, ServerSocket, SocketErrorKind, accept};
use ws_transport::{OriginError, OriginPolicy, ServerHandshake};

use crate::connection::Site;
use crate::virtual_peer::{TOKEN, guest_sessions};

/// Reads the head of a request, as the gateway's HTTP server does.
async fn request(tcp: &mut TcpStream) -> Request<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut request = Request::builder().uri(lines.next().unwrap().split(' ').nth(1).unwrap());
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    request.body(()).unwrap()
}

async fn upgrade(
    mut tcp: TcpStream,
    handshake: &ServerHandshake,
    protocol: Option<&'static str>,
) -> ServerSocket<TcpStream> {
    let mut head = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
    for (name, value) in handshake.response(protocol).headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    tcp.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    accept(tcp, Limits::default()).await
}

async fn text(socket: &mut ServerSocket<TcpStream>) -> String {
    loop {
        match socket.next().await.unwrap() {
            Incoming::Text(text) => return text.to_string(),
            Incoming::Alive => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_whole_conversation_between_our_two_ends() {
    let policy = OriginPolicy::new(["https://shop.example"]).unwrap();
    for placement in [
        TokenPlacement::Frame,
        TokenPlacement::Query,
        TokenPlacement::Subprotocol,
    ] {
        let site = Site::new().await;
        let mut connection = site.open(Contract::GuestSessions(guest_sessions().with_token_in(placement)));
        let mut tcp = site.tcp().await;
        let request = request(&mut tcp).await;
        policy.admit(request.headers().get_all("origin")).unwrap();
        let handshake = ServerHandshake::parse(&request).unwrap();
        let offered = guest_sessions::offered_token(&handshake);
        let mut socket = upgrade(
            tcp,
            &handshake,
            offered.as_ref().map(|_| guest_sessions::PROTOCOL),
        )
        .await;

        let first = text(&mut socket).await;
        let ClientFrame::Handshake {
            guest_session_id,
            access_token,
            ..
        } = ClientFrame::parse(&first).unwrap()
        else {
            panic!()
        };
        let token = offered
            .or_else(|| guest_sessions::query_token(request.uri()))
            .or_else(|| access_token.map(|token| token.to_secret()));
        assert_eq!(token.unwrap().expose_secret(), TOKEN, "{placement:?}");
        let accepted = ServerFrame::HandshakeAccepted {
            guest_session_id,
            new_session: true,
            read_only: false,
            sequence: 0,
        };
        socket.send(accepted.to_json()).await.unwrap();
        assert!(matches!(
            connection.next_event().await,
            Some(Event::Configured(_))
        ));

        let sent = connection.send("hello").unwrap();
        let frame = text(&mut socket).await;
        let ClientFrame::Message { id, text } = ClientFrame::parse(&frame).unwrap() else {
            panic!()
        };
        assert_eq!((id, &*text), (sent, "hello"));
        let answers = [
            ServerFrame::MessageAccepted {
                id,
                sequence: 1,
                timestamp: "2026-11-22T12:00:00.000Z".into(),
            },
            ServerFrame::SessionEnded {
                reason: "agent.left".into(),
                sequence: 2,
            },
        ];
        socket
            .send_all(answers.iter().map(ServerFrame::to_json))
            .await
            .unwrap();
        assert!(matches!(connection.next_event().await, Some(Event::Accepted { id, .. }) if id == sent));
        assert!(matches!(
            connection.next_event().await,
            Some(Event::Ended(Ending::SessionEnded { reason })) if reason == "agent.left"
        ));
        assert!(matches!(socket.next().await, Ok(Incoming::Closed(close)) if close.code() == Some(1000)));
    }
}

#[tokio::test]
async fn a_strange_origin_is_refused_before_the_upgrade() {
    let site = Site::new().await;
    let mut connection = site.open(Contract::GuestSessions(guest_sessions()));
    let mut tcp = site.tcp().await;
    let request = request(&mut tcp).await;
    let policy = OriginPolicy::new(["https://other.example"]).unwrap();
    let error = policy.admit(request.headers().get_all("origin")).unwrap_err();
    assert!(matches!(error, OriginError::NotAllowed { .. }));
    tcp.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Ended(Ending::Refused { status: 403 }))
    ));
}

/// A server's socket, and a client of another make.
async fn pair() -> (
    ServerSocket<TcpStream>,
    tokio_tungstenite::WebSocketStream<TcpStream>,
) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(address).await.unwrap();
        tokio_tungstenite::client_async(format!("ws://{address}/"), tcp)
            .await
            .unwrap()
            .0
    });
    let mut tcp = listener.accept().await.unwrap().0;
    let handshake = ServerHandshake::parse(&request(&mut tcp).await).unwrap();
    (upgrade(tcp, &handshake, None).await, client.await.unwrap())
}

#[tokio::test]
async fn a_client_that_breaks_the_rules_is_told_which() {
    let long = Message::text("x".repeat(64 * 1024 + 1));
    for (kind, message, code) in [
        (SocketErrorKind::Binary, Message::binary(vec![1, 2, 3]), 1003),
        (SocketErrorKind::TooLarge, long, 1009),
    ] {
        let (mut socket, mut client) = pair().await;
        let speaking = tokio::spawn(async move {
            let _ = client.send(message).await;
            client.next().await
        });
        let error = loop {
            match socket.next().await {
                Ok(Incoming::Alive) => {}
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), error.close_code()), (kind, Some(code)));
        socket.close(code, &error.to_string()).await;
        let Some(Ok(Message::Close(Some(frame)))) = speaking.await.unwrap() else {
            panic!()
        };
        assert_eq!(u16::from(frame.code), code);
    }
}

#[tokio::test]
async fn pings_are_answered_and_pongs_are_signs_of_life() {
    let (mut socket, mut client) = pair().await;
    socket.ping().await.unwrap();
    let client = tokio::spawn(async move {
        assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
        client.send(Message::Ping("are you there".into())).await.unwrap();
        loop {
            if let Some(Ok(Message::Pong(pong))) = client.next().await {
                assert_eq!(&pong[..], b"are you there");
                return client;
            }
        }
    });
    assert!(matches!(socket.next().await, Ok(Incoming::Alive)));
    assert!(matches!(socket.next().await, Ok(Incoming::Alive)));
    let reading = tokio::spawn(async move {
        let last = socket.next().await;
        (last.is_err() || matches!(last, Ok(Incoming::Closed(_))), socket)
    });
    drop(client.await.unwrap());
    assert!(reading.await.unwrap().0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_waited_for() {
    let (near, _far) = tokio::io::duplex(1024);
    let mut socket = accept(near, Limits::default()).await;
    let error = socket.send("x".repeat(64 * 1024)).await.unwrap_err();
    assert_eq!(error.kind(), SocketErrorKind::Slow);
    let mut flood = std::iter::repeat_with(|| "x".repeat(64 * 1024)).take(100);
    let error = socket.send_all(&mut flood).await.unwrap_err();
    assert_eq!(error.kind(), SocketErrorKind::Slow);
    assert!(!format!("{error:?}").contains("xxx"));
}
