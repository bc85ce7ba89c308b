//! A chat with a real conversation, in a terminal or through a pipe.

mod frontend;
mod run_loop;
mod target;
mod terminal;

use std::fmt;
use std::io::Write as _;

pub use self::frontend::Frontend;
pub use self::run_loop::run;
pub use self::target::ConnectTarget;

/// A chat that could not begin, or in which something was not delivered.
#[derive(Debug)]
pub struct ChatError {
    kind: ChatErrorKind,
    message: String,
}

/// A kind of [`ChatError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ChatErrorKind {
    /// The target, or an option of it, is wrong.
    Invalid,
    /// The target does not answer as it should.
    Unavailable,
    /// A message was not delivered.
    Undelivered,
}

impl ChatError {
    fn new(kind: ChatErrorKind, error: impl fmt::Display) -> Self {
        Self {
            kind,
            message: error.to_string(),
        }
    }

    fn invalid(error: impl fmt::Display) -> Self {
        Self::new(ChatErrorKind::Invalid, error)
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ChatErrorKind {
        self.kind
    }
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ChatError {}

/// Writes a line to stdout. A reader that went away is no failure.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}
