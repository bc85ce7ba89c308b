//! Entries of the timeline.

use std::fmt;
use std::time::Duration;

use super::explain::{ending_text, loss_text};
use crate::event::{Ending, Loss};
use crate::{Direction, State};

/// An entry of a timeline.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TimelineEvent {
    /// The conversation was cleared.
    Cleared,
    /// The conversation ended. Of the service's texts only a code or a word is kept.
    Ended(Box<Ending>),
    /// Consecutive frames of one class.
    Frames {
        /// [`Direction::Outbound`] from the service.
        direction: Direction,
        /// Class, action or type of the frames.
        class: &'static str,
        /// Number of frames.
        count: u16,
        /// Bytes of all of them.
        bytes: u32,
    },
    /// An HTTP call beside the socket.
    Http(HttpOperation, Outcome),
    /// The connection was lost, or could not be opened. Of the service's texts only a code or a word is kept.
    Lost(Box<Loss>),
    /// A ping was not answered in time.
    PingMissed,
    /// The next connection is due after a wait.
    ReconnectIn {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Time until then.
        wait: Duration,
    },
    /// A new state.
    State(State),
    /// An event of the token.
    Token(TokenEvent),
    /// A limit delayed something.
    Waited {
        /// The limit.
        limit: Limit,
        /// Length of the wait.
        wait: Duration,
    },
}

impl TimelineEvent {
    /// Adds frames of the same class and direction to these. Returns whether they were.
    pub(super) fn absorb(&mut self, next: &Self) -> bool {
        match (self, next) {
            (
                Self::Frames {
                    direction,
                    class,
                    count,
                    bytes,
                },
                Self::Frames {
                    direction: next_direction,
                    class: next_class,
                    count: more,
                    bytes: more_bytes,
                },
            ) if (*direction, *class) == (*next_direction, *next_class) => {
                *count = count.saturating_add(*more);
                *bytes = bytes.saturating_add(*more_bytes);
                true
            }
            _ => false,
        }
    }
}

impl fmt::Display for TimelineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cleared => f.write_str("the conversation was cleared"),
            Self::Ended(ending) => write!(f, "over: {}", ending_text(ending)),
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
                if *count > 1 {
                    write!(f, " x{count}")?;
                }
                write!(f, ", {bytes} bytes")
            }
            Self::Http(operation, outcome) => write!(f, "{operation}: {outcome}"),
            Self::Lost(loss) => write!(f, "lost: {}", loss_text(loss)),
            Self::PingMissed => f.write_str("a ping was not answered"),
            Self::ReconnectIn { attempt, wait } => {
                write!(f, "attempt {attempt} to reconnect in {}", Seconds(*wait))
            }
            Self::State(state) => write!(f, "state: {state:?}"),
            Self::Token(event) => event.fmt(f),
            Self::Waited { limit, wait } => write!(f, "{limit}: waits {}", Seconds(*wait)),
        }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0.as_secs(), self.0.subsec_millis() / 100)
    }
}

/// An enum of the timeline: variants, their documentation, and their texts.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
    };
}

named! {
    /// An HTTP call beside the socket.
    HttpOperation {
        /// Reads the history.
        History = "reading the history",
        /// Uploads a file.
        Upload = "uploading a file",
    }
}

named! {
    /// A rate limit.
    Limit {
        /// New connections of this process.
        Connections = "the limit of new connections",
        /// Messages of this session.
        Messages = "the limit of messages",
        /// Requests of this connection.
        Requests = "the limit of requests",
        /// A limit that the service announced.
        Service = "the service limited the rate",
    }
}

named! {
    /// An event of the token; the token itself is not recorded.
    TokenEvent {
        /// The application was asked for one.
        Requested = "a token was requested",
        /// The application passed one.
        Given = "a token was given",
        /// The service refused it.
        Refused = "the token was refused",
    }
}

/// The outcome of an HTTP call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was started.
    Started,
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
            Self::Started => f.write_str("started"),
            Self::Done => f.write_str("done"),
            Self::Refused(status) => write!(f, "answered {status}"),
            Self::Unanswered => f.write_str("no answer"),
        }
    }
}
