//! Delivery status of the guest's own messages.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use guest_conversation::MessageId;

use super::line::{Line, LineKind};
use super::sanitize;

/// Age at which an unacknowledged message is shown as waiting.
const SLOW_DELIVERY: Duration = Duration::from_secs(1);
/// Capacity for messages of unknown status, which may still be accepted. The oldest is dropped first.
const MAX_UNKNOWN: usize = 256;

/// The guest's messages that are not delivered, each with the start of its text. The conversation bounds the
/// outstanding ones to 256.
#[derive(Default)]
pub(super) struct Deliveries {
    outstanding: BTreeMap<MessageId, String>,
    /// Outstanding messages for which no line was shown, oldest first.
    unreported: VecDeque<(Instant, MessageId)>,
    unknown: VecDeque<(MessageId, String)>,
    undelivered: usize,
}

impl Deliveries {
    pub(super) fn queued(&mut self, id: MessageId, text: &str, now: Instant) {
        self.outstanding.insert(id, sanitize::excerpt(text));
        self.unreported.push_back((now + SLOW_DELIVERY, id));
    }

    pub(super) fn accepted(&mut self, id: MessageId) -> Option<Line> {
        let text = self.forget(id)?;
        Some(Line::new(LineKind::Success, "✓", &text))
    }

    pub(super) fn failed(&mut self, id: MessageId, reason: &dyn fmt::Display) -> Option<Line> {
        let text = self.forget(id)?;
        Some(self.rejected(&text, reason))
    }

    /// Counts a message that was never sent.
    pub(super) fn rejected(&mut self, text: &str, why: &dyn fmt::Display) -> Line {
        self.undelivered += 1;
        let text = sanitize::excerpt(text);
        Line::new(LineKind::Error, "✗", &format!("{text} (not delivered: {why})"))
    }

    pub(super) fn unknown(&mut self, id: MessageId) -> Option<Line> {
        let text = self.forget(id)?;
        let line = Line::new(
            LineKind::Error,
            "?",
            &format!("{text} (sent, but it may not have arrived)"),
        );
        if self.unknown.len() == MAX_UNKNOWN {
            self.unknown.pop_front();
            self.undelivered += 1;
        }
        self.unknown.push_back((id, text));
        Some(line)
    }

    pub(super) fn count_undelivered(&mut self) {
        self.undelivered += 1;
    }

    /// Returns a line for the next message that takes long.
    pub(super) fn next_slow(&mut self, now: Instant) -> Option<Line> {
        if self.slow_deadline()? > now {
            return None;
        }
        let (_, id) = self.unreported.pop_front()?;
        let text = self.outstanding.get(&id)?;
        Some(Line::new(LineKind::Info, "…", &format!("{text} (waiting)")))
    }

    pub(super) fn slow_deadline(&self) -> Option<Instant> {
        self.unreported.front().map(|(at, _)| *at)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    pub(super) fn undelivered(&self) -> usize {
        self.undelivered + self.outstanding.len() + self.unknown.len()
    }

    fn forget(&mut self, id: MessageId) -> Option<String> {
        self.unreported.retain(|(_, known)| *known != id);
        self.outstanding.remove(&id).or_else(|| {
            let at = self.unknown.iter().position(|(known, _)| *known == id)?;
            self.unknown.remove(at).map(|(_, text)| text)
        })
    }
}
