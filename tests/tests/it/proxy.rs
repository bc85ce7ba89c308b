//! A TCP proxy with faults on demand: it cuts connections, and drops replies.

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
    Answer,
    /// The request is lost with the connection.
    Request,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    target: OnceLock<SocketAddr>,
    cuts: watch::Sender<u64>,
    closed: watch::Sender<bool>,
    deaf: watch::Sender<u64>,
    mute: watch::Sender<Option<usize>>,
    trap: Mutex<Option<(Loss, &'static str)>>,
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
            deaf: watch::Sender::default(),
            mute: watch::Sender::default(),
            trap: Mutex::default(),
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
        self.shared.deaf.send_modify(|times| *times += 1);
    }

    /// Discards the clients' bytes, until reset.
    pub(crate) fn drop_requests(&self, mute: bool) {
        self.shared.mute.send_replace(mute.then_some(0));
    }

    /// Waits until a byte was discarded.
    pub(crate) async fn request_dropped(&self) {
        let mut mute = self.shared.mute.subscribe();
        let something = mute.wait_for(|bytes| bytes.is_some_and(|bytes| bytes > 0));
        crate::page::soon(something).await.unwrap();
    }

    /// Arms a fault for the next request that contains `text`.
    pub(crate) fn lose(&self, loss: Loss, text: &'static str) {
        *self.shared.trap.lock().unwrap() = Some((loss, text));
    }

    /// Whether the fault has happened.
    pub(crate) fn has_lost(&self) -> bool {
        self.shared.trap.lock().unwrap().is_none()
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
        let (mut cuts, born) = (self.cuts.subscribe(), *self.deaf.borrow());
        let Some(target) = self.target.get() else { return };
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        tokio::select! {
            _ = cuts.changed() => {}
            () = self.pump(client, server, born) => {}
        }
    }

    async fn pump(&self, mut client: TcpStream, mut server: TcpStream, born: u64) {
        let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let mut lost = false;
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let Ok(bytes @ 1..) = read else { return };
                    if self.mute.send_if_modified(|mute| {
                        mute.as_mut().map(|swallowed| *swallowed += bytes).is_some()
                    }) {
                        continue;
                    }
                    match self.trapped(&asked[..bytes]) {
                        Some(Loss::Request) => return,
                        Some(Loss::Answer) => lost = true,
                        None => {}
                    }
                    if server.write_all(&asked[..bytes]).await.is_err() {
                        return;
                    }
                }
                read = server.read(&mut answered) => {
                    let Ok(bytes @ 1..) = read else { return };
                    if lost {
                        return;
                    }
                    if *self.deaf.borrow() == born && client.write_all(&answered[..bytes]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn trapped(&self, bytes: &[u8]) -> Option<Loss> {
        let mut trap = self.trap.lock().unwrap();
        let (_, text) = (*trap)?;
        let caught = bytes.windows(text.len()).any(|window| window == text.as_bytes());
        caught.then(|| trap.take().map(|(loss, _)| loss))?
    }
}
