//! The attachments of a session, from the file to the message that it is sent with.
//!
//! A file is not sent on the socket. The service grants an upload URL, the driver uploads the file, and the service
//! reports on the socket whether it accepted the file. Then a message can refer to it.
//!
//! | stage | left by | next stage |
//! |---|---|---|
//! | [`Stage::Waiting`] | the frame `onAttachment` | `Requested` |
//! | [`Stage::Requested`] | the upload URL; a 429, at most three times | `Uploading`; `Waiting` |
//! | [`Stage::Uploading`] | the storage's answer; the service's event may precede it | `Confirming`; `Uploaded` |
//! | [`Stage::Confirming`] | the service's event | `Uploaded` |
//! | [`Stage::Uploaded`] | a message; a deletion | `Sending`; `Deleting` |
//! | [`Stage::Sending`] | the delivery; a failed delivery | gone; `Uploaded` |
//! | [`Stage::Deleting`] | the confirmation; a refusal, or no answer | gone; `Uploaded` |
//!
//! From each of the first four, a refusal, a timeout or (but for `Waiting`) a lost connection leads to
//! [`AttachmentEvent::Failed`]. Later stages outlive a lost connection.
//!
//! Limits, our choice: there are 32 attachments at once; 5 of them, of at most 50 MiB, are uploaded at once; 16 links are
//! requested at once. An upload URL may take 30 s, an upload 120 s, its confirmation 60 s, a deletion or a link 30 s.

mod error;
mod event;
mod file;
mod frames;
mod rules;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use genesys_api::wire::{OwnedText, sanitize};
use web_messaging::rest::Upload;
use web_messaging::{ErrorCode, Remedy};

pub use self::error::{AttachError, DeleteError, Failure};
pub use self::event::{
    AttachmentEvent, AttachmentId, AttachmentIdError, FileUpload, Link, Stage, UploadOutcome,
};
pub use self::file::File;
pub use self::rules::Rules;
use crate::{MessageId, SendError};

/// Most attachments at once.
const COUNT_LIMIT: usize = 32;
/// Most attachments that are being uploaded.
const IN_FLIGHT: usize = 5;
/// Most bytes of their files.
const BYTES: usize = 50 * 1024 * 1024;
/// Most links that are requested at once.
pub(crate) const REFRESHES: usize = 16;
/// Most repetitions of a request that was refused by a rate limit.
const RETRIES: u8 = 3;
/// Longest wait for the answer to a request.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest upload.
const UPLOAD: Duration = Duration::from_secs(120);
/// Longest wait for the service's event after an upload.
const CONFIRMATION: Duration = Duration::from_secs(60);

/// The attachments of a session.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    rules: Option<Rules>,
    items: Vec<Item>,
    refreshes: Vec<Refresh>,
    pub(crate) events: Vec<AttachmentEvent>,
}

#[derive(Debug)]
struct Item {
    id: AttachmentId,
    stage: Stage,
    bytes: usize,
    /// The file, until its upload URL is known.
    file: Option<File>,
    /// The upload, until the driver takes it.
    upload: Option<Box<Upload>>,
    /// The message that it is sent with.
    message: Option<MessageId>,
    tries: u8,
    deadline: Option<Instant>,
}

/// A requested download link.
#[derive(Debug)]
struct Refresh {
    id: AttachmentId,
    tries: u8,
    /// `None` until the request is sent.
    deadline: Option<Instant>,
}

impl Item {
    fn enter(&mut self, stage: Stage, deadline: Option<Instant>) {
        self.stage = stage;
        self.deadline = deadline;
    }
}

impl Attachments {
    /// Handles the rules of a configured session.
    pub(crate) fn handle_rules(&mut self, rules: Rules) {
        self.rules = Some(rules);
    }

    /// The rules, once the session is configured.
    pub(crate) fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// Checks whether a file could be attached now. Its size may not be known yet.
    pub(crate) fn check(&self, name: &str, media_type: &str, bytes: Option<u64>) -> Result<(), AttachError> {
        let rules = self.rules.as_ref().ok_or(AttachError::NotReady)?;
        rules.check(name, media_type, bytes)?;
        if self.items.len() >= COUNT_LIMIT {
            return Err(AttachError::TooMany { count: COUNT_LIMIT });
        }
        let in_flight = self.items.iter().filter(|item| item.stage < Stage::Uploaded);
        let (count, sum) = in_flight.fold((1, bytes.unwrap_or(0)), |(count, sum), item| {
            (count + 1, sum + item.bytes as u64)
        });
        if count > IN_FLIGHT || sum > BYTES as u64 {
            return Err(AttachError::Busy {
                count: IN_FLIGHT,
                bytes: BYTES,
            });
        }
        Ok(())
    }

