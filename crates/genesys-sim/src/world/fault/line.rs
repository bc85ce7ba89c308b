//! What is on its way to one guest, and late.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::world::Output;

/// Most frames held back for one socket, in either direction; with one more it is cut off. Our choice.
const MOST: usize = 256;

/// How long a frame that was overtaken waits for the one that does.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// The frames of a socket that something holds back.
#[derive(Debug, Default)]
pub(super) struct Line {
    held: VecDeque<(Instant, Output)>,
    /// Goes right after the next one.
    overtaken: Option<(Instant, Output)>,
    hang: Hang,
    /// What the guest sent while the socket hung.
    unread: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Hang {
    ForEver,
    #[default]
    No,
    Until(Instant),
}

/// A line holds its most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Full;

impl Line {
    /// Takes an output that is `late`, and says when it is due: never before those that came earlier.
    pub(super) fn hold(&mut self, output: Output, late: Duration, now: Instant) -> Result<Instant, Full> {
        if self.held.len() + 1 >= MOST {
            return Err(Full);
        }
        let due = now.checked_add(late).unwrap_or(now);
        let due = self.held.back().map_or(due, |(last, _)| due.max(*last));
        let closes = matches!(output, Output::Close { .. });
        self.held.push_back((due, output));
        if let Some((_, overtaken)) = self.overtaken.take() {
            // nothing comes after a close
            let position = self.held.len() - usize::from(closes);
            self.held.insert(position, (due, overtaken));
        }
        Ok(due)
    }

    /// Lets the next output pass this one, and says when it is due all the same. `Err` gives it back if one waits
    /// already.
    pub(super) fn overtake(&mut self, output: Output, now: Instant) -> Result<Instant, Output> {
        if self.overtaken.is_some() {
            return Err(output);
        }
        let due = now.checked_add(OVERTAKEN).unwrap_or(now);
        let due = self.held.back().map_or(due, |(last, _)| due.max(*last));
        self.overtaken = Some((due, output));
        Ok(due)
    }

    /// Neither sends nor reads from now on. `Some` says when that ends.
    pub(super) fn hang(&mut self, time: Option<Duration>, now: Instant) -> Option<Instant> {
        let until = time.and_then(|time| now.checked_add(time));
        self.hang = match (self.hang, until) {
            (Hang::ForEver, _) | (_, None) => Hang::ForEver,
            (Hang::Until(earlier), Some(until)) => Hang::Until(earlier.max(until)),
            (Hang::No, Some(until)) => Hang::Until(until),
        };
        match self.hang {
            Hang::Until(until) => Some(until),
            Hang::ForEver | Hang::No => None,
        }
    }

    pub(super) fn hangs(&self) -> bool {
        self.hang != Hang::No
    }

    pub(super) fn hangs_for_ever(&self) -> bool {
        self.hang == Hang::ForEver
    }

    /// Keeps a guest's frame until the socket reads again; one that never will loses it.
    pub(super) fn leave_unread(&mut self, text: &str) -> Result<(), Full> {
        match self.hang {
            Hang::ForEver => Ok(()),
            Hang::No | Hang::Until(_) if self.unread.len() >= MOST => Err(Full),
            Hang::No | Hang::Until(_) => {
                self.unread.push_back(text.to_owned());
                Ok(())
            }
        }
    }

    /// What goes out now, and what is read now.
    pub(super) fn release(&mut self, now: Instant) -> (Vec<Output>, VecDeque<String>) {
        match self.hang {
            Hang::ForEver => return (Vec::new(), VecDeque::new()),
            Hang::Until(until) if until > now => return (Vec::new(), VecDeque::new()),
            Hang::No | Hang::Until(_) => self.hang = Hang::No,
        }
        let due = self.held.iter().take_while(|(due, _)| *due <= now).count();
        let mut outputs: Vec<_> = self.held.drain(..due).map(|(_, output)| output).collect();
        let overtaken = self.overtaken.take_if(|(due, _)| *due <= now);
        outputs.extend(overtaken.map(|(_, output)| output));
        (outputs, std::mem::take(&mut self.unread))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.overtaken.is_none() && self.hang == Hang::No && self.unread.is_empty()
    }
}
