//! The clock of a process.

use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::Now;

/// The clock of a process. Clones share it.
///
/// It follows the system's clocks. A simulator can move it forward, which wakes sleepers as if the time had passed. On
/// tokio's paused clock it is fully virtual.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Total time that the clock was moved forward.
    skipped: Arc<watch::Sender<Duration>>,
}

impl Clock {
    /// A clock that follows the system's.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Reads both clocks.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the clocks are read"
    )]
    pub fn now(&self) -> Now {
        let skipped = *self.skipped.borrow();
        Now {
            instant: tokio::time::Instant::now().into_std() + skipped,
            utc: OffsetDateTime::now_utc() + skipped,
        }
    }

    /// Moves the clock forward and wakes sleepers.
    pub fn advance(&self, by: Duration) {
        self.skipped.send_modify(|skipped| *skipped += by);
    }

    /// Waits until the clock shows `deadline`, or forever if it is `None`.
    pub async fn sleep_until(&self, deadline: impl Into<Option<Instant>>) {
        let Some(deadline) = deadline.into() else {
            return pending().await;
        };
        let mut skipped = self.skipped.subscribe();
        loop {
            let Some(real) = deadline.checked_sub(*skipped.borrow_and_update()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(real.into()) => return,
                // the sender lives as long as `self`, so this is always a change
                _ = skipped.changed() => {}
            }
        }
    }

    /// Waits for `duration` on this clock.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().instant + duration).await;
    }
}

/// A deadline on a [`Clock`] that is kept from wait to wait. A loop that keeps its deadline, or moves it to a later time,
/// registers one timer.
pub struct Timer {
    clock: Clock,
    deadline: Option<Instant>,
    /// The registered time, which the deadline may have left for a later one.
    sleep: Option<(Instant, Sleep)>,
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Timer {
    /// A timer without a deadline.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            deadline: None,
            sleep: None,
        }
    }

    /// Sets the deadline; `None` removes it.
    pub fn set(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
        self.sleep
            .take_if(|(at, _)| deadline.is_none_or(|deadline| deadline < *at));
    }

    /// Waits for the deadline, which is then removed. Without one, it never resolves. Cancel safe: the deadline stays.
    pub async fn elapsed(&mut self) {
        loop {
            let Some(deadline) = self.deadline else {
                return pending().await;
            };
            let (at, sleep) = self.sleep.get_or_insert_with(|| {
                let clock = self.clock.clone();
                (
                    deadline,
                    Box::pin(async move { clock.sleep_until(deadline).await }),
                )
            });
            sleep.as_mut().await;
            let is_due = *at == deadline;
            self.sleep = None;
            if is_due {
                self.deadline = None;
                return;
            }
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn advance_wakes_sleepers() {
        let clock = Clock::system();
        let started = clock.now();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(3600)).await }
        });
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1800));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished(), "half the time has passed");
        clock.advance(Duration::from_secs(1800));
        sleeper.await.unwrap();
        assert!(clock.now().instant - started.instant >= Duration::from_secs(3600));
        assert!(clock.now().utc - started.utc >= time::Duration::hours(1));
    }

    #[tokio::test(start_paused = true)]
    async fn timer_fires_once_at_its_latest_deadline() {
        let clock = Clock::system();
        let start = clock.now().instant;
        let mut timer = Timer::new(clock.clone());
        timer.set(Some(start + Duration::from_secs(60)));
        timer.set(Some(start + Duration::from_secs(5)));
        timer.elapsed().await;
        assert_eq!(clock.now().instant - start, Duration::from_secs(5));
        let again = tokio::time::timeout(Duration::from_secs(600), timer.elapsed()).await;
        assert!(again.is_err(), "the deadline was removed");
    }

    #[tokio::test(start_paused = true)]
    async fn timer_keeps_its_registration_for_a_later_deadline() {
        let clock = Clock::system();
        let start = clock.now().instant;
        let mut timer = Timer::new(clock.clone());
        for seconds in 5..60 {
            timer.set(Some(start + Duration::from_secs(seconds)));
            let mut context = Context::from_waker(Waker::noop());
            assert!(pin!(timer.elapsed()).poll(&mut context).is_pending());
            assert_eq!(timer.sleep.as_ref().unwrap().0, start + Duration::from_secs(5));
        }
        timer.elapsed().await;
        assert_eq!(clock.now().instant - start, Duration::from_secs(59));
    }
}
