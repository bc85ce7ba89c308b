//! The conversation's part in changes of the connection.

use std::time::Duration;

use genesys_api::Now;

use super::Conversation;
use super::frames::ControlRequest;
use crate::CloseMode;
use crate::attachments::Attachments;
use crate::engine::shutdown::ClosingStep;
use crate::event::{Ending, FailureReason, Loss};

impl Conversation {
    /// Requests the session, as soon as the limits allow.
    pub(super) fn configure(&mut self, now: Now) {
        if self.engine.request_session(now) {
            self.transmit_configure();
        }
    }

    pub(super) fn reconnect_after(&mut self, loss: Loss, requested: Option<Duration>, now: Now, random: u64) {
        self.expiry.handle_lost();
        self.engine.outbox.mark_sent_unknown();
        if let Some(history) = &mut self.history {
            history.lost_at = Some(now.instant);
            history.handle_lost();
        }
        self.update_attachments(Attachments::handle_disconnected);
        self.engine.reconnect_after(loss, requested, now, random);
    }

    pub(super) fn finish(&mut self, ending: Ending) {
        if self.engine.state().is_over() {
            return;
        }
        self.abandon_history();
        self.engine.abandon_messages();
        self.update_attachments(Attachments::handle_session_ended);
        self.engine.finish(ending);
    }

    /// Requests the clearing, if the shutdown includes it, or closes.
    pub(super) fn clear_or_close(&mut self, now: Now) {
        if self.config.close_mode == CloseMode::Leave || !self.config.rules.clear {
            return self.close(now);
        }
        let failed = self.engine.fail_waiting(&FailureReason::Ended);
        self.release_attachments(&failed);
        self.request_control(ControlRequest::Clear, now);
        // whether Genesys clears if a close frame follows at once is not known: wait for the answer, as its SDK does
        self.engine.enter_closing_step(ClosingStep::Clearing, now);
    }

    pub(super) fn close(&mut self, now: Now) {
        let failed = self.engine.close(now);
        self.release_attachments(&failed);
    }
}
