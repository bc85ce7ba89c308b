//! Attachments in the life of the conversation: asked for on the socket, uploaded beside it, carried by messages.

use std::collections::VecDeque;
use std::time::Instant;

use genesys_api::Now;
use secrecy::SecretString;

use super::Conversation;
use super::attachments::{
    Ask, AttachError, AttachmentId, Attachments, DeleteError, File, Grant, Put, PutOutcome, Rules, Stage,
};
use super::dialect::About;
use super::event::{Event, Refusal};
use super::request::RequestError;
use super::state::State;
use super::timeline::{Errand, Happening, Outcome};
use crate::MessageId;
use web_messaging::ErrorCode;

/// The attachments, and the uploads that the driver has not fetched.
#[derive(Debug, Default)]
pub(super) struct Files {
    attachments: Attachments,
    puts: VecDeque<Put>,
}

/// What the service says about an attachment.
#[derive(Debug)]
pub(in crate::conversation) enum News {
    Deleted,
    Granted {
        url: SecretString,
        headers: Vec<(String, String)>,
        file_size: Option<u64>,
    },
    Refused {
        code: i64,
        message: String,
    },
    Uploaded {
        url: SecretString,
    },
}

impl Conversation {
    /// Takes a file, to be uploaded as soon as the session and the limits allow; `id` is fresh and random. What becomes
    /// of it is told by [`Event::Attachment`]. Once it is uploaded, a message can [carry](Self::send) it.
    ///
    /// # Errors
    /// If the service would refuse it, too much is on its way, or the session is not ready.
    pub fn attach(&mut self, id: AttachmentId, file: File) -> Result<(), AttachError> {
        match self.state {
            State::Closing | State::Closed | State::Failed => return Err(AttachError::Ended),
            _ if !self.dialect.is_rich() => return Err(AttachError::NotOffered),
            State::Idle | State::ReadOnly => return Err(AttachError::NotReady),
            State::Connecting | State::Configuring | State::Configured | State::Reconnecting => {}
        }
        match &mut self.files {
            Some(files) => files.attachments.attach(id, file),
            None if self.was_configured => Err(AttachError::Off),
            None => Err(AttachError::NotReady),
        }
    }

    /// Removes an attachment that was not sent: at the service too, if it is there. [`Event::Attachment`] tells that it
    /// was done, or was not.
    ///
    /// # Errors
    /// If it is not held, or a message has it already.
    pub fn delete_attachment(&mut self, id: &AttachmentId) -> Result<(), DeleteError> {
        let files = self.files.as_mut().ok_or(DeleteError::Unknown)?;
        files.attachments.delete(id)?;
        self.tell_files();
        Ok(())
    }

    /// Asks for a fresh download link, of an attachment of either side: a link lives for about ten minutes.
    /// [`Event::Attachment`] has it. Asked twice it is asked for once.
    ///
    /// # Errors
    /// If it cannot be asked for, or 16 are being asked for.
    pub fn refresh_attachment(&mut self, id: AttachmentId) -> Result<(), RequestError> {
        self.not_over()?;
        if !self.dialect.is_rich() {
            return Err(RequestError::NotOffered);
        }
        let files = self.files.get_or_insert_default();
        let busy = |full: super::attachments::RefreshError| RequestError::Busy { waiting: full.count };
        files.attachments.refresh(id).map_err(busy)
    }

    /// Where an attachment stands; `None` if it is not held, or not any more. A driver drops an upload that is no
    /// longer [`Stage::Uploading`].
    #[must_use]
    pub fn attachment(&self, id: &AttachmentId) -> Option<Stage> {
        self.files.as_ref()?.attachments.stage(id)
    }

    /// The storage answered the upload of [`Command::Upload`](super::Command::Upload), or did not.
    pub fn handle_put(&mut self, id: &AttachmentId, outcome: PutOutcome, now: Now) {
        self.chronicle.handle_time(now);
        let Some(files) = &mut self.files else { return };
        files.attachments.handle_put(id, outcome, now.instant);
        let outcome = match outcome {
            PutOutcome::Refused { status } => Outcome::Refused(status),
            PutOutcome::Stored => Outcome::Done,
            PutOutcome::Unanswered => Outcome::Unanswered,
        };
        self.chronicle.record(Happening::Errand(Errand::Upload, outcome));
        self.tell_files();
    }

    /// The session is configured. What is forbidden altogether costs no memory.
    pub(super) fn handle_file_rules(&mut self, rules: Option<Rules>, new_session: bool) {
        let Some(rules) = rules else { return };
        if let Some(files) = &mut self.files {
            if new_session {
                files.attachments.handle_new_session();
            }
            files.attachments.handle_rules(rules);
            self.tell_files();
        } else if rules != Rules::off() {
            self.files.get_or_insert_default().attachments.handle_rules(rules);
        }
    }

