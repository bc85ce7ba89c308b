//! A bounded buffer of numbered frames, for delivery to slow sockets and for replay after a reconnect.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use genesys_api::LogLimit;
use guest_conversation::MessageId;
use ws_transport::server::Payload;

/// Most bytes of a session, as long as all sessions together hold at most [`SHARED_BYTES`].
pub(super) const BYTES: usize = 256 * 1024;
/// Least bytes that a session may keep.
const LEAST_BYTES: usize = 8 * 1024;
/// Bytes of all sessions beyond which each may keep its share: as many again, divided by the sessions.
const SHARED_BYTES: usize = TOTAL_BYTES / 2;
/// Bytes of all sessions beyond which each may keep only the least.
const TOTAL_BYTES: usize = 256 * 1024 * 1024;
/// Shortest time between two warnings that the sessions together hold too much.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of an entry beside its frame.
const ENTRY_BYTES: usize = 128;

/// The bytes that all replay buffers of a process hold. Clones share them.
#[derive(Clone, Debug)]
pub struct ReplayBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: AtomicUsize,
    sessions: AtomicUsize,
    warnings: LogLimit,
}

impl Default for ReplayBudget {
    fn default() -> Self {
        Self(Arc::new(Shared {
            bytes: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            warnings: LogLimit::new(WARNING_INTERVAL),
        }))
    }
}

impl ReplayBudget {
    fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// Most bytes that each session may keep now.
    fn limit(&self) -> usize {
        let bytes = self.bytes();
        if bytes <= SHARED_BYTES {
            BYTES
        } else if bytes <= TOTAL_BYTES {
            (SHARED_BYTES / self.sessions().max(1)).clamp(LEAST_BYTES, BYTES)
        } else {
            LEAST_BYTES
        }
    }

    /// Warns if sessions are limited to their share, at most once in a [`WARNING_INTERVAL`]. Returns whether it did.
    pub(super) fn warn(&self, now: Instant) -> bool {
        let limit = self.limit();
        if limit == BYTES {
            return false;
        }
        if self.0.warnings.admit(now).is_none() {
            return false;
        }
        let (bytes, sessions) = (self.bytes(), self.sessions());
        tracing::warn!(
            bytes,
            sessions,
            limit,
            "replay buffers are short: pages that reconnect may have to read the history, lower sessions.limit"
        );
        true
    }
}

/// A replay buffer. It numbers frames from 1 on and keeps the latest.
#[derive(Debug)]
pub(super) struct Replay {
    /// The number of the last frame, or 0 before the first.
    pub(super) last: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    pub(super) budget: ReplayBudget,
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
        budget.0.sessions.fetch_add(1, Ordering::Relaxed);
        Self {
            last: 0,
            entries: VecDeque::new(),
            bytes: 0,
            budget,
        }
    }

    /// Assigns the next number and keeps the frame that `render` builds with it. The oldest frames are dropped at the
    /// limit, but none after the number `needed`.
    pub(super) fn push(&mut self, subject: Subject, needed: Option<u64>, render: impl FnOnce(u64) -> String) {
        self.last += 1;
        let entry = Entry {
            number: self.last,
            frame: render(self.last).into(),
            subject,
        };
        self.bytes += entry.bytes();
        self.budget.0.bytes.fetch_add(entry.bytes(), Ordering::Relaxed);
        self.entries.push_back(entry);
        let is_needed = |number| needed.is_some_and(|needed| number > needed);
        while self.is_full() && !is_needed(self.first()) {
            let dropped = self.entries.pop_front().map_or(0, |dropped| dropped.bytes());
            self.bytes -= dropped;
            self.budget.0.bytes.fetch_sub(dropped, Ordering::Relaxed);
        }
    }

    /// Whether it holds more than its limit.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.budget.limit()
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
        self.budget.0.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.0.sessions.fetch_sub(1, Ordering::Relaxed);
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
        budget.0.bytes.fetch_add(TOTAL_BYTES, Ordering::Relaxed);
        push(&mut replay, None, "");
        assert_eq!(after(&replay, 0), [4, 5]);
        drop(replay);
        assert_eq!((budget.bytes(), budget.sessions()), (TOTAL_BYTES, 0));
    }

    #[test]
    fn session_above_its_share_shrinks_and_the_others_keep_theirs() {
        let budget = ReplayBudget::default();
        let mut replays: Vec<Replay> = (0..2048).map(|_| Replay::new(budget.clone())).collect();
        let share = SHARED_BYTES / replays.len();
        let text = "x".repeat(share / 4);
        let [large, small, ..] = &mut replays[..] else {
            unreachable!("there are 2048");
        };
        for _ in 0..6 {
            push(large, None, &text);
        }
        for _ in 0..2 {
            push(small, None, &text);
        }
        let start = genesys_api::Clock::system().now().instant;
        assert!(!budget.warn(start));
        // held by sessions without events
        budget.0.bytes.fetch_add(SHARED_BYTES, Ordering::Relaxed);
        push(large, None, &text);
        push(small, None, &text);
        assert!(large.bytes <= share && large.bytes > share / 2, "{}", large.bytes);
        assert_eq!(after(small, 0), [1, 2, 3]);
        assert!(budget.warn(start));
        assert!(!budget.warn(start + WARNING_INTERVAL / 2));
        assert!(budget.warn(start + WARNING_INTERVAL));
    }
}
