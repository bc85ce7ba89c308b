//! The attachments of one session, from the file to the message that carries it.
//!
//! Under `web-messaging` a file does not travel on the socket. The service grants a presigned URL, the file is put
//! there, and the service says on the socket whether it took it; only then can a message name it. As everywhere, a
//! driver feeds in what happens (`handle_*`), moves what comes out (`poll_*`) and wakes it at
//! [`Attachments::poll_timeout`].
//!
//! | stage | left by | for |
//! |---|---|---|
//! | [`Stage::Waiting`] | `poll_request`: `onAttachment` | `Requested` |
//! | [`Stage::Requested`] | `handle_presigned`; a 429, at most three times | `Presigned`; `Waiting` |
//! | [`Stage::Presigned`] | `poll_upload` | `Uploading` |
//! | [`Stage::Uploading`] | `handle_upload`; the event may even come first | `Confirming`; `Uploaded` |
//! | [`Stage::Confirming`] | `handle_success` | `Uploaded` |
//! | [`Stage::Uploaded`] | `carry`; `delete` | `Sending`; `Deleting` |
//! | [`Stage::Sending`] | `handle_accepted`; `handle_not_accepted` | gone; `Uploaded` |
//! | [`Stage::Deleting`] | `handle_deleted`; a refusal, or silence | gone; `Uploaded` |
//!
//! From each of the first five, a refusal, silence or (but for `Waiting`) a lost connection leads to
//! [`AttachmentEvent::Failed`]. What is uploaded, or on its way with a message, outlives a lost connection.
//!
//! Limits, our choice: 32 attachments are held, 5 of them with at most 50 MiB on their way to the service, and 16
//! links are asked for at once. What is beyond is refused. A grant may take 30 s, an upload 120 s, its confirmation
//! 60 s, a deletion or a link 30 s.

mod error;
mod event;
mod failure;
mod file;
mod id;
mod item;
mod polling;
mod rules;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use secrecy::SecretString;

pub use self::error::{AttachToError, DeleteError, RefreshError};
pub use self::event::{AttachmentEvent, AttachmentRequest, FileUpload, Link, PresignedUpload, UploadOutcome};
pub use self::failure::Failure;
pub use self::file::File;
pub use self::id::{AttachmentId, AttachmentIdError};
pub use self::item::Stage;
use self::item::{Item, Load, Refresh};
pub use self::rules::{AttachError, Rules};
use super::event::Refusal;
use crate::MessageId;
use web_messaging::rest::Upload;
use web_messaging::{ErrorCode, Remedy};

/// Most attachments held, in whatever stage.
const HELD: usize = 32;
/// Most that are on their way to the service.
const IN_FLIGHT: usize = 5;
/// Most bytes of files that are held.
const BYTES: usize = 50 * 1024 * 1024;
/// Most links that are asked for at once.
const REFRESHES: usize = 16;
/// How often a request is repeated that came too soon.
const RETRIES: u8 = 3;
/// How long the service may take to answer a request.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the driver may take to upload.
const UPLOAD: Duration = Duration::from_secs(120);
/// How long the service may take to look at what was uploaded.
const CONFIRMATION: Duration = Duration::from_secs(60);

/// The attachments of one session. An idle one costs some 150 bytes, and the service's rules.
#[derive(Debug, Default)]
pub struct Attachments {
    rules: Option<Rules>,
    items: Vec<Item>,
    refreshes: Vec<Refresh>,
    events: VecDeque<AttachmentEvent>,
}

impl Attachments {
    /// None, and no rules yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The session was configured, and these are its rules. Call [`Self::handle_new_session`] before if it is new.
    pub fn handle_rules(&mut self, rules: Rules) {
        self.rules = Some(rules);
    }

