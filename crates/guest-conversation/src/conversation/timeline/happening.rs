//! What can happen to a conversation, in a few bytes each.

use std::fmt;
use std::time::Duration;

use super::{EndingCause, FrameClass, LossCause};
use crate::{Direction, State};

/// Something that happened. Waits are in milliseconds; the longest that fits is 49 days.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Happening {
    /// The conversation was cleared.
    Cleared,
    /// It is over.
    Ended(EndingCause),
    /// A REST call beside the socket.
    Errand(Errand, Outcome),
    /// Frames of one class in a row.
    Frames {
        /// [`Direction::Outbound`] from the service.
        direction: Direction,
        /// What they are called.
        class: FrameClass,
        /// How many.
        count: u16,
        /// Bytes of all.
        bytes: u32,
    },
    /// The connection is lost, or could not be made.
    Lost(LossCause),
    /// A ping was not answered in its time.
    PingMissed,
    /// The next connection is due after a wait.
    ReconnectIn {
        /// Number of the attempt, from 1.
        attempt: u16,
        /// In ms.
        wait: u32,
    },
    /// Another state.
    State(State),
    /// Something about the token.
    Token(TokenEvent),
    /// A limit held something up.
    Waited {
        /// Which limit.
        limit: Limit,
        /// In ms.
        wait: u32,
    },
}

impl Happening {
    /// A wait before the next connection.
    #[must_use]
    pub fn reconnect_in(attempt: u32, wait: Duration) -> Self {
        Self::ReconnectIn {
            attempt: u16::try_from(attempt).unwrap_or(u16::MAX),
            wait: millis(wait),
        }
    }

    /// A wait for a limit.
    #[must_use]
    pub fn waited(limit: Limit, wait: Duration) -> Self {
        let wait = millis(wait);
        Self::Waited { limit, wait }
    }

    /// Whether the service sent it.
    pub(super) fn is_heard(self) -> bool {
        matches!(
            self,
            Self::Frames {
                direction: Direction::Outbound,
                ..
            }
        )
    }

    /// Both as one, if they are frames of one class in one direction.
    pub(super) fn with(self, next: Self) -> Option<Self> {
        match (self, next) {
            (
                Self::Frames {
                    direction,
                    class,
                    count,
                    bytes,
                },
                Self::Frames {
                    direction: other_direction,
                    class: other_class,
                    count: more,
                    bytes: more_bytes,
                },
            ) if (direction, class) == (other_direction, other_class) => Some(Self::Frames {
                direction,
                class,
                count: count.saturating_add(more),
                bytes: bytes.saturating_add(more_bytes),
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cleared => f.write_str("the conversation was cleared"),
            Self::Ended(cause) => write!(f, "over: {cause}"),
            Self::Errand(errand, outcome) => write!(f, "{errand}: {outcome}"),
            Self::Frames {
                direction,
                class,
                count,
                bytes,
            } => {
                let arrow = match direction {
                    Direction::Inbound => "->",
                    Direction::Outbound => "<-",
                };
                write!(f, "{arrow} {class}")?;
                if count > 1 {
                    write!(f, " x{count}")?;
                }
                write!(f, ", {bytes} bytes")
            }
            Self::Lost(cause) => write!(f, "lost: {cause}"),
            Self::PingMissed => f.write_str("a ping was not answered"),
            Self::ReconnectIn { attempt, wait } => {
                write!(f, "attempt {attempt} to reconnect in {}", Seconds(wait))
            }
            Self::State(state) => write!(f, "state: {state:?}"),
            Self::Token(event) => event.fmt(f),
            Self::Waited { limit, wait } => write!(f, "{limit}: waits {}", Seconds(wait)),
        }
    }
}

struct Seconds(u32);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0 / 1000, self.0 % 1000 / 100)
    }
}

/// A REST call beside the socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Errand {
    /// The deployment's configuration is read.
    Configuration,
    /// The history is read.
    History,
    /// A token is exchanged, refreshed or revoked.
    SignIn,
    /// A file is uploaded.
    Upload,
}

impl fmt::Display for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "reading the deployment",
            Self::History => "reading the history",
            Self::SignIn => "signing in",
            Self::Upload => "uploading a file",
        })
    }
}

/// How an errand went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was begun.
    Begun,
    /// It succeeded.
    Done,
    /// It was answered with this HTTP status.
    Refused(u16),
    /// It was not answered, or not as the contract says.
    Unanswered,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun => f.write_str("begun"),
            Self::Done => f.write_str("done"),
            Self::Refused(status) => write!(f, "answered {status}"),
            Self::Unanswered => f.write_str("no answer"),
        }
    }
}

/// What made something wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Limit {
    /// New connections of this process.
    Connections,
    /// Messages of this session.
    Messages,
    /// Requests of this connection.
    Requests,
    /// The service asked for patience.
    Service,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "the limit of new connections",
            Self::Messages => "the limit of messages",
            Self::Requests => "the limit of requests",
            Self::Service => "the service asked for patience",
        })
    }
}

/// Something about a token, never the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TokenEvent {
    /// The application was asked for one.
    Asked,
    /// It gave one.
    Given,
    /// The service refused it.
    Refused,
}

impl fmt::Display for TokenEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "a token was asked for",
            Self::Given => "a token was given",
            Self::Refused => "the token was refused",
        })
    }
}

fn millis(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}
