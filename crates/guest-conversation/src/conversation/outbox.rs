//! Messages on their way: waiting, sent, or in doubt, within the limits of the service.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use genesys_api::Now;
use time::OffsetDateTime;

use super::attachments::CarryError;
use super::delivery::{Delivery, Fates};
use super::event::FailureReason;
use super::pacing::Pacing;
use crate::{MessageId, Said, TEXT_LIMIT};
use genesys_api::wire::Text;

/// Most messages that wait or are not yet acknowledged.
pub(super) const COUNT_LIMIT: usize = 256;
/// Most bytes of their text.
pub(super) const BYTE_LIMIT: usize = 256 * 1024;
/// Most bytes of one message, with its choices and answers: a frame of it fits any limit that is believed to be one. Our
/// choice.
const MESSAGE_LIMIT: usize = 16 * 1024;

/// A message was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// An attachment cannot go with it.
    #[error(transparent)]
    Attachment(#[from] CarryError),
    /// What should name an attachment cannot.
    #[error(
        "an attachment of the message has no id that could be one: take it from where the file was attached"
    )]
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
        /// Messages that wait or are not yet acknowledged.
        count: usize,
        /// Bytes of their text.
        bytes: usize,
    },
    /// The contract has text only.
    #[error("this contract has text only: say it in words, or speak web-messaging")]
    NotOffered,
    /// The conversation is read-only.
    #[error("the conversation is read-only: start a new one")]
    ReadOnly,
    /// The whole of it, with what the service gets beside the words, is too large.
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

#[derive(Debug)]
pub(super) struct Outbox {
    waiting: VecDeque<Outgoing>,
    sent: VecDeque<Outgoing>,
    /// In doubt, and still to be decided by the history.
    undecided: VecDeque<Outgoing>,
    /// In doubt, and the application was told so.
    told: VecDeque<Doubted>,
    fates: Fates,
    bytes: usize,
    taken: u64,
    pub(super) pacing: Pacing,
}

struct Outgoing {
    id: MessageId,
    said: Box<Said>,
    text: Fingerprint,
    bytes: usize,
    /// Place in the order of sending, kept when it is sent again.
    order: u64,
    /// Pings that the socket had seen when it was sent.
    pings: u64,
    /// Since it was sent for the first time: what the service's clock had shown until then.
    after: Option<OffsetDateTime>,
    /// The history did not have it, and it was sent once more.
    again: bool,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.id, self.bytes)
    }
}

#[derive(Debug)]
struct Doubted {
    id: MessageId,
    text: Fingerprint,
    after: Option<OffsetDateTime>,
}

