//! The server's end of a socket, after the response to the upgrade.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use crate::CloseInfo;
use crate::socket::{close_info, config, violation_code};

/// Time that the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Limits of a server's socket.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest frame and message read, in bytes.
    pub message: usize,
    /// Most bytes that wait to be written.
    pub write: usize,
    /// Time that a write may take before the client counts as too slow.
    pub write_timeout: Duration,
}

impl Default for Limits {
    /// 64 KiB, 256 KiB, 10 s.
    fn default() -> Self {
        Self {
            message: 64 * 1024,
            write: 256 * 1024,
            write_timeout: Duration::from_secs(10),
        }
    }
}

/// A socket of a client.
pub struct ServerSocket<S> {
    stream: WebSocketStream<Counted<S>>,
    limits: Limits,
}

/// Wraps a connection whose upgrade was answered with
/// [`ServerHandshake::response`](crate::ServerHandshake::response).
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S, limits: Limits) -> ServerSocket<S> {
    let config = config(limits.message, limits.write);
    let stream = Counted { stream, written: 0 };
    ServerSocket {
        stream: WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await,
        limits,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerSocket<S> {
    /// Waits for the next frame of the client. Pings are answered here. Cancel safe: no frame is lost.
    ///
    /// # Errors
    /// [`SocketError::Binary`], `Protocol`, `TooLarge` or `Utf8` for an invalid frame, `Broken` for a lost connection.
    /// Close the socket with [`SocketError::close_code`].
    pub async fn next(&mut self) -> Result<Incoming, SocketError> {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Ok(Incoming::Text(Payload(text))),
            Some(Ok(Message::Binary(_))) => Err(SocketError::Binary),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(Incoming::Alive),
            Some(Ok(Message::Close(frame))) => {
                let _ = tokio::time::timeout(self.limits.write_timeout, self.stream.flush()).await;
                Ok(Incoming::Closed(close_info(frame.as_ref())))
            }
            Some(Err(error)) => Err(error.into()),
            None => Ok(Incoming::Closed(CloseInfo::abnormal("the connection ended"))),
        }
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// [`SocketError::Slow`] if the client does not read in time, [`SocketError::Broken`] if the connection is lost.
    pub async fn send(&mut self, text: impl Into<Payload>) -> Result<(), SocketError> {
        self.send_all([text.into()]).await
    }

    /// Sends text frames, in one write if they fit into the buffer. The write timeout holds for each frame. A client that
    /// reads nothing is reported after one write timeout.
    ///
    /// # Errors
    /// [`SocketError::Slow`] if the client does not read in time, [`SocketError::Broken`] if the connection is lost.
    pub async fn send_all(
        &mut self,
        texts: impl IntoIterator<Item: Into<Payload>>,
    ) -> Result<(), SocketError> {
        let mut unread = 0;
        for text in texts {
            self.drain(&mut unread, Sink::poll_ready).await?;
            self.stream.start_send_unpin(Message::Text(text.into().0))?;
            unread += 1;
        }
        self.drain(&mut unread, Sink::poll_flush).await
    }

    /// Drives `poll` to its end. Each write timeout in which the client reads something uses up one of the frames.
    async fn drain(&mut self, frames: &mut usize, poll: PollSink<S>) -> Result<(), SocketError> {
        loop {
            let written = self.stream.get_ref().written;
            let done = poll_fn(|cx| poll(Pin::new(&mut self.stream), cx));
            match in_time(self.limits.write_timeout, done).await {
                Err(SocketError::Slow) if *frames > 1 && self.stream.get_ref().written > written => {
                    *frames -= 1
                }
                result => return result,
            }
        }
    }

    /// Sends a ping. Its pong arrives as [`Incoming::Alive`].
    ///
    /// # Errors
    /// [`SocketError::Slow`] if the client does not read in time, [`SocketError::Broken`] if the connection is lost.
    pub async fn ping(&mut self) -> Result<(), SocketError> {
        let ping = self.stream.send(Message::Ping(Default::default()));
        in_time(self.limits.write_timeout, ping).await
    }

    /// Closes with `code` (RFC 6455 section 7.4) and a reason of at most 123 bytes, which is cut if it is longer. Waits
    /// up to 2 s for the client's answer.
    pub async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: Utf8Bytes::from(&reason[..reason.floor_char_boundary(123)]),
        };
        let handshake = async {
            if self.stream.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
            // after a violation of the protocol no frame is read any more; closing TCP over unread bytes resets it, and the
            // client may never see the close frame (RFC 6455 section 7.1.1)
            let tcp = self.stream.get_mut();
            let mut rest = [0; 1024];
            if tcp.shutdown().await.is_ok() {
                while tcp.read(&mut rest).await.is_ok_and(|length| length > 0) {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, handshake).await;
    }
}

impl<S> fmt::Debug for ServerSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSocket")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

type PollSink<S> = fn(Pin<&mut WebSocketStream<Counted<S>>>, &mut Context<'_>) -> Poll<Result<(), WsError>>;

/// A stream that counts the bytes written.
struct Counted<S> {
    stream: S,
    written: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = write {
            self.written += written;
        }
        write
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn in_time(
    write_timeout: Duration,
    write: impl Future<Output = Result<(), WsError>>,
) -> Result<(), SocketError> {
    let done = tokio::time::timeout(write_timeout, write).await;
    done.map_err(|_| SocketError::Slow)?.map_err(SocketError::from)
}

/// A frame of a client.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// A ping or a pong.
    Alive,
    /// The client closed, or the connection ended. No frame follows.
    Closed(CloseInfo),
    /// A text frame.
    Text(Payload),
}

/// The text of a frame. Clones share one allocation. `Debug` shows its length, since it may hold a token.
#[derive(Clone)]
pub struct Payload(Utf8Bytes);

impl<T: Into<Utf8Bytes>> From<T> for Payload {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl Deref for Payload {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A fault that ends the socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The client sent a binary frame.
    #[error("invalid frame: binary; send text frames only")]
    Binary,
    /// The connection broke.
    #[error("cannot reach the client: the connection broke")]
    Broken(#[source] Source),
    /// The client violated RFC 6455.
    #[error("invalid frame: a violation of the WebSocket protocol; check the client's library")]
    Protocol(#[source] Source),
    /// The client does not read.
    #[error("cannot send: the client does not read; connect again and read all frames")]
    Slow,
    /// The client sent more than the limit.
    #[error("invalid message: too large; send smaller ones")]
    TooLarge(#[source] Source),
    /// The client sent text that is not UTF-8.
    #[error("invalid text: not UTF-8; send text in UTF-8")]
    Utf8(#[source] Source),
}

impl SocketError {
    /// The close code to send; `None` if the connection is gone.
    pub fn close_code(&self) -> Option<u16> {
        match self {
            Self::Binary => Some(1003),
            Self::Broken(_) => None,
            Self::Protocol(_) => Some(1002),
            Self::Slow => Some(1008),
            Self::TooLarge(_) => Some(1009),
            Self::Utf8(_) => Some(1007),
        }
    }
}

impl From<WsError> for SocketError {
    fn from(error: WsError) -> Self {
        match violation_code(&error) {
            Some(CloseCode::Size) => Self::TooLarge(error.into()),
            Some(CloseCode::Invalid) => Self::Utf8(error.into()),
            Some(_) => Self::Protocol(error.into()),
            // the error contains the frame, which may hold a token
            None if matches!(error, WsError::WriteBufferFull(_)) => Self::Slow,
            None => Self::Broken(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
