//! `GET …/{id}/socket`: the guest's WebSocket, from its handshake to its end.

use std::convert::Infallible;
use std::time::Duration;

use audit::Pseudonym;
use axum::body::Body;
use axum::response::Response;
use genesys_api::{SessionId, Timer};
use guest_sessions::{
    ClientFrame, ErrorCode, PROTOCOL, ServerFrame, offered_ticket, offered_token, query_token,
};
use guest_suite::direct::Admitted;
use http::header::ORIGIN;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use ws_transport::server::{Incoming, Limits, ServerSocket, SocketError, accept};
use ws_transport::{AdmittedOrigin, Heartbeat, HeartbeatAction, ServerHandshake};

use super::request::Call;
use super::transport::{CloseReason, GuestRequest, Outputs, frame_limiter, read_frame};
use super::{App, Refusal, RequestLog};
use crate::relay::{Outgoing, Position, SOCKET_QUEUE, SocketHandle};
use crate::spa;

/// Longest time for the handshake frame to arrive.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bad frames after which the socket is closed.
const MAX_BAD_FRAMES: u32 = 5;

/// Answers the upgrade, if the origin is allowed and the request is a WebSocket handshake. A token in the request is
/// checked before the upgrade, a token in the handshake frame after it. A refusal is audited.
pub(super) async fn open(call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let id: SessionId = call.id()?;
    let opened = upgrade(call, id.clone()).await;
    if let Err(refusal) = &opened {
        app.log_refused_socket(&id, refusal.code()).await?;
    }
    opened
}

async fn upgrade(mut call: Call, id: SessionId) -> Result<Response, Refusal> {
    let origins = call.request.headers().get_all(ORIGIN).iter();
    let origin = call.settings.origins.admit(origins).map_err(|error| {
        tracing::info!(session = %id, %error, "socket refused for its origin");
        Refusal::origin(&error)
    })?;
    let handshake = ServerHandshake::parse(&call.request).map_err(|error| match error.status() {
        405 => Refusal::method_not_allowed("GET"),
        426 => Refusal::new(ErrorCode::UpgradeRequired, error.to_string()),
        _ => Refusal::bad_request(error.to_string()),
    })?;
    let offered = offered_token(&handshake);
    let subprotocol = handshake
        .protocols()
        .any(|protocol| protocol == PROTOCOL)
        .then_some(PROTOCOL);
    let queried = query_token(call.request.uri());
    if queried.is_some() && !call.settings.token_in_query {
        return Err(Refusal::bad_request(
            "invalid query: no token is accepted in it, offer the token as a subprotocol or send it in the handshake frame",
        ));
    }
    let by_ticket = match offered_ticket(&handshake) {
        Some(ticket) => Some(spa::admit_by_ticket(&call.app, &id, &ticket, &origin).await?),
        None => None,
    };
    let is_browser = by_ticket.is_some();
    let admitted = match (by_ticket, offered.or(queried)) {
        (None, Some(token)) => Some(call.app.direct.admit(&id, &token).await?),
        (by_ticket, _) => by_ticket,
    };
    if let Some(admitted) = &admitted {
        RequestLog::of(&call.request).set_session(admitted.pseudonym());
        call.app.count_request(&id)?;
    }
    let upgrade = call.request.extensions_mut().remove::<OnUpgrade>();
    let upgrade =
        upgrade.ok_or_else(|| Refusal::bad_request("cannot upgrade the connection: use HTTP/1.1"))?;
    tokio::spawn(serve(call.app, id, origin, (admitted, is_browser), upgrade));
    Ok(handshake.response(subprotocol).map(|()| Body::empty()))
}

async fn serve(
    app: App,
    id: SessionId,
    origin: AdmittedOrigin,
    (admitted, is_browser): (Option<Admitted>, bool),
    upgrade: OnUpgrade,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut connection = Connection {
        app: &app,
        id: &id,
        socket: accept(TokioIo::new(upgraded), Limits::default()).await,
        bad_frames: 0,
        guest: None,
        is_browser,
    };
    let Err(reason) = connection.run(origin, admitted).await;
    let logged = match connection.guest {
        Some(guest) => {
            app.log_socket(guest, "ws.closed", Some(("reason", reason.name())))
                .await
        }
        None if reason.is_refusal() => app.log_refused_socket(&id, &reason.name()).await,
        None => Ok(()),
    };
    if let Err(error) = logged
        && let Some(unlogged) = app.direct.admit_fault_line()
    {
        tracing::error!(session = %id, %error, unlogged, "cannot log the end of a socket, trying again");
    }
    tokio::select! {
        () = Box::pin(close(reason, connection.socket)) => {}
        () = app.hub.shutdown.close_deadline() => {}
    }
}

