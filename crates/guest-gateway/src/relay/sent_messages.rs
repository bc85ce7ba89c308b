//! Deduplication of the guest's messages: a message that is sent again is not forwarded again.

use std::collections::VecDeque;
use std::sync::Arc;

use guest_conversation::MessageId;

/// Capacity: twice the number of messages that can be outstanding.
const MESSAGES: usize = 512;

/// A delivery status of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum DeliveryStatus {
    /// Acknowledged by Genesys. Holds the frame for the guest.
    Accepted(Arc<str>),
    /// Sent, but not acknowledged before the connection was lost.
    Unknown,
    /// Queued or sent.
    Pending,
}

/// The delivery status of the latest messages, by the ids that the guest's client assigned.
#[derive(Debug, Default)]
pub(super) struct SentMessages {
    messages: VecDeque<(MessageId, DeliveryStatus)>,
}

impl SentMessages {
    /// Returns the delivery status of a message, if it is known.
    pub(super) fn status(&self, id: MessageId) -> Option<&DeliveryStatus> {
        let known = self.messages.iter().rev().find(|(known, _)| *known == id);
        known.map(|(_, status)| status)
    }

    /// Records the delivery status of a message.
    pub(super) fn record(&mut self, id: MessageId, status: DeliveryStatus) {
        if let Some((_, known)) = self.messages.iter_mut().rev().find(|(known, _)| *known == id) {
            *known = status;
            return;
        }
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back((id, status));
    }

    /// Removes a message that was not delivered, so that it can be sent again.
    pub(super) fn remove(&mut self, id: MessageId) {
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
    fn message_keeps_its_last_status_until_it_is_removed() {
        let mut sent = SentMessages::default();
        assert_eq!(sent.status(id(1)), None);
        sent.record(id(1), DeliveryStatus::Pending);
        sent.record(id(1), DeliveryStatus::Accepted("x".into()));
        assert_eq!(sent.status(id(1)), Some(&DeliveryStatus::Accepted("x".into())));
        sent.remove(id(1));
        assert_eq!(sent.status(id(1)), None);
    }

    #[test]
    fn sent_messages_drop_the_oldest_at_capacity() {
        let mut sent = SentMessages::default();
        for n in 0..=MESSAGES {
            sent.record(id(n), DeliveryStatus::Unknown);
        }
        assert_eq!(sent.messages.len(), MESSAGES);
        assert_eq!(
            (sent.status(id(0)), sent.status(id(1))),
            (None, Some(&DeliveryStatus::Unknown))
        );
    }
}
