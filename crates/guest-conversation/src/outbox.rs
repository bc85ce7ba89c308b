//! Queue of outgoing messages, and the delivery status of each.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use genesys_api::wire::OwnedText;
use time::OffsetDateTime;

use crate::attachments::{AttachmentId, Stage};
use crate::event::{DeliveryStatus, FailureReason};
use crate::{MessageId, OutgoingMessage, TEXT_LIMIT};

/// Most messages that wait or are not acknowledged yet.
pub(crate) const COUNT_LIMIT: usize = 256;
/// Most bytes of their text.
const BYTE_LIMIT: usize = 256 * 1024;
/// Most bytes of one message, with its choices and answers: a frame of it fits any known limit. Our choice.
const MESSAGE_LIMIT: usize = 16 * 1024;
/// Most messages whose final status is remembered: twice as many as can be in the queue.
const DECIDED_LIMIT: usize = 512;
/// Pings without an acknowledgement after which a delivery is unknown: about a minute. Our choice. Pings instead of
/// time, so that a moved clock changes nothing.
const OVERDUE_PINGS: u64 = 4;

/// The reason why a message was not queued.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message has no text.
    #[error("invalid message: it is empty, give it a text or content")]
    Empty,
    /// The conversation is over, or ending.
    #[error("cannot send: the conversation has ended; open a new one")]
    Ended,
    /// Too much is waiting already.
    #[error("cannot send: {count} messages of {bytes} bytes are unacknowledged; send again later")]
    Full {
        /// Messages that wait or are not acknowledged yet.
        count: usize,
        /// Bytes of their text.
        bytes: usize,
    },
    /// An attachment is not uploaded.
    #[error("cannot send attachment {id}: it is {stage}; wait until it is uploaded, or send without it")]
    NotUploaded {
        /// The attachment.
        id: AttachmentId,
        /// Its stage.
        stage: Stage,
    },
    /// The conversation is read-only.
    #[error("cannot send: the conversation is read-only; start a new one")]
    ReadOnly,
    /// The message with its choices and answers is too large.
    #[error("invalid message: {bytes} bytes with its answers; send at most 16384")]
    TooLarge {
        /// Bytes of UTF-8.
        bytes: usize,
    },
    /// The text is too long.
    #[error("invalid message: {bytes} bytes; send at most 4096")]
    TooLong {
        /// Bytes of UTF-8.
        bytes: usize,
    },
    /// An attachment is unknown.
    #[error(
        "cannot send attachment {id}: it failed, was deleted, or was sent already; attach the file again"
    )]
    UnknownAttachment {
        /// Id in the message.
        id: String,
    },
}

/// The messages of the guest that are not decided, in their order, and the last decisions.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Outgoing>,
    /// Messages whose delivery was reported as unknown; a late acknowledgement may still decide it.
    unknown: VecDeque<Unknown>,
    decided: VecDeque<(MessageId, DeliveryStatus)>,
    bytes: usize,
}

struct Outgoing {
    id: MessageId,
    message: Box<OutgoingMessage>,
    fingerprint: u64,
    bytes: usize,
    step: Step,
    /// Newest time of the service when it was sent first. `None` before, and if it certainly did not arrive.
    after: Option<OffsetDateTime>,
    /// Time at which it fails unless it was sent. `None` for never.
    expires_at: Option<Instant>,
    /// Whether it was sent twice, since the history did not contain it.
    resent: bool,
    /// Whether [`DeliveryStatus::Queued`] was the last status that was reported.
    is_reported_queued: bool,
}

/// The next message to send.
#[derive(Debug)]
pub(crate) struct Next<'a> {
    pub(crate) id: MessageId,
    /// Whether it was reported as queued, so that its sending is to be reported.
    pub(crate) was_reported_queued: bool,
    pub(crate) message: &'a OutgoingMessage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Waiting,
    /// Sent after so many pings of the connection.
    Sent(u64),
    /// Sent, and queued by the service, which forwards it later.
    Held,
    /// Of unknown delivery, to be decided by the history.
    Unresolved,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes, {:?})", self.id, self.bytes, self.step)
    }
}

impl Outgoing {
    /// Whether it waits, and certainly did not arrive.
    fn is_unsent(&self) -> bool {
        self.step == Step::Waiting && self.after.is_none()
    }

