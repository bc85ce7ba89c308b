//! A hand-written Genesys Cloud: sockets of `web-messaging` on which a test receives and sends any frame.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use genesys_api::Host;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::page::soon;

/// Endpoint of guests' sockets.
pub(crate) struct Genesys {
    listener: TcpListener,
}

/// One guest's socket.
pub(crate) struct GenesysSocket {
    socket: WebSocketStream<TcpStream>,
}

impl Genesys {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn host(&self) -> Host {
        format!("http://{}", self.address()).parse().unwrap()
    }

    /// The next socket, before its first frame. Requests for the deployment's documents are refused.
    pub(crate) async fn accept(&self) -> GenesysSocket {
        loop {
            let (mut stream, _) = soon(self.listener.accept()).await.unwrap();
            if is_upgrade(&stream).await {
                let socket = soon(tokio_tungstenite::accept_async(stream)).await.unwrap();
                return GenesysSocket { socket };
            }
            let mut head = [0; 8 * 1024];
            let _whole = soon(stream.read(&mut head)).await.unwrap();
            let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            soon(stream.write_all(refusal)).await.unwrap();
        }
    }

    /// The next socket, its session configured.
    pub(crate) async fn configured(&self) -> GenesysSocket {
        let mut socket = self.accept().await;
        socket.configure(true).await;
        socket
    }

    /// The next socket, its earlier session configured.
    pub(crate) async fn configured_again(&self) -> GenesysSocket {
        let mut socket = self.accept().await;
        socket.configure(false).await;
        socket
    }
}

/// Whether the request is for a socket. Consumes no bytes.
async fn is_upgrade(stream: &TcpStream) -> bool {
    let mut head = [0; 8 * 1024];
    loop {
        let bytes = soon(stream.peek(&mut head)).await.unwrap();
        let text = String::from_utf8_lossy(&head[..bytes]).to_lowercase();
        if bytes == 0 || text.contains("\r\n\r\n") {
            return text.contains("upgrade: websocket");
        }
        tokio::task::yield_now().await;
    }
}

impl GenesysSocket {
    /// The next frame; `None` once the socket is closed.
    pub(crate) async fn receive(&mut self) -> Option<Value> {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Err(_)) | None => return None,
                // the next read answers a close frame
                Some(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn send_frame(&mut self, frame: &Value) {
        soon(self.socket.send(Message::text(frame.to_string())))
            .await
            .unwrap();
    }

    /// Takes the first frame, and answers that the session is configured.
    pub(crate) async fn configure(&mut self, new: bool) {
        let asked = self.receive().await.unwrap();
        assert_eq!(asked["action"], "configureSession");
        self.send_frame(&json!({
            "type": "response", "class": "SessionResponse", "code": 200, "tracingId": asked["tracingId"],
            "body": { "connected": true, "newSession": new, "readOnly": false },
        }))
        .await;
    }

    /// Receives and acknowledges the guest's next message, and returns it.
    pub(crate) async fn take_message(&mut self) -> Value {
        let sent = self.receive().await.unwrap();
        assert_eq!(sent["message"]["type"], "Text", "{sent}");
        self.send_frame(&json!({
            "type": "message", "class": "StructuredMessage", "code": 200, "tracingId": sent["tracingId"],
            "body": {
                "type": "Text", "text": sent["message"]["text"], "direction": "Inbound",
                "id": sent["tracingId"], "channel": { "time": "2026-11-22T12:30:00.000Z" },
            },
        }))
        .await;
        sent
    }

    /// Sends a message of the agent with this id.
    pub(crate) async fn agent(&mut self, id: &str, text: &str) {
        self.send_frame(&json!({
            "type": "message", "class": "StructuredMessage", "code": 200,
            "body": {
                "type": "Text", "text": text, "direction": "Outbound", "id": id, "originatingEntity": "Human",
                "channel": { "time": "2026-11-22T12:30:01.000Z", "from": { "nickname": "Ann" } },
            },
        }))
        .await;
    }
}
