//! The conversation's part in changes of the connection.

use std::time::Duration;

use genesys_api::Now;

use super::Conversation;
use super::frames::ControlRequest;
use crate::engine::Shutdown;
use crate::event::{Ending, FailureReason, Loss};
use crate::shutdown::ClosingStep;

impl Conversation {
    /// Requests the session, as soon as the limits allow.
    pub(super) fn configure(&mut self, now: Now) {
        if self.engine.request_session(now) {
            self.transmit_configure();
        }
    }

    pub(super) fn reconnect_after(&mut self, loss: Loss, requested: Option<Duration>, now: Now, random: u64) {
        self.engine.handle_lost(&loss);
        self.expiry.handle_lost();
        self.engine.mark_sent_unknown();
        if let Some(history) = &mut self.history {
            history.lost_at = Some(now.instant);
            history.handle_lost();
        }
        self.handle_attachments_lost();
        self.engine.schedule_reconnect(loss, requested, now, random);
    }

    pub(super) fn finish(&mut self, ending: Ending) {
        if self.engine.state().is_over() {
            return;
        }
        self.abandon_history();
        self.fail_waiting();
        self.engine.mark_sent_unknown();
        self.engine.report_unknown();
        self.abandon_attachments();
        self.engine.finish(ending);
    }

    pub(super) fn shut_down(&mut self, within: Duration, now: Now) {
        let next = self.engine.shut_down(within, now);
        match next {
            Shutdown::Nothing => {}
            Shutdown::Finish => self.finish(Ending::ByUs),
            Shutdown::Drain => self.abandon_history(),
            Shutdown::Clear => {
                self.abandon_history();
                self.clear_or_close(now);
            }
            Shutdown::Close => self.close(now),
        }
    }

    /// Requests the clearing, if the shutdown includes it, or closes.
    pub(super) fn clear_or_close(&mut self, now: Now) {
        if !self.clears_on_close() {
            return self.close(now);
        }
        self.fail_waiting();
        let _ = self.engine.pacing.request(now.instant);
        self.transmit_control(ControlRequest::Clear);
        // whether Genesys clears if a close frame follows at once is not known: wait for the answer, as its SDK does
        self.engine.enter_closing_step(ClosingStep::Clearing, now);
    }

    pub(super) fn close(&mut self, now: Now) {
        self.fail_waiting();
        self.engine.close(now);
    }

    fn fail_waiting(&mut self) {
        let failed = self.engine.fail_waiting(&FailureReason::Ended);
        self.release_attachments(&failed);
    }
}
