//! One connection of a client: absent, being opened, or open.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{Sink, Stream as _};
use genesys_api::{Clock, entropy, retry};
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use crate::socket::{breach, close_info, config, in_a_sentence};
use crate::{ClientHandshake, CloseInfo, Transmit};

/// Longest frame and message read.
const MESSAGE_LIMIT: usize = genesys_api::limits::FRAME_BYTES;
/// Most bytes that wait to be written: beyond any batch that the pacing lets pass.
const WRITE_LIMIT: usize = 512 * 1024;

/// A connection: absent, being opened, or open.
pub enum Link {
    /// Being opened.
    Dialling(Pin<Box<dyn Future<Output = Turn> + Send>>),
    /// Absent.
    Down,
    /// Open.
    Open(Box<Socket>),
}

/// An event of a connection.
pub enum Turn {
    /// A frame without text arrived: a ping, a pong, or binary data.
    Alive,
    /// The connection ended, or could not be opened.
    Closed(CloseInfo),
    /// Everything that was queued was written.
    Flushed,
    /// The upgrade succeeded.
    Opened(Box<Socket>),
    /// The upgrade was refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// The wait that the server requested.
        retry_after: Option<Duration>,
    },
    /// A text frame arrived.
    Text(Utf8Bytes),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialling(_) => "Dialling",
            Self::Down => "Down",
            Self::Open(_) => "Open",
        })
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alive => "Alive",
            Self::Closed(_) => "Closed",
            Self::Flushed => "Flushed",
            Self::Opened(_) => "Opened",
            Self::Refused { .. } => "Refused",
            Self::Text(_) => "Text",
        })
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("fed", &self.fed)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Makes a connection, not before `place`.
    pub fn dial(http: genesys_http::Client, handshake: ClientHandshake, place: Instant) -> Self {
        Self::Dialling(Box::pin(dial(http, handshake, place)))
    }

    /// Waits for something to happen. If the future is dropped, nothing is lost.
    pub async fn turn(&mut self, reading: bool) -> Turn {
        match self {
            Self::Dialling(dialling) => dialling.await,
            Self::Down => pending().await,
            Self::Open(socket) => poll_fn(|cx| socket.poll_turn(cx, reading)).await,
        }
    }
}

/// An open client socket.
pub struct Socket {
    stream: WebSocketStream<genesys_http::Stream>,
    /// Something was fed that may not have left.
    fed: bool,
}

impl Socket {
    /// Whether all that was fed has left.
    pub fn is_flushed(&self) -> bool {
        !self.fed
    }

    /// Puts something into the write buffer; [`Self::poll_turn`] and [`Self::flush`] move it on.
    pub fn feed(&mut self, transmit: Transmit) -> Result<(), CloseInfo> {
        let message = match transmit {
            Transmit::Close { code, reason } => Message::Close(Some(CloseFrame {
                code: code.into(),
                reason: Utf8Bytes::from_static(reason),
            })),
            Transmit::Frame(text) => Message::text(text),
            Transmit::Ping => Message::Ping(Default::default()),
        };
        self.fed = true;
        Pin::new(&mut self.stream)
            .start_send(message)
            .map_err(|error| CloseInfo::abrupt(&in_a_sentence(&error)))
    }

    /// Writes everything that was queued.
    pub async fn flush(&mut self) {
        let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_flush(cx)).await;
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<Turn> {
        let mut stream = Pin::new(&mut self.stream);
        if self.fed
            && let Poll::Ready(flushed) = stream.as_mut().poll_flush(cx)
        {
            self.fed = false;
            return Poll::Ready(match flushed {
                Ok(()) => Turn::Flushed,
                Err(error) => Turn::Closed(CloseInfo::abrupt(&in_a_sentence(&error))),
            });
        }
        if !reading {
            return Poll::Pending;
        }
        stream.as_mut().poll_next(cx).map(|message| match message {
            Some(Ok(Message::Text(text))) => Turn::Text(text),
            Some(Ok(Message::Close(frame))) => {
                // the answer to it is a few bytes: it fits, or the peer is gone anyway
                let _ = stream.poll_flush(cx);
                Turn::Closed(close_info(frame.as_ref()))
            }
            Some(Ok(Message::Binary(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_))) => {
                Turn::Alive
            }
            Some(Err(error)) => {
                if let Some(code) = breach(&error) {
                    // told if it can be at once: the connection is given up either way (RFC 6455 section 7.1.7)
                    let reason = Utf8Bytes::default();
                    let _ = stream
                        .as_mut()
                        .start_send(Message::Close(Some(CloseFrame { code, reason })));
                    let _ = stream.poll_flush(cx);
                }
                Turn::Closed(CloseInfo::abrupt(&in_a_sentence(&error)))
            }
            None => Turn::Closed(CloseInfo::abrupt("the connection ended without a close frame")),
        })
    }
}

async fn dial(http: genesys_http::Client, handshake: ClientHandshake, place: Instant) -> Turn {
    let clock: Clock = http.clock().clone();
    if place > clock.now().instant {
        clock.sleep_until(place).await;
    }
    let stream = match http.connect(&handshake.url().host()).await {
        Ok(stream) => stream,
        Err(error) => return Turn::Closed(CloseInfo::abrupt(&in_a_sentence(&error))),
    };
    let request = handshake.request(entropy::bytes());
    let config = config(MESSAGE_LIMIT, WRITE_LIMIT);
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((_, response)) if response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) => Turn::Closed(
            CloseInfo::abrupt("the server chose a WebSocket extension that was not offered"),
        ),
        Ok((stream, _)) => Turn::Opened(Box::new(Socket { stream, fed: false })),
        Err(WsError::Http(response)) => Turn::Refused {
            status: response.status().as_u16(),
            retry_after: retry::retry_after(response.headers(), clock.now().utc),
        },
        Err(error) => Turn::Closed(CloseInfo::abrupt(&in_a_sentence(&error))),
    }
}