    fn is_sent(&self) -> bool {
        matches!(self.step, Step::Sent(_) | Step::Held)
    }
}

#[derive(Debug)]
struct Unknown {
    id: MessageId,
    fingerprint: u64,
    after: Option<OffsetDateTime>,
}

impl Outbox {
    /// Queues a message, which fails unless it is sent by `expires_at`.
    pub(crate) fn push(
        &mut self,
        id: MessageId,
        message: OutgoingMessage,
        expires_at: Option<Instant>,
    ) -> Result<(), SendError> {
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
        if self.queue.len() >= COUNT_LIMIT || self.bytes + bytes > BYTE_LIMIT {
            return Err(SendError::Full {
                count: self.queue.len(),
                bytes: self.bytes,
            });
        }
        self.bytes += bytes;
        self.queue.push_back(Outgoing {
            id,
            fingerprint: fingerprint(&text, message.attachments().iter()),
            message: Box::new(message),
            bytes,
            step: Step::Waiting,
            after: None,
            expires_at,
            resent: false,
            is_reported_queued: false,
        });
        Ok(())
    }

    /// The status of a message, if it is known.
    pub(crate) fn status(&self, id: MessageId) -> Option<DeliveryStatus> {
        if let Some(message) = self.queue.iter().find(|message| message.id == id) {
            return Some(match message.step {
                Step::Waiting | Step::Held => DeliveryStatus::Queued,
                // an unresolved one is decided by the history soon, or reported as unknown
                Step::Sent(_) | Step::Unresolved => DeliveryStatus::Sending,
            });
        }
        if self.unknown.iter().any(|message| message.id == id) {
            return Some(DeliveryStatus::Unknown);
        }
        let mut decided = self.decided.iter().rev();
        decided
            .find(|(known, _)| *known == id)
            .map(|(_, status)| status.clone())
    }

    pub(crate) fn has_waiting(&self) -> bool {
        self.queue.iter().any(|message| message.step == Step::Waiting)
    }