/// A guest's socket of a session.
struct Connection<'a> {
    app: &'a App,
    id: &'a SessionId,
    socket: ServerSocket<TokioIo<Upgraded>>,
    bad_frames: u32,
    /// Pseudonym of the guest, once the handshake is complete.
    guest: Option<Pseudonym>,
    /// Whether a ticket opened it. An open socket then extends the session.
    is_browser: bool,
}

impl Connection<'_> {
    /// Runs the socket. Returns the reason to close it.
    async fn run(
        &mut self,
        origin: AdmittedOrigin,
        admitted: Option<Admitted>,
    ) -> Result<Infallible, CloseReason> {
        let app = self.app;
        let (admitted, position) = tokio::select! {
            // boxed, so that its memory is freed when the socket is open
            handshake = Box::pin(self.handshake(admitted)) => handshake?,
            () = app.clock.sleep(HANDSHAKE_TIMEOUT) => {
                let text = "invalid handshake: no frame within 10 seconds, connect again";
                return Err(CloseReason::error(ErrorCode::HandshakeTimeout, text));
            }
            () = app.hub.shutdown.requested() => return Err(CloseReason::Close(1001, "the gateway shuts down")),
        };
        let guest = admitted.pseudonym();
        let credential = self.is_browser.then(|| ("credential", "ticket".to_owned()));
        app.log_socket(guest, "ws.opened", credential).await?;
        self.guest = Some(guest);
        let expires_at = match self.is_browser {
            true => spa::extend(self.app, self.id).await?,
            false => admitted.expires_at(),
        };
        let handle = Box::pin(app.hub.attach(admitted, self.id, origin, position)).await;
        self.exchange_frames(expires_at, handle).await
    }

    /// Waits for the handshake frame. Returns the session, and the position of the last event that the guest has.
    async fn handshake(
        &mut self,
        admitted: Option<Admitted>,
    ) -> Result<(Admitted, Option<Position>), CloseReason> {
        let (named, token, position) = loop {
            let text = match self.socket.next().await? {
                Incoming::Text(text) => text,
                Incoming::Closed(_) => return Err(CloseReason::Lost),
                _ => continue,
            };
            match ClientFrame::parse(&text) {
                Ok(ClientFrame::Handshake {
                    guest_session_id,
                    access_token,
                    epoch,
                    last_sequence,
                    last_message_id,
                    ..
                }) => {
                    let token = access_token.map(|token| token.to_secret());
                    let position = Position::of(epoch.as_deref(), last_sequence, last_message_id.as_deref());
                    break (guest_session_id, token, position);
                }
                Ok(_) => {
                    let text = "invalid frame: the first one must be a handshake";
                    return Err(CloseReason::error(ErrorCode::HandshakeExpected, text));
                }
                Err(problem) => self.refuse_frame(&problem.to_string(), &text).await?,
            }
        };
        if named != *self.id {
            let text = "invalid handshake: guestSessionId is not the session of the URL";
            return Err(CloseReason::error(ErrorCode::NotFound, text));
        }
        let admitted = match (admitted, token) {
            (Some(admitted), None) => admitted,
            // a token in the frame replaces the one of the upgrade, which was counted
            (of_upgrade, Some(token)) => {
                let admitted = self.app.direct.admit(self.id, &token).await?;
                if of_upgrade.is_none() {
                    let limited =
                        |_| CloseReason::Close(1013, "rate limit of this session reached: reconnect later");
                    self.app.count_request(self.id).map_err(limited)?;
                }
                admitted
            }
            (None, None) => {
                let text = "invalid handshake: no access token, send it as a subprotocol or as accessToken in the frame";
                return Err(CloseReason::error(ErrorCode::AuthenticationRequired, text));
            }
        };
        Ok((admitted, position))
    }

    /// Passes frames in both directions until the socket is to be closed.
    async fn exchange_frames(
        &mut self,
        expires_at: OffsetDateTime,
        mut handle: SocketHandle,
    ) -> Result<Infallible, CloseReason> {
        let clock = &self.app.clock;
        let mut heartbeat = Heartbeat::new(clock.now().instant);
        let mut ends_at = clock.now().deadline(expires_at);
        let mut pace = frame_limiter();
        let mut timer = Timer::new(clock.clone());
        let mut queued = Vec::new();
        loop {
            let now = clock.now().instant;
            let readable_at = pace.check(now).err();
            let deadline = ends_at.min(heartbeat.poll_timeout());
            timer.set(Some(readable_at.map_or(deadline, |at| at.min(deadline))));
            tokio::select! {
                received = handle.outgoing.recv_many(&mut queued, SOCKET_QUEUE) => {
                    if received == 0 {
                        return Err(CloseReason::TOO_SLOW);
                    }
                    if let Some(until) = self.send_queued(queued.drain(..)).await? {
                        ends_at = clock.now().deadline(until);
                    }
                }
                read = self.socket.next(), if readable_at.is_none() => {
                    heartbeat.handle_alive();
                    let text = match read? {
                        Incoming::Text(text) => text,
                        Incoming::Closed(_) => return Err(CloseReason::Lost),
                        _ => continue,
                    };
                    let _ = pace.try_acquire(now);
                    self.handle_frame(&text, &handle).await?;
                }
                () = timer.elapsed() => {
                    let now = clock.now().instant;
                    match heartbeat.handle_timeout(now) {
                        Some(HeartbeatAction::Drop) => return Err(CloseReason::Lost),
                        Some(HeartbeatAction::Ping) => self.socket.ping().await.or(Err(CloseReason::Lost))?,
                        _ => {}
                    }
                    if ends_at <= now {
                        if !self.is_browser {
                            let text = "invalid access token: expired, refresh the session's tokens, then reconnect and resume";
                            return Err(CloseReason::error(ErrorCode::CredentialsExpired, text));
                        }
                        ends_at = clock.now().deadline(spa::extend(self.app, self.id).await?);
                    }
                }
            }
        }
    }

    /// Sends the frames among the queued outputs together. Returns the new end of the socket's lifetime, if there is one.
    async fn send_queued(
        &mut self,
        queued: impl Iterator<Item = Outgoing>,
    ) -> Result<Option<OffsetDateTime>, CloseReason> {
        let outputs = Outputs::of(queued);
        self.socket
            .send_all(outputs.frames)
            .await
            .or(Err(CloseReason::Lost))?;
        outputs.close.map_or(Ok(outputs.ends_at), Err)
    }

    async fn handle_frame(&mut self, text: &str, handle: &SocketHandle) -> Result<(), CloseReason> {
        match read_frame(text, handle.socket) {
            Ok(GuestRequest::Command(command)) => {
                let _ = handle.commands.send(command).await;
                Ok(())
            }
            Ok(GuestRequest::Pong(pong)) => self.send(pong).await,
            Err(problem) => self.refuse_frame(&problem, text).await,
        }
    }

    /// Answers a bad frame with its problem. The socket is closed after the fifth.
    async fn refuse_frame(&mut self, problem: &str, text: &str) -> Result<(), CloseReason> {
        self.bad_frames += 1;
        let frame = ServerFrame::bad_frame(problem, text);
        self.send(frame.to_json()).await?;
        match self.bad_frames {
            MAX_BAD_FRAMES => Err(CloseReason::Close(1008, "too many bad frames")),
            _ => Ok(()),
        }
    }

    async fn send(&mut self, frame: String) -> Result<(), CloseReason> {
        self.socket.send(frame).await.or(Err(CloseReason::Lost))
    }
}

/// Sends the last frame and the close frame.
async fn close(close: CloseReason, mut socket: ServerSocket<TokioIo<Upgraded>>) {
    if let Some(frame) = close.last_frame()
        && socket.send(frame).await.is_err()
    {
        return;
    }
    if let Some((code, reason)) = close.code_and_reason() {
        socket.close(code, reason).await;
    }
}

impl From<SocketError> for CloseReason {
    fn from(error: SocketError) -> Self {
        match error.close_code() {
            Some(code) => Self::Close(code, "the frame breaks the protocol or a limit"),
            None => Self::Lost,
        }
    }
}
