//! The connection as the conversation sees it: configured, given up, lost, and over.

use std::time::Duration;

use genesys_api::Now;

use super::event::{Ending, Event, FailureReason, Loss};
use super::state::{Command, Reason, State};
use super::timeline::{Happening, Limit};
use super::{ANSWER_TIMEOUT, Conversation};
use ws_transport::Transmit;

impl Conversation {
    pub(super) fn configure(&mut self, now: Now) {
        if let Err(at) = self.outbox.pacing.configure(now.instant) {
            self.chronicle.record_wait(Limit::Requests, at);
            self.deadline = Some((at, Reason::Configure));
            return;
        }
        let opening = self.dialect.opening(self.start_new, now);
        self.transmits.push_back(Transmit::Frame(opening));
        self.deadline = Some((now.instant + ANSWER_TIMEOUT, Reason::ConfigureTimeout));
    }

    /// Has the socket dropped, or its opening given up; `handle_closed` follows.
    pub(super) fn disconnect(&mut self, loss: Loss) {
        self.socket = false;
        self.loss = Some(loss);
        self.deadline = None;
        self.transmits.clear();
        self.command = Some(Command::Disconnect);
    }

    pub(super) fn reconnect_after(&mut self, why: Loss, asked: Option<Duration>, now: Now, random: u64) {
        self.chronicle
            .with(|timeline, now| timeline.record_loss(&why, now));
        self.handle_lost(now);
        let (attempt, after) = self.backoff.handle_lost(asked, now.instant, random);
        self.enter(State::Reconnecting);
        self.chronicle.record(Happening::reconnect_in(attempt, after));
        self.deadline = Some((now.instant + after, Reason::Reconnect));
        self.tell(Event::Reconnecting { attempt, after, why });
    }

    /// The socket is gone, and with it what was on it.
    pub(super) fn handle_lost(&mut self, now: Now) {
        self.stop_awaiting();
        self.heartbeat = None;
        self.stepping = false;
        self.lost_at = Some(now.instant);
        self.transmits.clear();
        self.health.handle_lost();
        if self.dialect.resends() {
            self.outbox.requeue_all();
        } else {
            self.outbox.doubt_sent();
        }
        if let Some(archive) = &mut self.archive {
            archive.handle_lost();
        }
        self.handle_files_lost();
    }

    pub(super) fn finish(&mut self, ending: Ending) {
        if self.state.is_over() {
            return;
        }
        self.abandon_history();
        self.give_up_waiting(&FailureReason::Ended);
        self.outbox.doubt_sent();
        self.tell_doubts();
        self.give_up_files();
        self.transmits.clear();
        if self.socket && !matches!(self.deadline, Some((_, Reason::Close))) {
            self.transmits.push_back(GOODBYE);
        }
        self.chronicle
            .with(|timeline, now| timeline.record_ending(&ending, now));
        self.enter(match ending {
            Ending::ByUs | Ending::ClosedByServer { .. } | Ending::SessionEnded { .. } => State::Closed,
            Ending::AuthorizationRequired(_)
            | Ending::LoggedOut
            | Ending::Refused { .. }
            | Ending::Rejected(_)
            | Ending::SessionExpired => State::Failed,
        });
        self.socket = false;
        self.loss = None;
        self.deadline = None;
        self.tell(Event::Ended(ending));
    }
}

pub(super) const GOODBYE: Transmit = Transmit::Close {
    code: 1000,
    reason: "the guest has left",
};
