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

/// Most frames remembered, runs of the same class counted as one. They have a ring of their own, so that they do not
/// displace the events that explain a loss.
const FRAMES: usize = 16;
/// Most other events remembered.
const EVENTS: usize = 48;
/// Text of the limit of messages of a session.
pub(crate) const MESSAGE_LIMIT: &str = "the limit of messages";
/// Text of the limit of requests of a connection.
pub(crate) const REQUEST_LIMIT: &str = "the limit of requests";
/// Shortest wait that is recorded.
const NOTABLE: Duration = Duration::from_millis(50);

/// The last 48 events and the last 16 runs of frames of a conversation: at most 3 KiB. The oldest are dropped.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Option<Box<Log>>);

#[derive(Clone, Debug)]
struct Log {
    began: Now,
    /// Time of the latest input.
    now: Instant,
    events: VecDeque<Entry>,
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
    Trouble(&'static str, Option<u16>),
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
        let log = self.0.get_or_insert_with(|| {
            Box::new(Log {
                began: now,
                now: now.instant,
                events: VecDeque::new(),
                frames: VecDeque::new(),
                recorded: 0,
                cause: None,
                waiting: None,
            })
        });
        log.now = now.instant;
    }

    /// Records an event. The texts of a loss or an ending are reduced.
    pub(crate) fn record(&mut self, mut event: TimelineEvent) {
        let Some(log) = &mut self.0 else { return };
        match &mut event {
            TimelineEvent::Ended(ending) => explain::reduce_ending(ending),
            TimelineEvent::Lost(loss) => explain::reduce_loss(loss),
            _ => {}
        }
        let entry = log.entry(event);
        if matches!(entry.event, TimelineEvent::Ended(_) | TimelineEvent::Lost(_)) {
            log.cause = Some(entry.clone());
        }
        push(&mut log.events, entry, EVENTS);
    }

    /// Records a frame from the service ([`Direction::Outbound`]) or to it.
    pub(crate) fn record_frame(&mut self, direction: Direction, class: &'static str, bytes: usize) {
        let Some(log) = &mut self.0 else { return };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let event = TimelineEvent::Frames {
            direction,
            class,
            count: 1,
            bytes,
        };
        let entry = log.entry(event);
        if let Some(last) = log.frames.back_mut()
            && let TimelineEvent::Frames {
                direction: last_direction,
                class: last_class,
                count,
                bytes: sum,
            } = &mut last.event
            && (*last_direction, *last_class) == (direction, class)
        {
            *count = count.saturating_add(1);
            *sum = sum.saturating_add(bytes);
            (last.at, last.number) = (entry.at, entry.number);
        } else {
            push(&mut log.frames, entry, FRAMES);
        }
    }

    /// Records the wait for a limit. The same wait is recorded once.
    pub(crate) fn record_wait(&mut self, limit: &'static str, until: Instant) {
        let Some(log) = &mut self.0 else { return };
        let wait = until.saturating_duration_since(log.now);
        if wait >= NOTABLE && log.waiting.is_none_or(|known| known < until) {
            log.waiting = Some(until);
            let millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            self.record(TimelineEvent::Waited { limit, millis });
        }
    }

    /// The entries, oldest first, each with its time by this process' clock, to 10 ms.
    pub fn entries(&self) -> impl Iterator<Item = (OffsetDateTime, &TimelineEvent)> {
        let log = self.0.iter();
        let mut entries: Vec<_> = log
            .flat_map(|log| {
                let entries = log.events.iter().chain(&log.frames);
                entries.map(|entry| (log.began.utc + entry.since_began(), entry))
            })
            .collect();
        entries.sort_unstable_by_key(|(_, entry)| entry.number);
        entries.into_iter().map(|(at, entry)| (at, &entry.event))
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
            Self::Step(text) | Self::Trouble(text, None) => f.write_str(text),
            Self::Trouble(text, Some(status)) => write!(f, "{text} ({status})"),
            Self::Waited { limit, millis } => {
                write!(f, "{limit}: waits {}.{} s", millis / 1000, millis % 1000 / 100)
            }
        }
    }
}
