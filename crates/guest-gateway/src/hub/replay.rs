//! The last numbered frames of a session, for a guest who comes back.

use std::collections::VecDeque;
use std::sync::Arc;

/// Frames kept at the most. Our choice.
const FRAMES: usize = 256;
/// Bytes kept at the most. Our choice.
const BYTES: usize = 256 * 1024;

/// Numbers frames from 1 on, and keeps the last of them, bounded by count and bytes.
#[derive(Debug, Default)]
pub(super) struct Replay {
    last: u64,
    kept: VecDeque<(u64, Arc<str>)>,
    bytes: usize,
    /// After this number something is missing that never had one.
    gap: Option<u64>,
}

impl Replay {
    /// Goes on after number `last`, of which nothing is kept.
    pub(super) fn after_number(last: u64) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// The number of the last frame; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Something happened now that cannot be told.
    pub(super) fn leave_gap(&mut self) {
        self.gap = Some(self.last);
    }

    /// Numbers and keeps the frame that `render` makes of its number.
    pub(super) fn push(&mut self, render: impl FnOnce(u64) -> String) -> Arc<str> {
        self.last += 1;
        let frame: Arc<str> = render(self.last).into();
        self.bytes += frame.len();
        self.kept.push_back((self.last, Arc::clone(&frame)));
        while self.kept.len() > FRAMES || self.bytes > BYTES {
            let Some((_, dropped)) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= dropped.len();
        }
        frame
    }

    /// The frames after number `after`, and whether something else was missed as well.
    pub(super) fn after(&self, after: u64) -> (bool, impl Iterator<Item = &Arc<str>>) {
        let first_kept = self.kept.front().map_or(self.last + 1, |(number, _)| *number);
        let frames = self
            .kept
            .iter()
            .filter(move |(number, _)| *number > after)
            .map(|(_, frame)| frame);
        let gap = self.gap.is_some_and(|gap| after <= gap) || after.saturating_add(1) < first_kept;
        (gap, frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(replay: &Replay, number: u64) -> (bool, Vec<String>) {
        let (gap, frames) = replay.after(number);
        (gap, frames.map(ToString::to_string).collect())
    }

    #[test]
    fn what_was_missed_is_told_again_once() {
        let mut replay = Replay::default();
        assert_eq!(after(&replay, 0), (false, vec![]));
        for _ in 0..3 {
            replay.push(|number| number.to_string());
        }
        assert_eq!(after(&replay, 1), (false, vec!["2".to_owned(), "3".to_owned()]));
        assert_eq!(after(&replay, 3), (false, vec![]));
        assert_eq!(after(&replay, u64::MAX), (false, vec![]));
    }

    #[test]
    fn a_restart_of_the_gateway_shows_as_a_gap() {
        let mut replay = Replay::after_number(1_000);
        assert_eq!(after(&replay, 7), (true, vec![]));
        replay.push(|number| number.to_string());
        assert_eq!(after(&replay, 7), (true, vec!["1001".to_owned()]));
        assert_eq!(after(&replay, 1_000), (false, vec!["1001".to_owned()]));
    }

    #[test]
    fn what_cannot_be_told_shows_as_a_gap_to_those_who_missed_it() {
        let mut replay = Replay::default();
        replay.push(|number| number.to_string());
        replay.leave_gap();
        replay.push(|number| number.to_string());
        assert_eq!(after(&replay, 0), (true, vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(after(&replay, 1), (true, vec!["2".to_owned()]));
        assert_eq!(after(&replay, 2), (false, vec![]));
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes_and_says_what_is_lost() {
        let mut replay = Replay::default();
        for _ in 0..=FRAMES {
            replay.push(|number| number.to_string());
        }
        assert_eq!(replay.kept.len(), FRAMES);
        assert!(after(&replay, 0).0 && !after(&replay, 1).0);
        replay.push(|_| "x".repeat(BYTES));
        assert_eq!((replay.kept.len(), replay.bytes), (1, BYTES));
        replay.push(|_| "x".repeat(BYTES + 1));
        assert_eq!((replay.kept.len(), replay.bytes), (0, 0));
        assert!(after(&replay, 0).0);
    }
}
