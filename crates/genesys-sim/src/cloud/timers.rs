//! Timers of a cloud, in the order of time.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use crate::cloud::{SessionKey, SocketId};

/// A timer, which is set for one time only: setting it again replaces the earlier time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Timer {
    ChannelEnd(u64),
    ChannelWarning(u64),
    Expiry(SessionKey),
    Heartbeat(SocketId),
    Idle(SocketId),
    Lifetime(SocketId),
    /// Outputs of a socket are held back until this time.
    Release(SocketId, Instant),
    Step(SessionKey, u64),
}

/// The reason for a deadline of [`Cloud::poll_timeout`](super::Cloud::poll_timeout).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// A notification channel expires.
    ChannelEnd,
    /// A notification channel warns of its end.
    ChannelWarning,
    /// A session expires.
    Expiry,
    /// A notification channel sends its heartbeat.
    Heartbeat,
    /// The idle timeout of a socket.
    Idle,
    /// The longest lifetime of a socket.
    Lifetime,
    /// A fault releases the outputs of a socket.
    Release,
    /// The next step of an agent's script.
    Step,
}

impl Timer {
    fn reason(self) -> Reason {
        match self {
            Self::ChannelEnd(_) => Reason::ChannelEnd,
            Self::ChannelWarning(_) => Reason::ChannelWarning,
            Self::Expiry(_) => Reason::Expiry,
            Self::Heartbeat(_) => Reason::Heartbeat,
            Self::Idle(_) => Reason::Idle,
            Self::Lifetime(_) => Reason::Lifetime,
            Self::Release(..) => Reason::Release,
            Self::Step(..) => Reason::Step,
        }
    }
}

/// Timers of one instant fire in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<(Instant, u64), Timer>,
    positions: HashMap<Timer, (Instant, u64)>,
    last_number: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.last_number += 1;
        let position = (at, self.last_number);
        self.queue.insert(position, timer);
        if let Some(earlier) = self.positions.insert(timer, position) {
            self.queue.remove(&earlier);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(position) = self.positions.remove(&timer) {
            self.queue.remove(&position);
        }
    }

    /// Returns the first timer that is due, with its time.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let first = self.queue.first_entry().filter(|first| first.key().0 <= now)?;
        let ((at, _), timer) = first.remove_entry();
        self.positions.remove(&timer);
        Some((timer, at))
    }

    pub(crate) fn next(&self) -> Option<(Instant, Reason)> {
        let ((at, _), timer) = self.queue.first_key_value()?;
        Some((*at, timer.reason()))
    }
}
