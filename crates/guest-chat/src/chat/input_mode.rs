//! Input of a person or a script.

use std::time::Duration;

/// Longest idle timeout of a script.
const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(86_400);

/// The source of the input lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InputMode {
    /// A person, who decides when to leave.
    Interactive,
    /// A script, whose lines are echoed as they are read. The first is read once the chat is connected. Each further one
    /// is read after the previous command has its result, or after 30 s; messages are not waited for. After its last
    /// line the chat continues until all messages are delivered and no event was received for `idle_timeout`, at most
    /// 30 s longer.
    Script {
        /// Silence after which no answer is expected. It is limited to a day.
        idle_timeout: Duration,
    },
}

impl InputMode {
    pub(super) fn bounded(self) -> Self {
        match self {
            Self::Interactive => self,
            Self::Script { idle_timeout } => Self::Script {
                idle_timeout: idle_timeout.min(MAX_IDLE_TIMEOUT),
            },
        }
    }
}
