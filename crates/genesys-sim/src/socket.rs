//! One guest's WebSocket: the handshake, then frames in and out until either side ends it.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::serve::{Shell, ToGuest};
use crate::world::SocketId;

/// Largest message, in bytes: that of AWS API Gateway, which Genesys' socket resembles (inference).
const LARGEST_MESSAGE: usize = genesys_api::limits::FRAME_BYTES;

/// How long a guest may take to read a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a guest may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The answer to a WebSocket handshake, or `None` if the request is none.
pub(crate) async fn accept(
    shell: &Arc<Shell>,
    request: &mut Request<Incoming>,
) -> Option<Response<Full<Bytes>>> {
    let response = create_response_with_body(request, Full::default).ok()?;
    match shell.admit(request) {
        Ok((socket, inbox)) => {
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(run(Arc::clone(shell), socket, inbox, upgrade));
            shell.opens(socket).await;
            Some(response)
        }
        Err(refusal) => Some(refusal.map(Full::new)),
    }
}

async fn run(shell: Arc<Shell>, socket: SocketId, inbox: mpsc::Receiver<ToGuest>, upgrade: OnUpgrade) {
    match upgrade.await {
        Ok(upgraded) => {
            let config = WebSocketConfig::default()
                .read_buffer_size(4096)
                .write_buffer_size(0)
                .max_message_size(Some(LARGEST_MESSAGE))
                .max_frame_size(Some(LARGEST_MESSAGE));
            let stream =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            converse(&shell, socket, inbox, stream).await;
        }
        Err(error) => tracing::debug!(%error, "the upgrade failed"),
    }
    shell.leave(socket);
}

async fn converse(
    shell: &Shell,
    socket: SocketId,
    mut inbox: mpsc::Receiver<ToGuest>,
    mut stream: WebSocketStream<TokioIo<Upgraded>>,
) {
    let mut next = None;
    loop {
        let order = match next.take() {
            Some(order) => order,
            None => tokio::select! {
                // what a frame brought about leaves before the next one is read, or the end of a guest who hangs up
                biased;
                order = inbox.recv() => match order {
                    Some(order) => order,
                    None => return close(stream, CloseCode::Policy, "frames are not read").await,
                },
                incoming = stream.next() => match incoming {
                    Some(Ok(Message::Text(text))) => {
                        shell.turn(|world, now| world.handle_frame(socket, &text, now));
                        continue;
                    }
                    // a frame that is no text is no JSON either
                    Some(Ok(Message::Binary(_))) => {
                        shell.turn(|world, now| world.handle_frame(socket, "", now));
                        continue;
                    }
                    Some(Ok(Message::Ping(_))) => {
                        shell.turn(|world, now| world.handle_ping(socket, now));
                        continue;
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(Error::Capacity(_))) => {
                        return close(stream, CloseCode::Size, "the message is too large").await;
                    }
                    Some(Err(Error::Utf8(_))) => {
                        return close(stream, CloseCode::Invalid, "the text is not UTF-8").await;
                    }
                    Some(Err(Error::Protocol(breach)))
                        if breach != ProtocolError::ResetWithoutClosingHandshake =>
                    {
                        return close(stream, CloseCode::Protocol, "RFC 6455 was not kept").await;
                    }
                    Some(Err(_)) | None => return,
                },
            },
        };
        match order {
            ToGuest::Close { code, reason } => return close(stream, code.into(), reason).await,
            ToGuest::Drop => return,
            ToGuest::Frame { text, fragments } => {
                for message in messages(text, fragments) {
                    let sent = timeout(SEND_TIMEOUT, stream.send(message)).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return;
                    }
                }
            }
            ToGuest::Hang { until } => next = hang(shell, &mut inbox, until).await,
        }
    }
}

/// Neither reads nor writes, so that pings go unanswered as well, until the time is over or the world, which says
/// nothing in the meantime, has something to say.
async fn hang(shell: &Shell, inbox: &mut mpsc::Receiver<ToGuest>, until: Option<Instant>) -> Option<ToGuest> {
    let over = async {
        match until {
            Some(until) => shell.sleep_until(until).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = over => None,
        order = inbox.recv() => Some(order.unwrap_or(ToGuest::Drop)),
    }
}

/// One frame, or its fragments (RFC 6455, 5.4), cut wherever the bytes fall.
fn messages(text: String, fragments: u16) -> Vec<Message> {
    let bytes = Bytes::from(text.clone());
    let size = bytes.len().div_ceil(usize::from(fragments.max(1))).max(1);
    if size >= bytes.len() {
        return vec![Message::text(text)];
    }
    let count = bytes.len().div_ceil(size);
    (0..count)
        .map(|index| {
            let kind = if index == 0 { Data::Text } else { Data::Continue };
            let part = bytes.slice(index * size..bytes.len().min((index + 1) * size));
            Message::Frame(Frame::message(part, OpCode::Data(kind), index + 1 == count))
        })
        .collect()
}

async fn close(mut stream: WebSocketStream<TokioIo<Upgraded>>, code: CloseCode, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let closed = async {
        if stream.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    // whoever does not answer is cut off
    let _ = timeout(CLOSE_TIMEOUT, closed).await;
}
