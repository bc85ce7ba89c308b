//! Outputs of a cloud.

use std::time::{Duration, Instant};

use genesys_api::Now;
use time::OffsetDateTime;

use crate::cloud::SocketId;

/// Last year to which the clock can be advanced: times counted from it have to fit RFC 3339.
const LAST_YEAR: i32 = 9_000;

/// Time of a clock that is moved forward; `None` beyond the year 9000.
pub(crate) fn advanced(now: Now, by: Duration) -> Option<OffsetDateTime> {
    let by = time::Duration::try_from(by).ok()?;
    let utc = now.utc.checked_add(by)?;
    (utc.year() <= LAST_YEAR).then_some(utc)
}

/// The time after a duration. At the end of time, the instant stays, and the date is the last one.
pub(crate) fn later(now: Now, by: Duration) -> Now {
    let instant = now.instant.checked_add(by).unwrap_or(now.instant);
    let by = by.try_into().unwrap_or(time::Duration::MAX);
    Now {
        instant,
        utc: now.utc.saturating_add(by),
    }
}

/// An instruction of a cloud to its driver.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Move the clock forward, never beyond the year 9000.
    Advance(Duration),
    /// Close a socket after the frames before it. The cloud has already forgotten it.
    Close {
        /// The socket.
        socket: SocketId,
        /// RFC 6455 close code.
        code: u16,
        /// Text of the close frame.
        reason: &'static str,
    },
    /// End a socket without a close frame. The cloud has already forgotten it.
    Drop {
        /// The socket.
        socket: SocketId,
    },
    /// Send a text frame.
    Frame {
        /// The socket.
        socket: SocketId,
        /// JSON.
        text: String,
        /// Number of fragments; 1 is a whole frame.
        fragments: u16,
    },
    /// Stop reading, and answering pings. Meanwhile the cloud sends nothing to the socket, and keeps its frames.
    Hang {
        /// The socket.
        socket: SocketId,
        /// End of the hang; `None` is never.
        until: Option<Instant>,
    },
}

impl Output {
    /// The socket to which it applies.
    pub fn socket(&self) -> Option<SocketId> {
        match self {
            Self::Advance(_) => None,
            Self::Close { socket, .. }
            | Self::Drop { socket }
            | Self::Frame { socket, .. }
            | Self::Hang { socket, .. } => Some(*socket),
        }
    }

    pub(super) fn close(socket: SocketId, code: u16, reason: &'static str) -> Self {
        Self::Close { socket, code, reason }
    }

    pub(super) fn frame(socket: SocketId, text: String) -> Self {
        Self::Frame {
            socket,
            text,
            fragments: 1,
        }
    }
}