    /// Takes a file, to be uploaded as soon as the session allows. `id` is fresh and random.
    ///
    /// # Errors
    /// If the service would refuse it, or too much is on its way.
    pub fn attach(&mut self, id: AttachmentId, file: File) -> Result<(), AttachError> {
        let rules = self.rules.as_ref().ok_or(AttachError::NotReady)?;
        rules.check(&file)?;
        if self.item(&id).is_some() {
            return Err(AttachError::Known);
        }
        if self.items.len() + self.events.len() >= HELD {
            return Err(AttachError::TooMany { count: HELD });
        }
        let in_flight = self.items.iter().filter(|item| item.stage.is_in_flight());
        let (count, bytes) = in_flight.fold((1, file.len()), |(count, bytes), item| {
            (count + 1, bytes + item.bytes())
        });
        if count > IN_FLIGHT || bytes > BYTES {
            return Err(AttachError::Busy {
                count: IN_FLIGHT,
                bytes: BYTES,
            });
        }
        self.items.push(Item {
            id,
            stage: Stage::Waiting,
            load: Load::File(file),
            message: None,
            tries: 0,
            deadline: None,
        });
        Ok(())
    }

    /// Removes an attachment that was not sent: at the service too, if it is there.
    ///
    /// # Errors
    /// If it is not held, or a message has it already.
    pub fn delete(&mut self, id: &AttachmentId) -> Result<(), DeleteError> {
        let index = self.position(id).ok_or(DeleteError::Unknown)?;
        let item = &mut self.items[index];
        match item.stage {
            Stage::Sending => return Err(DeleteError::Sending),
            Stage::Deleting => {}
            Stage::Uploaded => item.enter(Stage::Deleting, None),
            Stage::Waiting
            | Stage::Requested
            | Stage::Presigned
            | Stage::Uploading
            | Stage::Confirming
            | Stage::Refreshing => {
                // a grant that is not used, and a file that no message names, expire at the service
                let item = self.items.remove(index);
                self.events.push_back(AttachmentEvent::Deleted { id: item.id });
            }
        }
        Ok(())
    }

    /// Hands uploaded attachments to a message: all of them, or none. What becomes of the message is to be told by
    /// [`Self::handle_accepted`] or [`Self::handle_not_accepted`]; as long as that is in doubt, so are they.
    ///
    /// # Errors
    /// If one is not uploaded.
    pub fn attach_to(&mut self, message: MessageId, ids: &[AttachmentId]) -> Result<(), AttachToError> {
        for id in ids {
            let item = self
                .item(id)
                .ok_or_else(|| AttachToError::Unknown { id: id.clone() })?;
            if item.stage != Stage::Uploaded {
                return Err(AttachToError::NotUploaded {
                    id: id.clone(),
                    stage: item.stage,
                });
            }
        }
        for item in self.items.iter_mut().filter(|item| ids.contains(&item.id)) {
            item.enter(Stage::Sending, None);
            item.message = Some(message);
        }
        Ok(())
    }

    /// Asks for a fresh download link, of an attachment of either side. Requested twice it is asked for once.
    ///
    /// # Errors
    /// If 16 are being asked for.
    pub fn refresh(&mut self, id: AttachmentId) -> Result<(), RefreshError> {
        if self.refreshes.iter().any(|refresh| refresh.id == id) {
            return Ok(());
        }
        if self.refreshes.len() + self.events.len() >= REFRESHES {
            return Err(RefreshError { count: REFRESHES });
        }
        self.refreshes.push(Refresh {
            id,
            asked: false,
            tries: 0,
            deadline: None,
        });
        Ok(())
    }

    /// Where an attachment stands; `None` if it is not held, or not any more.
    #[must_use]
    pub fn stage(&self, id: &AttachmentId) -> Option<Stage> {
        self.item(id).map(|item| item.stage)
    }

    /// `PresignedUrlResponse` came.
    pub fn handle_presigned(&mut self, id: &AttachmentId, grant: PresignedUpload<'_>, now: Instant) {
        if let Some(index) = self.position(id)
            && self.items[index].stage == Stage::Requested
        {
            let item = &mut self.items[index];
            let Load::File(file) = std::mem::take(&mut item.load) else {
                return;
            };
            let media_type = file.media_type().to_owned();
            match Upload::new(&grant.url, grant.headers, &media_type, file.into_body()) {
                Ok(upload) => {
                    item.load = Load::Upload(Box::new(upload));
                    item.enter(Stage::Presigned, Some(now + UPLOAD));
                }
                Err(problem) => self.fail(index, Failure::UploadUrl(problem)),
            }
        } else if grant.headers.is_empty()
            && grant.file_size.is_some()
            && let Some(refresh) = self.take_refresh(id)
        {
            self.events.push_back(AttachmentEvent::Link {
                id: refresh.id,
                link: Link::new(grant.url, now),
            });
        }
    }

