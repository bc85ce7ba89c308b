//! Queue of outgoing messages: waiting, sent, or of unknown delivery.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};

use genesys_api::wire::Text;
use time::OffsetDateTime;

use crate::attachments::AttachToError;
use crate::delivery::{DeliveryLog, DeliveryStatus};
use crate::event::FailureReason;
use crate::{MessageId, OutgoingMessage, TEXT_LIMIT};

/// Most messages that wait or are not acknowledged yet.
pub(crate) const COUNT_LIMIT: usize = 256;
/// Most bytes of their text.
pub(crate) const BYTE_LIMIT: usize = 256 * 1024;
/// Most bytes of one message, with its choices and answers: a frame of it fits any known limit. Our choice.
const MESSAGE_LIMIT: usize = 16 * 1024;
/// Pings without an acknowledgement after which a delivery is unknown: about a minute. Our choice. Pings instead of
/// time, so that a moved clock changes nothing.
const OVERDUE_PINGS: u64 = 4;

/// A message was not queued.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// An attachment cannot be sent with it.
    #[error(transparent)]
    Attachment(#[from] AttachToError),
    /// An attachment id is malformed.
    #[error("invalid attachment id in the message: use the id that `attach` returned")]
    AttachmentId,
    /// No text.
    #[error("the message is empty")]
    Empty,
    /// The conversation is over, or ending.
    #[error("the conversation has ended: open a new one")]
    Ended,
    /// Too much is waiting already.
    #[error("{count} messages of {bytes} bytes wait to be sent: wait until some are accepted")]
    Full {
        /// Messages that wait or are not acknowledged yet.
        count: usize,
        /// Bytes of their text.
        bytes: usize,
    },
    /// The conversation is read-only.
    #[error("the conversation is read-only: start a new one")]
    ReadOnly,
    /// The message with its choices and answers is too large.
    #[error("the message has {bytes} bytes with its answers: at most 16384 are allowed")]
    TooLarge {
        /// Bytes of UTF-8.
        bytes: usize,
    },
    /// The text is too long.
    #[error("the message has {bytes} bytes: at most 4096 are allowed")]
    TooLong {
        /// Bytes of UTF-8.
        bytes: usize,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Outgoing>,
    sent: VecDeque<Outgoing>,
    /// Of unknown delivery, and still to be decided by the history.
    unresolved: VecDeque<Outgoing>,
    /// Of unknown delivery, which was emitted.
    unknown: VecDeque<Unknown>,
    log: DeliveryLog,
    bytes: usize,
    queued: u64,
}

struct Outgoing {
    id: MessageId,
    message: Box<OutgoingMessage>,
    fingerprint: Fingerprint,
    bytes: usize,
    /// Position in the order of sending, kept when it is sent again.
    order: u64,
    /// Pings of the connection when it was sent.
    pings: u64,
    /// Newest time of the service when it was sent first. `None` before.
    after: Option<OffsetDateTime>,
    /// Whether it was sent twice, since the history did not contain it.
    resent: bool,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.id, self.bytes)
    }
}

#[derive(Debug)]
struct Unknown {
    id: MessageId,
    fingerprint: Fingerprint,
    after: Option<OffsetDateTime>,
}

impl Outbox {
    pub(crate) fn push(&mut self, id: MessageId, message: OutgoingMessage) -> Result<(), SendError> {
        if message.is_empty() {
            return Err(SendError::Empty);
        }
        let (text, bytes) = (message.text(), message.bytes());
        if text.len() > TEXT_LIMIT {
            return Err(SendError::TooLong { bytes: text.len() });
        }
        if bytes > MESSAGE_LIMIT {
            return Err(SendError::TooLarge { bytes });
        }
        let count = self.waiting.len() + self.sent.len() + self.unresolved.len();
        if count >= COUNT_LIMIT || self.bytes + bytes > BYTE_LIMIT {
            return Err(SendError::Full {
                count,
                bytes: self.bytes,
            });
        }
        self.bytes += bytes;
        self.queued += 1;
        self.waiting.push_back(Outgoing {
            id,
            fingerprint: Fingerprint::of(&text, message.attachments().iter()),
            message: Box::new(message),
            bytes,
            order: self.queued,
            pings: 0,
            after: None,
            resent: false,
        });
        Ok(())
    }

