//! The one place where a clock is read.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::Now;

/// The clock of a process. Clones share it.
///
/// It runs with the system's clocks. A demo or a simulator can move it forward; whoever sleeps on it then wakes as if
/// the time had passed. On tokio's paused clock it is fully virtual.
#[derive(Clone, Debug)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    skipped: RwLock<Duration>,
    moved: watch::Sender<()>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// A clock that runs with the system's.
    #[must_use]
    pub fn system() -> Self {
        Self {
            shared: Arc::new(Shared {
                skipped: RwLock::new(Duration::ZERO),
                moved: watch::Sender::new(()),
            }),
        }
    }

    /// Reads both clocks.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the clocks are read"
    )]
    #[must_use]
    pub fn now(&self) -> Now {
        let skipped = self.skipped();
        Now {
            instant: tokio::time::Instant::now().into_std() + skipped,
            utc: OffsetDateTime::now_utc() + skipped,
        }
    }

    /// Moves the clock forward and wakes whoever sleeps on it. It never moves backward.
    pub fn advance(&self, by: Duration) {
        let mut skipped = self
            .shared
            .skipped
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *skipped += by;
        drop(skipped);
        self.shared.moved.send_replace(());
    }

    /// Waits until the clock shows `deadline`.
    pub async fn sleep_until(&self, deadline: Instant) {
        let mut moved = self.shared.moved.subscribe();
        loop {
            moved.mark_unchanged();
            let Some(real) = deadline.checked_sub(self.skipped()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(real.into()) => return,
                // the sender lives as long as `self`, so this is always a move
                _ = moved.changed() => {}
            }
        }
    }

    /// Waits for `duration` on this clock.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().instant + duration).await;
    }

    fn skipped(&self) -> Duration {
        *self
            .shared
            .skipped
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn moving_the_clock_wakes_a_sleeper() {
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
}
