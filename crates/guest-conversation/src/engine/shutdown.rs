//! Shutdown of the connection by this side.

use std::time::Duration;

use genesys_api::Now;

use super::{CLOSE_FRAME, Engine, Shutdown};
use crate::shutdown::{Closing, ClosingStep};
use crate::state::{Command, Phase, Stage, State};

impl Engine {
    /// Begins a shutdown, or shortens one.
    pub fn shut_down(&mut self, within: Duration, now: Now) -> Shutdown {
        self.timeline.handle_time(now);
        let closing = Closing::new(now.instant, within);
        let next = match &mut self.phase {
            Phase::Over(_)
            | Phase::Dropping {
                state: State::Closing,
                ..
            } => return Shutdown::Nothing,
            Phase::Connecting { .. } => {
                self.command = Some(Command::Disconnect);
                return Shutdown::Finish;
            }
            Phase::Idle | Phase::Reconnecting(_) | Phase::Dropping { .. } => return Shutdown::Finish,
            Phase::Open { stage, .. } => match stage {
                Stage::Closing(closing) => {
                    closing.hurry(now.instant, within);
                    return Shutdown::Nothing;
                }
                Stage::Configured => Shutdown::Drain,
                Stage::ReadOnly { .. } => Shutdown::Clear,
                Stage::Configuring(_) | Stage::SigningIn(_) => Shutdown::Close,
            },
        };
        self.enter(Stage::Closing(closing));
        next
    }

    /// Queues the close frame. The waiting messages must have failed before.
    pub fn close(&mut self, now: Now) {
        self.transmits.push_back(CLOSE_FRAME);
        self.enter_closing_step(ClosingStep::Closing, now);
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
