//! One connection of a client: absent, being opened, or open.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{Sink, Stream as _};
use genesys_api::{Clock, entropy, error_chain, retry};
use http::StatusCode;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::limiter::{REPORTED_DELAY, Slot};
use crate::socket::{broken, close_info, config, violation_code};
use crate::{ClientHandshake, CloseInfo, Transmit};

/// Longest frame and message read.
const MESSAGE_LIMIT: usize = genesys_api::limits::FRAME_BYTES;
/// Most bytes that wait to be written: beyond any batch that the pacing lets pass.
const WRITE_LIMIT: usize = 512 * 1024;

/// A connection: absent, being opened, or open.
pub(super) enum Link {
    /// Being opened.
    Connecting(Pin<Box<dyn Future<Output = LinkEvent> + Send>>),
    /// Absent.
    Down,
    /// Open.
    Open(Box<Socket>),
    /// Waiting for the limit of new connections.
    Queued(Box<Queued>),
}

/// A connection that waits for its slot.
pub(super) struct Queued {
    slot: Slot,
    /// The time that was reported last.
    expected: Instant,
    http: genesys_http::Client,
    handshake: ClientHandshake,
}

/// An event of the connection.
pub(super) enum LinkEvent {
    /// A frame without text arrived: a ping, a pong, or binary data.
    Alive,
    /// The connection ended, or could not be opened.
    Closed(CloseInfo),
    /// The limit of new connections delays the connection until this time.
    Deferred(Instant),
    /// Frames that waited for the peer to read were written.
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

impl Link {
    /// Opens a connection, after its slot and the expected time of it if it has to wait.
    #[must_use]
    pub(super) fn connect(
        http: genesys_http::Client,
        handshake: ClientHandshake,
        queued: Option<(Slot, Instant)>,
    ) -> Self {
        match queued {
            Some((slot, expected)) => Self::Queued(Box::new(Queued {
                slot,
                expected,
                http,
                handshake,
            })),
            None => Self::Connecting(Box::pin(connect(http, handshake))),
        }
    }

    /// Waits for the next event. Cancel safe: no event is lost.
    pub(super) async fn next(&mut self, reading: bool) -> LinkEvent {
        if let Self::Queued(queued) = self {
            if let Some(later) = queued.slot.wait(queued.expected, queued.http.clock()).await {
                queued.expected = later;
                return LinkEvent::Deferred(later);
            }
            let now = queued.http.clock().now().instant;
            let is_early = now + REPORTED_DELAY < queued.expected;
            let connecting = connect(queued.http.clone(), queued.handshake.clone());
            *self = Self::Connecting(Box::pin(connecting));
            if is_early {
                return LinkEvent::Deferred(now);
            }
        }
        match self {
            Self::Connecting(connecting) => connecting.await,
            Self::Down | Self::Queued(_) => pending().await,
            Self::Open(socket) => poll_fn(|cx| socket.poll_event(cx, reading)).await,
        }
    }
}

/// An open client socket.
pub(super) struct Socket {
    stream: WebSocketStream<genesys_http::Stream>,
    writes: Writes,
}

/// Progress of the frames that were queued.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Writes {
    Done,
    Queued,
    /// The peer does not read as fast as frames are queued.
    Blocked,
}

impl Socket {
    /// Whether every queued frame was written.
    #[must_use]
    pub(super) fn is_flushed(&self) -> bool {
        self.writes == Writes::Done
    }

    /// Adds a frame to the write buffer. [`Self::poll_event`] and [`Self::flush`] write the whole buffer at once.
    pub(super) fn queue(&mut self, transmit: Transmit) -> Result<(), CloseInfo> {
        let message = match transmit {
            Transmit::Close { code, reason } => Message::Close(Some(CloseFrame {
                code: code.into(),
                reason: Utf8Bytes::from_static(reason),
            })),
            Transmit::Frame(text) => Message::text(text),
            Transmit::Ping => Message::Ping(Default::default()),
        };
        if self.writes == Writes::Done {
            self.writes = Writes::Queued;
        }
        Pin::new(&mut self.stream)
            .start_send(message)
            .map_err(|error| CloseInfo::abnormal(&error_chain(&error)))
    }

    /// Writes every queued frame.
    pub(super) async fn flush(&mut self) {
        let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_flush(cx)).await;
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<LinkEvent> {
        let mut stream = Pin::new(&mut self.stream);
        if self.writes != Writes::Done {
            match stream.as_mut().poll_flush(cx) {
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(LinkEvent::Closed(CloseInfo::abnormal(&error_chain(&error))));
                }
                Poll::Ready(Ok(())) if self.writes == Writes::Blocked => {
                    self.writes = Writes::Done;
                    return Poll::Ready(LinkEvent::Flushed);
                }
                Poll::Ready(Ok(())) => self.writes = Writes::Done,
                Poll::Pending => self.writes = Writes::Blocked,
            }
        }
        if !reading {
            return Poll::Pending;
        }
        stream.as_mut().poll_next(cx).map(|message| match message {
            Some(Ok(Message::Text(text))) => LinkEvent::Text(text),
            Some(Ok(Message::Close(frame))) => {
                // the answer to it is a few bytes: it fits, or the peer is gone anyway
                let _ = stream.poll_flush(cx);
                LinkEvent::Closed(close_info(frame.as_ref()))
            }
            Some(Ok(Message::Binary(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_))) => {
                LinkEvent::Alive
            }
            Some(Err(error)) => {
                if let Some(code) = violation_code(&error) {
                    // sent if it can be at once: the connection is given up either way (RFC 6455 section 7.1.7)
                    let reason = Utf8Bytes::default();
                    let _ = stream
                        .as_mut()
                        .start_send(Message::Close(Some(CloseFrame { code, reason })));
                    let _ = stream.poll_flush(cx);
                }
                LinkEvent::Closed(broken(&error))
            }
            None => LinkEvent::Closed(CloseInfo::abnormal("the connection ended without a close frame")),
        })
    }
}

async fn connect(http: genesys_http::Client, handshake: ClientHandshake) -> LinkEvent {
    let clock: &Clock = http.clock();
    let key = entropy::bytes();
    let upgrade = match http
        .upgrade(&handshake.url().host(), handshake.request(key))
        .await
    {
        Ok(upgrade) => upgrade,
        Err(error) => return LinkEvent::Closed(CloseInfo::not_opened(&error)),
    };
    let response = upgrade.response;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return LinkEvent::Refused {
            status: response.status().as_u16(),
            retry_after: retry::retry_after(response.headers(), clock.now().utc),
        };
    }
    if let Err(error) = handshake.verify(key, &response) {
        return LinkEvent::Closed(CloseInfo::abnormal(&error.to_string()));
    }
    let Some((stream, read)) = upgrade.connection else {
        return LinkEvent::Closed(CloseInfo::abnormal("the connection ended during the handshake"));
    };
    let config = Some(config(MESSAGE_LIMIT, WRITE_LIMIT));
    // a fresh codec: the one of the handshake would keep its read buffer
    let stream = match read.is_empty() {
        true => WebSocketStream::from_raw_socket(stream, Role::Client, config).await,
        false => WebSocketStream::from_partially_read(stream, read.into(), Role::Client, config).await,
    };
    LinkEvent::Opened(Box::new(Socket {
        stream,
        writes: Writes::Done,
    }))
}