    /// The storage answered the upload, or did not.
    pub fn handle_upload(&mut self, id: &AttachmentId, outcome: UploadOutcome, now: Instant) {
        let Some(index) = self.position(id) else { return };
        if self.items[index].stage != Stage::Uploading {
            return;
        }
        match outcome {
            UploadOutcome::Refused { status } => self.fail(index, Failure::Storage { status: Some(status) }),
            UploadOutcome::Stored => self.items[index].enter(Stage::Confirming, Some(now + CONFIRMATION)),
            UploadOutcome::Unanswered => self.fail(index, Failure::Storage { status: None }),
        }
    }

    /// `UploadSuccessEvent` came.
    pub fn handle_success(&mut self, id: &AttachmentId, url: Option<SecretString>, now: Instant) {
        let uploading =
            |item: &&mut Item| item.id == *id && matches!(item.stage, Stage::Uploading | Stage::Confirming);
        // other sockets of the session upload too: theirs are nothing to us
        if let Some(item) = self.items.iter_mut().find(uploading) {
            item.enter(Stage::Uploaded, None);
            item.load = Load::Nothing;
            item.tries = 0;
            self.events.push_back(AttachmentEvent::Uploaded {
                id: id.clone(),
                link: url.map(|url| Link::new(url, now)),
            });
        }
    }

    /// `AttachmentDeletedResponse` came, perhaps for what another socket of the session deleted.
    pub fn handle_deleted(&mut self, id: &AttachmentId) {
        if let Some(index) = self.position(id)
            && matches!(self.items[index].stage, Stage::Uploaded | Stage::Deleting)
        {
            self.items.remove(index);
            self.events.push_back(AttachmentEvent::Deleted { id: id.clone() });
        }
    }

    /// `GenerateUrlError` or `UploadFailureEvent` came, or any other error whose tracing id was that of a frame about
    /// this attachment. Returns whether it was about one of these.
    ///
    /// What came too soon (429, 4029) is asked again: whoever polls waits as long as the service said.
    pub fn handle_refused(&mut self, id: &AttachmentId, code: i64, message: &str) -> bool {
        let known = ErrorCode::new(code);
        let too_soon = known.remedy(message) == Remedy::Wait;
        let reason = || Failure::of(code, message);
        if let Some(index) = self.position(id) {
            let item = &mut self.items[index];
            match item.stage {
                Stage::Requested | Stage::Deleting if too_soon && item.tries < RETRIES => {
                    item.tries += 1;
                    let again = match item.stage {
                        Stage::Requested => Stage::Waiting,
                        other => other,
                    };
                    item.enter(again, None);
                    return true;
                }
                Stage::Deleting if known == ErrorCode::AttachmentNotFound => {
                    self.handle_deleted(id);
                    return true;
                }
                Stage::Deleting => {
                    self.keep(index, reason());
                    return true;
                }
                Stage::Requested | Stage::Presigned | Stage::Uploading | Stage::Confirming => {
                    self.fail(index, reason());
                    return true;
                }
                Stage::Waiting | Stage::Uploaded | Stage::Sending | Stage::Refreshing => {}
            }
        }
        let asked = |refresh: &&mut Refresh| refresh.asked && refresh.id == *id;
        let Some(refresh) = self.refreshes.iter_mut().find(asked) else {
            return false;
        };
        if too_soon && refresh.tries < RETRIES {
            refresh.tries += 1;
            refresh.asked = false;
            refresh.deadline = None;
        } else {
            self.take_refresh(id);
            let id = id.clone();
            self.events
                .push_back(AttachmentEvent::NoLink { id, reason: reason() });
        }
        true
    }

