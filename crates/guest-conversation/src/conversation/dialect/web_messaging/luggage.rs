//! Custom attributes on their way: sent once, then only again when they changed.

use std::collections::VecDeque;

use crate::MessageId;
use crate::conversation::outbox::COUNT_LIMIT;
use web_messaging::CustomAttributes;

/// What is to travel with a message, and what has.
#[derive(Debug, Default)]
pub(super) struct Luggage {
    wanted: CustomAttributes,
    /// What travelled last.
    carried: CustomAttributes,
    fate: Fate,
    /// What carried it and is not yet answered, oldest first.
    bearers: VecDeque<MessageId>,
}

/// What became of that which travelled last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Fate {
    Arrived,
    TooLarge,
    #[default]
    Unknown,
}

impl Luggage {
    pub(super) fn new(wanted: CustomAttributes) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// These are to travel, and nothing else.
    pub(super) fn replace(&mut self, wanted: CustomAttributes) {
        self.wanted = wanted;
    }

    /// What this message has to carry, if anything.
    pub(super) fn load(&mut self, bearer: MessageId) -> Option<&CustomAttributes> {
        // a message that is sent again may carry something else than before
        self.bearers.retain(|known| *known != bearer);
        let changed = self.wanted != self.carried;
        if self.wanted.is_empty() || (!changed && self.fate != Fate::Unknown) {
            return None;
        }
        if changed {
            self.carried = self.wanted.clone();
            self.fate = Fate::Unknown;
            self.bearers.clear();
        }
        if self.bearers.len() == COUNT_LIMIT {
            self.bearers.pop_front();
        }
        self.bearers.push_back(bearer);
        Some(&self.wanted)
    }

    /// The service has this message.
    pub(super) fn handle_accepted(&mut self, bearer: MessageId) {
        if self.bearers.contains(&bearer) {
            self.settle(Fate::Arrived);
        }
    }

    /// The service refused the attributes of this message. If it did not say which, they are the last ones: without
    /// them the next message passes.
    pub(super) fn handle_too_large(&mut self, bearer: Option<MessageId>) {
        if bearer.is_none_or(|bearer| self.bearers.contains(&bearer)) {
            self.settle(Fate::TooLarge);
        }
    }

    /// What has arrived belongs to another session. That Genesys Cloud does not keep it for the new one is an
    /// inference of ours.
    pub(super) fn handle_new_session(&mut self) {
        if self.fate == Fate::Arrived {
            self.settle(Fate::Unknown);
        }
    }

    fn settle(&mut self, fate: Fate) {
        self.fate = fate;
        self.bearers.clear();
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
    fn an_echo_settles_only_what_its_message_carried() {
        let mut luggage = Luggage::new(of("a"));
        assert_eq!(luggage.load(id(1)), Some(&of("a")));
        luggage.replace(of("b"));
        luggage.handle_accepted(id(1));
        assert_eq!(luggage.load(id(2)), Some(&of("b")));
        luggage.replace(of("a"));
        assert_eq!(
            luggage.load(id(3)),
            Some(&of("a")),
            "b may arrive after the first a"
        );
        luggage.handle_accepted(id(2));
        assert_eq!(luggage.load(id(4)), Some(&of("a")));
        luggage.handle_accepted(id(3));
        assert_eq!(luggage.load(id(5)), None);
    }

    #[test]
    fn a_message_that_is_sent_again_without_them_settles_nothing() {
        let mut luggage = Luggage::new(of("a"));
        luggage.load(id(1));
        luggage.replace(CustomAttributes::default());
        assert_eq!(luggage.load(id(1)), None);
        luggage.handle_accepted(id(1));
        luggage.replace(of("a"));
        assert_eq!(luggage.load(id(2)), Some(&of("a")));
    }

    #[test]
    fn what_is_too_large_is_not_tried_again_until_it_changes() {
        for known in [Some(id(1)), None] {
            let mut luggage = Luggage::new(of("a"));
            luggage.load(id(1));
            luggage.handle_too_large(known);
            luggage.handle_new_session();
            assert_eq!(luggage.load(id(2)), None);
            luggage.replace(of("b"));
            assert_eq!(luggage.load(id(3)), Some(&of("b")));
            luggage.handle_too_large(Some(id(1)));
            assert_eq!(
                luggage.load(id(4)),
                Some(&of("b")),
                "that was the older ones' fate"
            );
        }
    }

    #[test]
    fn a_new_session_is_told_again() {
        let mut luggage = Luggage::new(of("a"));
        luggage.load(id(1));
        luggage.handle_accepted(id(1));
        assert_eq!(luggage.load(id(2)), None);
        luggage.handle_new_session();
        assert_eq!(luggage.load(id(3)), Some(&of("a")));
    }

    #[test]
    fn a_service_that_answers_nothing_fills_no_memory() {
        let mut luggage = Luggage::new(of("a"));
        for n in 0..2_000 {
            assert!(luggage.load(id(n)).is_some());
        }
        assert_eq!(luggage.bearers.len(), COUNT_LIMIT);
    }
}
