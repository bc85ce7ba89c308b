//! Synchronization of custom attributes: sent once, then only again when they change.

use std::collections::VecDeque;

use web_messaging::CustomAttributes;

use crate::MessageId;
use crate::outbox::COUNT_LIMIT;

/// The attributes to send, and those that were sent.
#[derive(Debug, Default)]
pub(super) struct AttributeSync {
    current: CustomAttributes,
    last_sent: CustomAttributes,
    status: SyncStatus,
    /// Messages that were sent with `last_sent` and are not acknowledged yet, oldest first.
    unacknowledged: VecDeque<MessageId>,
}

/// Status of the attributes that were sent last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum SyncStatus {
    Delivered,
    TooLarge,
    #[default]
    Unknown,
}

impl AttributeSync {
    pub(super) fn new(current: CustomAttributes) -> Self {
        Self {
            current,
            ..Self::default()
        }
    }

    /// Replaces the attributes: no others are sent from now on.
    pub(super) fn replace(&mut self, current: CustomAttributes) {
        self.current = current;
    }

    /// The attributes to send with this message, if any.
    pub(super) fn take_for(&mut self, message: MessageId) -> Option<&CustomAttributes> {
        // a message that is sent again may have others than before
        self.unacknowledged.retain(|known| *known != message);
        let changed = self.current != self.last_sent;
        if self.current.is_empty() || (!changed && self.status != SyncStatus::Unknown) {
            return None;
        }
        if changed {
            self.last_sent = self.current.clone();
            self.status = SyncStatus::Unknown;
            self.unacknowledged.clear();
        }
        if self.unacknowledged.len() == COUNT_LIMIT {
            self.unacknowledged.pop_front();
        }
        self.unacknowledged.push_back(message);
        Some(&self.current)
    }

    /// Handles a delivered message.
    pub(super) fn handle_delivered(&mut self, message: MessageId) {
        if self.unacknowledged.contains(&message) {
            self.resolve(SyncStatus::Delivered);
        }
    }

    /// Handles attributes of this message, or of the last one, that the service refused. The next message is sent
    /// without them.
    pub(super) fn handle_too_large(&mut self, message: Option<MessageId>) {
        if message.is_none_or(|message| self.unacknowledged.contains(&message)) {
            self.resolve(SyncStatus::TooLarge);
        }
    }

    /// Delivered attributes belong to the former session. That Genesys Cloud does not keep them for the new one is an
    /// inference of ours.
    pub(super) fn handle_new_session(&mut self) {
        if self.status == SyncStatus::Delivered {
            self.resolve(SyncStatus::Unknown);
        }
    }

    fn resolve(&mut self, status: SyncStatus) {
        self.status = status;
        self.unacknowledged.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> MessageId {
        uuid::Uuid::from_u128(n).into()
    }

    fn of(value: &str) -> CustomAttributes {
        CustomAttributes::new([("k".to_owned(), value.to_owned())].into()).unwrap()
    }

    #[test]
    fn echo_resolves_only_the_attributes_of_its_message() {
        let mut sync = AttributeSync::new(of("a"));
        assert_eq!(sync.take_for(id(1)), Some(&of("a")));
        sync.replace(of("b"));
        sync.handle_delivered(id(1));
        assert_eq!(sync.take_for(id(2)), Some(&of("b")));
        sync.replace(of("a"));
        assert_eq!(
            sync.take_for(id(3)),
            Some(&of("a")),
            "b may arrive after the first a"
        );
        sync.handle_delivered(id(2));
        assert_eq!(sync.take_for(id(4)), Some(&of("a")));
        sync.handle_delivered(id(3));
        assert_eq!(sync.take_for(id(5)), None);
    }

    #[test]
    fn message_resent_without_attributes_resolves_nothing() {
        let mut sync = AttributeSync::new(of("a"));
        sync.take_for(id(1));
        sync.replace(CustomAttributes::default());
        assert_eq!(sync.take_for(id(1)), None);
        sync.handle_delivered(id(1));
        sync.replace(of("a"));
        assert_eq!(sync.take_for(id(2)), Some(&of("a")));
    }

    #[test]
    fn attributes_too_large_are_not_resent_until_changed() {
        for known in [Some(id(1)), None] {
            let mut sync = AttributeSync::new(of("a"));
            sync.take_for(id(1));
            sync.handle_too_large(known);
            sync.handle_new_session();
            assert_eq!(sync.take_for(id(2)), None);
            sync.replace(of("b"));
            assert_eq!(sync.take_for(id(3)), Some(&of("b")));
            sync.handle_too_large(Some(id(1)));
            assert_eq!(
                sync.take_for(id(4)),
                Some(&of("b")),
                "that was about the older ones"
            );
        }
    }

    #[test]
    fn new_session_gets_attributes_again() {
        let mut sync = AttributeSync::new(of("a"));
        sync.take_for(id(1));
        sync.handle_delivered(id(1));
        assert_eq!(sync.take_for(id(2)), None);
        sync.handle_new_session();
        assert_eq!(sync.take_for(id(3)), Some(&of("a")));
    }

    #[test]
    fn unacknowledged_messages_are_bounded() {
        let mut sync = AttributeSync::new(of("a"));
        for n in 0..2_000 {
            assert!(sync.take_for(id(n)).is_some());
        }
        assert_eq!(sync.unacknowledged.len(), COUNT_LIMIT);
    }
}
