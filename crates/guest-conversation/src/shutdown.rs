//! Shutdown of a conversation: messages on their way drain, the conversation may be cleared, the socket closes.

use std::time::{Duration, Instant};

use crate::state::Reason;

/// Longest wait for messages that are on their way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the answer to the clearing and the service's close frame together.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest shutdown.
pub(crate) const LONGEST_SHUTDOWN: Duration = DRAIN_TIMEOUT.saturating_add(CLOSE_TIMEOUT);

/// A shutdown that is under way.
#[derive(Debug)]
pub(crate) struct Closing {
    step: ClosingStep,
    until: Instant,
    limits: Limits,
}

/// The steps of a shutdown, in their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ClosingStep {
    /// Messages that are on their way are waited for.
    Draining,
    /// The conversation was asked to be cleared.
    Clearing,
    /// The close frame was queued.
    Closing,
}

/// Latest end of each step.
#[derive(Clone, Copy, Debug)]
struct Limits {
    draining: Instant,
    clearing: Instant,
    closing: Instant,
}

impl Closing {
    pub(crate) fn new(now: Instant, within: Duration) -> Self {
        let limits = Limits::new(now, within);
        Self {
            step: ClosingStep::Draining,
            until: limits.draining,
            limits,
        }
    }

    pub(crate) fn step(&self) -> ClosingStep {
        self.step
    }

    pub(crate) fn enter(&mut self, step: ClosingStep, now: Instant) {
        self.step = step;
        self.until = self.limits.of(step).min(now + CLOSE_TIMEOUT);
    }

    /// Shortens the shutdown.
    pub(crate) fn hurry(&mut self, now: Instant, within: Duration) {
        self.limits = self.limits.min(Limits::new(now, within));
        self.until = self.until.min(self.limits.of(self.step));
    }

    pub(crate) fn deadline(&self) -> (Instant, Reason) {
        let reason = match self.step {
            ClosingStep::Draining => Reason::Drain,
            ClosingStep::Clearing => Reason::Clear,
            ClosingStep::Closing => Reason::Close,
        };
        (self.until, reason)
    }
}

impl Limits {
    /// Closing gets half of a short time, and at most 2 s.
    fn new(now: Instant, within: Duration) -> Self {
        let within = within.min(LONGEST_SHUTDOWN);
        let closing = CLOSE_TIMEOUT.min(within / 2);
        Self {
            draining: now + (within - closing),
            clearing: now + (within - closing / 2),
            closing: now + within,
        }
    }

    fn of(&self, step: ClosingStep) -> Instant {
        match step {
            ClosingStep::Draining => self.draining,
            ClosingStep::Clearing => self.clearing,
            ClosingStep::Closing => self.closing,
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            draining: self.draining.min(other.draining),
            clearing: self.clearing.min(other.clearing),
            closing: self.closing.min(other.closing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shutdown_limits_each_step() {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let now = Instant::now();
        for (within, draining, clearing, closing) in [
            (Duration::MAX, 5_000, 6_000, 7_000),
            (Duration::from_secs(1), 500, 750, 1_000),
            (Duration::ZERO, 0, 0, 0),
        ] {
            let limits = Limits::new(now, within);
            let parts = [limits.draining, limits.clearing, limits.closing];
            assert_eq!(
                parts.map(|at| (at - now).as_millis()),
                [draining, clearing, closing]
            );
        }
    }
}
