//! The conversation's part in changes of the connection.

use std::time::Duration;

use genesys_api::Now;
use web_messaging::ErrorCode;

use super::Conversation;
use super::frames::ControlRequest;
use crate::CloseMode;
use crate::attachments::Attachments;
use crate::engine::shutdown::ClosingStep;
use crate::event::{Ending, FailureReason, Loss, ServiceRefusal};

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
            history.handle_disconnect(now.instant);
        }
        self.update_attachments(Attachments::handle_disconnected);
        self.engine.reconnect_after(loss, requested, now, random);
    }

    pub(super) fn finish(&mut self, ending: Ending) {
        if self.engine.state().is_over() {
            return;
        }
        if let Some(refusal) = self.lost_sign_in(&ending) {
            self.config.jwt = None;
            return self.engine.disconnect(Loss::SignIn(refusal));
        }
        self.abandon_history();
        self.engine.abandon_messages();
        self.update_attachments(Attachments::handle_session_ended);
        self.engine.finish(ending);
    }

    /// The refusal of an ending, if the conversation waits for the guest's next sign-in in place of it.
    fn lost_sign_in(&self, ending: &Ending) -> Option<ServiceRefusal> {
        match ending {
            _ if !self.config.retry_refusals || !self.engine.is_open() => None,
            Ending::AuthorizationRequired(refusal) => Some(refusal.clone()),
            Ending::Rejected(refusal) => {
                let is_anonymous = refusal.code.parse() == Ok(ErrorCode::CannotDowngrade.number());
                is_anonymous.then(|| refusal.clone())
            }
            _ => None,
        }
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
