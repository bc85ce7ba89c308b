//! Server-Sent Events (WHATWG HTML section 9.2): the body of a stream, and its events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::json;
use tokio::sync::mpsc;

/// A comment, which clients ignore.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// A frame of the gateway. Its JSON has no line break.
pub(crate) fn frame_event(frame: &str) -> Bytes {
    format!("data: {frame}\n\n").into()
}

/// The last event: code and reason of the close frame of a WebSocket.
pub(super) fn close_event(code: u16, reason: &str) -> Bytes {
    format!(
        "event: close\ndata: {}\n\n",
        json!({ "code": code, "reason": reason })
    )
    .into()
}

/// The body of a stream. The sender of its events detects that the connection was lost.
pub(super) struct EventBody(pub(super) mpsc::Receiver<Bytes>);

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let received = self.0.poll_recv(context);
        received.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
