//! The conversation of a browser that cannot open a WebSocket: the gateway's frames as Server-Sent Events, and those of the
//! guest each in a request of its own.

mod event;
mod registry;

use std::convert::Infallible;
use std::time::Duration;

use audit::Pseudonym;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use genesys_api::{SessionId, Timer};
use guest_sessions::{ClientFrame, DetailCode, ErrorCode};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, StatusCode};
use time::OffsetDateTime;
use tokio::sync::mpsc;

pub(super) use self::registry::Streams;

pub(crate) use self::event::frame_event;
use self::event::{EventBody, HEARTBEAT, close_event};
use self::registry::{Registration, StreamId};
use super::admission::{admit_visitor, refusal, spa};
use super::session::extend;
use crate::api::{App, Call, CloseReason, GuestRequest, Outputs, Refusal, read_frame};
use crate::relay::{Outgoing, Position, SOCKET_QUEUE, SocketHandle};

/// Silence after which a comment is sent, so that no proxy closes the stream. Our choice.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Longest time for the client to take an event, as on a WebSocket.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the client to take the last events.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Events that wait for the connection.
const EVENT_QUEUE: usize = 16;
/// nginx buffers an answer without it.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(crate) async fn open_stream(mut call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let visitor = admit_visitor(&call).await?;
    let stream = stream_id(&call)?;
    let body = call.body("application/json").await?;
    drop(call);
    let position = parse_handshake(&body, &visitor.id)?;
    let origin = app.settings().origins.admit_own(visitor.page.origin()?);
    let origin = origin.map_err(|error| Refusal::origin(&error))?;
    let ends_at = extend(&app, &visitor.id).await.map_err(refusal)?;
    let guest = visitor.admitted.pseudonym();
    let transport = Some(("transport", "event-stream".to_owned()));
    app.log_socket(guest, "ws.opened", transport).await?;
    let attached = app.hub.attach(visitor.admitted, &visitor.id, origin, position);
    let handle = Box::pin(attached).await;
    let (registration, pongs) = Registration::new(&handle);
    spa(&app)?.streams.insert(&visitor.id, &stream, registration);
    let (events, body) = mpsc::channel(EVENT_QUEUE);
    let connection = Connection {
        app,
        id: visitor.id,
        stream,
        guest,
        events,
    };
    tokio::spawn(connection.serve(handle, pongs, ends_at));
    Ok(event_stream(body))
}

/// The answer that is a stream of these events.
pub(crate) fn event_stream(events: mpsc::Receiver<Bytes>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (ACCEL_BUFFERING, "no"),
    ];
    (headers, Body::new(EventBody(events))).into_response()
}

pub(crate) async fn send_frame(mut call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let visitor = admit_visitor(&call).await?;
    let stream = stream_id(&call)?;
    let body = call.body("application/json").await?;
    drop(call);
    let text = str::from_utf8(&body).map_err(|_| bad_frame("invalid frame: not UTF-8, send JSON"))?;
    let registered = spa(&app)?
        .streams
        .find(&visitor.id, &stream, visitor.page.now.instant);
    let (commands, pongs, socket) = registered?;
    let sent = match read_frame(text, socket).map_err(bad_frame)? {
        GuestRequest::Command(command) => commands.try_send(command).map_err(|error| error.into()),
        GuestRequest::Pong(pong) => pongs.try_send(pong).map_err(|error| error.into()),
    };
    sent.map_err(|unsent| match unsent {
        Unsent::Full => Refusal::unavailable(
            "cannot accept the frame: too many wait in this conversation, send it again later",
        ),
        Unsent::Closed => stream_required(),
    })?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// A frame that was not passed on.
enum Unsent {
    Full,
    Closed,
}

impl<T> From<mpsc::error::TrySendError<T>> for Unsent {
    fn from(error: mpsc::error::TrySendError<T>) -> Self {
        match error {
            mpsc::error::TrySendError::Full(_) => Self::Full,
            mpsc::error::TrySendError::Closed(_) => Self::Closed,
        }
    }
}

fn stream_required() -> Refusal {
    Refusal::new(ErrorCode::StreamRequired, ErrorCode::StreamRequired.message())
}

fn bad_frame(problem: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::BadFrame, problem)
}

/// Reads the parameter `stream`.
fn stream_id(call: &Call) -> Result<StreamId, Refusal> {
    let query = call.request.uri().query().unwrap_or_default();
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let (detail, problem) = match parameters.find(|(name, _)| name == "stream") {
        None => (DetailCode::FieldMissing, "the parameter stream is missing"),
        Some((_, value)) => match StreamId::parse(&value) {
            Some(stream) => return Ok(stream),
            None => (DetailCode::FieldValue, "stream is not a UUID"),
        },
    };
    let message = format!("invalid query: {problem}, send a random UUID for each stream");
    Err(Refusal::new(detail.error_code(), message).detail(detail.as_str(), "stream"))
}

