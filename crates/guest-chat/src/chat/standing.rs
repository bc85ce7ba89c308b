//! How the conversation stands, as far as its events told.

use genesys_api::Now;
use guest_conversation::Event;

use super::Chat;
use super::offer::Offer;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    Connecting,
    Live,
    Over,
    ReadOnly,
    Reconnecting,
}

impl Chat {
    /// Whatever an event means for it.
    pub(super) fn stand(&mut self, event: &Event, now: Now) {
        self.standing = match event {
            Event::Configured(session) | Event::Restored(session) => {
                self.heard(now);
                self.begun = true;
                self.held_up = false;
                if session.read_only {
                    self.ended = "the conversation can only be read".to_owned();
                    Standing::ReadOnly
                } else {
                    Standing::Live
                }
            }
            Event::ConversationEnded { read_only: true } => {
                self.ended = "the other side has left".to_owned();
                Standing::ReadOnly
            }
            Event::Ended(ending) => {
                self.ended = ending.to_string();
                Standing::Over
            }
            Event::Reconnecting { .. } => Standing::Reconnecting,
            Event::SessionCleared => {
                self.cleared = true;
                return;
            }
            _ => return,
        };
        if self.standing != Standing::Live {
            self.forget_offers();
        }
    }

    /// Nothing of what was offered can be chosen now.
    pub(super) fn forget_offers(&mut self) {
        self.typing = None;
        self.offer = Offer::default();
    }
}
