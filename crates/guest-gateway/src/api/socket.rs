//! `GET …/{id}/socket`: the guest's WebSocket, from its handshake to its end.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use genesys_api::SessionId;
use guest_conversation::MessageId;
use guest_sessions::{ClientFrame, ErrorCode, PROTOCOL, ServerFrame, offered_token, query_token};
use guest_suite::direct::{Admitted, DirectError};
use http::header::ORIGIN;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use ws_transport::server::{Incoming, Limits, ServerSocket, SocketError, accept};
use ws_transport::{AdmittedOrigin, Heartbeat, HeartbeatAction, OriginError, ServerHandshake};

use super::request::Id;
use super::sessions::session_id;
use super::{App, Refusal};
use crate::relay::{Outgoing, SocketHandle};

/// How long a guest has for the handshake frame.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bad frames after which the socket is closed.
const BAD_FRAMES: u32 = 5;
/// Frames that a guest may send in a second; a socket that sends more is not read on until the next one.
const FRAMES_A_SECOND: usize = 20;

type Socket = ServerSocket<TokioIo<hyper::upgrade::Upgraded>>;

/// Answers the upgrade, if the origin is allowed and the request is a WebSocket handshake. A token that came with it
/// is checked before; one that comes in the handshake frame, after.
pub(super) async fn open(
    State(app): State<App>,
    Id(id): Id,
    mut request: Request,
) -> Result<Response, Refusal> {
    let id = session_id(&id)?;
    let origins = request.headers().get_all(ORIGIN).iter();
    let origin = app
        .origins
        .admit(origins)
        .map_err(|error| stranger(&id, &error))?;
    let handshake = ServerHandshake::parse(&request).map_err(|error| match error.status() {
        405 => Refusal::method_not_allowed("GET"),
        426 => Refusal::new(ErrorCode::UpgradeRequired, error.to_string()),
        _ => Refusal::bad_request(error.to_string()),
    })?;
    let offered = offered_token(&handshake);
    let subprotocol = handshake
        .protocols()
        .find(|protocol| *protocol == PROTOCOL)
        .map(|_| PROTOCOL);
    let queried = query_token(request.uri());
    if queried.is_some() && !app.token_in_query {
        return Err(Refusal::bad_request(
            "this gateway takes no token in the query: offer it as a subprotocol, or send it in the handshake frame",
        ));
    }
    let admitted = match offered.or(queried) {
        Some(token) => Some(app.direct.admit(&id, &token).await?),
        None => None,
    };
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Refusal::bad_request("the connection cannot be upgraded"))?;
    tokio::spawn(serve(app, id, origin, admitted, upgrade));
    Ok(handshake.response(subprotocol).map(|()| Body::empty()))
}

async fn serve(
    app: App,
    id: SessionId,
    origin: AdmittedOrigin,
    admitted: Option<Admitted>,
    upgrade: OnUpgrade,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket = accept(TokioIo::new(upgraded), Limits::default()).await;
    let mut bad_frames = BadFrames::default();
    let handshake = tokio::select! {
        handshake = shake_hands(&app, &id, admitted, &mut socket, &mut bad_frames) => handshake,
        () = app.clock.sleep(HANDSHAKE) => {
            Err(CloseReason::error(ErrorCode::HandshakeTimeout, "no handshake frame came within 10 seconds"))
        }
        () = app.hub.stopped() => Err(CloseReason::close(1001, "the gateway goes away")),
    };
    let close = match handshake {
        Ok((admitted, after)) => {
            // what Genesys is shown: the page's own origin, unless the configuration has another one for all
            let shown = app.shown_upstream(origin);
            let expires_at = admitted.expires_at();
            let attached = app.hub.attach(admitted, &id, shown, after).await;
            converse(&app, expires_at, attached, &mut socket, bad_frames).await
        }
        Err(close) => close,
    };
    tokio::select! {
        () = close.send(socket) => {}
        () = app.hub.close_deadline() => {}
    }
}

/// Waits for the handshake frame, and gives whose session it is and after which event the guest wants to hear.
async fn shake_hands(
    app: &App,
    id: &SessionId,
    admitted: Option<Admitted>,
    socket: &mut Socket,
    bad_frames: &mut BadFrames,
) -> Result<(Admitted, Option<u64>), CloseReason> {
    let (named, token, after) = loop {
        let text = match socket.next().await {
            Ok(Incoming::Text(text)) => text,
            Ok(Incoming::Closed(_)) => return Err(CloseReason::Gone),
            Ok(_) => continue,
            Err(error) => return Err(broken(&error)),
        };
        match ClientFrame::parse(&text) {
            Ok(ClientFrame::Handshake {
                guest_session_id,
                access_token,
                last_sequence,
                ..
            }) => {
                let token = access_token.map(|token| token.to_secret());
                break (guest_session_id, token, last_sequence);
            }
            Ok(_) => {
                return Err(CloseReason::error(
                    ErrorCode::HandshakeExpected,
                    "the first frame must be a handshake",
                ));
            }
            Err(problem) => bad_frames.answer(socket, &problem.to_string()).await?,
        }
    };
    if named != *id {
        return Err(CloseReason::error(
            ErrorCode::NotFound,
            "the handshake names another session than the URL does",
        ));
    }
    let admitted = match (admitted, token) {
        (Some(admitted), None) => admitted,
        // a token in the frame counts, whatever came with the upgrade
        (_, Some(token)) => app
            .direct
            .admit(id, &token)
            .await
            .map_err(|error| refused(&error))?,
        (None, None) => {
            let text = "no access token: send it as a subprotocol, or as accessToken in the handshake frame";
            return Err(CloseReason::error(ErrorCode::AuthenticationRequired, text));
        }
    };
    Ok((admitted, after))
}

