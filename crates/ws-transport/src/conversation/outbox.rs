//! Messages on their way: waiting, sent, or in doubt, within the limits of the service.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::SlidingWindow;

use crate::{MessageId, TEXT_LIMIT};

/// Most messages that wait or are not yet acknowledged.
pub(super) const COUNT_LIMIT: usize = 256;
/// Most bytes of their text.
pub(super) const BYTE_LIMIT: usize = 256 * 1024;

/// Added to the period of each limit, since frames that leave evenly do not arrive evenly. Our choice.
const SLACK: Duration = Duration::from_millis(100);

/// A message was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
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
    /// The conversation is read-only.
    #[error("the conversation is read-only: start a new one")]
    ReadOnly,
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
    doubtful: VecDeque<MessageId>,
    bytes: usize,
    taken: u64,
    messages: SlidingWindow,
    requests: SlidingWindow,
}

struct Outgoing {
    id: MessageId,
    text: Box<str>,
    /// Place in the order of sending, kept when it is sent again.
    order: u64,
    /// Pings that the socket had seen when it was sent.
    pings: u64,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.id, self.text.len())
    }
}

impl Outbox {
    /// Pings without an echo after which a message is in doubt: about a minute. Our choice. Pings and not time, so
    /// that a moved clock doubts nothing.
    const PATIENCE: u64 = 4;

    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            doubtful: VecDeque::new(),
            bytes: 0,
            taken: 0,
            // Genesys: messages.per.session.rate.per.second
            messages: SlidingWindow::new(5, Duration::from_secs(1) + SLACK),
            requests: Self::requests_of_a_connection(),
        }
    }

    fn requests_of_a_connection() -> SlidingWindow {
        // Genesys: requests.per.connection.rate.per.minute
        SlidingWindow::new(60, Duration::from_secs(60) + SLACK)
    }

    pub(super) fn push(&mut self, id: MessageId, text: &str) -> Result<(), SendError> {
        if text.is_empty() {
            return Err(SendError::Empty);
        }
        if text.len() > TEXT_LIMIT {
            return Err(SendError::TooLong { bytes: text.len() });
        }
        let count = self.waiting.len() + self.sent.len();
        if count >= COUNT_LIMIT || self.bytes + text.len() > BYTE_LIMIT {
            return Err(SendError::Full {
                count,
                bytes: self.bytes,
            });
        }
        self.bytes += text.len();
        self.taken += 1;
        self.waiting.push_back(Outgoing {
            id,
            text: text.into(),
            order: self.taken,
            pings: 0,
        });
        Ok(())
    }

    /// The next message to send, if the limits let it pass; it counts as sent.
    ///
    /// # Errors
    /// When to ask again, if a limit holds it back.
    pub(super) fn next(&mut self, now: Instant, pings: u64) -> Result<Option<(MessageId, &str)>, Instant> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        self.requests.check(now)?;
        self.messages.try_acquire(now)?;
        self.requests.try_acquire(now)?;
        let Some(mut message) = self.waiting.pop_front() else {
            return Ok(None);
        };
        message.pings = pings;
        self.sent.push_back(message);
        Ok(self.sent.back().map(|message| (message.id, &*message.text)))
    }

    /// Counts a request that is no message; `false` if it would exceed the limit.
    pub(super) fn count_request(&mut self, now: Instant) -> bool {
        self.requests.try_acquire(now).is_ok()
    }

    /// A new connection has a new limit of requests; the limit of messages is the session's.
    pub(super) fn handle_connected(&mut self) {
        self.requests = Self::requests_of_a_connection();
    }

    /// The service asks for patience.
    pub(super) fn pause_until(&mut self, until: Instant) {
        self.messages.pause_until(until);
        self.requests.pause_until(until);
    }

    /// Takes a message out, wherever it is, because its fate is known; `false` if it is not here.
    pub(super) fn settle(&mut self, id: MessageId) -> bool {
        for queue in [&mut self.sent, &mut self.waiting] {
            if let Some(at) = queue.iter().position(|message| message.id == id) {
                let message = queue.remove(at);
                self.bytes -= message.map_or(0, |message| message.text.len());
                return true;
            }
        }
        let doubted = self.doubtful.iter().position(|known| *known == id);
        doubted.is_some_and(|at| self.doubtful.remove(at).is_some())
    }

    /// Puts a sent message back in its place among the waiting; `false` if it was not sent.
    pub(super) fn requeue(&mut self, id: MessageId) -> bool {
        let Some(at) = self.sent.iter().position(|message| message.id == id) else {
            return false;
        };
        self.waiting.extend(self.sent.remove(at));
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
    pub(super) fn give_up_waiting(&mut self) -> Vec<MessageId> {
        let given_up = std::mem::take(&mut self.waiting);
        self.bytes -= given_up.iter().map(|message| message.text.len()).sum::<usize>();
        given_up.into_iter().map(|message| message.id).collect()
    }

    /// Doubts all sent messages.
    pub(super) fn doubt_sent(&mut self) -> Vec<MessageId> {
        self.doubt(|_| true)
    }

    /// Doubts the sent messages that were not acknowledged for long.
    pub(super) fn doubt_overdue(&mut self, pings: u64) -> Vec<MessageId> {
        self.doubt(|message| pings.saturating_sub(message.pings) > Self::PATIENCE)
    }

    /// Moves what is doubted out of the queue. The latest ids are remembered, should an echo come after all.
    fn doubt(&mut self, which: impl Fn(&Outgoing) -> bool) -> Vec<MessageId> {
        let (doubted, kept) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition::<VecDeque<_>, _>(which);
        self.sent = kept;
        self.bytes -= doubted.iter().map(|message| message.text.len()).sum::<usize>();
        let ids: Vec<_> = doubted.into_iter().map(|message| message.id).collect();
        self.doubtful.extend(&ids);
        let surplus = self.doubtful.len().saturating_sub(COUNT_LIMIT);
        self.doubtful.drain(..surplus);
        ids
    }

    fn in_order(&mut self) {
        self.waiting
            .make_contiguous()
            .sort_by_key(|message| message.order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> MessageId {
        uuid::Uuid::from_u128(n).into()
    }

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes() {
        let mut outbox = Outbox::new();
        for n in 0..COUNT_LIMIT {
            outbox.push(id(n as u128), "x").unwrap();
        }
        assert_eq!(
            outbox.push(id(999), "x"),
            Err(SendError::Full {
                count: 256,
                bytes: 256
            })
        );
        assert!(outbox.settle(id(0)));
        assert_eq!(outbox.push(id(999), "x"), Ok(()));

        let mut outbox = Outbox::new();
        for n in 0..64 {
            outbox.push(id(n), &"é".repeat(2048)).unwrap();
        }
        assert_eq!(
            outbox.push(id(999), "x"),
            Err(SendError::Full {
                count: 64,
                bytes: BYTE_LIMIT
            })
        );
        outbox.give_up_waiting();
        assert_eq!(outbox.bytes, 0);
        assert_eq!(outbox.push(id(1), ""), Err(SendError::Empty));
        assert_eq!(
            outbox.push(id(1), &"x".repeat(4097)),
            Err(SendError::TooLong { bytes: 4097 })
        );
    }

    #[test]
    fn what_is_sent_again_keeps_its_place() {
        let now = epoch();
        let mut outbox = Outbox::new();
        for n in 1..=4 {
            outbox.push(id(n), "x").unwrap();
        }
        for _ in 1..=3 {
            outbox.next(now, 0).unwrap();
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
        outbox.push(id(1), "x").unwrap();
        outbox.next(epoch(), 3).unwrap();
        assert_eq!(outbox.doubt_overdue(7), []);
        assert_eq!(outbox.doubt_overdue(8), [id(1)]);
        assert!(outbox.is_idle());
        assert!(outbox.settle(id(1)));
        assert!(!outbox.settle(id(1)));
    }
}
