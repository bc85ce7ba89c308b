//! The servers, each with a client that writes bytes by hand.

use genesys_api::entropy;
use genesys_sim::{Config, Simulator};
use http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use ws_transport::ServerHandshake;
use ws_transport::server::{Incoming, Limits, accept};

use super::Endpoint;
use super::peer::{Peer, Role, Sent, text};
use crate::page::soon;

/// The gateway's end, which echoes messages.
pub(super) async fn gateway() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
    Endpoint {
        peer: upgraded(&address, "/").await,
        message: text().to_owned(),
        limit: Limits::default().message,
    }
}

async fn echo(mut tcp: TcpStream) {
    let handshake = ServerHandshake::parse(&request(&read_head(&mut tcp).await)).unwrap();
    let mut head = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
    for (name, value) in handshake.response(None).headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    tcp.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut socket = accept(tcp, Limits::default()).await;
    loop {
        match socket.next().await {
            Ok(Incoming::Text(text)) => socket.send(&*text).await.unwrap(),
            Ok(Incoming::Closed(_)) => return,
            Ok(_) => {}
            Err(error) => match error.close_code() {
                Some(code) => return socket.close(code, "as the gateway does").await,
                None => return,
            },
        }
    }
}

pub(super) async fn simulator() -> Simulator {
    Simulator::start(Config::plain()).await.unwrap()
}

/// A configured guest's socket that has requested an echo.
pub(super) async fn guest_of(simulator: &Simulator) -> Endpoint {
    const LIMIT: usize = 128 * 1024;
    let url = simulator.websocket_url().parse::<http::Uri>().unwrap();
    let path = format!("{}?deploymentId={}", url.path(), simulator.deployment_id());
    let mut peer = upgraded(url.authority().unwrap().as_str(), &path).await;
    let token = entropy::uuid().to_string();
    let configure = json!({
        "action": "configureSession", "token": token, "deploymentId": simulator.deployment_id(),
    });
    let bytes = peer
        .writer("", LIMIT)
        .frame(0x81, configure.to_string().as_bytes());
    peer.write(&bytes).await;
    let Some(Sent::Text(configured)) = soon(peer.receive()).await else {
        panic!("the session is not configured");
    };
    assert!(configured.contains("SessionResponse"), "{configured}");
    let echo = json!({ "action": "echo", "token": token, "message": { "type": "Text", "text": text() } });
    Endpoint {
        peer,
        message: echo.to_string(),
        limit: LIMIT,
    }
}

async fn upgraded(address: &str, path: &str) -> Peer {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         origin: https://shop.example\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // the example of RFC 6455 section 1.3
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    Peer {
        tcp,
        role: Role::Client,
    }
}

pub(super) async fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(tcp.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

pub(super) fn request(head: &str) -> Request<()> {
    let mut lines = head.lines();
    let mut request = Request::builder().uri(lines.next().unwrap().split(' ').nth(1).unwrap());
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    request.body(()).unwrap()
}
