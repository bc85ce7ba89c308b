//! What became of the guest's own messages.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use guest_conversation::MessageId;

use super::line::{Line, Tone};
use super::untrusted;

/// How long a message may be on its way before that is worth a line.
const WORTH_A_LINE: Duration = Duration::from_secs(1);
/// Most messages in doubt that are remembered, in case they are accepted after all; beyond, the oldest is forgotten.
const MOST_IN_DOUBT: usize = 256;

/// The guest's messages that are not delivered, each by the beginning of its text. Those on their way are as many as
/// the conversation takes, 256.
#[derive(Default)]
pub(super) struct Deliveries {
    outstanding: BTreeMap<MessageId, String>,
    /// Those on their way, oldest first, that no line was shown for.
    unmentioned: VecDeque<(Instant, MessageId)>,
    in_doubt: VecDeque<(MessageId, String)>,
    failed: usize,
}

impl Deliveries {
    pub(super) fn begin(&mut self, id: MessageId, text: &str, now: Instant) {
        self.outstanding.insert(id, untrusted::excerpt(text));
        self.unmentioned.push_back((now + WORTH_A_LINE, id));
    }

    pub(super) fn settle(&mut self, id: MessageId) -> Option<Line> {
        let text = self.forget(id)?;
        Some(Line::new(Tone::Good, "✓", &text))
    }

    pub(super) fn fail(&mut self, id: MessageId, reason: &dyn fmt::Display) -> Option<Line> {
        let text = self.forget(id)?;
        Some(self.refuse(&text, reason))
    }

    /// A message that was never on its way.
    pub(super) fn refuse(&mut self, text: &str, why: &dyn fmt::Display) -> Line {
        self.failed += 1;
        let text = untrusted::excerpt(text);
        Line::new(Tone::Wrong, "✗", &format!("{text} (not delivered: {why})"))
    }

    pub(super) fn doubt(&mut self, id: MessageId) -> Option<Line> {
        let text = self.forget(id)?;
        let line = Line::new(
            Tone::Wrong,
            "?",
            &format!("{text} (sent, but it may not have arrived)"),
        );
        if self.in_doubt.len() == MOST_IN_DOUBT {
            self.in_doubt.pop_front();
            self.failed += 1;
        }
        self.in_doubt.push_back((id, text));
        Some(line)
    }

    pub(super) fn count_undelivered(&mut self) {
        self.failed += 1;
    }

    /// The next message that has been on its way for so long that it is to be mentioned.
    pub(super) fn waiting(&mut self, now: Instant) -> Option<Line> {
        if self.next_waiting()? > now {
            return None;
        }
        let (_, id) = self.unmentioned.pop_front()?;
        let text = self.outstanding.get(&id)?;
        Some(Line::new(Tone::Quiet, "…", &format!("{text} (waiting)")))
    }

    pub(super) fn next_waiting(&self) -> Option<Instant> {
        self.unmentioned.front().map(|(at, _)| *at)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    pub(super) fn undelivered(&self) -> usize {
        self.failed + self.outstanding.len() + self.in_doubt.len()
    }

    fn forget(&mut self, id: MessageId) -> Option<String> {
        self.unmentioned.retain(|(_, known)| *known != id);
        self.outstanding.remove(&id).or_else(|| {
            let at = self.in_doubt.iter().position(|(known, _)| *known == id)?;
            self.in_doubt.remove(at).map(|(_, text)| text)
        })
    }
}
