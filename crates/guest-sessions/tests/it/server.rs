//! The client on the driver, with the server's end of a socket.

use futures_util::{SinkExt, StreamExt};
use genesys_api::Clock;
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{ConnectionEvent, DeliveryStatus, Ending, Event, GuestMachine as _};
use guest_sessions::client::{GatewayConversation, GatewaySession};
use guest_sessions::{self, ClientFrame, DeliveryBody, ServerFrame, TokenPlacement};
use http::Request;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use ws_transport::server::{Incoming, Limits, ServerSocket, accept};
use ws_transport::{OriginError, OriginPolicy, ServerHandshake};

use crate::peer::{TOKEN, session};

struct TestServer {
    listener: TcpListener,
    clock: Clock,
}

impl TestServer {
    async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            clock: Clock::system(),
        }
    }

    fn open(&self, session: GatewaySession) -> Connection<GatewayConversation> {
        let tls = genesys_http::Tls::system().unwrap();
        let address = self.listener.local_addr().unwrap();
        let settings = Settings {
            http: genesys_http::Client::builder(tls)
                .clock(self.clock.clone())
                .build(),
            url: format!("ws://{address}/v1").parse().unwrap(),
            origin: OriginPolicy::new(["https://shop.example"])
                .unwrap()
                .admit(["https://shop.example"])
                .unwrap(),
            limiter: ConnectLimiter::default(),
        };
        Connection::open(GatewayConversation::new(session), settings)
    }

    async fn tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }
}

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
async fn conversation_passes_between_client_and_server() {
    let policy = OriginPolicy::new(["https://shop.example"]).unwrap();
    for placement in [
        TokenPlacement::Frame,
        TokenPlacement::Query,
        TokenPlacement::Subprotocol,
    ] {
        let server = TestServer::new().await;
        let mut connection = server.open(session().with_token_in(placement));
        let mut tcp = server.tcp().await;
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
            epoch: "e-1".into(),
            sequence: 0,
        };
        socket.send(accepted.to_json()).await.unwrap();
        assert!(matches!(
            connection.next_event().await,
            Some(Event::Connection(ConnectionEvent::Ready(_)))
        ));

        let sent = connection.send("hello").unwrap();
        let frame = text(&mut socket).await;
        let ClientFrame::Message(message) = ClientFrame::parse(&frame).unwrap() else {
            panic!()
        };
        let id = message.id;
        assert_eq!((id, &*message.message().unwrap().text()), (sent, "hello"));
        let answers = [
            ServerFrame::Delivery {
                id,
                status: DeliveryBody::Sent {
                    sequence: 1,
                    timestamp: "2026-11-22T12:00:00.000Z".into(),
                    message_id: None,
                    text: None,
                },
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
        assert!(
            matches!(connection.next_event().await, Some(Event::Delivery { id, status: DeliveryStatus::Delivered { .. } }) if id == sent)
        );
        assert!(matches!(
            connection.next_event().await,
            Some(Event::Ended(Ending::SessionEnded { reason })) if reason == "agent.left"
        ));
        assert!(matches!(socket.next().await, Ok(Incoming::Closed(close)) if close.code() == Some(1000)));
    }
}

#[tokio::test]
async fn origin_outside_the_policy_is_refused_before_the_upgrade() {
    let server = TestServer::new().await;
    let mut connection = server.open(session());
    let mut tcp = server.tcp().await;
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

#[tokio::test]
async fn new_token_is_sent_by_the_next_connection() {
    let server = TestServer::new().await;
    let mut connection = server.open(session());
    let accepted = json!({"type": "handshake.accepted", "guestSessionId": "gs-1", "newSession": false,
        "readOnly": false, "epoch": "e-1", "sequence": 0});
    for (token, event) in [(TOKEN, "Ready"), ("renewed", "Restored")] {
        let mut guest = tokio_tungstenite::accept_async(server.tcp().await).await.unwrap();
        let Some(Ok(Message::Text(text))) = guest.next().await else {
            panic!()
        };
        let handshake: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(handshake["accessToken"], token);
        guest.send(Message::text(accepted.to_string())).await.unwrap();
        let ready = connection.next_event().await;
        assert!(format!("{ready:?}").contains(event), "{ready:?}");
        connection.with(|machine, _| machine.update_token("renewed".into()));
        drop(guest);
        assert!(matches!(
            connection.next_event().await,
            Some(Event::Connection(ConnectionEvent::Reconnecting { .. }))
        ));
        server.clock.advance(std::time::Duration::from_secs(1));
    }
}
