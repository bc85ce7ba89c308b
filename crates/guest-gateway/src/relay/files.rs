//! Requests about the files of a guest: uploads, deletions, download links.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use guest_conversation::attachments::{
    AttachError, AttachmentEvent, AttachmentId, DeleteError, Failure, File, Stage,
};
use guest_conversation::{Conversation, Event, Request, RequestError, SessionEvent, State};
use guest_suite::direct;
use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Most files of a session that are received or uploaded at once. Our choice.
const UPLOADS: usize = 2;
/// Most requests of a session that wait for an answer. Our choice.
const PENDING: usize = 32;

/// A request about a file of the guest.
#[derive(Debug)]
pub(crate) enum FileRequest {
    /// Check a file before its content is read.
    Admit {
        file: FileHead,
        reply: oneshot::Sender<Result<Slot, FileError>>,
    },
    /// Delete a file that was not sent, or cancel its upload.
    Delete { id: AttachmentId, reply: Reply },
    /// Request a fresh download link.
    Link { id: AttachmentId, reply: Reply },
    /// Upload an admitted file.
    Upload {
        id: AttachmentId,
        file: File,
        reply: Reply,
    },
}

/// The channel of an answer.
pub(super) type Reply = oneshot::Sender<Result<FileAnswer, FileError>>;

/// A file before its content is known.
#[derive(Debug)]
pub(crate) struct FileHead {
    pub(crate) name: String,
    pub(crate) media_type: String,
    /// Its size, if the client sent it.
    pub(crate) bytes: Option<u64>,
}

/// A slot for one upload of the session. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Most bytes of the file.
    pub(crate) max_bytes: u64,
    reserved: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// The memory that all uploads of the session have reserved, in KiB.
    pub(crate) fn reserved(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.reserved)
    }
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum FileAnswer {
    /// The file is uploaded, or deleted.
    Done,
    /// A fresh download link.
    Link(SecretString),
}

/// The error of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(
        "cannot accept the request: too many requests of this session wait, repeat it after their answers"
    )]
    Busy,
    #[error("cannot upload the file: it was deleted meanwhile, upload it again")]
    Canceled,
    #[error(transparent)]
    Delete(#[from] DeleteError),
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// The requests that wait for the conversation.
#[derive(Debug)]
pub(super) struct FileRequests {
    slots: Arc<Semaphore>,
    reserved: Arc<AtomicUsize>,
    /// Files that are checked once the session is configured.
    unchecked: Vec<(FileHead, oneshot::Sender<Result<Slot, FileError>>)>,
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    id: AttachmentId,
    kind: Kind,
    reply: Reply,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Delete,
    Link,
    Upload,
}

impl Default for FileRequests {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(UPLOADS)),
            reserved: Arc::default(),
            unchecked: Vec::new(),
            pending: Vec::new(),
        }
    }
}

impl FileRequests {
    pub(super) fn handle_request(&mut self, request: FileRequest, conversation: &direct::Conversation) {
        match request {
            FileRequest::Admit { file, reply } => {
                self.unchecked.retain(|(_, reply)| !reply.is_closed());
                if self.unchecked.len() == PENDING {
                    // the client may have given up, here and below
                    let _ = reply.send(Err(FileError::Busy));
                } else {
                    self.unchecked.push((file, reply));
                    self.check(conversation);
                }
            }
            FileRequest::Delete { id, reply } => {
                let deleted = |machine: &mut Conversation| machine.delete_attachment(&id);
                self.request(conversation, id.clone(), Kind::Delete, reply, |conversation| {
                    Ok(conversation.with(|machine, _| deleted(machine))?)
                });
            }
            FileRequest::Link { id, reply } => {
                self.request(conversation, id.clone(), Kind::Link, reply, |conversation| {
                    Ok(conversation.request(Request::RefreshAttachment { id })?)
                });
            }
            FileRequest::Upload { id, file, reply } => {
                if conversation.with(|machine, _| machine.attachment(&id)) == Some(Stage::Uploaded) {
                    let _ = reply.send(Ok(FileAnswer::Done));
                    return;
                }
                self.request(conversation, id.clone(), Kind::Upload, reply, |conversation| {
                    Ok(conversation.with(|machine, _| machine.attach(id, file))?)
                });
            }
        }
    }

