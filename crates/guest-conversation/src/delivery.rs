//! Delivery status of the guest's messages.

use std::collections::VecDeque;

use time::OffsetDateTime;

use crate::MessageId;
use crate::event::FailureReason;

/// The delivery status of a message of the guest.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeliveryStatus {
    /// The service has it: its echo arrived, or the history contains it.
    Delivered {
        /// Time by the service's clock; by this process' clock if the service sent none.
        at: OffsetDateTime,
        /// Number of the event, where the contract numbers events.
        sequence: Option<u64>,
    },
    /// It was not delivered, and will not be.
    Failed(FailureReason),
    /// It waits to be sent.
    Queued,
    /// It was sent and is not acknowledged yet, or the history is being read for it.
    Sending,
    /// It was sent and no acknowledgement came: it may have arrived. A late acknowledgement may still decide it.
    Unknown,
}

/// The final status of the last 512 messages, which is twice as many as can be on their way.
#[derive(Debug, Default)]
pub(crate) struct DeliveryLog {
    decided: VecDeque<(MessageId, Decided)>,
}

/// A final status. A failure is boxed, since most messages are delivered.
#[derive(Debug)]
enum Decided {
    Delivered {
        at: OffsetDateTime,
        sequence: Option<u64>,
    },
    Failed(Box<FailureReason>),
}

impl DeliveryLog {
    const LIMIT: usize = 512;

    /// Records a final status; another one is not recorded.
    pub(crate) fn record(&mut self, id: MessageId, status: DeliveryStatus) {
        let decided = match status {
            DeliveryStatus::Delivered { at, sequence } => Decided::Delivered { at, sequence },
            DeliveryStatus::Failed(reason) => Decided::Failed(Box::new(reason)),
            DeliveryStatus::Queued | DeliveryStatus::Sending | DeliveryStatus::Unknown => return,
        };
        if self.decided.len() == Self::LIMIT {
            self.decided.pop_front();
        }
        self.decided.push_back((id, decided));
    }

    pub(crate) fn status(&self, id: MessageId) -> Option<DeliveryStatus> {
        let (_, decided) = self.decided.iter().rev().find(|(known, _)| *known == id)?;
        Some(match decided {
            Decided::Delivered { at, sequence } => DeliveryStatus::Delivered {
                at: *at,
                sequence: *sequence,
            },
            Decided::Failed(reason) => DeliveryStatus::Failed((**reason).clone()),
        })
    }
}
