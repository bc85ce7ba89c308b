//! What became of a message of the guest.

use std::collections::VecDeque;

use super::event::FailureReason;
use crate::MessageId;

/// Where a message of the guest stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Delivery {
    /// The service has it: its echo came, or the history shows it.
    Delivered,
    /// It was not delivered, and will not be.
    Failed(FailureReason),
    /// It was sent and no echo came: it cannot be known, or is about to be decided by the history.
    InDoubt,
    /// It waits to be sent.
    Queued,
    /// It was sent; its echo has not come.
    Sending,
}

/// How the last 64 messages ended. A failure costs what its reason does, the rest 24 bytes each.
#[derive(Debug, Default)]
pub(super) struct Fates {
    known: VecDeque<(MessageId, Option<Box<FailureReason>>)>,
}

impl Fates {
    const LIMIT: usize = 64;

    /// `None` is delivery.
    pub(super) fn note(&mut self, id: MessageId, failure: Option<&FailureReason>) {
        if self.known.len() == Self::LIMIT {
            self.known.pop_front();
        }
        self.known.push_back((id, failure.cloned().map(Box::new)));
    }

    pub(super) fn of(&self, id: MessageId) -> Option<Delivery> {
        let (_, failure) = self.known.iter().rev().find(|(known, _)| *known == id)?;
        Some(match failure {
            Some(reason) => Delivery::Failed((**reason).clone()),
            None => Delivery::Delivered,
        })
    }
}
