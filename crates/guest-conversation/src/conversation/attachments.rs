//! Attachments of the conversation: requested on the socket, uploaded beside it, sent with messages.

use genesys_api::Now;
use web_messaging::Body;

use super::Conversation;
use super::frames::{Subject, transmit};
use crate::MessageId;
use crate::attachments::{
    AttachError, AttachmentId, Attachments, DeleteError, File, Rules, Stage, UploadOutcome,
};
use crate::event::{ServiceRefusal, SessionEvent};
use crate::state::State;
use crate::timeline::TimelineEvent;

const UPLOADED: TimelineEvent = TimelineEvent::Step("a file was uploaded");
const UPLOAD_FAILED: &str = "uploading a file failed";

impl Conversation {
    /// Takes a file, to be uploaded as soon as the session and the limits allow; `id` is fresh and random.
    /// [`SessionEvent::Attachment`] reports its state. Once it is uploaded, a message can be
    /// [sent](crate::GuestMachine::send) with it.
    ///
    /// # Errors
    /// If the service would refuse it, too much is being uploaded, or the session is not ready.
    pub fn attach(&mut self, id: AttachmentId, file: File) -> Result<(), AttachError> {
        self.ensure_attachable()?;
        self.attachments.attach(id, file)
    }

    /// Checks whether a file could be attached now, by its name, its media type, and its size if that is known: before
    /// its content is read.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn check_attachment(
        &self,
        name: &str,
        media_type: &str,
        bytes: Option<u64>,
    ) -> Result<(), AttachError> {
        self.ensure_attachable()?;
        self.attachments.check(name, media_type, bytes)
    }

    /// The rules for files of the session, once it is configured.
    #[must_use]
    pub fn attachment_rules(&self) -> Option<&Rules> {
        self.attachments.rules()
    }

    fn ensure_attachable(&self) -> Result<(), AttachError> {
        match self.engine.state() {
            State::Closing | State::Closed | State::Failed => Err(AttachError::Ended),
            State::ReadOnly => Err(AttachError::ReadOnly),
            State::Idle => Err(AttachError::NotReady),
            State::Connecting | State::Configuring | State::Configured | State::Reconnecting => Ok(()),
        }
    }

    /// Removes an attachment that was not sent: at the service too, if it is there. [`SessionEvent::Attachment`]
    /// reports the outcome.
    ///
    /// # Errors
    /// If it is unknown, or a message has it already.
    pub fn delete_attachment(&mut self, id: &AttachmentId) -> Result<(), DeleteError> {
        self.update_attachments(|attachments| attachments.delete(id))
    }

    /// The stage of an attachment; `None` once it is sent, deleted or failed.
    #[must_use]
    pub fn attachment(&self, id: &AttachmentId) -> Option<Stage> {
        self.attachments.stage(id)
    }

    pub(super) fn handle_upload(&mut self, id: &AttachmentId, outcome: UploadOutcome, now: Now) {
        self.update_attachments(|attachments| attachments.handle_upload(id, outcome, now.instant));
        self.engine.timeline.record(match outcome {
            UploadOutcome::Stored => UPLOADED,
            UploadOutcome::Refused { status } => TimelineEvent::Warning(UPLOAD_FAILED, Some(status)),
            UploadOutcome::Unanswered => TimelineEvent::Warning(UPLOAD_FAILED, None),
        });
    }

    pub(super) fn handle_attachment_rules(&mut self, rules: Rules, new_session: bool) {
        self.update_attachments(|attachments| {
            if new_session {
                attachments.handle_session_ended();
            }
            attachments.handle_rules(rules);
        });
    }

    /// Handles a received frame. Returns `None` if it is not about an attachment.
    pub(super) fn handle_attachment_body(
        &mut self,
        body: &Body<'_>,
        tracing_id: Option<&str>,
        now: Now,
    ) -> Option<()> {
        let unanswered = matches!(body, Body::UploadSuccess(uploaded)
            if self.attachments.is_uploading(&uploaded.attachment_id));
        self.update_attachments(|attachments| attachments.handle_body(body, tracing_id, now.instant))?;
        if unanswered {
            // the event precedes the storage's answer, which is not awaited any more
            self.engine.timeline.record(UPLOADED);
        }
        Some(())
    }

    /// Handles a refusal. Returns whether it was about an attachment.
    pub(super) fn handle_attachment_refused(
        &mut self,
        subject: &Subject,
        code: i64,
        refusal: &ServiceRefusal,
    ) -> bool {
        let Some(id) = subject.attachment() else {
            return false;
        };
        self.update_attachments(|attachments| attachments.handle_refused(&id, code, &refusal.message))
    }

    /// Resolves the attachments of a message: it was delivered, or not, by the code of a refusal if there was one.
    pub(super) fn resolve_attachments(&mut self, message: MessageId, delivery: Result<(), Option<i64>>) {
        self.update_attachments(|attachments| match delivery {
            Ok(()) => attachments.handle_delivered(message),
            Err(refusal) => attachments.handle_not_delivered(message, refusal),
        });
    }

    /// Releases the attachments of messages that were not sent.
    pub(super) fn release_attachments(&mut self, messages: &[MessageId]) {
        for id in messages {
            self.resolve_attachments(*id, Err(None));
        }
    }

    /// Queues the next request about an attachment, if there is one and the limits let it pass. Returns whether it did.
    pub(super) fn transmit_attachment_request(&mut self, now: Now) -> bool {
        let only_links = match self.engine.state() {
            State::Configured => false,
            State::ReadOnly => true,
            _ => return false,
        };
        if !self.attachments.wants_request(only_links) || !self.take_request(now) {
            return false;
        }
        let Some((id, action)) = self.attachments.poll_request(only_links, now.instant) else {
            return false;
        };
        transmit(&mut self.engine, &self.config.token, id, action);
        true
    }

    /// Changes the attachments, and emits their events.
    pub(super) fn update_attachments<R>(&mut self, change: impl FnOnce(&mut Attachments) -> R) -> R {
        let result = change(&mut self.attachments);
        for event in self.attachments.events.drain(..) {
            self.engine.emit(SessionEvent::Attachment(Box::new(event)));
        }
        result
    }
}