async fn converse(
    app: &App,
    expires_at: OffsetDateTime,
    mut attached: SocketHandle,
    socket: &mut Socket,
    mut bad_frames: BadFrames,
) -> CloseReason {
    let mut heartbeat = Heartbeat::new(app.clock.now().instant);
    let mut ends_at = app.clock.now().deadline(expires_at);
    let mut pace = genesys_api::SlidingWindow::new(FRAMES_A_SECOND, Duration::from_secs(1));
    loop {
        let now = app.clock.now().instant;
        let readable_at = pace.check(now).err();
        tokio::select! {
            told = attached.next() => match told {
                Some(Outgoing::Frame(frame)) => {
                    if socket.send(&*frame).await.is_err() {
                        return CloseReason::Gone;
                    }
                }
                // one by one: a slow guest has its time for each
                Some(Outgoing::HandshakeReply(frames)) => {
                    for frame in frames {
                        if socket.send(&*frame).await.is_err() {
                            return CloseReason::Gone;
                        }
                    }
                }
                Some(Outgoing::Extend(until)) => ends_at = app.clock.now().deadline(until),
                Some(Outgoing::Close { code, reason }) => return CloseReason::close(code, reason),
                None => return CloseReason::close(1013, "the socket is too far behind: come back and resume"),
            },
            read = socket.next(), if readable_at.is_none() => {
                heartbeat.handle_alive();
                let text = match read {
                    Ok(Incoming::Text(text)) => text,
                    Ok(Incoming::Closed(_)) => return CloseReason::Gone,
                    Ok(_) => continue,
                    Err(error) => return broken(&error),
                };
                let _counted = pace.try_acquire(now);
                let answer = match handle_frame(&text) {
                    Handled::Say { id, text } => {
                        attached.send(id, text).await;
                        continue;
                    }
                    Handled::Typing => {
                        attached.typing().await;
                        continue;
                    }
                    Handled::Answer(frame) => frame,
                    Handled::Bad(what) => match bad_frames.answer(socket, &what).await {
                        Ok(()) => continue,
                        Err(close) => return close,
                    },
                };
                if socket.send(answer).await.is_err() {
                    return CloseReason::Gone;
                }
            }
            () = app.clock.sleep_until(readable_at.unwrap_or(now)), if readable_at.is_some() => {}
            () = app.clock.sleep_until(ends_at) => {
                let text = "the access token has expired: rotate the session's tokens, then come back and resume";
                return CloseReason::error(ErrorCode::CredentialsExpired, text);
            }
            () = app.clock.sleep_until(heartbeat.poll_timeout()) => match heartbeat.handle_timeout(app.clock.now().instant) {
                Some(HeartbeatAction::Drop) => return CloseReason::Gone,
                Some(HeartbeatAction::Ping) if socket.ping().await.is_err() => return CloseReason::Gone,
                _ => {}
            },
        }
    }
}

enum Handled {
    Answer(String),
    Bad(String),
    Say { id: MessageId, text: String },
    Typing,
}

fn handle_frame(text: &str) -> Handled {
    match ClientFrame::parse(text) {
        Ok(ClientFrame::Message { id, text }) => Handled::Say {
            id,
            text: text.to_string(),
        },
        Ok(ClientFrame::Typing {}) => Handled::Typing,
        Ok(ClientFrame::Ping { id }) => Handled::Answer(ServerFrame::Pong { id }.to_json()),
        Ok(_) => Handled::Bad("the handshake is done: send message, typing or ping".to_owned()),
        Err(problem) => Handled::Bad(problem.to_string()),
    }
}

/// Counts the bad frames of a socket.
#[derive(Debug, Default)]
struct BadFrames {
    bad_frames: u32,
}

impl BadFrames {
    /// Tells the guest what is wrong with a frame. After the fifth the socket ends.
    async fn answer(&mut self, socket: &mut Socket, what: &str) -> Result<(), CloseReason> {
        self.bad_frames += 1;
        if socket
            .send(ServerFrame::error(ErrorCode::BadFrame.as_str(), what).to_json())
            .await
            .is_err()
        {
            return Err(CloseReason::Gone);
        }
        if self.bad_frames == BAD_FRAMES {
            return Err(CloseReason::close(1008, "too many bad frames"));
        }
        Ok(())
    }
}

/// How a socket ends.
enum CloseReason {
    /// An error frame, then close 1008.
    Error {
        frame: String,
        code: u16,
    },
    Close {
        code: u16,
        reason: &'static str,
    },
    /// There is nobody to say it to.
    Gone,
}

impl CloseReason {
    fn error(code: ErrorCode, message: &str) -> Self {
        Self::Error {
            frame: ServerFrame::error(code.as_str(), message).to_json(),
            code: 1008,
        }
    }

    fn close(code: u16, reason: &'static str) -> Self {
        Self::Close { code, reason }
    }

    async fn send(self, mut socket: Socket) {
        match self {
            Self::Error { frame, code } => {
                if socket.send(frame).await.is_ok() {
                    socket.close(code, "see the error frame").await;
                }
            }
            Self::Close { code, reason } => socket.close(code, reason).await,
            Self::Gone => {}
        }
    }
}

fn broken(error: &SocketError) -> CloseReason {
    match error.close_code() {
        Some(code) => CloseReason::close(code, "the frame breaks the protocol or a limit"),
        None => CloseReason::Gone,
    }
}

fn refused(error: &DirectError) -> CloseReason {
    let code = error.code().unwrap_or(ErrorCode::ServiceUnavailable);
    CloseReason::error(code, &error.to_string())
}

fn stranger(id: &SessionId, error: &OriginError) -> Refusal {
    tracing::info!(session = %id, %error, "socket refused for its origin");
    Refusal::new(ErrorCode::OriginNotAllowed, error.to_string())
}
