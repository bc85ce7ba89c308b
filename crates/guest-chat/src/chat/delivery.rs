//! Delivery status of the guest's own messages.

use std::fmt;
use std::time::{Duration, Instant};

use guest_conversation::{DeliveryStatus, MessageId};

use super::line::{Line, LineKind};
use super::sanitize;

/// Age at which an unacknowledged message is shown as waiting.
const SLOW_DELIVERY: Duration = Duration::from_secs(1);
/// Capacity for undelivered messages, of which the conversation bounds the outstanding ones to 256. The oldest is dropped
/// first.
const CAPACITY: usize = 512;

/// The guest's messages that are not delivered, oldest first.
#[derive(Default)]
pub(super) struct Deliveries {
    pending: Vec<Pending>,
    /// Messages and files that will not be delivered.
    undelivered: usize,
}

struct Pending {
    id: MessageId,
    /// The start of its text.
    text: String,
    /// The time to show it as waiting, until it is shown.
    slow_at: Option<Instant>,
    /// Whether its status is unknown. It may still be accepted.
    is_unknown: bool,
}

impl Deliveries {
    pub(super) fn queued(&mut self, id: MessageId, text: &str, now: Instant) {
        if self.pending.len() == CAPACITY {
            self.pending.remove(0);
            self.undelivered += 1;
        }
        self.pending.push(Pending {
            id,
            text: sanitize::excerpt(text),
            slow_at: Some(now + SLOW_DELIVERY),
            is_unknown: false,
        });
    }

    /// Returns a line for the new status of a message, unless it is not final.
    pub(super) fn update(&mut self, id: MessageId, status: &DeliveryStatus) -> Option<Line> {
        let at = self.pending.iter().position(|message| message.id == id)?;
        Some(match status {
            DeliveryStatus::Queued | DeliveryStatus::Sending => return None,
            DeliveryStatus::Delivered { .. } => {
                Line::new(LineKind::Success, "✓", &self.pending.remove(at).text)
            }
            DeliveryStatus::Failed(reason) => {
                let text = self.pending.remove(at).text;
                self.rejected(&text, reason)
            }
            _ => {
                let message = &mut self.pending[at];
                (message.is_unknown, message.slow_at) = (true, None);
                let text = format!("{} (sent, but it may not have arrived)", message.text);
                Line::new(LineKind::Error, "?", &text)
            }
        })
    }

    /// Counts a message that was never sent.
    pub(super) fn rejected(&mut self, text: &str, why: &dyn fmt::Display) -> Line {
        self.undelivered += 1;
        let text = sanitize::excerpt(text);
        Line::new(LineKind::Error, "✗", &format!("{text} (not delivered: {why})"))
    }

    pub(super) fn count_undelivered(&mut self) {
        self.undelivered += 1;
    }

    /// Returns a line for the next message that takes long.
    pub(super) fn next_slow(&mut self, now: Instant) -> Option<Line> {
        let mut pending = self.pending.iter_mut();
        let slow = pending.find(|message| message.slow_at.is_some_and(|at| at <= now))?;
        slow.slow_at = None;
        let text = format!("{} (waiting)", slow.text);
        Some(Line::new(LineKind::Info, "…", &text))
    }

    pub(super) fn slow_deadline(&self) -> Option<Instant> {
        self.pending.iter().find_map(|message| message.slow_at)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.pending.iter().filter(|message| !message.is_unknown).count()
    }

    pub(super) fn undelivered(&self) -> usize {
        self.undelivered + self.pending.len()
    }
}
