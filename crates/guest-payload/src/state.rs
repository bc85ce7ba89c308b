//! How far a session has come, in one word.

use serde::{Deserialize, Serialize};

/// How far a session has come.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SessionState {
    /// It exists.
    Created,
    /// Its socket is open.
    Connected,
    /// Genesys has configured it.
    Configured,
    /// The guest has written.
    Conversing,
    /// The guest has been answered.
    Answered,
    /// It is over.
    Ended,
}
