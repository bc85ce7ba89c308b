//! The frames, limits and close reasons that a guest's WebSocket and its event stream have in common.

use std::time::Duration;

use genesys_api::{Gcra, Rate};
use guest_conversation::Request;
use guest_sessions::{ClientFrame, ErrorCode, ServerFrame};
use guest_suite::Error;
use time::OffsetDateTime;
use ws_transport::server::Payload;

use crate::relay::{Command, Outgoing, SocketId};

/// Frames that a guest may send in a second. All may come at once.
const FRAMES_PER_SECOND: u32 = 20;

/// The limiter of the frames of a socket, or of a stream.
pub(crate) fn frame_limiter() -> Gcra {
    Gcra::new(Rate::at_once(FRAMES_PER_SECOND, Duration::from_secs(1)))
}

/// A request of a guest after the handshake.
pub(crate) enum GuestRequest {
    /// For the relay.
    Command(Command),
    /// A ping, with the frame of its answer.
    Pong(String),
}

/// Reads a frame of a guest after the handshake. A refusal of the relay is answered on `socket`.
///
/// # Errors
/// The problem of a bad frame.
pub(crate) fn read_frame(text: &str, socket: SocketId) -> Result<GuestRequest, String> {
    let frame = ClientFrame::parse(text).map_err(|problem| problem.to_string())?;
    let request = |request| Command::Request { request, socket };
    Ok(GuestRequest::Command(match frame {
        ClientFrame::Message(frame) => Command::Send {
            message: Box::new(frame.message().map_err(|problem| problem.to_string())?),
            id: frame.id,
            socket,
        },
        ClientFrame::ConversationClear {} => request(Request::Clear),
        ClientFrame::ConversationStart {} => request(Request::StartNew),
        ClientFrame::Typing {} => Command::Typing,
        ClientFrame::Ping { id } => return Ok(GuestRequest::Pong(ServerFrame::Pong { id }.to_json())),
        _ => return Err("invalid frame: the handshake is complete, send another type".to_owned()),
    }))
}

/// The reason to close a socket, or a stream.
pub(crate) enum CloseReason {
    /// An error, sent as a frame with this code and message before the close frame with code 1008.
    Error(ErrorCode, String),
    /// A close frame with this code and reason.
    Close(u16, &'static str),
    /// The connection is lost, so no close frame is sent.
    Lost,
}

/// The outputs of a relay that wait for one socket.
pub(crate) struct Outputs {
    pub(crate) frames: Vec<Payload>,
    /// The new end of the socket's lifetime, if there is one.
    pub(crate) ends_at: Option<OffsetDateTime>,
    /// The reason to close the socket after the frames, if there is one.
    pub(crate) close: Option<CloseReason>,
}

impl Outputs {
    pub(crate) fn of(queued: impl Iterator<Item = Outgoing>) -> Self {
        let (mut frames, mut ends_at, mut close) = (Vec::new(), None, None);
        for outgoing in queued {
            match outgoing {
                Outgoing::Frame(frame) => frames.push(frame),
                Outgoing::Extend(until) => ends_at = Some(until),
                Outgoing::Close(code, reason) => close = Some(CloseReason::Close(code, reason)),
            }
        }
        Self {
            frames,
            ends_at,
            close,
        }
    }
}

impl CloseReason {
    /// The client does not read as fast as it has to.
    pub(crate) const TOO_SLOW: Self = Self::Close(1013, "the socket is too slow: reconnect and resume");

    pub(crate) fn error(code: ErrorCode, message: &str) -> Self {
        Self::Error(code, message.to_owned())
    }

    /// The frame before the close.
    pub(crate) fn last_frame(&self) -> Option<String> {
        match self {
            Self::Error(code, message) => Some(ServerFrame::error(code.as_str(), message).to_json()),
            Self::Close(..) | Self::Lost => None,
        }
    }

    /// Code and reason of the close.
    pub(crate) fn code_and_reason(&self) -> Option<(u16, &'static str)> {
        match self {
            Self::Error(..) => Some((1008, "see the error frame")),
            Self::Close(code, reason) => Some((*code, reason)),
            Self::Lost => None,
        }
    }

    /// The name in the audit log.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Error(code, _) => code.as_str().to_owned(),
            Self::Close(code, _) => code.to_string(),
            Self::Lost => "lost".to_owned(),
        }
    }

    /// Whether it refuses a socket whose handshake is not complete.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Close(1001, _) | Self::Lost)
    }
}

impl From<Error> for CloseReason {
    fn from(error: Error) -> Self {
        let code = error.code().unwrap_or(ErrorCode::ServiceUnavailable);
        Self::error(code, &error.to_string())
    }
}
