//! Why did it disconnect? What led to where a conversation stands, in few bytes and without anything that was said.
//!
//! A conversation records what changes it. [`Timeline::explain`] says in a few words what ended or broke it last, what
//! led to that, and what to do; `Display` lists what is remembered, for a terminal. No text of a message, no name and
//! no token gets in: there is no place for them. The one text kept is our own account of a connection that could not be
//! made, or a single word that the service gave as its reason.

mod cause;
mod class;
mod explain;
mod happening;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::Now;
use time::OffsetDateTime;

pub use self::cause::{EndingCause, LossCause};
pub use self::class::FrameClass;
pub use self::happening::{Errand, Happening, Limit, Outcome, TokenEvent};
use super::event::{Ending, Loss};
use crate::Direction;
use genesys_api::wire::sanitize;
use ws_transport::CloseInfo;

/// Most frames remembered, runs of the same class counted as one. They have a ring of their own, or a lively
/// conversation would push out what explains it.
const FRAMES: usize = 16;
/// Most other happenings remembered.
const TURNS: usize = 48;
/// Longest word of the service's that is kept as a reason.
const LONGEST_WORD: usize = 32;

/// What happened to one conversation: the last 48 turns, and the last 16 runs of frames. The oldest gives way. At most
/// 2 KiB, and less than 200 bytes until something happens.
#[derive(Clone, Debug)]
pub struct Timeline {
    began: Now,
    turns: VecDeque<Entry>,
    frames: VecDeque<Entry>,
    recorded: u32,
    /// The last loss or ending, which may have left the ring.
    cause: Option<Entry>,
    /// What is known of it beside its kind.
    note: Option<Box<str>>,
}

impl Timeline {
    /// One that begins now, and is empty.
    #[must_use]
    pub fn new(now: Now) -> Self {
        Self {
            began: now,
            turns: VecDeque::new(),
            frames: VecDeque::new(),
            recorded: 0,
            cause: None,
            note: None,
        }
    }

    /// Something happened.
    pub fn record(&mut self, what: Happening, now: Instant) {
        let entry = self.entry(what, now);
        if matches!(what, Happening::Ended(_) | Happening::Lost(_)) {
            self.cause = Some(entry);
            self.note = None;
        }
        push(&mut self.turns, entry, TURNS);
    }

    /// A frame came from the service ([`Direction::Outbound`]), or went to it.
    pub fn record_frame(&mut self, direction: Direction, class: FrameClass, bytes: usize, now: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let count = 1;
        let what = Happening::Frames {
            direction,
            class,
            count,
            bytes,
        };
        let mut entry = self.entry(what, now);
        if let Some(last) = self.frames.back_mut()
            && let Some(both) = last.what.with(what)
        {
            entry.what = both;
            *last = entry;
            return;
        }
        push(&mut self.frames, entry, FRAMES);
    }

    /// The conversation is over.
    pub fn record_ending(&mut self, ending: &Ending, now: Instant) {
        self.record(Happening::Ended(ending.into()), now);
        self.note = match ending {
            Ending::ClosedByServer { reason } => reason.as_deref().and_then(word),
            Ending::AuthorizationRequired(refusal) | Ending::Rejected(refusal) => word(&refusal.code),
            Ending::SessionEnded { reason } => word(reason),
            Ending::ByUs | Ending::LoggedOut | Ending::Refused { .. } | Ending::SessionExpired => None,
        };
    }

    /// The connection is lost, or could not be made.
    pub fn record_loss(&mut self, loss: &Loss, now: Instant) {
        self.record(Happening::Lost(loss.into()), now);
        self.note = match loss {
            // without a code there was no close frame: the account is our own
            Loss::Closed(close) if close.code().is_none() => account(close),
            Loss::Rejected(refusal) => word(&refusal.code),
            Loss::Closed(_)
            | Loss::Asked
            | Loss::NoAnswer
            | Loss::Overrun
            | Loss::Refused { .. }
            | Loss::Silent => None,
        };
    }

    /// What is remembered, the oldest first, each with its time by our clock, to 10 ms.
    pub fn entries(&self) -> impl Iterator<Item = (OffsetDateTime, Happening)> {
        let mut entries: Vec<_> = self.turns.iter().chain(&self.frames).copied().collect();
        entries.sort_unstable_by_key(|entry| entry.number);
        entries
            .into_iter()
            .map(|entry| (self.began.utc + entry.since_began(), entry.what))
    }

    fn entry(&mut self, what: Happening, now: Instant) -> Entry {
        let since = now.saturating_duration_since(self.began.instant);
        self.recorded = self.recorded.wrapping_add(1);
        Entry {
            at: u32::try_from(since.as_millis() / 10).unwrap_or(u32::MAX),
            number: self.recorded,
            what,
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = 0;
        for (at, what) in self.entries() {
            if lines > 0 {
                f.write_str("\n")?;
            }
            let (hour, minute, second) = at.time().as_hms();
            let hundredths = at.millisecond() / 10;
            write!(f, "{hour:02}:{minute:02}:{second:02}.{hundredths:02}  {what}")?;
            lines += 1;
        }
        if lines == 0 {
            f.write_str("nothing has happened yet")?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Since the beginning, in units of 10 ms: enough for 16 months.
    at: u32,
    number: u32,
    what: Happening,
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

/// The service's reason, if it is a word as programs use them: no sentence, no number, no id.
fn word(text: &str) -> Option<Box<str>> {
    let is_word = text
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'-' | b'_'));
    (is_word && !text.is_empty() && text.len() <= LONGEST_WORD).then(|| text.into())
}

fn account(close: &CloseInfo) -> Option<Box<str>> {
    (!close.reason().is_empty()).then(|| sanitize(close.reason()).into())
}

#[cfg(test)]
mod tests;
