//! What a world wants done.

use std::time::{Duration, Instant};

use crate::world::SocketId;

/// What a world wants done.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Move the clock forward.
    Advance(Duration),
    /// Close a socket, after the frames that came before. The world knows it no longer.
    Close {
        /// Which.
        socket: SocketId,
        /// RFC 6455 close code.
        code: u16,
        /// For people.
        reason: &'static str,
    },
    /// End a socket without a close frame. The world knows it no longer.
    Drop {
        /// Which.
        socket: SocketId,
    },
    /// Send a text frame.
    Frame {
        /// To which socket.
        socket: SocketId,
        /// JSON.
        text: String,
        /// In how many fragments; 1 is whole.
        fragments: u16,
    },
    /// Answer no pings and read nothing. The world sends the socket nothing in the meantime, and keeps what is
    /// handed to it.
    Hang {
        /// Which.
        socket: SocketId,
        /// Until when; `None` is for ever.
        until: Option<Instant>,
    },
}

impl Output {
    /// The socket that it is for.
    #[must_use]
    pub fn socket(&self) -> Option<SocketId> {
        match self {
            Self::Advance(_) => None,
            Self::Close { socket, .. }
            | Self::Drop { socket }
            | Self::Frame { socket, .. }
            | Self::Hang { socket, .. } => Some(*socket),
        }
    }
}
