//! Attachments of the conversation: requested on the socket, uploaded beside it, sent with messages.

use std::collections::VecDeque;
use std::time::Instant;

use genesys_api::Now;
use web_messaging::Body;

use super::Conversation;
use super::frames::Subject;
use super::request::RequestError;
use crate::MessageId;
use crate::attachments::{
    AttachError, AttachToError, AttachmentId, AttachmentRequest, Attachments, DeleteError, File, FileUpload,
    PresignedUpload, RefreshError, Rules, Stage, UploadOutcome,
};
use crate::event::{Refusal, SessionEvent};
use crate::state::State;
use crate::timeline::{HttpOperation, Outcome, TimelineEvent};

/// The attachments, and the uploads that the driver has not polled yet.
#[derive(Debug, Default)]
pub(super) struct SessionAttachments {
    attachments: Attachments,
    uploads: VecDeque<FileUpload>,
}

impl Conversation {
    /// Takes a file, to be uploaded as soon as the session and the limits allow; `id` is fresh and random.
    /// [`SessionEvent::Attachment`] reports its state. Once it is uploaded, a message can be [sent](Self::send) with
    /// it.
    ///
    /// # Errors
    /// If the service would refuse it, too much is on its way, or the session is not ready.
    pub fn attach(&mut self, id: AttachmentId, file: File) -> Result<(), AttachError> {
        match self.engine.state() {
            State::Closing | State::Closed | State::Failed => return Err(AttachError::Ended),
            State::Idle | State::ReadOnly => return Err(AttachError::NotReady),
            State::Connecting | State::Configuring | State::Configured | State::Reconnecting => {}
        }
        match &mut self.attachments {
            Some(held) => held.attachments.attach(id, file),
            None if self.session.is_some() => Err(AttachError::Off),
            None => Err(AttachError::NotReady),
        }
    }

    /// Removes an attachment that was not sent: at the service too, if it is there. [`SessionEvent::Attachment`]
    /// reports the outcome.
    ///
    /// # Errors
    /// If it is not held, or a message has it already.
    pub fn delete_attachment(&mut self, id: &AttachmentId) -> Result<(), DeleteError> {
        let held = self.attachments.as_mut().ok_or(DeleteError::Unknown)?;
        held.attachments.delete(id)?;
        self.emit_attachment_events();
        Ok(())
    }

    /// The stage of an attachment; `None` if it is not held, or not any more.
    #[must_use]
    pub fn attachment(&self, id: &AttachmentId) -> Option<Stage> {
        self.attachments.as_ref()?.attachments.stage(id)
    }

    pub(super) fn refresh_attachment(&mut self, id: AttachmentId) -> Result<(), RequestError> {
        let held = self.attachments.get_or_insert_default();
        let busy = |full: RefreshError| RequestError::Busy { waiting: full.count };
        held.attachments.refresh(id).map_err(busy)
    }

    pub(super) fn handle_upload_answer(&mut self, id: &AttachmentId, outcome: UploadOutcome, now: Now) {
        self.engine.timeline.handle_time(now);
        let Some(held) = &mut self.attachments else { return };
        held.attachments.handle_upload(id, outcome, now.instant);
        self.record_upload(match outcome {
            UploadOutcome::Refused { status } => Outcome::Refused(status),
            UploadOutcome::Stored => Outcome::Done,
            UploadOutcome::Unanswered => Outcome::Unanswered,
        });
        self.emit_attachment_events();
    }

    fn record_upload(&mut self, outcome: Outcome) {
        let event = TimelineEvent::Http(HttpOperation::Upload, outcome);
        self.engine.timeline.record(event);
    }

    /// The session is configured. Where attachments are forbidden they take no memory.
    pub(super) fn handle_attachment_rules(&mut self, rules: Rules, new_session: bool) {
        if let Some(held) = &mut self.attachments {
            if new_session {
                held.attachments.handle_new_session();
            }
            held.attachments.handle_rules(rules);
            self.emit_attachment_events();
        } else if rules != Rules::off() {
            self.attachments
                .get_or_insert_default()
                .attachments
                .handle_rules(rules);
        }
    }

