//! Outgoing frames.

use std::fmt;

/// What the driver is to put on the socket. `Debug` does not show a frame, which holds a token.
#[derive(Clone, Eq, PartialEq)]
pub enum Transmit {
    /// A close frame.
    Close {
        /// RFC 6455 section 7.4.
        code: u16,
        /// For people.
        reason: &'static str,
    },
    /// A text frame.
    Frame(String),
    /// A ping frame.
    Ping,
}

impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close { code, .. } => write!(f, "Close({code})"),
            Self::Frame(text) => write!(f, "Frame({} bytes)", text.len()),
            Self::Ping => f.write_str("Ping"),
        }
    }
}