    pub(crate) fn attach(&mut self, id: AttachmentId, file: File) -> Result<(), AttachError> {
        if self.stage(&id).is_some() {
            return Err(AttachError::Known);
        }
        self.check(&file.name, &file.media_type, Some(file.body.len() as u64))?;
        self.items.push(Item {
            id,
            stage: Stage::Waiting,
            bytes: file.body.len(),
            file: Some(file),
            upload: None,
            message: None,
            tries: 0,
            deadline: None,
        });
        Ok(())
    }

    pub(crate) fn delete(&mut self, id: &AttachmentId) -> Result<(), DeleteError> {
        let index = self.position(id).ok_or(DeleteError::Unknown)?;
        match self.items[index].stage {
            Stage::Sending => return Err(DeleteError::Sending),
            Stage::Deleting => {}
            Stage::Uploaded => self.items[index].enter(Stage::Deleting, None),
            // an unused upload URL, and a file without a message, expire at the service
            _ => self.handle_deleted(index),
        }
        Ok(())
    }

    /// Assigns uploaded attachments to a message: all of them, or none.
    pub(crate) fn attach_to(&mut self, message: MessageId, ids: &[OwnedText]) -> Result<(), SendError> {
        for id in ids {
            match self.items.iter().find(|item| *item.id.as_str() == **id) {
                None => return Err(SendError::UnknownAttachment { id: sanitize(id) }),
                Some(item) if item.stage != Stage::Uploaded => {
                    return Err(SendError::NotUploaded {
                        id: item.id.clone(),
                        stage: item.stage,
                    });
                }
                Some(_) => {}
            }
        }
        let is_named = |item: &&mut Item| ids.iter().any(|id| *item.id.as_str() == **id);
        for item in self.items.iter_mut().filter(is_named) {
            item.enter(Stage::Sending, None);
            item.message = Some(message);
        }
        Ok(())
    }

    /// Requests a download link once. Returns `false` if too many are requested.
    pub(crate) fn refresh(&mut self, id: AttachmentId) -> bool {
        if self.refreshes.iter().any(|refresh| refresh.id == id) {
            return true;
        }
        let room = self.refreshes.len() < REFRESHES;
        if room {
            self.refreshes.push(Refresh {
                id,
                tries: 0,
                deadline: None,
            });
        }
        room
    }

    /// The stage of an attachment; `None` if it is unknown.
    pub(crate) fn stage(&self, id: &AttachmentId) -> Option<Stage> {
        Some(self.items[self.position(id)?].stage)
    }

    /// Whether the driver uploads an attachment.
    pub(crate) fn is_uploading(&self, id: &str) -> bool {
        let mut items = self.items.iter();
        items.any(|item| item.id.as_str() == id && item.stage == Stage::Uploading)
    }

    /// Handles the result of an upload.
    pub(crate) fn handle_upload(&mut self, id: &AttachmentId, outcome: UploadOutcome, now: Instant) {
        let Some(index) = self.position(id) else { return };
        if self.items[index].stage != Stage::Uploading {
            return;
        }
        let status = match outcome {
            UploadOutcome::Stored => {
                return self.items[index].enter(Stage::Confirming, Some(now + CONFIRMATION));
            }
            UploadOutcome::Refused { status } => Some(status),
            UploadOutcome::Unanswered => None,
        };
        self.fail(index, Failure::Storage { status });
    }

    /// Handles a refused request about this attachment. Returns whether one is known. A request that exceeded a rate
    /// limit (429, 4029) is repeated.
    pub(crate) fn handle_refused(&mut self, id: &AttachmentId, code: i64, message: &str) -> bool {
        let code = ErrorCode::new(code);
        let limited = code.remedy(message) == Remedy::Wait;
        let reason = Failure::Refused {
            code,
            message: sanitize(message),
        };
        if let Some(index) = self.position(id) {
            let item = &mut self.items[index];
            match item.stage {
                Stage::Requested | Stage::Deleting if limited && item.tries < RETRIES => {
                    item.tries += 1;
                    let again = match item.stage {
                        Stage::Requested => Stage::Waiting,
                        deleting => deleting,
                    };
                    item.enter(again, None);
                    return true;
                }
                Stage::Deleting if code == ErrorCode::AttachmentNotFound => {
                    self.handle_deleted(index);
                    return true;
                }
                Stage::Deleting | Stage::Requested | Stage::Uploading | Stage::Confirming => {
                    self.fail(index, reason);
                    return true;
                }
                Stage::Waiting | Stage::Uploaded | Stage::Sending | Stage::Refreshing => {}
            }
        }
        let Some(index) = self.requested_link(id) else {
            return false;
        };
        let refresh = &mut self.refreshes[index];
        if limited && refresh.tries < RETRIES {
            refresh.tries += 1;
            refresh.deadline = None;
        } else {
            let id = self.refreshes.remove(index).id;
            self.events.push(AttachmentEvent::NoLink(id, reason));
        }
        true
    }

