//! Servers on 127.0.0.1: ours with a handler, and a bare listener for invalid behavior.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use genesys_api::{Clock, Host};
use genesys_http::server::{Identity, Limits, Peer, Server};
use genesys_http::{Client, ClientBuilder, Tls};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::authority::Authority;

pub(crate) type Answer = Response<Full<Bytes>>;

/// A running server, which shuts down when `stop` is sent or dropped.
pub(crate) struct Loopback {
    pub(crate) address: SocketAddr,
    pub(crate) host: Host,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<()>,
}

impl Loopback {
    pub(crate) async fn plain<F>(handler: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start(None, Limits::default(), handler).await
    }

    /// A server that answers 200 and records the address of the client of each request.
    pub(crate) async fn recording_peers() -> (Self, Arc<Mutex<Vec<SocketAddr>>>) {
        let peers = Arc::new(Mutex::new(Vec::new()));
        let server = Self::plain({
            let peers = Arc::clone(&peers);
            move |request| {
                let Peer(address) = *request.extensions().get::<Peer>().unwrap();
                peers.lock().unwrap().push(address);
                async { answer(200, "hello") }
            }
        });
        (server.await, peers)
    }

    pub(crate) async fn start<F>(
        identity: Option<Identity>,
        limits: Limits,
        handler: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let scheme = if identity.is_some() { "https" } else { "http" };
        let server = Server::bind(any_port(), identity, limits).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let service = service_fn(move |request| {
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let ended = tokio::spawn(server.serve(service, async move {
            let _ = stopped.await;
        }));
        Self {
            address,
            host: format!("{scheme}://{address}").parse().unwrap(),
            stop,
            ended,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Request<Bytes> {
        get(&self.host, path)
    }
}

/// A listener whose connections the test controls.
pub(crate) struct Raw {
    pub(crate) listener: TcpListener,
    pub(crate) host: Host,
}

impl Raw {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        Self { listener, host }
    }

    /// Accepts a connection and reads a request head.
    pub(crate) async fn accept_request(&self) -> TcpStream {
        let (mut tcp, _) = self.listener.accept().await.unwrap();
        read_head(&mut tcp).await;
        tcp
    }
}

/// A host whose port is bound but closed.
pub(crate) fn closed_port() -> (TcpSocket, Host) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(any_port()).unwrap();
    let host = format!("http://{}", socket.local_addr().unwrap())
        .parse()
        .unwrap();
    (socket, host)
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn get(host: &Host, path: &str) -> Request<Bytes> {
    genesys_api::json::get(host, path)
}

pub(crate) fn answer(status: u16, body: &'static str) -> Answer {
    Response::builder().status(status).body(Full::from(body)).unwrap()
}

/// A client for plain HTTP.
pub(crate) fn client() -> Client {
    builder().build()
}

pub(crate) fn builder() -> ClientBuilder {
    Client::builder(tls_without_trust())
}

pub(crate) fn tls_without_trust() -> Tls {
    Authority::new().trusted()
}

/// Advances the clock by seconds until `task` ends.
pub(crate) async fn advance_until<T>(clock: &Clock, task: JoinHandle<T>) -> T {
    while !task.is_finished() {
        clock.advance(std::time::Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    task.await.unwrap()
}

/// Reads up to the empty line that ends a head.
pub(crate) async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

pub(crate) async fn write(stream: &mut (impl AsyncWriteExt + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}
