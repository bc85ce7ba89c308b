//! What will happen by itself, in the order of time.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::world::SocketId;
use crate::world::agent::Turn;
use crate::world::session::SessionKey;

/// Why a world wants to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The agent types, speaks or leaves.
    AgentTurn,
    /// A notification channel ends, or is about to.
    ChannelExpiry,
    /// A fault held something back until now.
    Fault,
    /// A notification channel's socket is told that it lives.
    Heartbeat,
    /// A session's time is over.
    SessionExpiry,
    /// A guest's socket may be too old, or idle.
    SocketAge,
    /// A granted upload was not begun in time.
    UploadExpiry,
}

#[derive(Clone, Debug)]
pub(crate) enum Timer {
    Expiry(SessionKey),
    Release(SocketId),
    Turn(SessionKey, Turn),
    Age(SocketId),
    ChannelEnd(u64),
    ChannelWarning(u64),
    Heartbeat(SocketId),
    Idle(SocketId),
    Upload(SessionKey, String),
}

/// Names one timer, to cancel it. Timers of one instant go off in the order in which they were set.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct TimerKey {
    pub(super) at: Instant,
    number: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<TimerKey, Timer>,
    set: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Instant, timer: Timer) -> TimerKey {
        self.set += 1;
        let key = TimerKey { at, number: self.set };
        self.queue.insert(key, timer);
        key
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.queue.remove(&key);
    }

    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(TimerKey, Timer)> {
        let first = self.queue.first_entry()?;
        (first.key().at <= now).then(|| first.remove_entry())
    }

    pub(crate) fn next(&self) -> Option<(Instant, Reason)> {
        let (key, timer) = self.queue.first_key_value()?;
        let reason = match timer {
            Timer::Expiry(_) => Reason::SessionExpiry,
            Timer::Release(_) => Reason::Fault,
            Timer::Turn(..) => Reason::AgentTurn,
            Timer::Age(_) | Timer::Idle(_) => Reason::SocketAge,
            Timer::ChannelEnd(_) | Timer::ChannelWarning(_) => Reason::ChannelExpiry,
            Timer::Heartbeat(_) => Reason::Heartbeat,
            Timer::Upload(..) => Reason::UploadExpiry,
        };
        Some((key.at, reason))
    }
}