    /// Handles a delivered message: its attachments are sent.
    pub(crate) fn handle_delivered(&mut self, message: MessageId) {
        for item in self.items.extract_if(.., |item| item.message == Some(message)) {
            self.events.push(AttachmentEvent::Sent(item.id, message));
        }
    }

    /// Handles a message that was not delivered. Its attachments can be sent with another one, unless they are the
    /// reason of the `refusal`: expired, not found, not uploaded.
    pub(crate) fn handle_not_delivered(&mut self, message: MessageId, refusal: Option<i64>) {
        let fault = refusal.map(ErrorCode::new).filter(|code| {
            matches!(
                code,
                ErrorCode::AttachmentExpired
                    | ErrorCode::AttachmentNotFound
                    | ErrorCode::AttachmentNotUploaded
            )
        });
        for index in (0..self.items.len()).rev() {
            let item = &mut self.items[index];
            if item.message.take_if(|known| *known == message).is_none() {
                continue;
            }
            item.enter(Stage::Uploaded, None);
            if let Some(code) = fault {
                let message = String::new();
                self.fail(index, Failure::Refused { code, message });
            }
        }
    }

    /// Handles a lost connection.
    pub(crate) fn handle_disconnected(&mut self) {
        for index in (0..self.items.len()).rev() {
            let item = &mut self.items[index];
            match item.stage {
                stage @ (Stage::Requested | Stage::Uploading | Stage::Confirming) => {
                    self.fail(index, Failure::ConnectionLost { stage });
                }
                // requested again on the next connection
                Stage::Deleting => item.deadline = None,
                Stage::Waiting | Stage::Uploaded | Stage::Sending | Stage::Refreshing => {}
            }
        }
        self.fail_refreshes(
            |refresh| refresh.deadline.is_some(),
            &Failure::ConnectionLost {
                stage: Stage::Refreshing,
            },
        );
    }

    /// Handles the end of the session. A new one has none of these attachments (an inference).
    pub(crate) fn handle_session_ended(&mut self) {
        for index in (0..self.items.len()).rev() {
            self.items[index].stage = Stage::Waiting;
            self.fail(index, Failure::SessionEnded);
        }
        self.fail_refreshes(|_| true, &Failure::SessionEnded);
    }

    /// Fails the requests and uploads whose deadline has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        for index in (0..self.items.len()).rev() {
            let Item { stage, deadline, .. } = self.items[index];
            if is_due(deadline) {
                self.fail(index, Failure::TimedOut { stage });
            }
        }
        self.fail_refreshes(
            |refresh| is_due(refresh.deadline),
            &Failure::TimedOut {
                stage: Stage::Refreshing,
            },
        );
    }

    /// The next file to upload; then call [`Self::handle_upload`].
    pub(crate) fn poll_upload(&mut self) -> Option<FileUpload> {
        self.items.iter_mut().find_map(|item| {
            let upload = *item.upload.take()?;
            let id = item.id.clone();
            Some(FileUpload { id, upload })
        })
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let items = self.items.iter().filter_map(|item| item.deadline);
        let refreshes = self.refreshes.iter().filter_map(|refresh| refresh.deadline);
        items.chain(refreshes).min()
    }

    fn position(&self, id: &AttachmentId) -> Option<usize> {
        self.items.iter().position(|item| item.id == *id)
    }

    /// Position of a link that was requested at the service.
    fn requested_link(&self, id: &AttachmentId) -> Option<usize> {
        let is_requested = |refresh: &Refresh| refresh.deadline.is_some() && refresh.id == *id;
        self.refreshes.iter().position(is_requested)
    }

    fn fail_refreshes(&mut self, is_failed: impl Fn(&Refresh) -> bool, reason: &Failure) {
        for refresh in self.refreshes.extract_if(.., |refresh| is_failed(refresh)) {
            self.events
                .push(AttachmentEvent::NoLink(refresh.id, reason.clone()));
        }
    }

    fn handle_deleted(&mut self, index: usize) {
        let id = self.items.remove(index).id;
        self.events.push(AttachmentEvent::Deleted(id));
    }

    /// Fails an attachment. A failed deletion leaves it uploaded.
    fn fail(&mut self, index: usize, reason: Failure) {
        let item = &mut self.items[index];
        let id = item.id.clone();
        self.events.push(if item.stage == Stage::Deleting {
            item.enter(Stage::Uploaded, None);
            AttachmentEvent::NotDeleted(id, reason)
        } else {
            self.items.remove(index);
            AttachmentEvent::Failed(id, reason)
        });
    }
}
