//! State of the connection, derived from the events of the conversation.

use genesys_api::Now;
use guest_conversation::{ConnectionEvent, Event, SessionEvent};

use super::Chat;
use super::choices::PendingChoices;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum ConnectionState {
    #[default]
    Connecting,
    Live,
    Ended,
    ReadOnly,
    Reconnecting,
}

impl Chat {
    /// Updates the state by an event.
    pub(super) fn update_state(&mut self, event: &Event, now: Now) {
        self.state = match event {
            Event::Connection(ConnectionEvent::Ready(session) | ConnectionEvent::Restored(session)) => {
                self.last_received = Some(now.instant);
                self.was_connected = true;
                self.throttle_shown = false;
                if session.read_only {
                    self.end_reason = "the conversation is read-only".to_owned();
                    ConnectionState::ReadOnly
                } else {
                    ConnectionState::Live
                }
            }
            Event::Session(SessionEvent::ConversationEnded { read_only: true }) => {
                self.end_reason = "the other side has left".to_owned();
                ConnectionState::ReadOnly
            }
            Event::Ended(ending) => {
                self.end_reason = ending.to_string();
                ConnectionState::Ended
            }
            Event::Connection(ConnectionEvent::Reconnecting { .. }) => ConnectionState::Reconnecting,
            Event::Session(SessionEvent::Cleared) => {
                self.cleared = true;
                return;
            }
            _ => return,
        };
        if self.state != ConnectionState::Live {
            self.forget_choices();
        }
    }

    /// Drops the pending choices.
    pub(super) fn forget_choices(&mut self) {
        self.typing = None;
        self.choices = PendingChoices::default();
    }
}
