//! What a world wants done.

use std::time::{Duration, Instant};

use genesys_api::Now;
use time::OffsetDateTime;

use crate::world::SocketId;

/// No later than this year can the clock be moved: what is counted from it has to fit RFC 3339.
const LAST_YEAR: i32 = 9_000;

/// What a clock shows that was moved; `None` beyond the year 9000.
pub(crate) fn moved(now: Now, by: Duration) -> Option<OffsetDateTime> {
    let by = time::Duration::try_from(by).ok()?;
    let utc = now.utc.checked_add(by)?;
    (utc.year() <= LAST_YEAR).then_some(utc)
}

/// What a world wants done.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Move the clock forward, never beyond the year 9000.
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
