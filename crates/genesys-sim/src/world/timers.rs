//! Timers of a world, in the order of time.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::world::{ScheduledStep, SessionKey, SocketId};

/// Reason for which a world asks for [`handle_timeout`](crate::World::handle_timeout).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The agent types, sends or leaves.
    AgentStep,
    /// A notification channel ends, or is about to.
    ChannelExpiry,
    /// A fault held an output back until now.
    Fault,
    /// The socket of a notification channel gets a heartbeat.
    Heartbeat,
    /// A session expires.
    SessionExpiry,
    /// The socket of a guest may be too old, or idle.
    SocketTimeout,
    /// A granted upload was not started in time.
    UploadExpiry,
}

#[derive(Clone, Debug)]
pub(crate) enum Timer {
    ChannelEnd(u64),
    ChannelWarning(u64),
    Expiry(SessionKey),
    Heartbeat(SocketId),
    Idle(SocketId),
    Lifetime(SocketId),
    Release(SocketId),
    Step(SessionKey, ScheduledStep),
    Upload(SessionKey, String),
}

/// Key of one timer, to cancel it. Timers of one instant fire in the order in which they were set.
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
            Timer::ChannelEnd(_) | Timer::ChannelWarning(_) => Reason::ChannelExpiry,
            Timer::Expiry(_) => Reason::SessionExpiry,
            Timer::Heartbeat(_) => Reason::Heartbeat,
            Timer::Idle(_) | Timer::Lifetime(_) => Reason::SocketTimeout,
            Timer::Release(_) => Reason::Fault,
            Timer::Step(..) => Reason::AgentStep,
            Timer::Upload(..) => Reason::UploadExpiry,
        };
        Some((key.at, reason))
    }
}
