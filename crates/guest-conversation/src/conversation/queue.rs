//! Events that wait for the application, and the frames behind them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Event;

/// Most events that wait to be polled.
pub(super) const EVENT_LIMIT: usize = 1024;
/// Most bytes of frames that are kept beside them.
const FRAME_BYTES: usize = 256 * 1024;

/// An event, and the frame that it came by if frames are kept.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event: Event,
    frame: Option<Frame>,
}

/// `Debug` does not show it.
#[derive(Clone)]
struct Frame(Arc<str>);

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Told>,
    keeping: bool,
    /// The frame that is being read.
    present: Option<Frame>,
    /// That of the event polled last.
    polled: Option<Frame>,
    bytes: usize,
}

impl Queue {
    pub(super) fn keep_frames(&mut self) {
        self.keeping = true;
    }

    pub(super) fn handle_frame(&mut self, text: &str) {
        self.present = (self.keeping && self.bytes + text.len() <= FRAME_BYTES).then(|| Frame(text.into()));
    }

    pub(super) fn handle_frame_end(&mut self) {
        self.present = None;
    }

    /// The event with the frame that is being read.
    pub(super) fn tell(&self, event: Event) -> Told {
        Told {
            event,
            frame: self.present.clone(),
        }
    }

    pub(super) fn push(&mut self, told: Told) {
        self.bytes += told.bytes();
        self.waiting.push_back(told);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let told = self.waiting.pop_front()?;
        self.bytes -= told.bytes();
        self.polled = told.frame;
        Some(told.event)
    }

    pub(super) fn raw(&self) -> Option<&str> {
        self.polled.as_ref().map(|frame| &*frame.0)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Told {
    fn bytes(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| frame.0.len())
    }
}
