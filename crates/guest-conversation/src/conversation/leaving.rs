//! How a conversation is left: what is on its way may arrive, the farewell is said, the socket closes.

use std::time::{Duration, Instant};

use genesys_api::Now;

use super::Conversation;
use super::connection::GOODBYE;
use super::event::{Ending, FailureReason};
use super::state::{Command, Reason, State};
use crate::Farewell;
use ws_transport::Transmit;

/// How long messages that are on their way are waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer to the farewell is waited for, and as long the service's close frame; both end in time.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest goodbye.
pub(crate) const LONGEST_GOODBYE: Duration = DRAIN_TIMEOUT.saturating_add(CLOSE_TIMEOUT);

/// When each part of a goodbye is over at the latest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goodbye {
    drained: Instant,
    answered: Instant,
    closed: Instant,
}

impl Goodbye {
    /// Closing gets half of a short time, and at most 2 s.
    fn new(now: Instant, within: Duration) -> Self {
        let within = within.min(LONGEST_GOODBYE);
        let closing = CLOSE_TIMEOUT.min(within / 2);
        Self {
            drained: now + (within - closing),
            answered: now + (within - closing / 2),
            closed: now + within,
        }
    }

    fn sooner(self, other: Self) -> Self {
        Self {
            drained: self.drained.min(other.drained),
            answered: self.answered.min(other.answered),
            closed: self.closed.min(other.closed),
        }
    }
}

impl Conversation {
    /// Changes what [`Self::end`] means at Genesys Cloud. Under `guest-sessions` this does nothing: a session is ended
    /// there by a call.
    pub fn set_farewell(&mut self, farewell: Farewell) {
        self.dialect.set_farewell(farewell);
    }

    /// Ends the conversation: waits up to 5 s for messages that are on their way, then takes up to 2 s to close.
    pub fn end(&mut self, now: Now) {
        self.end_within(LONGEST_GOODBYE, now);
    }

    /// As [`Self::end`], but all of it takes no longer than `within`; what is not done by then is left. It can be
    /// called again to hurry.
    ///
    /// [`Farewell::Clear`] is said once the messages are dealt with, and only on a socket where the session is
    /// configured. [`Event::SessionCleared`](crate::Event::SessionCleared) tells that it was heard,
    /// [`Event::Refused`](crate::Event::Refused) that it was refused; the conversation ends in any case.
    pub fn end_within(&mut self, within: Duration, now: Now) {
        self.chronicle.handle_time(now);
        let goodbye = Goodbye::new(now.instant, within);
        let goodbye = self.goodbye.map_or(goodbye, |known| known.sooner(goodbye));
        self.goodbye = Some(goodbye);
        match self.state {
            State::Closed | State::Failed => {}
            State::Closing => {
                self.deadline = self.deadline.map(|(at, reason)| {
                    let latest = match reason {
                        Reason::Drain => goodbye.drained,
                        Reason::Farewell => goodbye.answered,
                        _ => goodbye.closed,
                    };
                    (at.min(latest), reason)
                });
            }
            State::Configured if self.socket => {
                self.abandon_history();
                self.enter(State::Closing);
                self.deadline = Some((goodbye.drained, Reason::Drain));
            }
            State::ReadOnly if self.socket => {
                self.abandon_history();
                self.enter(State::Closing);
                self.say_farewell(now);
            }
            State::Configuring if self.socket => {
                self.enter(State::Closing);
                self.close(now);
            }
            State::Connecting => {
                self.command = Some(Command::Disconnect);
                self.finish(Ending::ByUs);
            }
            _ => self.finish(Ending::ByUs),
        }
    }

    /// Says what the contract has to say before we close; what waits will not be sent.
    pub(super) fn say_farewell(&mut self, now: Now) {
        self.give_up_waiting(&FailureReason::Ended);
        let Some(farewell) = self.dialect.farewell() else {
            return self.close(now);
        };
        let _ = self.outbox.pacing.request(now.instant);
        self.transmits.push_back(Transmit::Frame(farewell));
        // whether Genesys heeds it if a close frame follows at once is not known: wait for the answer, as its SDK does
        let latest = self.goodbye.map(|goodbye| goodbye.answered);
        self.deadline = Some((soon(now, latest), Reason::Farewell));
    }

    /// The service did what the farewell asked for, or refused to.
    pub(super) fn handle_farewell_answered(&mut self, now: Now) {
        if matches!(self.deadline, Some((_, Reason::Farewell))) {
            self.close(now);
        }
    }

    pub(super) fn close(&mut self, now: Now) {
        self.give_up_waiting(&FailureReason::Ended);
        self.transmits.push_back(GOODBYE);
        // nothing may follow a close frame, not even a ping
        self.heartbeat = None;
        let latest = self.goodbye.map(|goodbye| goodbye.closed);
        self.deadline = Some((soon(now, latest), Reason::Close));
    }
}

fn soon(now: Now, latest: Option<Instant>) -> Instant {
    let soon = now.instant + CLOSE_TIMEOUT;
    latest.map_or(soon, |latest| latest.min(soon))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_goodbye_has_its_time() {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        let now = Instant::now();
        for (within, drained, answered, closed) in [
            (Duration::MAX, 5_000, 6_000, 7_000),
            (Duration::from_secs(1), 500, 750, 1_000),
            (Duration::ZERO, 0, 0, 0),
        ] {
            let goodbye = Goodbye::new(now, within);
            let parts = [goodbye.drained, goodbye.answered, goodbye.closed];
            assert_eq!(
                parts.map(|at| (at - now).as_millis()),
                [drained, answered, closed]
            );
        }
    }
}
