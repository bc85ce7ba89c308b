//! The rate of new connections to one service.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use genesys_api::{Clock, Rate};
use tokio::sync::Notify;

use crate::{ConnectQueue, QueueFull, Ticket};

/// Most connections of one owner that wait. Our choice: a minute of the default rate.
const CAPACITY: usize = 900;

/// Least change of the time of a slot that is reported. Our choice.
pub(super) const REPORTED_DELAY: Duration = Duration::from_secs(1);

/// Spreads new connections. All connections to one service share one; clones are the same limiter.
///
/// Genesys Cloud takes 1,000 new connections a minute for a deployment. The default, 915 a minute of which 15 may come at
/// once, leaves some for other processes.
///
/// Connections wait in a queue of their owner, at most 900 of them, and the owners take turns. A connection that is dropped
/// leaves its queue.
#[derive(Clone, Debug)]
pub struct ConnectLimiter {
    queue: Arc<Mutex<ConnectQueue<Arc<Notify>>>>,
    owner: Arc<str>,
}

impl Default for ConnectLimiter {
    fn default() -> Self {
        Self::per_minute(Self::PER_MINUTE)
    }
}

impl ConnectLimiter {
    /// The default rate.
    pub const PER_MINUTE: NonZeroU32 = NonZeroU32::new(915).expect("915 is not 0");

    /// At most `total` connections in any minute, of which a sixty-first may come at once.
    #[must_use]
    pub fn per_minute(total: NonZeroU32) -> Self {
        let burst = (total.get() / 61).max(1);
        let rate = Rate {
            limit: total.get() - (burst - 1),
            period: Duration::from_secs(60),
            burst,
        };
        Self {
            queue: Arc::new(Mutex::new(ConnectQueue::new(rate, CAPACITY))),
            owner: "".into(),
        }
    }

    /// Returns the same limiter for the connections of an owner.
    #[must_use]
    pub fn of_owner(&self, owner: &str) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            owner: owner.into(),
        }
    }

    /// Connections of all owners that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Adds a connection to the queue.
    ///
    /// # Errors
    /// If too many connections of the owner wait.
    pub(super) fn enqueue(&self, now: Instant) -> Result<Slot, QueueFull> {
        let wake = Arc::new(Notify::new());
        let ticket = self.lock().enqueue(&self.owner, Arc::clone(&wake), now)?;
        let limiter = self.clone();
        Ok(Slot {
            limiter,
            ticket,
            wake,
        })
    }

    fn lock(&self) -> MutexGuard<'_, ConnectQueue<Arc<Notify>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in the queue. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Slot {
    limiter: ConnectLimiter,
    ticket: Ticket,
    /// Notified when it has its slot, or is the next one.
    wake: Arc<Notify>,
}

impl Slot {
    /// Returns the expected time of the slot, `None` if the connection may begin.
    pub(super) fn poll(&self, now: Instant) -> Option<Instant> {
        let mut queue = self.limiter.lock();
        while let Some(granted) = queue.poll_slot(now) {
            granted.notify_one();
            if let Some(next) = queue.peek() {
                next.notify_one();
            }
        }
        queue.expected(&self.ticket, now)
    }

    /// Waits until the connection may begin, or its slot comes clearly after `expected`. Then it returns the new time.
    pub(super) async fn wait(&self, expected: Instant, clock: &Clock) -> Option<Instant> {
        loop {
            let slot = self.poll(clock.now().instant)?;
            if slot > expected + REPORTED_DELAY {
                return Some(slot);
            }
            tokio::select! {
                () = clock.sleep_until(slot) => {}
                () = self.wake.notified() => {}
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut queue = self.limiter.lock();
        queue.cancel(&self.ticket);
        if let Some(next) = queue.peek() {
            next.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_get_their_slots_on_the_clock_of_the_process() {
        let (clock, limiter) = (Clock::system(), ConnectLimiter::per_minute(NonZeroU32::MIN));
        let (crowd, other) = (limiter.of_owner("crowd"), limiter.of_owner("other"));
        let now = || clock.now().instant;
        let first = crowd.enqueue(now()).unwrap();
        assert_eq!(first.poll(now()), None);
        let waits: Vec<_> = [&crowd, &crowd, &crowd, &other]
            .map(|limiter| {
                let (slot, clock) = (limiter.enqueue(now()).unwrap(), clock.clone());
                let mut expected = slot.poll(now());
                tokio::spawn(async move {
                    while let Some(time) = expected {
                        expected = slot.wait(time, &clock).await;
                    }
                })
            })
            .into();
        let finished = async || {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            waits
                .iter()
                .map(tokio::task::JoinHandle::is_finished)
                .collect::<Vec<_>>()
        };
        assert_eq!(finished().await, [false, false, false, false]);
        // a dropped one leaves its slot to the next
        waits[0].abort();
        finished().await;
        assert_eq!(limiter.waiting(), 3);
        clock.advance(Duration::from_secs(61));
        assert_eq!(finished().await, [true, true, false, false]);
        clock.advance(Duration::from_secs(61));
        assert_eq!(finished().await, [true, true, false, true]);
        clock.advance(Duration::from_secs(61));
        assert_eq!(finished().await, [true; 4]);
        assert_eq!(limiter.waiting(), 0);
    }
}
