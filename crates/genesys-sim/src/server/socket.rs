//! One WebSocket: the handshake, then frames in both directions until either side closes it.

use std::sync::Arc;
use std::time::Duration;

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

use super::shared::Shared;
use crate::cloud::{Output, SocketId};

/// Largest message, in bytes: that of AWS API Gateway, which Genesys' socket resembles (inference).
const MAX_MESSAGE: usize = genesys_api::limits::FRAME_BYTES;

const SEND_TIMEOUT: Duration = Duration::from_secs(10);

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers a WebSocket handshake. `None` for any other request.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    request: &mut Request<Incoming>,
) -> Option<Response<Full<Bytes>>> {
    let response = create_response_with_body(request, Full::default).ok()?;
    match shared.admit(request) {
        Ok((socket, outputs)) => {
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(run(Arc::clone(shared), socket, outputs, upgrade));
            if let Some(at) = shared.read(|cloud| cloud.handshake_due(socket)) {
                shared.clock.sleep_until(at).await;
            }
            Some(response)
        }
        Err(refusal) => Some(refusal.map(Full::new)),
    }
}

async fn run(shared: Arc<Shared>, socket: SocketId, outputs: mpsc::Receiver<Output>, upgrade: OnUpgrade) {
    match upgrade.await {
        Ok(upgraded) => {
            let config = WebSocketConfig::default()
                .read_buffer_size(4096)
                .write_buffer_size(0)
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE));
            let stream =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            run_socket(&shared, socket, outputs, stream).await;
        }
        Err(error) => tracing::debug!(%error, "cannot upgrade the connection"),
    }
    shared.closed(socket);
}

async fn run_socket(
    shared: &Shared,
    socket: SocketId,
    mut outputs: mpsc::Receiver<Output>,
    mut stream: WebSocketStream<TokioIo<Upgraded>>,
) {
    let mut next = None;
    loop {
        let received = match next.take() {
            Some(output) => Some(output),
            None => tokio::select! {
                // the outputs of a frame are sent before the next frame, or the guest's close, is read
                biased;
                output = outputs.recv() => output,
                incoming = stream.next() => match incoming {
                    Some(Ok(message)) => {
                        receive(shared, socket, &message);
                        continue;
                    }
                    Some(Err(error)) => match close_for(&error) {
                        Some((code, reason)) => return close(stream, code, reason).await,
                        None => return,
                    },
                    None => return,
                },
            },
        };
        match received {
            None => return close(stream, CloseCode::Policy, "frames are not read").await,
            Some(Output::Close { code, reason, .. }) => return close(stream, code.into(), reason).await,
            Some(Output::Frame { text, fragments, .. }) => {
                for message in messages(text, fragments) {
                    let sent = timeout(SEND_TIMEOUT, stream.send(message)).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return;
                    }
                }
            }
            // reads nothing, and answers no ping, until the end of the hang or the next output
            Some(Output::Hang { until, .. }) => {
                next = tokio::select! {
                    () = shared.sleep_until(until) => None,
                    output = outputs.recv() => Some(output.unwrap_or(Output::Drop { socket })),
                };
            }
            Some(Output::Drop { .. } | Output::Advance(_)) => return,
        }
    }
}

fn receive(shared: &Shared, socket: SocketId, message: &Message) {
    match message {
        Message::Text(text) => shared.input(|state, now| state.cloud.handle_frame(socket, text, now)),
        // a binary frame is not JSON either
        Message::Binary(_) => shared.input(|state, now| state.cloud.handle_frame(socket, "", now)),
        Message::Ping(_) => shared.input(|state, now| state.cloud.handle_ping(socket, now)),
        _ => {}
    }
}

/// The close frame after an error of the guest's, if the connection is still open.
fn close_for(error: &Error) -> Option<(CloseCode, &'static str)> {
    match error {
        Error::Capacity(_) => Some((CloseCode::Size, "the message is too large")),
        Error::Utf8(_) => Some((CloseCode::Invalid, "the text is not UTF-8")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some((CloseCode::Protocol, "RFC 6455 was violated")),
        _ => None,
    }
}

/// One frame, or its fragments (RFC 6455, 5.4), split at any byte.
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
    // a guest that does not answer is cut off
    let _ = timeout(CLOSE_TIMEOUT, closed).await;
}
