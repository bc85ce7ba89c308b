//! Outputs that faults hold back for one socket, and frames that a hung socket has not read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::world::output::Output;

/// Limit of frames held back for one socket, in each direction. Beyond it the socket is cut. Our choice.
const MAX_FRAMES: usize = 256;

/// Longest delay of a frame that waits for the next one to pass it.
const REORDER_DELAY: Duration = Duration::from_secs(1);

/// Frames of one socket that faults hold back.
#[derive(Debug, Default)]
pub(crate) struct DelayQueue {
    held: VecDeque<(Instant, Output)>,
    /// Sent right after the next output.
    reordered: Option<(Instant, Output)>,
    hang: Hang,
    /// Frames from the guest that arrived while the socket hung.
    unread: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Hang {
    Forever,
    #[default]
    No,
    Until(Instant),
}

/// The queue is at its limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Full;

impl DelayQueue {
    /// Appends an output and returns the time at which it is due: never before those ahead of it.
    pub(super) fn push(&mut self, output: Output, delay: Duration, now: Instant) -> Result<Instant, Full> {
        if self.held.len() + 1 >= MAX_FRAMES {
            return Err(Full);
        }
        let due = self.due(delay, now);
        let closes = matches!(output, Output::Close { .. });
        self.held.push_back((due, output));
        if let Some((_, reordered)) = self.reordered.take() {
            // nothing follows a close
            let position = self.held.len() - usize::from(closes);
            self.held.insert(position, (due, reordered));
        }
        Ok(due)
    }

    /// Lets the next output pass this one, and returns the time at which it is due anyway. `Err` returns it if
    /// another one waits already.
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
        let until = time.and_then(|time| now.checked_add(time));
        self.hang = match (self.hang, until) {
            (Hang::Forever, _) | (_, None) => Hang::Forever,
            (Hang::Until(earlier), Some(until)) => Hang::Until(earlier.max(until)),
            (Hang::No, Some(until)) => Hang::Until(until),
        };
        match self.hang {
            Hang::Until(until) => Some(until),
            Hang::Forever | Hang::No => None,
        }
    }

    pub(super) fn hangs(&self) -> bool {
        self.hang != Hang::No
    }

    pub(super) fn hangs_forever(&self) -> bool {
        self.hang == Hang::Forever
    }

    /// Keeps a guest's frame until the socket reads again. A socket that hangs forever loses it.
    pub(super) fn push_unread(&mut self, text: &str) -> Result<(), Full> {
        if self.hangs_forever() {
            return Ok(());
        }
        if self.unread.len() >= MAX_FRAMES {
            return Err(Full);
        }
        self.unread.push_back(text.to_owned());
        Ok(())
    }

    /// Removes the outputs that are due, and the frames that are read now.
    pub(super) fn flush(&mut self, now: Instant) -> (Vec<Output>, VecDeque<String>) {
        match self.hang {
            Hang::Forever => return (Vec::new(), VecDeque::new()),
            Hang::Until(until) if until > now => return (Vec::new(), VecDeque::new()),
            Hang::No | Hang::Until(_) => self.hang = Hang::No,
        }
        let due = self.held.iter().take_while(|(due, _)| *due <= now).count();
        let mut outputs: Vec<_> = self.held.drain(..due).map(|(_, output)| output).collect();
        let reordered = self.reordered.take_if(|(due, _)| *due <= now);
        outputs.extend(reordered.map(|(_, output)| output));
        (outputs, std::mem::take(&mut self.unread))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.reordered.is_none() && self.hang == Hang::No && self.unread.is_empty()
    }
}
