//! A chat with a real conversation, in a terminal or through a pipe.

mod frontend;
mod run_loop;
mod target;
mod terminal;

use std::fmt::Display;
use std::io::Write as _;

pub use self::frontend::Frontend;
pub use self::run_loop::run;
pub use self::target::ConnectTarget;

/// A chat that could not begin, or in which a message was not delivered.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ChatError {
    /// The kind.
    pub kind: ChatErrorKind,
    message: String,
}

/// A kind of [`ChatError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChatErrorKind {
    /// The target or an option is invalid.
    Invalid,
    /// The deployment cannot be read.
    Unavailable,
    /// A message was not delivered.
    Undelivered,
}

impl ChatError {
    fn new(kind: ChatErrorKind, error: impl Display) -> Self {
        Self {
            kind,
            message: error.to_string(),
        }
    }

    fn invalid(error: impl Display) -> Self {
        Self::new(ChatErrorKind::Invalid, error)
    }
}

/// Writes a line to stdout. A closed stdout is not an error.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}
