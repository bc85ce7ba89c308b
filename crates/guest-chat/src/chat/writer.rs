//! Who writes.

use std::time::Duration;

/// Longest silence that a script can wait for.
const LONGEST_QUIET: Duration = Duration::from_secs(86_400);

/// Who writes the lines of input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writer {
    /// A person, who decides when to leave.
    Person,
    /// A script, whose lines are shown as they are read: the first once the chat is connected, and each one after what
    /// the one before asks for, or 30 s, but messages are not waited for. After its last line the chat goes on until
    /// everything is delivered and nothing was heard for `quiet`; 30 s longer than that at most.
    Script {
        /// How long a silence means that no answer is coming; more than a day counts as a day.
        quiet: Duration,
    },
}

impl Writer {
    pub(super) fn bounded(self) -> Self {
        match self {
            Self::Person => self,
            Self::Script { quiet } => Self::Script {
                quiet: quiet.min(LONGEST_QUIET),
            },
        }
    }
}