/// Reads the handshake. Returns the position of the last event that the guest has.
fn parse_handshake(body: &[u8], id: &SessionId) -> Result<Option<Position>, Refusal> {
    let text = str::from_utf8(body).map_err(|_| bad_frame("invalid handshake: not UTF-8, send JSON"))?;
    match ClientFrame::parse(text).map_err(|problem| bad_frame(problem.to_string()))? {
        ClientFrame::Handshake {
            guest_session_id,
            access_token: None,
            epoch,
            last_sequence,
            last_message_id,
            ..
        } => match guest_session_id == *id {
            true => Ok(Position::of(
                epoch.as_deref(),
                last_sequence,
                last_message_id.as_deref(),
            )),
            false => {
                let message = "invalid handshake: guestSessionId is not the session of this browser";
                Err(Refusal::new(ErrorCode::NotFound, message))
            }
        },
        ClientFrame::Handshake { .. } => Err(bad_frame(
            "invalid handshake: an access token is not accepted here, omit it",
        )),
        _ => Err(bad_frame("invalid frame: a stream begins with a handshake")),
    }
}

/// An open stream of a session.
struct Connection {
    app: App,
    id: SessionId,
    stream: StreamId,
    guest: Pseudonym,
    events: mpsc::Sender<Bytes>,
}

impl Connection {
    async fn serve(self, mut handle: SocketHandle, pongs: mpsc::Receiver<String>, ends_at: OffsetDateTime) {
        let Err(reason) = self.exchange_frames(&mut handle, pongs, ends_at).await;
        if let Ok(spa) = spa(&self.app) {
            spa.streams.remove(&self.id, &self.stream, handle.socket);
        }
        // frees its slot at the relay
        drop(handle);
        let closed = Some(("reason", reason.name()));
        if let Err(error) = self.app.log_socket(self.guest, "ws.closed", closed).await
            && let Some(unlogged) = self.app.direct.admit_fault_line()
        {
            tracing::error!(session = %self.id, %error, unlogged, "cannot log the end of a stream, trying again");
        }
        tokio::select! {
            _ = tokio::time::timeout(CLOSE_TIMEOUT, self.close(reason)) => {}
            () = self.app.hub.shutdown.close_deadline() => {}
        }
    }

    /// Sends the frames of the relay until the stream is to be closed. Returns the reason.
    async fn exchange_frames(
        &self,
        handle: &mut SocketHandle,
        mut pongs: mpsc::Receiver<String>,
        ends_at: OffsetDateTime,
    ) -> Result<Infallible, CloseReason> {
        let clock = &self.app.clock;
        let mut ends_at = clock.now().deadline(ends_at);
        let mut timer = Timer::new(clock.clone());
        let mut queued = Vec::new();
        loop {
            let silent_at = clock.now().instant + HEARTBEAT_INTERVAL;
            timer.set(Some(ends_at.min(silent_at)));
            tokio::select! {
                received = handle.outgoing.recv_many(&mut queued, SOCKET_QUEUE) => {
                    if received == 0 {
                        return Err(CloseReason::TOO_SLOW);
                    }
                    if let Some(until) = self.send_queued(queued.drain(..)).await? {
                        ends_at = clock.now().deadline(until);
                    }
                }
                Some(pong) = pongs.recv() => self.send(frame_event(&pong)).await?,
                () = self.events.closed() => return Err(CloseReason::Lost),
                () = timer.elapsed() => match ends_at <= clock.now().instant {
                    true => ends_at = clock.now().deadline(extend(&self.app, &self.id).await?),
                    false => self.send(HEARTBEAT).await?,
                },
            }
        }
    }

    /// Sends the frames among the queued outputs. Returns the new end of the stream's lifetime, if there is one.
    async fn send_queued(
        &self,
        queued: impl Iterator<Item = Outgoing>,
    ) -> Result<Option<OffsetDateTime>, CloseReason> {
        let outputs = Outputs::of(queued);
        for frame in outputs.frames {
            self.send(frame_event(&frame)).await?;
        }
        outputs.close.map_or(Ok(outputs.ends_at), Err)
    }

    async fn send(&self, event: Bytes) -> Result<(), CloseReason> {
        match tokio::time::timeout(WRITE_TIMEOUT, self.events.send(event)).await {
            Ok(sent) => sent.or(Err(CloseReason::Lost)),
            Err(_) => Err(CloseReason::TOO_SLOW),
        }
    }

    /// Sends the last events.
    async fn close(&self, reason: CloseReason) {
        let frame = reason.last_frame().map(|frame| frame_event(&frame));
        let close = reason
            .code_and_reason()
            .map(|(code, reason)| close_event(code, reason));
        for event in frame.into_iter().chain(close) {
            // the client may be gone
            let _ = self.events.send(event).await;
        }
    }
}
