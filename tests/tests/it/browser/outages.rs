//! The reconnects of the browser client in a browser, to a server that closes every socket and to none, on a clock of the test.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use genesys_http::server::{Limits, Server};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::MODULE;
use crate::chromium::{Browser, CHROMIUM, has_chromium};
use left_out::leave_out;

/// A client with a clock that moves to its next timer while no socket is being opened or closed.
const PAGE: &str = "(async () => {
    const { GuestConversation } = await import('/guest-sessions.js');
    const sockets = [];
    class Watched extends WebSocket {
        constructor(url, protocols) {
            super(url, protocols);
            sockets.push(this);
        }
    }
    const timers = new Map();
    let time = 0;
    let next = 1;
    const clock = {
        now: () => time,
        setTimeout: (run, delay) => timers.set(next, { run, at: time + delay }) && next++,
        clearTimeout: (timer) => timers.delete(timer),
    };
    const session = { id: 'a', websocketUrl: URL, accessToken: 'x' };
    const client = new GuestConversation(session, { clock, WebSocket: Watched, storage: null });
    client.connect();
    const pass = async (minutes, isDone) => {
        const [before, end] = [sockets.length, time + minutes * 60_000];
        for (;;) {
            do await new Promise((resolve) => setTimeout(resolve));
            while (!isDone() && sockets.at(-1).readyState !== WebSocket.CLOSED);
            const [due] = [...timers].sort(([, one], [, other]) => one.at - other.at);
            if (isDone() || due[1].at > end) return [sockets.length - before, client.state];
            timers.delete(due[0]);
            time = due[1].at;
            due[1].run();
        }
    };
    globalThis.page = { client, pass };
})()";

async fn files(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (media, text) = match request.uri().path() {
        "/guest-sessions.js" => ("text/javascript", MODULE),
        _ => (
            "text/html",
            "<!doctype html><link rel=icon href=data:><title>A page</title>",
        ),
    };
    let mut response = Response::new(Full::from(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(response)
}

/// Accepts the handshake of the page.
#[expect(
    clippy::result_large_err,
    reason = "the type of the callback is that of tungstenite"
)]
async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let select = |_: &server::Request, mut response: server::Response| {
        let protocol = HeaderValue::from_static("guest-sessions.v1");
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, select).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let accepted = json!({ "type": "handshake.accepted", "guestSessionId": "a", "newSession": false, "readOnly": false,
        "epoch": "e", "sequence": 0 });
    socket.send(Message::text(accepted.to_string())).await.unwrap();
    socket
}

/// A socket at an address, which refuses connections until it listens.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

#[tokio::test]
async fn browser_page_reconnects_seldom_in_an_hour_of_closed_sockets_and_after_ten_minutes_without_a_server()
{
    if !has_chromium().await {
        return leave_out("reconnects in a browser", CHROMIUM);
    }
    let pages = Server::bind("127.0.0.1:0".parse().unwrap(), None, Limits::default())
        .await
        .unwrap();
    let origin = format!("http://{}", pages.local_addr());
    tokio::spawn(pages.serve(service_fn(files), std::future::pending()));
    let listener = bind("127.0.0.1:0".parse().unwrap()).listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    let closing = tokio::spawn(async move {
        loop {
            // without a close frame
            drop(accept(&listener).await);
        }
    });
    let mut browser = Browser::start().await;
    browser.open(&origin).await;
    browser
        .evaluate(&PAGE.replace("URL", &format!("'ws://{address}/'")))
        .await;
    let hour = browser.evaluate("page.pass(60, () => false)").await;
    let opened = hour[0].as_u64().unwrap();
    assert!((120..=250).contains(&opened), "{opened} connections");
    assert_eq!(hour[1], "reconnecting");

    closing.abort();
    let _ = closing.await;
    let absent = bind(address);
    let id = browser.evaluate("page.client.send('Are you there?')").await;
    let outage = browser.evaluate("page.pass(10, () => false)").await;
    let tried = outage[0].as_u64().unwrap();
    assert!((20..=60).contains(&tried), "{tried} attempts");
    assert_eq!(outage[1], "reconnecting");

    let listener = absent.listen(64).unwrap();
    let (received, mut frames) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut socket = accept(&listener).await;
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            let frame: Value = serde_json::from_str(&text).unwrap();
            received.send(frame).await.unwrap();
        }
    });
    let back = browser
        .evaluate("page.pass(1, () => page.client.state === 'open')")
        .await;
    assert_eq!(back[1], "open");
    let message = json!({ "type": "message", "id": id, "text": "Are you there?" });
    assert_eq!(frames.recv().await, Some(message));
    browser.evaluate("page.client.close()").await;
    assert_eq!(frames.recv().await, None, "it is sent once");
}