    /// Handles an event of the conversation.
    pub(super) fn handle_event(&mut self, event: &Event, conversation: &direct::Conversation, now: Instant) {
        match event {
            Event::Connection(_) => self.check(conversation),
            Event::Session(SessionEvent::Attachment(event)) => self.handle_attachment(event, now),
            _ => {}
        }
    }

    /// Answers all requests of a session that has ended.
    pub(super) fn handle_ended(&mut self) {
        for (_, reply) in self.unchecked.drain(..) {
            let _ = reply.send(Err(AttachError::Ended.into()));
        }
        for pending in self.pending.drain(..) {
            let _ = pending.reply.send(Err(AttachError::Ended.into()));
        }
    }

    fn handle_attachment(&mut self, event: &AttachmentEvent, now: Instant) {
        let done = || Ok(FileAnswer::Done);
        match event {
            AttachmentEvent::Deleted(id) => {
                self.answer(id, Kind::Delete, done);
                self.answer(id, Kind::Upload, || Err(FileError::Canceled));
            }
            AttachmentEvent::Failed(id, failure) => {
                self.answer(id, Kind::Upload, || Err(failure.clone().into()));
            }
            AttachmentEvent::Link(id, link) => {
                if let Some(url) = link.url(now) {
                    self.answer(id, Kind::Link, || Ok(FileAnswer::Link(url.clone())));
                }
            }
            AttachmentEvent::NoLink(id, failure) => {
                self.answer(id, Kind::Link, || Err(failure.clone().into()));
            }
            AttachmentEvent::NotDeleted(id, failure) => {
                self.answer(id, Kind::Delete, || Err(failure.clone().into()));
            }
            AttachmentEvent::Uploaded(id, _) => self.answer(id, Kind::Upload, done),
            _ => {}
        }
    }

    /// Checks the files that wait, unless the session is being configured.
    fn check(&mut self, conversation: &direct::Conversation) {
        let is_ready = !matches!(
            conversation.state(),
            State::Connecting | State::Configuring | State::Reconnecting
        );
        if !is_ready {
            return;
        }
        for (file, reply) in self.unchecked.drain(..) {
            let slot = conversation.with(|machine, _| {
                machine.check_attachment(&file.name, &file.media_type, file.bytes)?;
                let rules = machine.attachment_rules().ok_or(AttachError::NotReady)?;
                Ok((rules.max_bytes(), Arc::clone(&self.slots)))
            });
            let _ = reply.send(slot.and_then(|(max_bytes, slots)| {
                let permit = slots.try_acquire_owned().map_err(|_| FileError::Busy)?;
                Ok(Slot {
                    max_bytes,
                    reserved: Arc::clone(&self.reserved),
                    _permit: permit,
                })
            }));
        }
    }

    /// Makes a request of the conversation, whose events answer it.
    fn request(
        &mut self,
        conversation: &direct::Conversation,
        id: AttachmentId,
        kind: Kind,
        reply: Reply,
        make: impl FnOnce(&direct::Conversation) -> Result<(), FileError>,
    ) {
        self.pending.retain(|pending| !pending.reply.is_closed());
        let made = match self.pending.len() {
            PENDING => Err(FileError::Busy),
            _ => make(conversation),
        };
        match made {
            Ok(()) => self.pending.push(Pending { id, kind, reply }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn answer(&mut self, id: &AttachmentId, kind: Kind, answer: impl Fn() -> Result<FileAnswer, FileError>) {
        let is_answered = |pending: &mut Pending| pending.kind == kind && pending.id == *id;
        for pending in self.pending.extract_if(.., is_answered) {
            let _ = pending.reply.send(answer());
        }
    }
}
