//! What a script waits for before its next line is read, so that its lines have their effects in their order.

use std::time::Duration;

use guest_conversation::Event;

use super::Request;

/// How long a script waits for one thing.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Errand {
    /// That the other side has said something since the guest did.
    Answer,
    Clear,
    Connection,
    Health,
    History,
}

impl Errand {
    /// What there is to wait for once `request` was made.
    pub(super) fn of(request: &Request) -> Option<Self> {
        match request {
            Request::Clear => Some(Self::Clear),
            Request::History(_) => Some(Self::History),
            Request::OpenAnother | Request::Reconnect | Request::StartNew => Some(Self::Connection),
            Request::Ping => Some(Self::Health),
            Request::Attach(_)
            | Request::DeclineToken
            | Request::Leave
            | Request::Say(_)
            | Request::Typing
            | Request::Why => None,
        }
    }

    pub(super) fn is_done_by(self, event: &Event) -> bool {
        matches!(
            (self, event),
            (_, Event::Ended(_))
                | (Self::Answer, Event::ConversationEnded { .. } | Event::Message(_))
                | (Self::Clear, Event::Refused(_))
                | (Self::Connection, Event::Configured(_) | Event::Restored(_))
                | (Self::Health, Event::Healthy { .. })
                | (Self::History, Event::History(_) | Event::HistoryUnread { .. })
        )
    }

    /// What did not come.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Clear => "word that the conversation was cleared",
            Self::Connection => "connection",
            Self::Health => "word from the service",
            Self::History => "history",
        }
    }
}
