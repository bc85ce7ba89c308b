//! A TCP proxy with injected faults: it cuts connections, and drops replies.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A port of loopback that refuses connections: it is bound and not listened on, so that no other test gets it.
pub(crate) struct ClosedPort(TcpSocket);

impl ClosedPort {
    pub(crate) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// Fault for the next request that contains a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Loss {
    /// The request arrives, and the reply is lost with the connection.
    Reply,
    /// The request is lost with the connection.
    Request,
    /// The proxy refuses the request with a page of its own.
    Page,
}

const PAGE: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: 16\r\n\r\n<html>No.</html>";

pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    target: OnceLock<SocketAddr>,
    cuts: watch::Sender<u64>,
    closed: watch::Sender<bool>,
    replies_dropped: watch::Sender<u64>,
    requests_dropped: watch::Sender<Option<usize>>,
    fault: Mutex<Option<(Loss, &'static str)>>,
}

impl Proxy {
    /// A proxy without a target.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: OnceLock::new(),
            cuts: watch::Sender::default(),
            closed: watch::Sender::default(),
            replies_dropped: watch::Sender::default(),
            requests_dropped: watch::Sender::default(),
            fault: Mutex::default(),
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    if !*shared.closed.borrow() {
                        tokio::spawn(Arc::clone(&shared).forward(client));
                    }
                }
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the target, once.
    pub(crate) fn set_target(&self, target: SocketAddr) {
        self.shared.target.set(target).unwrap();
    }

    /// Drops every connection that is open.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Drops every new connection, until reset.
    pub(crate) fn close(&self, closed: bool) {
        self.shared.closed.send_replace(closed);
    }

    /// Discards the server's bytes on every open connection.
    pub(crate) fn drop_replies(&self) {
        self.shared.replies_dropped.send_modify(|times| *times += 1);
    }

    /// Discards the clients' bytes, until reset.
    pub(crate) fn drop_requests(&self, requests_dropped: bool) {
        self.shared
            .requests_dropped
            .send_replace(requests_dropped.then_some(0));
    }

    /// Waits until a byte was discarded.
    pub(crate) async fn request_dropped(&self) {
        let mut requests_dropped = self.shared.requests_dropped.subscribe();
        let something = requests_dropped.wait_for(|bytes| bytes.is_some_and(|bytes| bytes > 0));
        crate::page::soon(something).await.unwrap();
    }

    /// Arms a fault for the next request that contains `text`.
    pub(crate) fn lose(&self, loss: Loss, text: &'static str) {
        *self.shared.fault.lock().unwrap() = Some((loss, text));
    }

    /// Whether the fault has happened.
    pub(crate) fn has_lost(&self) -> bool {
        self.shared.fault.lock().unwrap().is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Shared {
    async fn forward(self: Arc<Self>, client: TcpStream) {
        let (mut cuts, opened_at) = (self.cuts.subscribe(), *self.replies_dropped.borrow());
        let Some(target) = self.target.get() else { return };
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        tokio::select! {
            _ = cuts.changed() => {}
            () = self.forward_until_fault(client, server, opened_at) => {}
        }
    }

    async fn forward_until_fault(&self, mut client: TcpStream, mut server: TcpStream, opened_at: u64) {
        let (mut request, mut reply) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let mut lost = false;
        loop {
            tokio::select! {
                read = client.read(&mut request) => {
                    let Ok(bytes @ 1..) = read else { return };
                    if self.requests_dropped.send_if_modified(|requests_dropped| {
                        requests_dropped.as_mut().map(|dropped| *dropped += bytes).is_some()
                    }) {
                        continue;
                    }
                    match self.take_fault(&request[..bytes]) {
                        Some(Loss::Request) => return,
                        Some(Loss::Page) => {
                            // fails only if the client is gone
                            let _ = client.write_all(PAGE).await;
                            return;
                        }
                        Some(Loss::Reply) => lost = true,
                        None => {}
                    }
                    if server.write_all(&request[..bytes]).await.is_err() {
                        return;
                    }
                }
                read = server.read(&mut reply) => {
                    let Ok(bytes @ 1..) = read else { return };
                    if lost {
                        return;
                    }
                    if *self.replies_dropped.borrow() == opened_at && client.write_all(&reply[..bytes]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn take_fault(&self, bytes: &[u8]) -> Option<Loss> {
        let mut fault = self.fault.lock().unwrap();
        let (_, text) = (*fault)?;
        let is_match = bytes.windows(text.len()).any(|window| window == text.as_bytes());
        is_match.then(|| fault.take().map(|(loss, _)| loss))?
    }
}