    pub(super) fn handle_file_news(&mut self, id: &AttachmentId, news: News, now: Now) {
        let Some(files) = &mut self.files else { return };
        let attachments = &mut files.attachments;
        match news {
            News::Deleted => attachments.handle_deleted(id),
            News::Granted {
                url,
                headers,
                file_size,
            } => {
                let headers = headers.iter().map(|(name, value)| (&**name, &**value));
                let grant = Grant {
                    url,
                    headers: headers.collect(),
                    file_size,
                };
                attachments.handle_grant(id, grant, now.instant);
                while let Some(put) = attachments.poll_put(now.instant) {
                    files.puts.push_back(put);
                }
            }
            News::Refused { code, message } => {
                attachments.handle_refused(id, code, &message);
            }
            News::Uploaded { url } => {
                if attachments.stage(id) == Some(Stage::Uploading) {
                    // the event came before the storage's answer, which nobody waits for any more
                    self.chronicle
                        .record(Happening::Errand(Errand::Upload, Outcome::Done));
                }
                attachments.handle_success(id, Some(url), now.instant);
            }
        }
        self.tell_files();
    }

    /// Whether the refusal was about an attachment, which knows it then.
    pub(super) fn handle_file_refused(&mut self, about: &About, code: i64, refusal: &Refusal) -> bool {
        let id = match about {
            About::Message(id) => id.to_string().parse().ok(),
            About::Attachment(id) => Some(id.clone()),
            About::Errand(_) | About::Other | About::SomeMessage => None,
        };
        let (Some(files), Some(id)) = (&mut self.files, id) else {
            return false;
        };
        let known = files.attachments.handle_refused(&id, code, &refusal.message);
        self.tell_files();
        known
    }

    /// What was asked for is asked for again.
    pub(super) fn handle_file_deferred(&mut self, about: &About, refusal: &Refusal) -> bool {
        self.handle_file_refused(about, ErrorCode::TooManyRequests.number(), refusal)
    }

    pub(super) fn handle_files_lost(&mut self) {
        if let Some(files) = &mut self.files {
            files.attachments.handle_disconnected();
            self.tell_files();
        }
    }

    /// The conversation is over.
    pub(super) fn give_up_files(&mut self) {
        if let Some(files) = &mut self.files {
            files.attachments.handle_new_session();
            self.tell_files();
        }
    }

    pub(super) fn handle_file_timeout(&mut self, now: Now) {
        if let Some(files) = &mut self.files {
            files.attachments.handle_timeout(now.instant);
            self.tell_files();
        }
    }

    /// Hands attachments to a message.
    pub(super) fn carry(
        &mut self,
        message: MessageId,
        ids: &[AttachmentId],
    ) -> Result<(), super::attachments::CarryError> {
        self.files.get_or_insert_default().attachments.carry(message, ids)
    }

    /// The fate of a message is that of what it carries: delivered, or not, by the code of a refusal if there was one.
    pub(super) fn settle_carried(&mut self, message: MessageId, fate: Result<(), Option<i64>>) {
        let Some(files) = &mut self.files else { return };
        match fate {
            Ok(()) => files.attachments.handle_accepted(message),
            Err(code) => files.attachments.handle_not_accepted(message, code),
        }
        self.tell_files();
    }

    pub(super) fn wants_file_frame(&self) -> bool {
        let files = self.files.as_ref();
        files.is_some_and(|files| match self.state {
            State::Configured => files.attachments.wants_ask(),
            State::ReadOnly => files.attachments.wants_refresh(),
            _ => false,
        })
    }

    /// The next frame about an attachment; a limit has let it pass.
    pub(super) fn file_frame(&mut self, now: Now) -> Option<String> {
        let attachments = &mut self.files.as_mut()?.attachments;
        let ask: Ask = match self.state {
            State::ReadOnly => attachments.poll_refresh(now.instant)?,
            _ => attachments.poll_ask(now.instant)?,
        };
        self.dialect.attachment(&ask)
    }

    /// The next upload that is still wanted.
    pub(super) fn next_put(&mut self) -> Option<Put> {
        let files = self.files.as_mut()?;
        let stage = |put: &Put| files.attachments.stage(&put.id);
        let at = files
            .puts
            .iter()
            .position(|put| stage(put) == Some(Stage::Uploading));
        let next = at.and_then(|at| files.puts.drain(..=at).next_back());
        if next.is_none() {
            files.puts.clear();
        }
        next
    }

    pub(super) fn file_timeout(&self) -> Option<Instant> {
        let due = self.files.as_ref()?.attachments.poll_timeout();
        due.map(|(at, _)| at)
    }

    fn tell_files(&mut self) {
        while let Some(notice) = self
            .files
            .as_mut()
            .and_then(|files| files.attachments.poll_notice())
        {
            self.tell(Event::Attachment(Box::new(notice)));
        }
    }
}
