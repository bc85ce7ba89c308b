//! Shutdown of a conversation: unacknowledged messages drain, the conversation may be cleared, the socket closes.

use std::time::{Duration, Instant};

use genesys_api::Now;

use super::{CLOSE_FRAME, Due, Engine};
use crate::MessageId;
use crate::event::{Ending, FailureReason};
use crate::state::{Command, Phase, Reason, Stage, State};

/// Longest wait for unacknowledged messages.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the answer to the clearing and the service's close frame together.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest shutdown.
pub(crate) const LONGEST_SHUTDOWN: Duration = DRAIN_TIMEOUT.saturating_add(CLOSE_TIMEOUT);

/// A shutdown that is under way.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) step: ClosingStep,
    until: Instant,
    /// Latest end of each step.
    limits: [Instant; 3],
}

/// The steps of a shutdown, in their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ClosingStep {
    /// Unacknowledged messages are waited for.
    Draining,
    /// The clearing of the conversation was requested.
    Clearing,
    /// The close frame was queued.
    Closing,
}

impl Closing {
    fn new(now: Instant, within: Duration) -> Self {
        let limits = limits(now, within);
        Self {
            step: ClosingStep::Draining,
            until: limits[0],
            limits,
        }
    }

    fn enter(&mut self, step: ClosingStep, now: Instant) {
        self.step = step;
        self.until = self.limits[step as usize].min(now + CLOSE_TIMEOUT);
    }

    fn shorten(&mut self, now: Instant, within: Duration) {
        for (limit, new) in self.limits.iter_mut().zip(limits(now, within)) {
            *limit = new.min(*limit);
        }
        self.until = self.until.min(self.limits[self.step as usize]);
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

/// Closing gets half of a short time, and at most 2 s.
fn limits(now: Instant, within: Duration) -> [Instant; 3] {
    let within = within.min(LONGEST_SHUTDOWN);
    let closing = CLOSE_TIMEOUT.min(within / 2);
    [within - closing, within - closing / 2, within].map(|limit| now + limit)
}

impl Engine {
    /// Begins a shutdown, or shortens one. Returns the next step, unless messages are waited for.
    pub fn shut_down(&mut self, within: Duration, now: Now) -> Option<Due> {
        self.timeline.handle_time(now);
        let next = match &mut self.phase {
            Phase::Over(_)
            | Phase::Dropping {
                state: State::Closing,
                ..
            } => return None,
            Phase::Connecting { .. } => {
                self.command = Some(Command::Disconnect);
                return Some(Due::Finish(Ending::ByUs));
            }
            Phase::Idle | Phase::Reconnecting(_) | Phase::Dropping { .. } => {
                return Some(Due::Finish(Ending::ByUs));
            }
            Phase::Open { stage, .. } => match stage {
                Stage::Closing(closing) => {
                    closing.shorten(now.instant, within);
                    return None;
                }
                Stage::Configured => None,
                Stage::ReadOnly { .. } => Some(Due::Clear),
                Stage::Configuring(_) | Stage::SigningIn(_) => Some(Due::Close),
            },
        };
        self.enter(Stage::Closing(Closing::new(now.instant, within)));
        next
    }

    /// Queues the close frame. The waiting messages fail; returns their ids.
    pub fn close(&mut self, now: Now) -> Vec<MessageId> {
        let failed = self.fail_waiting(&FailureReason::Ended);
        self.transmits.push_back(CLOSE_FRAME);
        self.enter_closing_step(ClosingStep::Closing, now);
        failed
    }

    pub(crate) fn enter_closing_step(&mut self, step: ClosingStep, now: Now) {
        if let Phase::Open {
            stage: Stage::Closing(closing),
            ..
        } = &mut self.phase
        {
            closing.enter(step, now.instant);
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
        for (within, expected) in [
            (Duration::MAX, [5_000, 6_000, 7_000]),
            (Duration::from_secs(1), [500, 750, 1_000]),
            (Duration::ZERO, [0, 0, 0]),
        ] {
            let limits = limits(now, within);
            assert_eq!(limits.map(|at| (at - now).as_millis()), expected);
        }
    }
}
