//! Frames to send.

use std::fmt;

/// A frame to send. `Debug` shows the length of a text, which may hold a token.
#[derive(Clone, Eq, PartialEq)]
pub enum Transmit {
    /// A close frame.
    Close {
        /// Close code (RFC 6455 section 7.4).
        code: u16,
        /// Reason, at most 123 bytes.
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
