//! A receiver that runs steps on each connection.

use std::time::Duration;

use genesys_api::Clock;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use Step::{Advance, Close, Hold, ReadHead, ReadRequest, Reset, Send, SendEndlessly, ShutdownWrite};

/// A step of a receiver on one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Moves the clock of the sender forward.
    Advance(Duration),
    /// Closes the connection, without a `close_notify` of TLS.
    Close,
    /// Reads until the sender closes.
    Hold,
    /// Reads the head of the request.
    ReadHead,
    /// Reads the request.
    ReadRequest,
    /// Closes the connection with a reset.
    Reset,
    Send(&'static str),
    /// Sends this text until the sender closes.
    SendEndlessly(&'static str),
    /// Closes the direction to the sender.
    ShutdownWrite,
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + std::marker::Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + std::marker::Send> Io for T {}

/// The connection of a receiver.
pub(crate) struct Receiver {
    pub(crate) io: BufReader<Box<dyn Io>>,
    pub(crate) clock: Clock,
    /// The rest of the request, once its head was read.
    pub(crate) unread: Option<usize>,
}

impl Receiver {
    /// Runs the steps. Returns whether the connection is to be reset.
    pub(crate) async fn run(&mut self, steps: &[Step]) -> bool {
        for step in steps {
            match *step {
                Advance(time) => self.clock.advance(time),
                Close => return false,
                Hold => drop(self.io.read_to_end(&mut Vec::new()).await),
                ReadHead => drop(self.read_head().await),
                ReadRequest => {
                    let unread = self.read_head().await;
                    let mut body = vec![0; unread];
                    self.io.read_exact(&mut body).await.unwrap();
                }
                Reset => return true,
                Send(text) => {
                    self.io.write_all(text.as_bytes()).await.unwrap();
                    self.io.flush().await.unwrap();
                }
                SendEndlessly(text) => {
                    let block = text.repeat(1_000);
                    while self.io.write_all(block.as_bytes()).await.is_ok() {}
                }
                ShutdownWrite => self.io.shutdown().await.unwrap(),
            }
        }
        false
    }

    /// Reads the head of the request. Returns the length of the body.
    async fn read_head(&mut self) -> usize {
        if let Some(unread) = self.unread {
            return unread;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.io.read_line(&mut line).await.unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                self.unread = Some(length);
                return length;
            }
        }
    }
}

/// Serves each connection by the same steps.
pub(crate) fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    clock: Clock,
    steps: &'static [Step],
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            // a reset needs the socket after the steps
            let tcp = tcp.into_std().unwrap();
            let socket = TcpStream::from_std(tcp.try_clone().unwrap()).unwrap();
            let tcp = TcpStream::from_std(tcp).unwrap();
            let io: Box<dyn Io> = match &tls {
                None => Box::new(tcp),
                // the sender may refuse the certificate
                Some(tls) => match tls.accept(tcp).await {
                    Ok(tls) => Box::new(tls),
                    Err(_) => continue,
                },
            };
            let mut receiver = Receiver {
                io: BufReader::new(io),
                clock: clock.clone(),
                unread: None,
            };
            if receiver.run(steps).await {
                socket.set_zero_linger().unwrap();
            }
        }
    })
}
