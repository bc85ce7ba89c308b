//! Scripts: the source of the input lines, and the events that a script waits for so that its commands take effect in
//! order.

use std::time::Duration;

use guest_conversation::{ConnectionEvent, Event, SessionEvent};

use super::Request;

/// Longest idle timeout of a script.
const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(86_400);
/// Longest wait of a script for one event.
pub(super) const AWAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The source of the input lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum InputMode {
    /// A person, who decides when to leave.
    #[default]
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
    pub(super) fn bounded(mut self) -> Self {
        if let Self::Script { idle_timeout } = &mut self {
            *idle_timeout = MAX_IDLE_TIMEOUT.min(*idle_timeout);
        }
        self
    }
}

/// An event that a script waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Awaited {
    /// A message after the guest's last one.
    Answer,
    Clear,
    Connection,
    Health,
    History,
}

impl Awaited {
    /// Returns the event to wait for after `request`.
    pub(super) fn of(request: &Request) -> Option<Self> {
        match request {
            Request::Clear => Some(Self::Clear),
            Request::History(_) => Some(Self::History),
            Request::OpenAnother | Request::Reconnect | Request::StartNew => Some(Self::Connection),
            Request::Ping => Some(Self::Health),
            _ => None,
        }
    }

    pub(super) fn is_met_by(self, event: &Event) -> bool {
        match event {
            Event::Ended(_) => true,
            Event::Message(_) => self == Self::Answer,
            Event::Connection(ConnectionEvent::Ready(session) | ConnectionEvent::Restored(session)) => {
                self == Self::Connection || self == Self::Answer && session.read_only
            }
            Event::Session(event) => match event {
                SessionEvent::ConversationEnded { .. } => self == Self::Answer,
                SessionEvent::Refused { .. } => self == Self::Clear,
                SessionEvent::Health { .. } => self == Self::Health,
                SessionEvent::History(_) | SessionEvent::HistoryFailed { .. } => self == Self::History,
                _ => false,
            },
            _ => false,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Clear => "confirmation of /clear",
            Self::Connection => "connection",
            Self::Health => "answer to /ping",
            Self::History => "history",
        }
    }
}
