//! A bounded buffer of numbered frames, for replay after a reconnect.

use std::collections::VecDeque;

use guest_conversation::MessageId;
use ws_transport::server::Payload;

/// Capacity in frames.
const FRAMES: usize = 256;
/// Capacity in bytes.
const BYTES: usize = 256 * 1024;

/// A replay buffer. It numbers frames from 1 on and keeps the latest.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The number of the last frame, or 0 before the first.
    pub(super) last: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number after which an unnumbered event was lost.
    gap: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    frame: Payload,
    /// The message that it acknowledges, if any.
    accepted: Option<MessageId>,
}

impl Replay {
    /// Creates an empty buffer whose numbers continue after `last`.
    pub(super) fn starting_after(last: u64) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// Records that events were lost after the last frame.
    pub(super) fn mark_gap(&mut self) {
        self.gap = Some(self.last);
    }

    /// Assigns the next number and keeps the frame that `render` builds with it. `accepted` is the message that the frame
    /// acknowledges.
    pub(super) fn push(
        &mut self,
        accepted: Option<MessageId>,
        render: impl FnOnce(u64) -> String,
    ) -> Payload {
        self.last += 1;
        let frame: Payload = render(self.last).into();
        self.bytes += frame.len();
        self.entries.push_back(Entry {
            number: self.last,
            frame: frame.clone(),
            accepted,
        });
        while self.entries.len() > FRAMES || self.bytes > BYTES {
            self.bytes -= self.entries.pop_front().map_or(0, |dropped| dropped.frame.len());
        }
        frame
    }

    /// Returns the frame that acknowledges a message, if it is in the buffer.
    pub(super) fn accepted(&self, id: MessageId) -> Option<Payload> {
        let entry = self
            .entries
            .iter()
            .rev()
            .find(|entry| entry.accepted == Some(id))?;
        Some(entry.frame.clone())
    }

    /// Returns the frames after number `after`, and whether events between are missing.
    pub(super) fn after(&self, after: u64) -> (bool, impl Iterator<Item = &Payload>) {
        let first = self.entries.front().map_or(self.last + 1, |entry| entry.number);
        let frames = self
            .entries
            .iter()
            .filter(move |entry| entry.number > after)
            .map(|entry| &entry.frame);
        let gap = self.gap.is_some_and(|gap| after <= gap) || after.saturating_add(1) < first;
        (gap, frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(replay: &Replay, number: u64) -> (bool, Vec<String>) {
        let (gap, frames) = replay.after(number);
        (gap, frames.map(|frame| frame.to_string()).collect())
    }

    #[test]
    fn replay_returns_the_frames_after_a_number() {
        let mut replay = Replay::default();
        assert_eq!(after(&replay, 0), (false, vec![]));
        for _ in 0..3 {
            replay.push(None, |number| number.to_string());
        }
        assert_eq!(after(&replay, 1), (false, vec!["2".to_owned(), "3".to_owned()]));
        assert_eq!(after(&replay, 3), (false, vec![]));
        assert_eq!(after(&replay, u64::MAX), (false, vec![]));
    }

    #[test]
    fn replay_reports_a_gap_after_a_restart() {
        let mut replay = Replay::starting_after(1_000);
        assert_eq!(after(&replay, 7), (true, vec![]));
        replay.push(None, |number| number.to_string());
        assert_eq!(after(&replay, 7), (true, vec!["1001".to_owned()]));
        assert_eq!(after(&replay, 1_000), (false, vec!["1001".to_owned()]));
    }

    #[test]
    fn replay_reports_a_marked_gap_to_subscribers_before_it() {
        let mut replay = Replay::default();
        replay.push(None, |number| number.to_string());
        replay.mark_gap();
        replay.push(None, |number| number.to_string());
        assert_eq!(after(&replay, 0), (true, vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(after(&replay, 1), (true, vec!["2".to_owned()]));
        assert_eq!(after(&replay, 2), (false, vec![]));
    }

    #[test]
    fn replay_is_bounded_by_frames_and_bytes_and_reports_the_gap() {
        let mut replay = Replay::default();
        for _ in 0..=FRAMES {
            replay.push(None, |number| number.to_string());
        }
        assert_eq!(replay.entries.len(), FRAMES);
        assert!(after(&replay, 0).0 && !after(&replay, 1).0);
        replay.push(None, |_| "x".repeat(BYTES));
        assert_eq!((replay.entries.len(), replay.bytes), (1, BYTES));
        replay.push(None, |_| "x".repeat(BYTES + 1));
        assert_eq!((replay.entries.len(), replay.bytes), (0, 0));
        assert!(after(&replay, 0).0);
    }
}