    /// The status of a message, if it is known.
    pub(crate) fn status(&self, id: MessageId) -> Option<DeliveryStatus> {
        let is_in = |queue: &VecDeque<Outgoing>| queue.iter().any(|message| message.id == id);
        if is_in(&self.waiting) {
            Some(DeliveryStatus::Queued)
        } else if is_in(&self.sent) || is_in(&self.unresolved) {
            // an unresolved one is decided by the history soon, or emitted as unknown
            Some(DeliveryStatus::Sending)
        } else if self.unknown.iter().any(|message| message.id == id) {
            Some(DeliveryStatus::Unknown)
        } else {
            self.log.status(id)
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next message to send; it counts as sent.
    pub(crate) fn next(
        &mut self,
        pings: u64,
        newest: OffsetDateTime,
    ) -> Option<(MessageId, &OutgoingMessage)> {
        let mut message = self.waiting.pop_front()?;
        message.pings = pings;
        message.after.get_or_insert(newest);
        self.sent.push_back(message);
        self.sent.back().map(|message| (message.id, &*message.message))
    }

    /// Removes a message whose delivery is decided. Returns `false` if it is not here.
    pub(crate) fn resolve(&mut self, id: MessageId, status: DeliveryStatus) -> bool {
        let taken = [&mut self.sent, &mut self.waiting, &mut self.unresolved]
            .into_iter()
            .find_map(|queue| remove(queue, id));
        let known = if let Some(message) = taken {
            self.bytes -= message.bytes;
            true
        } else {
            let at = self.unknown.iter().position(|message| message.id == id);
            at.is_some_and(|at| self.unknown.remove(at).is_some())
        };
        if known {
            self.log.record(id, status);
        }
        known
    }

    /// Puts a message that was refused for now back in its position. Returns `false` if it was not sent.
    pub(crate) fn requeue(&mut self, id: MessageId) -> bool {
        let Some(mut message) = remove(&mut self.sent, id) else {
            return false;
        };
        message.after = None;
        self.waiting.push_back(message);
        self.sort();
        true
    }

    /// Puts all sent messages back.
    pub(crate) fn requeue_all(&mut self) {
        self.waiting.append(&mut self.sent);
        self.sort();
    }

    /// The message that is not acknowledged yet, if there is exactly one.
    pub(crate) fn only_sent(&self) -> Option<MessageId> {
        match (self.sent.front(), self.sent.len()) {
            (Some(message), 1) => Some(message.id),
            _ => None,
        }
    }

    /// Whether nothing waits and nothing is unacknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Removes the waiting messages, which were certainly not delivered.
    pub(crate) fn fail_waiting(&mut self, reason: &FailureReason) -> Vec<MessageId> {
        // a message that waits to be sent again may have arrived the first time
        let (again, failed) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|message| message.after.is_some());
        self.unresolved.extend(again);
        failed
            .into_iter()
            .map(|message| self.fail(&message, reason))
            .collect()
    }

    /// Makes the delivery of a sent message unknown. Returns `false` if it was not sent.
    pub(crate) fn mark_unknown(&mut self, id: MessageId) -> bool {
        let message = remove(&mut self.sent, id);
        let known = message.is_some();
        self.unresolved.extend(message);
        known
    }

    /// Makes the delivery of all sent messages unknown.
    pub(crate) fn mark_sent_unknown(&mut self) {
        self.unresolved.append(&mut self.sent);
    }

    /// Makes the delivery of sent messages unknown that were not acknowledged for long. Returns whether there are any.
    pub(crate) fn mark_overdue_unknown(&mut self, pings: u64) -> bool {
        let (overdue, kept) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition::<VecDeque<_>, _>(|message| pings.saturating_sub(message.pings) > OVERDUE_PINGS);
        self.sent = kept;
        let any = !overdue.is_empty();
        self.unresolved.extend(overdue);
        any
    }

    /// Corrects messages that were sent before a time of the service was known: they were sent after `bound`.
    pub(crate) fn raise_lower_bound(&mut self, bound: OffsetDateTime) {
        let queues = [&mut self.waiting, &mut self.sent, &mut self.unresolved];
        let sent = queues.into_iter().flatten().map(|message| &mut message.after);
        let unknown = self.unknown.iter_mut().map(|message| &mut message.after);
        for after in sent.chain(unknown).flatten() {
            *after = bound.max(*after);
        }
    }

    /// Newest time of the service when the first unresolved message was sent.
    pub(crate) fn unresolved_since(&self) -> Option<OffsetDateTime> {
        self.unresolved.iter().filter_map(|message| message.after).min()
    }

    pub(crate) fn has_unresolved(&self) -> bool {
        !self.unresolved.is_empty()
    }

    /// Gives up on the unresolved messages and returns their ids. The latest are remembered, for a late
    /// acknowledgement.
    pub(crate) fn give_up_unresolved(&mut self) -> Vec<MessageId> {
        let given_up = std::mem::take(&mut self.unresolved);
        self.bytes -= given_up.iter().map(|message| message.bytes).sum::<usize>();
        let ids = given_up.iter().map(|message| message.id).collect();
        self.unknown.extend(given_up.into_iter().map(|message| Unknown {
            id: message.id,
            fingerprint: message.fingerprint,
            after: message.after,
        }));
        let surplus = self.unknown.len().saturating_sub(COUNT_LIMIT);
        self.unknown.drain(..surplus);
        ids
    }

    /// The message of unknown delivery that an entry of the history is, whose time is no later than `latest`: the
    /// oldest unresolved one, or the oldest given up, whichever was sent later.
    pub(crate) fn match_unresolved(
        &self,
        fingerprint: Fingerprint,
        latest: OffsetDateTime,
    ) -> Option<MessageId> {
        let fits = |known: Fingerprint, after: Option<OffsetDateTime>| {
            known == fingerprint && after.is_some_and(|after| after <= latest)
        };
        let unresolved = self.unresolved.iter().find(|it| fits(it.fingerprint, it.after));
        let unknown = self.unknown.iter().find(|it| fits(it.fingerprint, it.after));
        let unresolved = unresolved.map(|message| (message.after, message.id));
        let unknown = unknown.map(|message| (message.after, message.id));
        unknown
            .into_iter()
            .chain(unresolved)
            .max_by_key(|(after, _)| *after)
            .map(|(_, id)| id)
    }

    /// The unresolved messages certainly did not arrive: they are sent again in their position, if anything may be
    /// sent. Returns those that failed, since they were sent twice already.
    pub(crate) fn resolve_absent(&mut self, may_send: bool) -> Vec<MessageId> {
        let mut failed = Vec::new();
        for mut message in std::mem::take(&mut self.unresolved) {
            if message.resent || !may_send {
                failed.push(self.fail(&message, &FailureReason::NotDelivered));
            } else {
                message.resent = true;
                message.after = None;
                self.waiting.push_back(message);
            }
        }
        self.sort();
        failed
    }

    fn fail(&mut self, message: &Outgoing, reason: &FailureReason) -> MessageId {
        self.bytes -= message.bytes;
        self.log
            .record(message.id, DeliveryStatus::Failed(reason.clone()));
        message.id
    }

    fn sort(&mut self) {
        self.waiting
            .make_contiguous()
            .sort_by_key(|message| message.order);
    }
}

fn remove(queue: &mut VecDeque<Outgoing>, id: MessageId) -> Option<Outgoing> {
    let at = queue.iter().position(|message| message.id == id)?;
    queue.remove(at)
}

/// A hash of a message's text, or of its attachment ids if the text is empty. White space around the text does not
/// count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of<'a>(text: &str, attachments: impl Iterator<Item = &'a Text<'static>>) -> Self {
        let mut hasher = DefaultHasher::new();
        text.trim().hash(&mut hasher);
        if text.trim().is_empty() {
            attachments.for_each(|id| id.hash(&mut hasher));
        }
        Self(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const DELIVERED: DeliveryStatus = DeliveryStatus::Delivered {
        at: EPOCH,
        sequence: None,
    };

    fn id(n: u128) -> MessageId {
        uuid::Uuid::from_u128(n).into()
    }

    #[test]
    fn outbox_is_bounded_by_count_and_by_bytes() {
        let mut outbox = Outbox::default();
        for n in 0..COUNT_LIMIT {
            outbox.push(id(n as u128), OutgoingMessage::new("x")).unwrap();
        }
        assert_eq!(
            outbox.push(id(999), OutgoingMessage::new("x")),
            Err(SendError::Full {
                count: 256,
                bytes: 256
            })
        );
        assert!(outbox.resolve(id(0), DELIVERED));
        assert_eq!(outbox.push(id(999), OutgoingMessage::new("x")), Ok(()));

        let mut outbox = Outbox::default();
        for n in 0..64 {
            outbox
                .push(id(n), OutgoingMessage::new("é".repeat(2048)))
                .unwrap();
        }
        assert_eq!(
            outbox.push(id(999), OutgoingMessage::new("x")),
            Err(SendError::Full {
                count: 64,
                bytes: BYTE_LIMIT
            })
        );
        outbox.fail_waiting(&FailureReason::Ended);
        assert_eq!(outbox.bytes, 0);
        assert_eq!(
            outbox.push(id(1), OutgoingMessage::new("")),
            Err(SendError::Empty)
        );
        assert_eq!(
            outbox.push(id(1), OutgoingMessage::new("x".repeat(4097))),
            Err(SendError::TooLong { bytes: 4097 })
        );
    }

    #[test]
    fn requeued_message_keeps_its_position() {
        let mut outbox = Outbox::default();
        for n in 1..=4 {
            outbox.push(id(n), OutgoingMessage::new("x")).unwrap();
        }
        for _ in 1..=3 {
            outbox.next(0, EPOCH).unwrap();
        }
        assert!(outbox.requeue(id(2)));
        assert!(outbox.requeue(id(1)));
        assert!(!outbox.requeue(id(4)), "it was never sent");
        let order: Vec<_> = outbox.waiting.iter().map(|message| message.id).collect();
        assert_eq!(order, [id(1), id(2), id(4)]);
        assert_eq!(outbox.only_sent(), Some(id(3)));
    }

    #[test]
    fn unknown_delivery_is_resolved_once() {
        let mut outbox = Outbox::default();
        outbox.push(id(1), OutgoingMessage::new("x")).unwrap();
        outbox.next(3, EPOCH).unwrap();
        assert!(!outbox.mark_overdue_unknown(7));
        assert!(outbox.mark_overdue_unknown(8));
        assert_eq!(outbox.give_up_unresolved(), [id(1)]);
        assert!(outbox.is_idle());
        assert_eq!(outbox.status(id(1)), Some(DeliveryStatus::Unknown));
        assert!(outbox.resolve(id(1), DELIVERED));
        assert!(!outbox.resolve(id(1), DELIVERED));
        assert_eq!(outbox.status(id(1)), Some(DELIVERED));
    }

    #[test]
    fn delivery_log_drops_the_oldest_at_capacity() {
        let mut outbox = Outbox::default();
        for n in 0..513 {
            outbox.push(id(n), OutgoingMessage::new("x")).unwrap();
            assert!(outbox.resolve(id(n), DELIVERED));
        }
        assert_eq!(
            (outbox.status(id(0)), outbox.status(id(1))),
            (None, Some(DELIVERED))
        );
    }
}