impl Outbox {
    /// Pings without an echo after which a message is in doubt: about a minute. Our choice. Pings and not time, so
    /// that a moved clock doubts nothing.
    const PATIENCE: u64 = 4;

    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            undecided: VecDeque::new(),
            told: VecDeque::new(),
            fates: Fates::default(),
            bytes: 0,
            taken: 0,
            pacing: Pacing::new(),
        }
    }

    pub(super) fn push(&mut self, id: MessageId, said: Said) -> Result<(), SendError> {
        if said.is_empty() {
            return Err(SendError::Empty);
        }
        let (words, bytes) = (said.words(), said.bytes());
        if words.len() > TEXT_LIMIT {
            return Err(SendError::TooLong { bytes: words.len() });
        }
        if bytes > MESSAGE_LIMIT {
            return Err(SendError::TooLarge { bytes });
        }
        let count = self.waiting.len() + self.sent.len() + self.undecided.len();
        if count >= COUNT_LIMIT || self.bytes + bytes > BYTE_LIMIT {
            return Err(SendError::Full {
                count,
                bytes: self.bytes,
            });
        }
        self.bytes += bytes;
        self.taken += 1;
        self.waiting.push_back(Outgoing {
            id,
            text: Fingerprint::of(&words, said.attachments().iter()),
            said: Box::new(said),
            bytes,
            order: self.taken,
            pings: 0,
            after: None,
            again: false,
        });
        Ok(())
    }

    /// Where a message stands, if it is known.
    pub(super) fn delivery(&self, id: MessageId) -> Option<Delivery> {
        let is_in = |queue: &VecDeque<Outgoing>| queue.iter().any(|message| message.id == id);
        if is_in(&self.waiting) {
            Some(Delivery::Queued)
        } else if is_in(&self.sent) {
            Some(Delivery::Sending)
        } else if is_in(&self.undecided) || self.told.iter().any(|doubted| doubted.id == id) {
            Some(Delivery::InDoubt)
        } else {
            self.fates.of(id)
        }
    }

    /// The next message to send, if the limits let it pass; it counts as sent.
    ///
    /// # Errors
    /// When to ask again, if a limit holds it back.
    pub(super) fn next(
        &mut self,
        now: Now,
        pings: u64,
        heard_until: OffsetDateTime,
    ) -> Result<Option<(MessageId, &Said)>, Instant> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        self.pacing.message(now.instant)?;
        let Some(mut message) = self.waiting.pop_front() else {
            return Ok(None);
        };
        message.pings = pings;
        message.after.get_or_insert(heard_until);
        self.sent.push_back(message);
        Ok(self.sent.back().map(|message| (message.id, &*message.said)))
    }

    /// Takes a message out, wherever it is, because its fate is known; `false` if it is not here.
    pub(super) fn settle(&mut self, id: MessageId, failure: Option<&FailureReason>) -> bool {
        let taken = [&mut self.sent, &mut self.waiting, &mut self.undecided]
            .into_iter()
            .find_map(|queue| {
                let at = queue.iter().position(|message| message.id == id)?;
                queue.remove(at)
            });
        let known = if let Some(message) = taken {
            self.bytes -= message.bytes;
            true
        } else {
            let told = self.told.iter().position(|doubted| doubted.id == id);
            told.is_some_and(|at| self.told.remove(at).is_some())
        };
        if known {
            self.fates.note(id, failure);
        }
        known
    }

    /// Puts a message back that was refused for now, in its place among the waiting; `false` if it was not sent.
    pub(super) fn requeue(&mut self, id: MessageId) -> bool {
        let Some(at) = self.sent.iter().position(|message| message.id == id) else {
            return false;
        };
        if let Some(mut message) = self.sent.remove(at) {
            message.after = None;
            self.waiting.push_back(message);
        }
        self.in_order();
        true
    }

    /// Puts all sent messages back.
    pub(super) fn requeue_all(&mut self) {
        self.waiting.append(&mut self.sent);
        self.in_order();
    }

    /// The one message that is not yet acknowledged, if there is exactly one.
    pub(super) fn only_sent(&self) -> Option<MessageId> {
        match (self.sent.front(), self.sent.len()) {
            (Some(message), 1) => Some(message.id),
            _ => None,
        }
    }

    /// Nothing waits and nothing is unacknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Gives up the waiting messages, which were certainly not delivered.
    pub(super) fn give_up_waiting(&mut self, reason: &FailureReason) -> Vec<MessageId> {
        // what waits for its second sending may have arrived the first time
        let (again, given_up) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|message| message.after.is_some());
        self.undecided.extend(again);
        self.bytes -= given_up.iter().map(|message| message.bytes).sum::<usize>();
        let given_up: Vec<_> = given_up.into_iter().map(|message| message.id).collect();
        for id in &given_up {
            self.fates.note(*id, Some(reason));
        }
        given_up
    }

    /// Doubts a message; `false` if it was not sent.
    pub(super) fn doubt(&mut self, id: MessageId) -> bool {
        let at = self.sent.iter().position(|message| message.id == id);
        let doubted = at.and_then(|at| self.sent.remove(at));
        let known = doubted.is_some();
        self.undecided.extend(doubted);
        known
    }

    /// Doubts all sent messages.
    pub(super) fn doubt_sent(&mut self) {
        self.undecided.append(&mut self.sent);
    }

    /// Doubts the sent messages that were not acknowledged for long; whether there are any.
    pub(super) fn doubt_overdue(&mut self, pings: u64) -> bool {
        let (overdue, kept) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition::<VecDeque<_>, _>(|message| pings.saturating_sub(message.pings) > Self::PATIENCE);
        self.sent = kept;
        let any = !overdue.is_empty();
        self.undecided.extend(overdue);
        any
    }

    /// What was sent before the service had shown its clock was sent after this.
    pub(super) fn handle_floor(&mut self, floor: OffsetDateTime) {
        let sent = [&mut self.waiting, &mut self.sent, &mut self.undecided];
        let sent = sent.into_iter().flatten().map(|message| &mut message.after);
        let told = self.told.iter_mut().map(|doubted| &mut doubted.after);
        for after in sent.chain(told).flatten() {
            *after = floor.max(*after);
        }
    }

    /// What the service's clock had shown when the first of the messages that are to be decided was sent.
    pub(super) fn undecided_since(&self) -> Option<OffsetDateTime> {
        self.undecided.iter().filter_map(|message| message.after).min()
    }

    /// Whether something is to be decided.
    pub(super) fn is_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Gives up deciding. The latest ids are remembered, should an echo come after all.
    pub(super) fn tell_doubts(&mut self) -> Vec<MessageId> {
        self.bytes -= self.undecided.iter().map(|message| message.bytes).sum::<usize>();
        let doubted = std::mem::take(&mut self.undecided)
            .into_iter()
            .map(|message| Doubted {
                id: message.id,
                text: message.text,
                after: message.after,
            });
        let already = self.told.len();
        self.told.extend(doubted);
        let ids = self.told.iter().skip(already).map(|doubted| doubted.id).collect();
        let surplus = self.told.len().saturating_sub(COUNT_LIMIT);
        self.told.drain(..surplus);
        ids
    }

    /// The doubted message that is this text of the history, whose time is no later than `latest`: the oldest that is
    /// to be decided, or the oldest that was told, whichever was sent later.
    pub(super) fn claim(&self, text: Fingerprint, latest: OffsetDateTime) -> Option<MessageId> {
        let fits = |known, after: Option<OffsetDateTime>| {
            known == text && after.is_some_and(|after| after <= latest)
        };
        let undecided = self
            .undecided
            .iter()
            .find(|message| fits(message.text, message.after));
        let told = self.told.iter().find(|doubted| fits(doubted.text, doubted.after));
        let undecided = undecided.map(|message| (message.after, message.id));
        let told = told.map(|doubted| (doubted.after, doubted.id));
        told.into_iter()
            .chain(undecided)
            .max_by_key(|(after, _)| *after)
            .map(|(_, id)| id)
    }

    /// What is undecided is surely absent: it is sent once more, in its place, if anything may be sent. What was sent
    /// twice already has failed.
    pub(super) fn settle_absent(&mut self, may_send: bool) -> Vec<MessageId> {
        let mut failed = Vec::new();
        for mut message in std::mem::take(&mut self.undecided) {
            if message.again || !may_send {
                self.bytes -= message.bytes;
                self.fates.note(message.id, Some(&FailureReason::NotDelivered));
                failed.push(message.id);
            } else {
                message.again = true;
                message.after = None;
                self.waiting.push_back(message);
            }
        }
        self.in_order();
        failed
    }

    fn in_order(&mut self) {
        self.waiting
            .make_contiguous()
            .sort_by_key(|message| message.order);
    }
}

