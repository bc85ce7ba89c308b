//! Timeline of a conversation: the events that explain a lost connection or an ending, in few bytes.
//!
//! [`Timeline::explain`] names the last loss or ending, the events before it, and what to do. `Display` lists the
//! entries, for a terminal. No text of a message, no name and no token is recorded. The only texts kept are this side's
//! account of a connection that could not be opened, and a code or single word that the service gave as its reason.

mod explain;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::Now;
use time::OffsetDateTime;

use crate::event::{Ending, Loss};
use crate::{Direction, State};

/// Most frames remembered, runs of the same class counted as one. They have a limit of their own, so that they do not
/// displace the events that explain a loss.
const FRAMES: usize = 16;
/// Most other events remembered.
const EVENTS: usize = 48;
/// Text of the limit of messages of a session.
pub(crate) const MESSAGE_LIMIT: &str = "the limit of messages";
/// Text of the limit of requests of a connection.
pub(crate) const REQUEST_LIMIT: &str = "the limit of requests";
/// Shortest wait that is recorded.
const MIN_WAIT: Duration = Duration::from_millis(50);

/// The last 48 events and the last 16 runs of frames of a conversation: at most 3 KiB. The oldest are dropped.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Time of the first input.
    began: Option<Now>,
    /// Time from then to the latest input.
    elapsed: Duration,
    /// Oldest first. The last loss or ending stays.
    entries: VecDeque<Entry>,
    /// End of the wait that was recorded last.
    waiting: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Time since the beginning, in units of 10 ms: enough for 16 months.
    at: u32,
    event: TimelineEvent,
}

/// An entry of a timeline.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TimelineEvent {
    /// The conversation ended. Of the service's texts only a code or a word is kept.
    Ended(Box<Ending>),
    /// Consecutive frames of one class.
    Frames {
        /// [`Direction::Outbound`] from the service.
        direction: Direction,
        /// Class, action or type of the frames.
        class: &'static str,
        /// Number of frames.
        count: u16,
        /// Bytes of all of them.
        bytes: u32,
    },
    /// The connection was lost, or could not be opened. Of the service's texts only a code or a word is kept.
    Lost(Box<Loss>),
    /// The next connection is due after a wait.
    ReconnectIn {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Time until then.
        wait: Duration,
    },
    /// A new state.
    State(State),
    /// An expected event, such as a call that succeeded.
    Step(&'static str),
    /// An event that may lead to a loss or an ending, with an HTTP status if there is one.
    Warning(&'static str, Option<u16>),
    /// A rate limit delayed something.
    Waited {
        /// The limit.
        limit: &'static str,
        /// Length of the wait in milliseconds.
        millis: u32,
    },
}

impl Timeline {
    /// Sets the time of the events that follow.
    pub(crate) fn handle_time(&mut self, now: Now) {
        let began = self.began.get_or_insert(now);
        self.elapsed = now.instant.saturating_duration_since(began.instant);
    }

    /// Records an event. The texts of a loss or an ending are reduced.
    pub(crate) fn record(&mut self, mut event: TimelineEvent) {
        match &mut event {
            TimelineEvent::Ended(ending) => explain::reduce_ending(ending),
            TimelineEvent::Lost(loss) => explain::reduce_loss(loss),
            _ => {}
        }
        self.push(event, EVENTS);
    }

    /// Records a frame from the service ([`Direction::Outbound`]) or to it. Consecutive ones of a class are one entry.
    pub(crate) fn record_frame(&mut self, direction: Direction, class: &'static str, bytes: usize) {
        let (mut count, mut bytes) = (1, u32::try_from(bytes).unwrap_or(u32::MAX));
        if let Some(last) = self.entries.iter().rposition(Entry::is_frames)
            && let TimelineEvent::Frames {
                direction: last_direction,
                class: last_class,
                count: last_count,
                bytes: last_bytes,
            } = self.entries[last].event
            && (last_direction, last_class) == (direction, class)
        {
            count = last_count.saturating_add(1);
            bytes = last_bytes.saturating_add(bytes);
            self.entries.remove(last);
        }
        let event = TimelineEvent::Frames {
            direction,
            class,
            count,
            bytes,
        };
        self.push(event, FRAMES);
    }

    /// Records the wait for a limit. The same wait is recorded once.
    pub(crate) fn record_wait(&mut self, limit: &'static str, until: Instant) {
        let Some(began) = self.began else { return };
        let wait = until.saturating_duration_since(began.instant + self.elapsed);
        if wait >= MIN_WAIT && self.waiting.is_none_or(|known| known < until) {
            self.waiting = Some(until);
            let millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            self.record(TimelineEvent::Waited { limit, millis });
        }
    }

    /// The entries, oldest first, each with its time by this process' clock, to 10 ms.
    pub fn entries(&self) -> impl Iterator<Item = (OffsetDateTime, &TimelineEvent)> {
        let began = self.began.map_or(OffsetDateTime::UNIX_EPOCH, |began| began.utc);
        let entries = self.entries.iter();
        entries.map(move |entry| (began + entry.elapsed(), &entry.event))
    }

    /// Adds an entry. Beyond `limit` entries of its kind, the oldest of them is dropped.
    fn push(&mut self, event: TimelineEvent, limit: usize) {
        let at = u32::try_from(self.elapsed.as_millis() / 10).unwrap_or(u32::MAX);
        let entry = Entry { at, event };
        let is_same_kind = |other: &&Entry| other.is_frames() == entry.is_frames();
        if self.entries.iter().filter(is_same_kind).count() >= limit {
            let cause = self.entries.iter().rposition(Entry::is_cause);
            let mut kind = self
                .entries
                .iter()
                .enumerate()
                .filter(|(_, other)| is_same_kind(other));
            if let Some((oldest, _)) = kind.find(|(at, _)| Some(*at) != cause) {
                self.entries.remove(oldest);
            }
        }
        self.entries.push_back(entry);
    }
}

impl Entry {
    fn is_frames(&self) -> bool {
        matches!(self.event, TimelineEvent::Frames { .. })
    }

    fn is_cause(&self) -> bool {
        matches!(self.event, TimelineEvent::Ended(_) | TimelineEvent::Lost(_))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(u64::from(self.at) * 10)
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
            f.write_str("no events yet")?;
        }
        Ok(())
    }
}

impl fmt::Display for TimelineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(ending) => write!(f, "over: {ending}"),
            Self::Frames {
                direction,
                class,
                count,
                bytes,
            } => {
                let arrow = match direction {
                    Direction::Inbound => "->",
                    Direction::Outbound => "<-",
                };
                write!(f, "{arrow} {class} x{count}, {bytes} bytes")
            }
            Self::Lost(loss) => write!(f, "lost: {loss}"),
            Self::ReconnectIn { attempt, wait } => {
                write!(f, "attempt {attempt} to reconnect in {:.1} s", wait.as_secs_f32())
            }
            Self::State(state) => write!(f, "state: {state:?}"),
            Self::Step(text) | Self::Warning(text, None) => f.write_str(text),
            Self::Warning(text, Some(status)) => write!(f, "{text} ({status})"),
            Self::Waited { limit, millis } => {
                write!(f, "{limit}: waits {}.{} s", millis / 1000, millis % 1000 / 100)
            }
        }
    }
}
