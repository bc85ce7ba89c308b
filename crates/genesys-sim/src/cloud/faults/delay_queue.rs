//! Outputs that faults hold back for one socket, and frames that a hung socket has not read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cloud::Output;

/// Limit of frames held back for one socket, in each direction. Beyond it the socket is cut. Our choice.
const MAX_FRAMES: usize = 256;

/// Longest delay of a frame that waits for the next one to pass it.
const REORDER_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct DelayQueue {
    held: VecDeque<(Instant, Output)>,
    /// Sent right after the next output.
    reordered: Option<(Instant, Output)>,
    /// The end of the hang if the socket hangs. A hang forever has no end.
    hang: Option<Option<Instant>>,
    /// Frames from the guest that arrived while the socket hung.
    unread: VecDeque<String>,
}

impl DelayQueue {
    /// Appends an output and returns the time at which it is due, after those ahead of it. `None` if the queue is full.
    pub(super) fn push(&mut self, output: Output, delay: Duration, now: Instant) -> Option<Instant> {
        if self.held.len() + 1 >= MAX_FRAMES {
            return None;
        }
        let due = self.due(delay, now);
        let closes = matches!(output, Output::Close { .. });
        self.held.push_back((due, output));
        if let Some((_, reordered)) = self.reordered.take() {
            // nothing follows a close
            let position = self.held.len() - usize::from(closes);
            self.held.insert(position, (due, reordered));
        }
        Some(due)
    }

    /// Lets the next output pass this one, and returns the time at which it is due. `Err` if another one waits already.
    pub(super) fn reorder(&mut self, output: Output, now: Instant) -> Result<Instant, Output> {
        if self.reordered.is_some() {
            return Err(output);
        }
        let due = self.due(REORDER_DELAY, now);
        self.reordered = Some((due, output));
        Ok(due)
    }

    fn due(&self, delay: Duration, now: Instant) -> Instant {
        let due = now.checked_add(delay).unwrap_or(now);
        self.held.back().map_or(due, |(last, _)| due.max(*last))
    }

    /// Neither sends nor reads from now on. Returns the end of the hang, if it has one.
    pub(super) fn hang(&mut self, time: Option<Duration>, now: Instant) -> Option<Instant> {
        let mut until = time.and_then(|time| now.checked_add(time));
        if let Some(earlier) = self.hang {
            until = until.zip(earlier).map(|(until, earlier)| until.max(earlier));
        }
        self.hang = Some(until);
        until
    }

    pub(super) fn hangs(&self) -> bool {
        self.hang.is_some()
    }

    pub(super) fn hangs_forever(&self) -> bool {
        self.hang == Some(None)
    }

    /// Keeps a guest's frame until the socket reads again. A socket that hangs forever loses it. `false` without room.
    pub(super) fn push_unread(&mut self, text: &str) -> bool {
        if self.unread.len() < MAX_FRAMES && !self.hangs_forever() {
            self.unread.push_back(text.to_owned());
            return true;
        }
        self.hangs_forever()
    }

    pub(super) fn flush(&mut self, now: Instant) -> (Vec<Output>, VecDeque<String>) {
        if matches!(self.hang, Some(until) if until.is_none_or(|until| until > now)) {
            return (Vec::new(), VecDeque::new());
        }
        self.hang = None;
        let due = self.held.iter().take_while(|(due, _)| *due <= now).count();
        let mut outputs: Vec<_> = self.held.drain(..due).map(|(_, output)| output).collect();
        let reordered = self.reordered.take_if(|(due, _)| *due <= now);
        outputs.extend(reordered.map(|(_, output)| output));
        (outputs, std::mem::take(&mut self.unread))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.reordered.is_none() && self.hang.is_none() && self.unread.is_empty()
    }
}
