//! Timeline of a conversation: the events that explain a lost connection or an ending, in few bytes.
//!
//! [`Timeline::explain`] names the last cause, what led to it and what to do; `Display` lists the entries, for a
//! terminal. No text of a message, no name and no token is recorded. The only texts kept are this side's account of a
//! connection that could not be opened, and a code or single word that the service gave as its reason.

mod event;
mod explain;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::Now;
use time::OffsetDateTime;

pub use self::event::{HttpOperation, Limit, Outcome, TimelineEvent, TokenEvent};
use crate::Direction;
use crate::event::{Ending, Loss};

/// Most frames remembered, runs of the same class counted as one. They have a ring of their own, so that they do not
/// displace the events that explain a loss.
const FRAMES: usize = 16;
/// Most other events remembered.
const TURNS: usize = 48;
/// A shorter wait explains nothing.
const NOTABLE: Duration = Duration::from_millis(50);

/// The last 48 events and the last 16 runs of frames of a conversation: at most 3 KiB. The oldest are dropped.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Option<Box<Log>>);

#[derive(Clone, Debug)]
struct Log {
    began: Now,
    /// Time of the latest input.
    now: Instant,
    turns: VecDeque<Entry>,
    frames: VecDeque<Entry>,
    recorded: u32,
    /// The last loss or ending, which may have left the ring.
    cause: Option<Entry>,
    /// End of the wait that was recorded last.
    waiting: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Time since the beginning, in units of 10 ms: enough for 16 months.
    at: u32,
    number: u32,
    event: TimelineEvent,
}

impl Timeline {
    /// An input arrived: what follows happens now.
    pub fn handle_time(&mut self, now: Now) {
        let log = self.0.get_or_insert_with(|| {
            Box::new(Log {
                began: now,
                now: now.instant,
                turns: VecDeque::new(),
                frames: VecDeque::new(),
                recorded: 0,
                cause: None,
                waiting: None,
            })
        });
        log.now = now.instant;
    }

    /// Records an event. The texts of a loss or an ending must have been reduced: see [`Self::record_loss`].
    pub(crate) fn record(&mut self, event: TimelineEvent) {
        let Some(log) = &mut self.0 else { return };
        let entry = log.entry(event);
        if matches!(entry.event, TimelineEvent::Ended(_) | TimelineEvent::Lost(_)) {
            log.cause = Some(entry.clone());
        }
        push(&mut log.turns, entry, TURNS);
    }

    /// Records a frame from the service ([`Direction::Outbound`]) or to it.
    pub fn record_frame(&mut self, direction: Direction, class: &'static str, bytes: usize) {
        let Some(log) = &mut self.0 else { return };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let entry = log.entry(TimelineEvent::Frames {
            direction,
            class,
            count: 1,
            bytes,
        });
        if let Some(last) = log.frames.back_mut()
            && last.event.absorb(&entry.event)
        {
            (last.at, last.number) = (entry.at, entry.number);
            return;
        }
        push(&mut log.frames, entry, FRAMES);
    }

    /// Records the wait for a limit. The same wait is recorded once.
    pub(crate) fn record_wait(&mut self, limit: Limit, until: Instant) {
        let Some(log) = &mut self.0 else { return };
        let wait = until.saturating_duration_since(log.now);
        if wait >= NOTABLE && log.waiting.is_none_or(|known| known < until) {
            log.waiting = Some(until);
            self.record(TimelineEvent::Waited { limit, wait });
        }
    }

    pub(crate) fn record_ending(&mut self, ending: &Ending) {
        self.record(TimelineEvent::Ended(Box::new(explain::reduced_ending(ending))));
    }

    pub(crate) fn record_loss(&mut self, loss: &Loss) {
        self.record(TimelineEvent::Lost(Box::new(explain::reduced_loss(loss))));
    }

    /// The entries, oldest first, each with its time by this process' clock, to 10 ms.
    pub fn entries(&self) -> impl Iterator<Item = (OffsetDateTime, &TimelineEvent)> {
        let log = self.0.as_deref();
        let mut entries: Vec<_> = log
            .iter()
            .flat_map(|log| log.turns.iter().chain(&log.frames))
            .collect();
        entries.sort_unstable_by_key(|entry| entry.number);
        let began = log.map_or(OffsetDateTime::UNIX_EPOCH, |log| log.began.utc);
        entries
            .into_iter()
            .map(move |entry| (began + entry.since_began(), &entry.event))
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (at, event) in self.entries() {
            let (hour, minute, second) = at.time().as_hms();
            let hundredths = at.millisecond() / 10;
            write!(
                f,
                "{separator}{hour:02}:{minute:02}:{second:02}.{hundredths:02}  {event}"
            )?;
            separator = "\n";
        }
        if separator.is_empty() {
            f.write_str("nothing has happened yet")?;
        }
        Ok(())
    }
}

impl Log {
    fn entry(&mut self, event: TimelineEvent) -> Entry {
        let since = self.now.saturating_duration_since(self.began.instant);
        self.recorded = self.recorded.wrapping_add(1);
        Entry {
            at: u32::try_from(since.as_millis() / 10).unwrap_or(u32::MAX),
            number: self.recorded,
            event,
        }
    }
}

impl Entry {
    fn since_began(&self) -> Duration {
        Duration::from_millis(u64::from(self.at) * 10)
    }
}

fn push(ring: &mut VecDeque<Entry>, entry: Entry, limit: usize) {
    if ring.len() == limit {
        ring.pop_front();
    }
    ring.push_back(entry);
}

#[cfg(test)]
mod tests;
