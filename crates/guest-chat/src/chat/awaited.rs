//! Events that a script waits for before its next line is read, so that its commands take effect in order.

use std::time::Duration;

use guest_conversation::{ConnectionEvent, Event, SessionEvent};

use super::Request;

/// Longest wait of a script for one event.
pub(super) const AWAIT_TIMEOUT: Duration = Duration::from_secs(30);

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
            Request::Attach(_)
            | Request::DeclineToken
            | Request::Leave
            | Request::Send(_)
            | Request::Typing
            | Request::Explain => None,
        }
    }

    pub(super) fn is_met_by(self, event: &Event) -> bool {
        matches!(
            (self, event),
            (_, Event::Ended(_))
                | (
                    Self::Answer,
                    Event::Session(SessionEvent::ConversationEnded { .. }) | Event::Message(_)
                )
                | (Self::Clear, Event::Session(SessionEvent::Refused(_)))
                | (
                    Self::Connection,
                    Event::Connection(ConnectionEvent::Ready(_))
                        | Event::Connection(ConnectionEvent::Restored(_))
                )
                | (Self::Health, Event::Session(SessionEvent::Health { .. }))
                | (
                    Self::History,
                    Event::Session(SessionEvent::History(_))
                        | Event::Session(SessionEvent::HistoryUnread { .. })
                )
        )
    }

    /// Returns the name for the message about a timeout.
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
