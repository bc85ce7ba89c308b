//! Inputs and outputs of the attachments, one for each frame and call.

use std::fmt;
use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::{AttachmentId, Failure, File};
use crate::MessageId;
use genesys_api::wire::Length;
use web_messaging::rest::Upload;

/// A frame for the service. `Debug` shows the length of a name.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum AttachmentRequest {
    /// `deleteAttachment`.
    Delete {
        /// Which.
        id: AttachmentId,
    },
    /// `onAttachment`, with `errorsAsJson`.
    Upload {
        /// Which.
        id: AttachmentId,
        /// `fileName`.
        name: Box<str>,
        /// `fileType`.
        media_type: Box<str>,
        /// `fileSize`, in bytes.
        bytes: usize,
    },
    /// `getAttachment`.
    Refresh {
        /// Which.
        id: AttachmentId,
    },
}

impl AttachmentRequest {
    pub(super) fn upload(id: AttachmentId, file: &File) -> Self {
        Self::Upload {
            id,
            name: file.name().into(),
            media_type: file.media_type().into(),
            bytes: file.len(),
        }
    }
}

impl fmt::Debug for AttachmentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { id } => f.debug_struct("Delete").field("id", id).finish(),
            Self::Upload {
                id,
                name,
                media_type,
                bytes,
            } => f
                .debug_struct("Upload")
                .field("id", id)
                .field("name", &Length(name))
                .field("media_type", media_type)
                .field("bytes", bytes)
                .finish(),
            Self::Refresh { id } => f.debug_struct("Refresh").field("id", id).finish(),
        }
    }
}

/// `PresignedUrlResponse`. With headers it is the grant of an upload; with none, but a size, it is a download link.
/// `Debug` shows neither URL nor headers.
#[derive(Clone)]
pub struct PresignedUpload<'a> {
    /// `url`.
    pub url: SecretString,
    /// `headers`: each is to be sent as it came.
    pub headers: Vec<(&'a str, &'a str)>,
    /// `fileSize`, in bytes.
    pub file_size: Option<u64>,
}

impl fmt::Debug for PresignedUpload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("headers", &self.headers.len())
            .field("file_size", &self.file_size)
            .finish_non_exhaustive()
    }
}

/// A file for the driver to upload. It gives up once the attachment is no longer
/// [`Stage::Uploading`](super::Stage::Uploading): its bytes are counted no more.
#[derive(Clone, Debug)]
pub struct FileUpload {
    /// Which.
    pub id: AttachmentId,
    /// The call to make.
    pub upload: Upload,
}

/// Each attachment is put once: two are equal if they are of the same one.
impl PartialEq for FileUpload {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for FileUpload {}

/// What the storage answered. A success is not completion: the service looks at the file first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UploadOutcome {
    /// Another status than 2xx.
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// 2xx.
    Stored,
    /// Nothing, or too late.
    Unanswered,
}

/// A download link, which is a secret: whoever has it has the file. It lives for about ten minutes (Genesys' mobile
/// SDK) and is taken for expired after nine.
#[derive(Clone, Debug)]
pub struct Link {
    url: SecretString,
    until: Instant,
}

impl Link {
    const LIFETIME: Duration = genesys_api::limits::DOWNLOAD_LINK.saturating_sub(Duration::from_secs(60));

    /// A link that came at `now`.
    #[must_use]
    pub fn new(url: SecretString, now: Instant) -> Self {
        Self {
            url,
            until: now + Self::LIFETIME,
        }
    }

    /// The URL, unless it has expired: then ask for [another](super::Attachments::refresh).
    #[must_use]
    pub fn url(&self, now: Instant) -> Option<&SecretString> {
        (now < self.until).then_some(&self.url)
    }
}

/// What the application is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttachmentEvent {
    /// It is gone, before any message had it.
    Deleted {
        /// Which.
        id: AttachmentId,
    },
    /// It cannot be sent, and is no longer held.
    Failed {
        /// Which.
        id: AttachmentId,
        /// Why.
        reason: Failure,
    },
    /// A fresh download link.
    Link {
        /// Of which.
        id: AttachmentId,
        /// The link.
        link: Link,
    },
    /// No download link could be had.
    NoLink {
        /// Of which.
        id: AttachmentId,
        /// Why.
        reason: Failure,
    },
    /// It could not be deleted, and can still be sent.
    NotDeleted {
        /// Which.
        id: AttachmentId,
        /// Why.
        reason: Failure,
    },
    /// A message carried it to the service.
    Sent {
        /// Which.
        id: AttachmentId,
        /// By which message.
        message: MessageId,
    },
    /// A message can carry it.
    Uploaded {
        /// Which.
        id: AttachmentId,
        /// Where it can be seen, if the service said.
        link: Option<Link>,
    },
}
