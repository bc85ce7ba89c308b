//! A chat with a real conversation, in a terminal or through a pipe.

mod frontend;
mod run_loop;
mod target;
mod terminal;

use std::io::Write as _;

pub use self::frontend::Frontend;
pub use self::run_loop::run;
pub use self::target::ConnectTarget;

/// A chat that cannot start, or in which a message was not delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The target or an option is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The deployment cannot be read.
    #[error("{0}")]
    Unavailable(String),
    /// A message was not delivered.
    #[error("{0}")]
    Undelivered(String),
}

/// Writes a line to stdout. A closed stdout is not an error.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
