//! The wait before the next connection.

use std::time::{Duration, Instant};

use genesys_api::retry;

/// Full jitter from 0.5 s up to 30 s. The count starts again after a connection that was ready for a minute.
///
/// Our choice.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    attempt: u32,
    ready: Option<Instant>,
}

impl Backoff {
    const STABLE: Duration = Duration::from_secs(60);

    /// Handles a connection that is ready for use.
    pub fn handle_ready(&mut self, now: Instant) {
        self.ready = Some(now);
    }

    /// Handles a lost or failed connection. Returns the number of the next attempt and the wait before it. A wait that
    /// the server requested is kept, at most [`retry::MAX_RETRY_AFTER`], with up to 0.5 s of jitter on top.
    pub fn handle_lost(&mut self, requested: Option<Duration>, now: Instant, random: u64) -> (u32, Duration) {
        let ready = self.ready.take();
        if ready.is_some_and(|at| now.saturating_duration_since(at) >= Self::STABLE) {
            self.attempt = 0;
        }
        let wait = retry::Backoff::default().wait(self.attempt, requested, random);
        self.attempt = self.attempt.saturating_add(1);
        (self.attempt, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap_and_resets_after_a_stable_minute() {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        let mut longest = |now| backoff.handle_lost(None, now, u64::MAX).1.as_millis() + 1;
        let waits: Vec<_> = (0..8).map(|_| longest(now)).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.handle_ready(now);
        now += Duration::from_secs(59);
        assert_eq!(backoff.handle_lost(None, now, 0), (9, Duration::ZERO));
        backoff.handle_ready(now);
        now += Duration::from_secs(60);
        assert_eq!(backoff.handle_lost(None, now, 0), (1, Duration::ZERO));
        let requested = Some(Duration::from_secs(7));
        assert_eq!(
            backoff.handle_lost(requested, now, 0),
            (2, Duration::from_secs(7))
        );
    }
}
