//! A bounded buffer of numbered frames, for delivery to slow sockets and for replay after a reconnect.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use guest_conversation::MessageId;
use ws_transport::server::Payload;

/// Most bytes of a session, as long as the budget of all sessions is not exceeded.
const BYTES: usize = 256 * 1024;
/// Most bytes of a session otherwise.
const LEAST_BYTES: usize = 8 * 1024;
/// Bytes of all sessions beyond which each may keep only the least.
const TOTAL_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of an entry beside its frame.
const ENTRY_BYTES: usize = 128;

/// The bytes that all replay buffers of a process hold. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ReplayBudget(Arc<AtomicUsize>);

/// A replay buffer. It numbers frames from 1 on and keeps the latest.
#[derive(Debug)]
pub(super) struct Replay {
    /// The number of the last frame, or 0 before the first.
    pub(super) last: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    budget: ReplayBudget,
}

/// The subject of a frame.
#[derive(Debug)]
pub(super) enum Subject {
    /// The guest's message that it acknowledges.
    Accepted(MessageId),
    /// The message to the guest with this id.
    Message(String),
    Other,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    frame: Payload,
    subject: Subject,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.frame.len() + ENTRY_BYTES
    }

    fn message(&self) -> Option<&str> {
        match &self.subject {
            Subject::Message(id) => Some(id),
            _ => None,
        }
    }
}

impl Replay {
    pub(super) fn new(budget: ReplayBudget) -> Self {
        Self {
            last: 0,
            entries: VecDeque::new(),
            bytes: 0,
            budget,
        }
    }

    /// Assigns the next number and keeps the frame that `render` builds with it. The oldest frames are dropped at the
    /// limit, but none after the number `needed`.
    pub(super) fn push(
        &mut self,
        subject: Subject,
        needed: Option<u64>,
        render: impl FnOnce(u64) -> String,
    ) -> Payload {
        self.last += 1;
        let frame: Payload = render(self.last).into();
        let entry = Entry {
            number: self.last,
            frame: frame.clone(),
            subject,
        };
        self.bytes += entry.bytes();
        self.budget.0.fetch_add(entry.bytes(), Ordering::Relaxed);
        self.entries.push_back(entry);
        let is_needed = |number| needed.is_some_and(|needed| number > needed);
        while self.is_full() && !is_needed(self.first()) {
            let dropped = self.entries.pop_front().map_or(0, |dropped| dropped.bytes());
            self.bytes -= dropped;
            self.budget.0.fetch_sub(dropped, Ordering::Relaxed);
        }
        frame
    }

    /// Whether it holds more than its limit.
    pub(super) fn is_full(&self) -> bool {
        let exceeded = self.budget.0.load(Ordering::Relaxed) > TOTAL_BYTES;
        self.bytes > if exceeded { LEAST_BYTES } else { BYTES }
    }

    /// The number of the first frame that it keeps, or of the next one.
    pub(super) fn first(&self) -> u64 {
        self.entries.front().map_or(self.last + 1, |entry| entry.number)
    }

    /// The first frame after a number, with its own number.
    pub(super) fn after(&self, number: u64) -> Option<(u64, &Payload)> {
        let skipped = number.saturating_add(1).saturating_sub(self.first());
        let entry = self.entries.get(usize::try_from(skipped).ok()?)?;
        Some((entry.number, &entry.frame))
    }

    /// The frame that acknowledges a message, if it is in the buffer.
    pub(super) fn accepted(&self, id: MessageId) -> Option<&Payload> {
        let mut entries = self.entries.iter().rev();
        let entry =
            entries.find(|entry| matches!(entry.subject, Subject::Accepted(accepted) if accepted == id))?;
        Some(&entry.frame)
    }

    /// Whether it keeps the message with this id.
    pub(super) fn has_message(&self, id: &str) -> bool {
        self.entries.iter().any(|entry| entry.message() == Some(id))
    }

    /// Id of the first message that it keeps.
    pub(super) fn first_message(&self) -> Option<&str> {
        self.entries.iter().find_map(Entry::message)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay() -> Replay {
        Replay::new(ReplayBudget::default())
    }

    fn push(replay: &mut Replay, needed: Option<u64>, text: &str) {
        replay.push(Subject::Other, needed, |number| format!("{number} {text}"));
    }

    /// The numbers after this one.
    fn after(replay: &Replay, mut number: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some((next, frame)) = replay.after(number) {
            assert!(frame.starts_with(&format!("{next} ")), "{}", &**frame);
            numbers.push(next);
            number = next;
        }
        numbers
    }

    #[test]
    fn replay_returns_the_frames_after_a_number() {
        let mut replay = replay();
        assert_eq!((after(&replay, 0), replay.first()), (vec![], 1));
        for _ in 0..3 {
            push(&mut replay, None, "");
        }
        assert_eq!(
            (after(&replay, 0), after(&replay, 1)),
            (vec![1, 2, 3], vec![2, 3])
        );
        assert_eq!((after(&replay, 3), after(&replay, u64::MAX)), (vec![], vec![]));
    }

    #[test]
    fn replay_drops_the_oldest_frames_at_its_limit_unless_they_are_needed() {
        let mut replay = replay();
        let text = "x".repeat(BYTES / 4);
        for _ in 0..5 {
            push(&mut replay, None, &text);
        }
        assert_eq!((replay.first(), replay.is_full()), (3, false));
        assert_eq!(after(&replay, 0), [3, 4, 5]);
        push(&mut replay, Some(3), &text);
        push(&mut replay, Some(3), &text);
        assert_eq!((replay.first(), replay.is_full()), (4, true));
        push(&mut replay, Some(7), "");
        assert_eq!((replay.first(), replay.is_full()), (5, false));
        push(&mut replay, None, &"x".repeat(BYTES + 1));
        assert_eq!((after(&replay, 0), replay.bytes), (vec![], 0));
    }

    #[test]
    fn replay_keeps_little_when_all_sessions_together_hold_much() {
        let budget = ReplayBudget::default();
        let mut replay = Replay::new(budget.clone());
        for _ in 0..4 {
            push(&mut replay, None, &"x".repeat(LEAST_BYTES / 2));
        }
        assert_eq!(replay.first(), 1);
        budget.0.fetch_add(TOTAL_BYTES, Ordering::Relaxed);
        push(&mut replay, None, "");
        assert_eq!(after(&replay, 0), [4, 5]);
        drop(replay);
        assert_eq!(budget.0.load(Ordering::Relaxed), TOTAL_BYTES);
    }
}