    /// A frame about an attachment arrived. Returns `None` if it is none.
    pub(super) fn handle_attachment_body(
        &mut self,
        body: &Body<'_>,
        tracing_id: Option<&str>,
        now: Now,
    ) -> Option<()> {
        let id: AttachmentId = match body {
            Body::AttachmentDeleted { attachment_id } => attachment_id,
            Body::GenerateUrlError(error) | Body::UploadFailure(error) => {
                error.attachment_id.as_deref().or(tracing_id)?
            }
            Body::PresignedUrl(presigned) => &presigned.attachment_id,
            Body::UploadSuccess(uploaded) => &uploaded.attachment_id,
            _ => return None,
        }
        .parse()
        .ok()?;
        let Some(held) = &mut self.attachments else {
            return Some(());
        };
        let attachments = &mut held.attachments;
        match body {
            Body::AttachmentDeleted { .. } => attachments.handle_deleted(&id),
            Body::GenerateUrlError(error) | Body::UploadFailure(error) => {
                let code = error.error_code.unwrap_or_default();
                attachments.handle_refused(&id, code, error.text());
            }
            Body::PresignedUrl(presigned) => {
                let headers = presigned.headers.iter();
                let upload = PresignedUpload {
                    url: presigned.url.to_secret(),
                    headers: headers.map(|(name, value)| (&**name, &**value)).collect(),
                    file_size: presigned.file_size.and_then(|size| u64::try_from(size).ok()),
                };
                attachments.handle_presigned(&id, upload, now.instant);
                while let Some(upload) = attachments.poll_upload(now.instant) {
                    held.uploads.push_back(upload);
                }
            }
            Body::UploadSuccess(uploaded) => {
                let unanswered = attachments.stage(&id) == Some(Stage::Uploading);
                let url = uploaded.download_url.to_secret();
                attachments.handle_success(&id, Some(url), now.instant);
                if unanswered {
                    // the event came before the storage's answer, which is not awaited any more
                    self.record_upload(Outcome::Done);
                }
            }
            _ => {}
        }
        self.emit_attachment_events();
        Some(())
    }

    /// Returns whether the refusal was about an attachment, which has handled it then.
    pub(super) fn handle_attachment_refused(
        &mut self,
        subject: &Subject,
        code: i64,
        refusal: &Refusal,
    ) -> bool {
        let (Some(held), Some(id)) = (&mut self.attachments, subject.attachment()) else {
            return false;
        };
        let known = held.attachments.handle_refused(&id, code, &refusal.message);
        self.emit_attachment_events();
        known
    }

    pub(super) fn handle_attachments_lost(&mut self) {
        if let Some(held) = &mut self.attachments {
            held.attachments.handle_disconnected();
            self.emit_attachment_events();
        }
    }

    /// The conversation is over.
    pub(super) fn abandon_attachments(&mut self) {
        if let Some(held) = &mut self.attachments {
            held.attachments.handle_new_session();
            self.emit_attachment_events();
        }
    }

    pub(super) fn handle_attachment_timeout(&mut self, now: Now) {
        if let Some(held) = &mut self.attachments {
            held.attachments.handle_timeout(now.instant);
            self.emit_attachment_events();
        }
    }

    /// Assigns attachments to a message.
    pub(super) fn attach_to(
        &mut self,
        message: MessageId,
        ids: &[AttachmentId],
    ) -> Result<(), AttachToError> {
        let held = self.attachments.get_or_insert_default();
        held.attachments.attach_to(message, ids)
    }

    /// The delivery of a message is that of its attachments: delivered, or not, by the code of a refusal if there was
    /// one.
    pub(super) fn resolve_attachments(&mut self, message: MessageId, delivery: Result<(), Option<i64>>) {
        let Some(held) = &mut self.attachments else { return };
        match delivery {
            Ok(()) => held.attachments.handle_accepted(message),
            Err(code) => held.attachments.handle_not_accepted(message, code),
        }
        self.emit_attachment_events();
    }

    /// Frees the attachments of messages that were not sent.
    pub(super) fn release_attachments(&mut self, messages: &[MessageId]) {
        for id in messages {
            self.resolve_attachments(*id, Err(None));
        }
    }

    pub(super) fn wants_attachment_request(&self) -> bool {
        let held = self.attachments.as_ref();
        held.is_some_and(|held| match self.engine.state() {
            State::Configured => held.attachments.wants_request(),
            State::ReadOnly => held.attachments.wants_refresh(),
            _ => false,
        })
    }

    /// The next request about an attachment; a limit has let it pass.
    pub(super) fn next_attachment_request(&mut self, now: Now) -> Option<AttachmentRequest> {
        let attachments = &mut self.attachments.as_mut()?.attachments;
        match self.engine.state() {
            State::ReadOnly => attachments.poll_refresh(now.instant),
            _ => attachments.poll_request(now.instant),
        }
    }

    /// The next upload that is still wanted.
    pub(super) fn next_upload(&mut self) -> Option<FileUpload> {
        let held = self.attachments.as_mut()?;
        while let Some(upload) = held.uploads.pop_front() {
            if held.attachments.stage(&upload.id) == Some(Stage::Uploading) {
                return Some(upload);
            }
        }
        None
    }

    pub(super) fn attachment_timeout(&self) -> Option<Instant> {
        let due = self.attachments.as_ref()?.attachments.poll_timeout();
        due.map(|(at, _)| at)
    }

    fn emit_attachment_events(&mut self) {
        let Some(held) = &mut self.attachments else { return };
        while let Some(event) = held.attachments.poll_event() {
            self.engine.emit(SessionEvent::Attachment(Box::new(event)));
        }
    }
}