    /// The service has the message: what it carries is sent.
    pub fn handle_accepted(&mut self, message: MessageId) {
        for item in self.items.extract_if(.., |item| item.message == Some(message)) {
            self.events
                .push_back(AttachmentEvent::Sent { id: item.id, message });
        }
    }

    /// The service has not, and will not have, the message, by the code of its refusal if it refused. What it carries
    /// can go with another, unless the refusal was about it (4008, 4009, 4010: expired, not found, not uploaded).
    pub fn handle_not_accepted(&mut self, message: MessageId, code: Option<i64>) {
        let fault = code.filter(|code| failure::is_about_attachments(*code));
        for index in (0..self.items.len()).rev() {
            if self.items[index].message != Some(message) {
                continue;
            }
            match fault {
                Some(code) => self.fail(index, Failure::of(code, "")),
                None => {
                    self.items[index].message = None;
                    self.items[index].enter(Stage::Uploaded, None);
                }
            }
        }
    }

    /// The connection is lost.
    pub fn handle_disconnected(&mut self) {
        for index in (0..self.items.len()).rev() {
            let item = &mut self.items[index];
            match item.stage {
                Stage::Requested | Stage::Presigned | Stage::Uploading | Stage::Confirming => {
                    let stage = item.stage;
                    self.fail(index, Failure::ConnectionLost { stage });
                }
                // asked again on the next connection
                Stage::Deleting => item.deadline = None,
                Stage::Waiting | Stage::Uploaded | Stage::Sending | Stage::Refreshing => {}
            }
        }
        for refresh in self.refreshes.extract_if(.., |refresh| refresh.asked) {
            let stage = Stage::Refreshing;
            self.events.push_back(AttachmentEvent::NoLink {
                id: refresh.id,
                reason: Failure::ConnectionLost { stage },
            });
        }
    }

    /// The service began a new session, which knows none of these (an inference); or the conversation is over.
    pub fn handle_new_session(&mut self) {
        for item in self.items.drain(..) {
            let reason = Failure::SessionEnded;
            self.events
                .push_back(AttachmentEvent::Failed { id: item.id, reason });
        }
        for refresh in self.refreshes.drain(..) {
            let reason = Failure::SessionEnded;
            self.events.push_back(AttachmentEvent::NoLink {
                id: refresh.id,
                reason,
            });
        }
    }

    /// Time has passed; call it at [`Self::poll_timeout`], or at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        for index in (0..self.items.len()).rev() {
            let item = &self.items[index];
            if is_due(item.deadline) {
                let stage = item.stage;
                if stage == Stage::Deleting {
                    self.keep(index, Failure::TimedOut { stage });
                } else {
                    self.fail(index, Failure::TimedOut { stage });
                }
            }
        }
        for refresh in self.refreshes.extract_if(.., |refresh| is_due(refresh.deadline)) {
            let stage = Stage::Refreshing;
            self.events.push_back(AttachmentEvent::NoLink {
                id: refresh.id,
                reason: Failure::TimedOut { stage },
            });
        }
    }

    fn item(&self, id: &AttachmentId) -> Option<&Item> {
        self.items.iter().find(|item| item.id == *id)
    }

    fn position(&self, id: &AttachmentId) -> Option<usize> {
        self.items.iter().position(|item| item.id == *id)
    }

    fn take_refresh(&mut self, id: &AttachmentId) -> Option<Refresh> {
        let asked = |refresh: &Refresh| refresh.asked && refresh.id == *id;
        let index = self.refreshes.iter().position(asked)?;
        Some(self.refreshes.remove(index))
    }

    fn fail(&mut self, index: usize, reason: Failure) {
        let id = self.items.remove(index).id;
        self.events.push_back(AttachmentEvent::Failed { id, reason });
    }

    fn keep(&mut self, index: usize, reason: Failure) {
        let item = &mut self.items[index];
        item.enter(Stage::Uploaded, None);
        let id = item.id.clone();
        self.events.push_back(AttachmentEvent::NotDeleted { id, reason });
    }
}
