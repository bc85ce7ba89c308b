//! The guest's page: a WebSocket of a session with hand-written frames.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use genesys_api::entropy;
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::api::{Answer, Call, SESSIONS};
use crate::document::{check_received, check_sent};
use crate::world::ORIGIN;

/// Longest real time until an effect is visible, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for an effect, up to a time limit.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("timeout: no effect within a minute")
}

/// An open socket.
pub(crate) struct Page {
    socket: WebSocketStream<TcpStream>,
    /// The epoch of its handshake.
    pub(crate) epoch: Value,
}

/// A frame or a close that a page received.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    Closed(Option<u16>),
    Frame(Value),
}

/// An upgrade request of the allowed page, without a token.
pub(crate) fn upgrade(url: &str) -> Request<()> {
    let uri: http::Uri = url.parse().unwrap();
    let host = uri.authority().unwrap().as_str().to_owned();
    Request::get(uri)
        .header("host", host)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("origin", ORIGIN)
        .body(())
        .unwrap()
}

/// An upgrade request of the allowed page, with this header in place of another one of its name.
pub(crate) fn upgrade_with(url: &str, name: &'static str, value: &str) -> Request<()> {
    let mut request = upgrade(url);
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// An upgrade request of the allowed page that offers the token as a subprotocol.
pub(crate) fn upgrade_with_token(url: &str, token: &str) -> Request<()> {
    let offered = format!("guest-sessions.v1, access_token.{token}");
    upgrade_with(url, "sec-websocket-protocol", &offered)
}

impl Page {
    /// Requests the upgrade, and returns the page, or status and body of the refusal.
    pub(crate) async fn open(request: Request<()>) -> Result<Self, (u16, String)> {
        let (answer, page) = Self::ask(request).await;
        page.ok_or((answer.status.as_u16(), answer.text))
    }

    /// Requests the upgrade, and returns the reply. A reply of the gateway has to match the contract.
    pub(crate) async fn ask(request: Request<()>) -> (Answer, Option<Self>) {
        let call = Call::get(request.uri().path_and_query().unwrap().as_str());
        let address = request.uri().authority().unwrap().as_str().to_owned();
        let stream = TcpStream::connect(address).await.unwrap();
        let (response, page) = match soon(tokio_tungstenite::client_async(request, stream)).await {
            Ok((socket, response)) => (
                response,
                Some(Self {
                    socket,
                    epoch: Value::Null,
                }),
            ),
            Err(Error::Http(response)) => (*response, None),
            Err(error) => panic!("{error}"),
        };
        let (head, body) = response.into_parts();
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.unwrap_or_default()).unwrap(),
        };
        // the simulator's sockets are of another contract
        if call.path().starts_with(SESSIONS) {
            call.check(&answer);
        }
        (answer, page)
    }

    /// Opens the socket of a session, with its token in the handshake frame.
    pub(crate) async fn of(session: &Value) -> Self {
        let mut page = Self::open(upgrade(session["websocketUrl"].as_str().unwrap()))
            .await
            .unwrap();
        page.send_frame(&handshake(session)).await;
        let accepted = page.until("handshake.accepted").await;
        assert_eq!(accepted["guestSessionId"], session["id"]);
        page.epoch = accepted["epoch"].clone();
        page.until("conversation").await;
        page
    }

    /// Sends a frame of the contract.
    pub(crate) async fn send_frame(&mut self, frame: &Value) {
        check_sent(frame);
        self.send_unchecked(frame).await;
    }

    /// Sends a frame without a check against the contract.
    pub(crate) async fn send_unchecked(&mut self, frame: &Value) {
        self.send(Message::text(frame.to_string())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        soon(self.socket.send(message)).await.unwrap();
    }

    /// Sends a new message, and returns its id.
    pub(crate) async fn message(&mut self, text: &str) -> String {
        self.message_with(&json!({ "text": text })).await
    }

    /// Sends a new message with these fields, and returns its id.
    pub(crate) async fn message_with(&mut self, fields: &Value) -> String {
        let id = entropy::uuid().to_string();
        let mut frame = fields.clone();
        frame["type"] = "message".into();
        frame["id"] = id.as_str().into();
        self.send_frame(&frame).await;
        id
    }

    /// The next frame, or the close.
    pub(crate) async fn receive(&mut self) -> Received {
        loop {
            return match soon(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).unwrap();
                    check_received(&frame);
                    Received::Frame(frame)
                }
                Some(Ok(Message::Close(frame))) => Received::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Received::Closed(None),
            };
        }
    }

    /// The next frame of this type; others are skipped.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            match self.receive().await {
                Received::Frame(frame) if frame["type"] == kind => return frame,
                Received::Frame(_) => {}
                Received::Closed(code) => {
                    panic!("the socket closed with {code:?} before a frame {kind}")
                }
            }
        }
    }

    /// The next delivery of this state; other frames are skipped.
    pub(crate) async fn delivery(&mut self, state: &str) -> Value {
        loop {
            let delivery = self.until("delivery").await;
            if delivery["state"] == state {
                return delivery;
            }
        }
    }

    /// Closes the socket, and waits until the other side has closed it.
    pub(crate) async fn leave(mut self) {
        soon(self.socket.close(None)).await.unwrap();
        while soon(self.socket.next()).await.is_some_and(|read| read.is_ok()) {}
    }

    /// The close code of the socket. Frames before it are skipped.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Received::Closed(code) = self.receive().await {
                return code;
            }
        }
    }
}

/// The first frame, with the token in it.
pub(crate) fn handshake(session: &Value) -> Value {
    json!({
        "type": "handshake",
        "guestSessionId": session["id"],
        "timestamp": session["createdAt"],
        "accessToken": session["accessToken"],
    })
}