    /// The next message to send; it counts as sent.
    pub(crate) fn next(&mut self, pings: u64, newest: OffsetDateTime) -> Option<Next<'_>> {
        let mut queue = self.queue.iter_mut();
        let message = queue.find(|message| message.step == Step::Waiting)?;
        message.step = Step::Sent(pings);
        message.after.get_or_insert(newest);
        Some(Next {
            id: message.id,
            was_reported_queued: std::mem::take(&mut message.is_reported_queued),
            message: &message.message,
        })
    }

    /// The messages that wait and were not reported as queued. They count as reported.
    pub(crate) fn take_unreported(&mut self) -> Vec<MessageId> {
        let queue = self.queue.iter_mut();
        let waiting = queue.filter(|message| message.step == Step::Waiting && !message.is_reported_queued);
        waiting
            .map(|message| {
                message.is_reported_queued = true;
                message.id
            })
            .collect()
    }

    /// The service has queued a sent message. Returns whether that is to be reported.
    pub(crate) fn hold(&mut self, id: MessageId) -> bool {
        self.sent(id).is_some_and(|message| {
            message.step = Step::Held;
            !std::mem::replace(&mut message.is_reported_queued, true)
        })
    }

    /// The peer did not take a sent message. It is held until [`requeue_all`](Self::requeue_all). Returns whether that is to be
    /// reported.
    pub(crate) fn hold_untaken(&mut self, id: MessageId) -> bool {
        if let Some(message) = self.sent(id) {
            message.after = None;
        }
        self.hold(id)
    }

    /// The service forwards a sent message. Returns whether that is to be reported.
    pub(crate) fn forward(&mut self, id: MessageId, pings: u64) -> bool {
        self.sent(id).is_some_and(|message| {
            message.step = Step::Sent(pings);
            std::mem::take(&mut message.is_reported_queued)
        })
    }

    /// Removes a message whose delivery is decided. Returns `false` if it is not here.
    pub(crate) fn resolve(&mut self, id: MessageId, status: DeliveryStatus) -> bool {
        let known = if let Some(at) = self.queue.iter().position(|message| message.id == id) {
            self.bytes -= self.queue.remove(at).map_or(0, |message| message.bytes);
            true
        } else {
            let at = self.unknown.iter().position(|message| message.id == id);
            at.is_some_and(|at| self.unknown.remove(at).is_some())
        };
        if known {
            self.record(id, status);
        }
        known
    }

    fn record(&mut self, id: MessageId, status: DeliveryStatus) {
        if self.decided.len() == DECIDED_LIMIT {
            self.decided.pop_front();
        }
        self.decided.push_back((id, status));
    }

    fn sent(&mut self, id: MessageId) -> Option<&mut Outgoing> {
        let mut queue = self.queue.iter_mut();
        queue.find(|message| message.id == id && message.is_sent())
    }

    /// Requeues a message after a temporary refusal.
    pub(crate) fn requeue(&mut self, id: MessageId) {
        if let Some(message) = self.sent(id) {
            message.after = None;
            message.step = Step::Waiting;
        }
    }

    /// Requeues all sent messages, where a contract drops duplicates by their id.
    pub(crate) fn requeue_all(&mut self) {
        for message in self.queue.iter_mut().filter(|message| message.is_sent()) {
            message.step = Step::Waiting;
        }
    }

    /// Requeues all sent messages, which the peer did not take.
    pub(crate) fn requeue_untaken(&mut self) {
        for message in self.queue.iter_mut().filter(|message| message.is_sent()) {
            message.after = None;
            message.step = Step::Waiting;
        }
    }

    /// The message that is not acknowledged yet, if there is exactly one.
    pub(crate) fn only_sent(&self) -> Option<MessageId> {
        let mut sent = self.queue.iter().filter(|message| message.is_sent());
        match (sent.next(), sent.next()) {
            (Some(message), None) => Some(message.id),
            _ => None,
        }
    }

    /// Whether nothing waits and nothing is unacknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.iter().all(|it| it.step == Step::Unresolved)
    }

    /// Removes the waiting messages, which were not delivered, and returns their ids.
    pub(crate) fn fail_waiting(&mut self, reason: &FailureReason) -> Vec<MessageId> {
        self.fail_where(reason, |message| {
            // a message that waits to be sent again may have arrived the first time
            if message.step == Step::Waiting && message.after.is_some() {
                message.step = Step::Unresolved;
            }
            message.step == Step::Waiting
        })
    }

    /// The time at which the next message fails that was not sent.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let unsent = self.queue.iter().filter(|message| message.is_unsent());
        unsent.filter_map(|message| message.expires_at).min()
    }

    /// Removes the messages that were not sent in time, and returns their ids.
    pub(crate) fn fail_expired(&mut self, now: Instant, reason: &FailureReason) -> Vec<MessageId> {
        self.fail_where(reason, |message| {
            message.is_unsent() && message.expires_at.is_some_and(|at| at <= now)
        })
    }

    fn fail_where(
        &mut self,
        reason: &FailureReason,
        mut is_failed: impl FnMut(&mut Outgoing) -> bool,
    ) -> Vec<MessageId> {
        let mut failed = Vec::new();
        self.queue.retain_mut(|message| {
            let fails = is_failed(message);
            if fails {
                self.bytes -= message.bytes;
                failed.push(message.id);
            }
            !fails
        });
        for id in &failed {
            self.record(*id, DeliveryStatus::Failed(reason.clone()));
        }
        failed
    }

    /// Makes the delivery of a sent message unknown. Returns `false` if it was not sent.
    pub(crate) fn mark_unknown(&mut self, id: MessageId) -> bool {
        let message = self.sent(id);
        message.map(|message| message.step = Step::Unresolved).is_some()
    }

    /// Makes the delivery of all sent messages unknown. Those that certainly did not arrive wait.
    pub(crate) fn mark_sent_unknown(&mut self) {
        for message in self.queue.iter_mut().filter(|message| message.is_sent()) {
            message.step = match message.after {
                Some(_) => Step::Unresolved,
                None => Step::Waiting,
            };
        }
    }

    /// Makes the delivery of all messages unknown that were sent, also of those that wait to be sent again.
    pub(crate) fn mark_resent_unknown(&mut self) {
        for message in self.queue.iter_mut().filter(|message| message.after.is_some()) {
            message.step = Step::Unresolved;
        }
    }

    /// Makes the delivery of sent messages unknown that were not acknowledged for long. Returns whether there are any.
    pub(crate) fn mark_overdue_unknown(&mut self, pings: u64) -> bool {
        let mut any = false;
        for message in &mut self.queue {
            if matches!(message.step, Step::Sent(at) if pings.saturating_sub(at) > OVERDUE_PINGS) {
                message.step = Step::Unresolved;
                any = true;
            }
        }
        any
    }

    /// Corrects messages that were sent before a time of the service was known: they were sent after `bound`.
    pub(crate) fn raise_lower_bound(&mut self, bound: OffsetDateTime) {
        let queue = self.queue.iter_mut().map(|message| &mut message.after);
        let unknown = self.unknown.iter_mut().map(|message| &mut message.after);
        for after in queue.chain(unknown).flatten() {
            *after = bound.max(*after);
        }
    }

    fn unresolved(&self) -> impl Iterator<Item = &Outgoing> {
        self.queue.iter().filter(|it| it.step == Step::Unresolved)
    }

    /// Newest time of the service when the first unresolved message was sent.
    pub(crate) fn unresolved_since(&self) -> Option<OffsetDateTime> {
        self.unresolved().filter_map(|message| message.after).min()
    }

    pub(crate) fn has_unresolved(&self) -> bool {
        self.unresolved().next().is_some()
    }

    /// Gives up on the unresolved messages and returns their ids. The latest are remembered, for a late
    /// acknowledgement.
    pub(crate) fn give_up_unresolved(&mut self) -> Vec<MessageId> {
        let mut ids = Vec::new();
        self.queue.retain(|message| {
            let is_kept = message.step != Step::Unresolved;
            if !is_kept {
                self.bytes -= message.bytes;
                ids.push(message.id);
                self.unknown.push_back(Unknown {
                    id: message.id,
                    fingerprint: message.fingerprint,
                    after: message.after,
                });
            }
            is_kept
        });
        let surplus = self.unknown.len().saturating_sub(COUNT_LIMIT);
        self.unknown.drain(..surplus);
        ids
    }

    /// The message of unknown delivery that an entry of the history is, whose time is no later than `latest`: the
    /// oldest unresolved one, or the oldest given up, whichever was sent later. None is the given up one of a text while
    /// the echo of an equal message is awaited, whose entry it can be.
    pub(crate) fn match_unresolved(&self, fingerprint: u64, latest: OffsetDateTime) -> Option<MessageId> {
        let fits = |known: u64, after: Option<OffsetDateTime>| {
            known == fingerprint && after.is_some_and(|after| after <= latest)
        };
        let unresolved = self.unresolved().find(|it| fits(it.fingerprint, it.after));
        let mut sent = self.queue.iter().filter(|message| message.is_sent());
        let is_awaited = sent.any(|message| message.fingerprint == fingerprint);
        let mut unknown = self.unknown.iter().filter(|_| !is_awaited);
        let unknown = unknown.find(|it| fits(it.fingerprint, it.after));
        let unresolved = unresolved.map(|message| (message.after, message.id));
        let unknown = unknown.map(|message| (message.after, message.id));
        let found = unknown.into_iter().chain(unresolved);
        found.max_by_key(|(after, _)| *after).map(|(_, id)| id)
    }

    /// Whether a message of the queue was sent that an entry of the history can be.
    pub(crate) fn was_sent(&self, fingerprint: u64) -> bool {
        let mut queue = self.queue.iter().filter(|it| it.after.is_some() || it.resent);
        queue.any(|message| message.fingerprint == fingerprint)
    }

    /// The unresolved messages certainly did not arrive: they are sent again in their position, if anything may be
    /// sent. Returns the messages that failed, since they were sent twice already.
    pub(crate) fn resolve_absent(&mut self, may_send: bool) -> Vec<MessageId> {
        self.fail_where(&FailureReason::NotDelivered, |message| {
            if message.step != Step::Unresolved {
                return false;
            }
            let fails = message.resent || !may_send;
            if !fails {
                message.resent = true;
                message.after = None;
                message.step = Step::Waiting;
            }
            fails
        })
    }
}

/// A hash of a message's text, without white space around it, or of its attachment ids if the text is empty.
pub(crate) fn fingerprint<'a>(text: &str, attachments: impl Iterator<Item = &'a OwnedText>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.trim().hash(&mut hasher);
    if text.trim().is_empty() {
        attachments.for_each(|id| id.hash(&mut hasher));
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
