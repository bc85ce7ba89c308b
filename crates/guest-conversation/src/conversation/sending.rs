//! Taking what the guest says.

use super::Conversation;
use super::outbox::SendError;
use super::state::State;
use crate::{MessageId, Said};

impl Conversation {
    /// Takes a message of 1 to 4,096 bytes, to be sent as soon as the session and the limits allow. `id` is fresh and
    /// random. What becomes of it is told by [`Event::Accepted`](crate::Event::Accepted),
    /// [`Event::Failed`](crate::Event::Failed) or [`Event::InDoubt`](crate::Event::InDoubt).
    ///
    /// # Errors
    /// If it was not taken.
    pub fn send_text(&mut self, id: MessageId, text: &str) -> Result<(), SendError> {
        self.take(id, Said::text(text.to_owned()))
    }

    /// As [`Self::send_text`], but whatever the guest says: with attachments, which are uploaded, or a choice among
    /// what was offered. `guest-sessions` has text only.
    ///
    /// # Errors
    /// If it was not taken; what it was to carry can go with another message.
    pub fn send(&mut self, id: MessageId, said: &Said) -> Result<(), SendError> {
        self.take(id, said.clone())
    }

    fn take(&mut self, id: MessageId, said: Said) -> Result<(), SendError> {
        match self.state {
            State::Closing | State::Closed | State::Failed => return Err(SendError::Ended),
            State::ReadOnly => return Err(SendError::ReadOnly),
            State::Idle
            | State::Connecting
            | State::Configuring
            | State::Configured
            | State::Reconnecting => {}
        }
        if !said.is_plain() && !self.dialect.is_rich() {
            return Err(SendError::NotOffered);
        }
        let attachments = said.attachments();
        if !attachments.is_empty() {
            let ids: Result<Vec<_>, _> = attachments.iter().map(|id| id.parse()).collect();
            self.carry(id, &ids.map_err(|_| SendError::AttachmentId)?)?;
        }
        let taken = self.outbox.push(id, said);
        if taken.is_err() {
            self.settle_carried(id, Err(None));
        }
        taken
    }
}
