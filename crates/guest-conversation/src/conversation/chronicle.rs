//! What the conversation writes down of itself.

use std::time::{Duration, Instant};

use genesys_api::Now;

use super::Conversation;
use super::state::State;
use super::timeline::{FrameClass, Happening, Limit, Timeline};
use crate::Direction;

/// A wait that is shorter explains nothing.
const NOTABLE: Duration = Duration::from_millis(50);

/// The timeline, from the first moment on that the conversation was told.
#[derive(Debug, Default)]
pub(super) struct Chronicle(Option<Box<Begun>>);

#[derive(Debug)]
struct Begun {
    timeline: Timeline,
    /// When the last input came: what follows from it happens then.
    now: Instant,
    /// Until when a limit is known to hold something up.
    waiting: Option<Instant>,
}

impl Chronicle {
    /// An input came.
    pub(super) fn handle_time(&mut self, now: Now) {
        match &mut self.0 {
            Some(begun) => begun.now = now.instant,
            None => {
                self.0 = Some(Box::new(Begun {
                    timeline: Timeline::new(now),
                    now: now.instant,
                    waiting: None,
                }));
            }
        }
    }

    pub(super) fn record(&mut self, what: Happening) {
        self.with(|timeline, now| timeline.record(what, now));
    }

    pub(super) fn record_frame(&mut self, direction: Direction, text: &str) {
        let class = FrameClass::of_frame(text);
        self.with(|timeline, now| timeline.record_frame(direction, class, text.len(), now));
    }

    /// A limit holds something up; the same wait is noted once.
    pub(super) fn record_wait(&mut self, limit: Limit, until: Instant) {
        let Some(begun) = &mut self.0 else { return };
        let wait = until.saturating_duration_since(begun.now);
        if wait >= NOTABLE && begun.waiting.is_none_or(|known| known < until) {
            begun.waiting = Some(until);
            begun.timeline.record(Happening::waited(limit, wait), begun.now);
        }
    }

    pub(super) fn with(&mut self, write: impl FnOnce(&mut Timeline, Instant)) {
        if let Some(begun) = &mut self.0 {
            write(&mut begun.timeline, begun.now);
        }
    }
}

impl Conversation {
    /// What happened to this conversation, in few bytes and without anything that was said; `None` as long as nothing
    /// has. It stays when the conversation is over.
    #[must_use]
    pub fn timeline(&self) -> Option<&Timeline> {
        self.chronicle.0.as_ref().map(|begun| &begun.timeline)
    }

    /// Why did it disconnect? See [`Timeline::explain`].
    #[must_use]
    pub fn explain(&self) -> String {
        let nothing = || "Nothing has happened to this conversation so far. Connect it.".to_owned();
        self.timeline().map_or_else(nothing, Timeline::explain)
    }

    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.chronicle.record(Happening::State(state));
    }
}