/// What was said, recognised without being kept: by its words, or if it has none by its attachments. White space around
/// it does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of<'a>(words: &str, attachments: impl Iterator<Item = &'a Text<'static>>) -> Self {
        let mut hasher = DefaultHasher::new();
        words.trim().hash(&mut hasher);
        if words.trim().is_empty() {
            attachments.for_each(|id| id.hash(&mut hasher));
        }
        Self(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> MessageId {
        uuid::Uuid::from_u128(n).into()
    }

    fn epoch() -> Now {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let instant = Instant::now();
        Now {
            instant,
            utc: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes() {
        let mut outbox = Outbox::new();
        for n in 0..COUNT_LIMIT {
            outbox.push(id(n as u128), Said::text("x")).unwrap();
        }
        assert_eq!(
            outbox.push(id(999), Said::text("x")),
            Err(SendError::Full {
                count: 256,
                bytes: 256
            })
        );
        assert!(outbox.settle(id(0), None));
        assert_eq!(outbox.push(id(999), Said::text("x")), Ok(()));

        let mut outbox = Outbox::new();
        for n in 0..64 {
            outbox.push(id(n), Said::text("é".repeat(2048))).unwrap();
        }
        assert_eq!(
            outbox.push(id(999), Said::text("x")),
            Err(SendError::Full {
                count: 64,
                bytes: BYTE_LIMIT
            })
        );
        outbox.give_up_waiting(&FailureReason::Ended);
        assert_eq!(outbox.bytes, 0);
        assert_eq!(outbox.push(id(1), Said::text("")), Err(SendError::Empty));
        assert_eq!(
            outbox.push(id(1), Said::text("x".repeat(4097))),
            Err(SendError::TooLong { bytes: 4097 })
        );
    }

    #[test]
    fn what_is_sent_again_keeps_its_place() {
        let now = epoch();
        let mut outbox = Outbox::new();
        for n in 1..=4 {
            outbox.push(id(n), Said::text("x")).unwrap();
        }
        for _ in 1..=3 {
            outbox.next(now, 0, now.utc).unwrap();
        }
        assert!(outbox.requeue(id(2)));
        assert!(outbox.requeue(id(1)));
        assert!(!outbox.requeue(id(4)), "it was never sent");
        let order: Vec<_> = outbox.waiting.iter().map(|message| message.id).collect();
        assert_eq!(order, [id(1), id(2), id(4)]);
        assert_eq!(outbox.only_sent(), Some(id(3)));
    }

    #[test]
    fn a_doubted_message_can_still_be_settled_once() {
        let mut outbox = Outbox::new();
        outbox.push(id(1), Said::text("x")).unwrap();
        outbox.next(epoch(), 3, epoch().utc).unwrap();
        assert!(!outbox.doubt_overdue(7));
        assert!(outbox.doubt_overdue(8));
        assert_eq!(outbox.tell_doubts(), [id(1)]);
        assert!(outbox.is_idle());
        assert_eq!(outbox.delivery(id(1)), Some(Delivery::InDoubt));
        assert!(outbox.settle(id(1), None));
        assert!(!outbox.settle(id(1), None));
        assert_eq!(outbox.delivery(id(1)), Some(Delivery::Delivered));
    }
}
