//! The client, with a server that writes bytes by hand.

use genesys_http::Client;
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{ConnectionEvent, Conversation, Event, WebMessaging};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use ws_transport::{OriginPolicy, ServerHandshake};

use super::Endpoint;
use super::peer::{Peer, Role, Sent, text};
use super::servers::{read_head, request};
use crate::page::soon;
use crate::world::ORIGIN;

/// A conversation, connected and configured.
pub(super) async fn connected(http: &Client) -> (Endpoint, Connection) {
    const LIMIT: usize = 128 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut connection = Connection::open(
        Conversation::new(WebMessaging::new("b3c2".parse().unwrap(), "7d1f".into())),
        Settings {
            http: http.clone(),
            url: format!("ws://{}/v1", listener.local_addr().unwrap())
                .parse()
                .unwrap(),
            origin: OriginPolicy::new([ORIGIN]).unwrap().admit([ORIGIN]).unwrap(),
            limiter: ConnectLimiter::default(),
        },
    );
    let (mut tcp, _) = soon(listener.accept()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let handshake = ServerHandshake::parse(&request(&read_head(&mut tcp).await)).unwrap();
    let mut head = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
    for (name, value) in handshake.response(None).headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    tcp.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut peer = Peer {
        tcp,
        role: Role::Server,
    };
    let Some(Sent::Text(asked)) = soon(peer.receive()).await else {
        panic!("no session is asked for");
    };
    let asked: Value = serde_json::from_str(&asked).unwrap();
    let configured = json!({
        "type": "response", "class": "SessionResponse", "code": 200, "tracingId": asked["tracingId"],
        "body": { "connected": true, "newSession": true, "readOnly": false },
    });
    let bytes = peer
        .writer("", LIMIT)
        .frame(0x81, configured.to_string().as_bytes());
    peer.write(&bytes).await;
    assert!(matches!(
        soon(connection.next_event()).await,
        Some(Event::Connection(ConnectionEvent::Ready(_)))
    ));
    let message = json!({
        "type": "message", "class": "StructuredMessage", "code": 200,
        "body": {
            "type": "Text", "text": text(), "direction": "Outbound", "id": "a-1", "originatingEntity": "Human",
            "channel": { "time": "2026-11-22T12:30:01.000Z" },
        },
    });
    let end = Endpoint {
        peer,
        message: message.to_string(),
        limit: LIMIT,
    };
    (end, connection)
}

/// The next text received.
pub(super) async fn received(connection: &mut Connection) -> String {
    match soon(connection.next_event()).await {
        Some(Event::Message(message)) => message.text,
        other => panic!("{other:?}"),
    }
}
