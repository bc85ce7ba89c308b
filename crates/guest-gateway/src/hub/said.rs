//! What became of the guest's last messages, so that one that is sent again is not passed on again.

use std::collections::VecDeque;
use std::sync::Arc;

use guest_conversation::MessageId;

/// Messages remembered at the most: twice as many as can be on their way. Our choice.
const MESSAGES: usize = 512;

/// What became of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// Genesys has it; the frame that said so.
    Accepted(Arc<str>),
    /// It may have arrived.
    Doubted,
    /// It is with Genesys, or will be.
    OnItsWay,
}

/// The fates of the last messages, by the ids that the guest's client gave them.
#[derive(Debug, Default)]
pub(super) struct Said {
    messages: VecDeque<(MessageId, Fate)>,
}

impl Said {
    /// What became of a message, if it was passed on lately.
    pub(super) fn fate(&self, id: MessageId) -> Option<&Fate> {
        let known = self.messages.iter().rev().find(|(known, _)| *known == id);
        known.map(|(_, fate)| fate)
    }

    /// Notes what became of a message, in place of what was known of it.
    pub(super) fn note(&mut self, id: MessageId, fate: Fate) {
        if let Some((_, known)) = self.messages.iter_mut().rev().find(|(known, _)| *known == id) {
            *known = fate;
            return;
        }
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back((id, fate));
    }

    /// Forgets a message that was not delivered: sent again, it is tried again.
    pub(super) fn forget(&mut self, id: MessageId) {
        self.messages.retain(|(known, _)| *known != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> MessageId {
        format!("c0ffee00-0000-4000-8000-{n:012}").parse().unwrap()
    }

    #[test]
    fn a_message_has_one_fate_until_it_is_forgotten() {
        let mut said = Said::default();
        assert_eq!(said.fate(id(1)), None);
        said.note(id(1), Fate::OnItsWay);
        said.note(id(1), Fate::Accepted("x".into()));
        assert_eq!(said.fate(id(1)), Some(&Fate::Accepted("x".into())));
        said.forget(id(1));
        assert_eq!(said.fate(id(1)), None);
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut said = Said::default();
        for n in 0..=MESSAGES {
            said.note(id(n), Fate::Doubted);
        }
        assert_eq!(said.messages.len(), MESSAGES);
        assert_eq!((said.fate(id(0)), said.fate(id(1))), (None, Some(&Fate::Doubted)));
    }
}
