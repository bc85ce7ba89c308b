//! Stages, uploads and events of attachments.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use uuid::Uuid;
use web_messaging::rest::Upload;

use super::Failure;
use crate::MessageId;

/// The id of an attachment: a UUID of this side, or the service's name for an attachment of the other side. Not a
/// secret.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AttachmentId(Box<str>);

impl AttachmentId {
    const LONGEST: usize = 128;

    /// The id as in a frame.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for AttachmentId {
    fn from(id: Uuid) -> Self {
        Self(id.to_string().into())
    }
}

impl FromStr for AttachmentId {
    type Err = AttachmentIdError;

    fn from_str(text: &str) -> Result<Self, AttachmentIdError> {
        let is_printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::LONGEST || !is_printable {
            return Err(AttachmentIdError);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A malformed attachment id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "invalid attachment id: it has 1 to 128 printable ASCII characters; take it from the message that has the \
     attachment"
)]
pub struct AttachmentIdError;

/// The stage of an attachment.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Stage {
    /// Checked; the upload URL is not requested yet.
    Waiting,
    /// The upload URL is requested.
    Requested,
    /// The file is being uploaded.
    Uploading,
    /// The storage has the file, and the service checks it.
    Confirming,
    /// It can be sent with a message.
    Uploaded,
    /// It is sent with a message that is not accepted yet.
    Sending,
    /// It is being deleted.
    Deleting,
    /// A download link is requested.
    Refreshing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting to be uploaded",
            Self::Requested => "waiting for an upload URL",
            Self::Uploading => "being uploaded",
            Self::Confirming => "being checked by the service",
            Self::Uploaded => "uploaded",
            Self::Sending => "being sent",
            Self::Deleting => "being deleted",
            Self::Refreshing => "getting a download link",
        })
    }
}

/// A file for the driver to upload. The driver drops it when the attachment is no longer [`Stage::Uploading`].
#[derive(Clone, Debug)]
pub struct FileUpload {
    /// The attachment.
    pub id: AttachmentId,
    /// The call to make.
    pub upload: Upload,
}

/// Each attachment is uploaded once: two uploads are equal if their ids are.
impl PartialEq for FileUpload {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for FileUpload {}

/// The answer of the storage to an upload. The service checks a stored file before it can be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UploadOutcome {
    /// Another status than 2xx.
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// 2xx.
    Stored,
    /// No answer in time.
    Unanswered,
}

/// A download link, which is a secret that grants access to the file. It is valid for about ten minutes (Genesys'
/// mobile SDK) and counts as expired after nine.
#[derive(Clone, Debug)]
pub struct Link {
    url: SecretString,
    until: Instant,
}

impl Link {
    const LIFETIME: Duration = genesys_api::limits::DOWNLOAD_LINK.saturating_sub(Duration::from_secs(60));

    /// A link that arrived at `now`.
    #[must_use]
    pub fn new(url: SecretString, now: Instant) -> Self {
        Self {
            url,
            until: now + Self::LIFETIME,
        }
    }

    /// The URL, unless it has expired: then [request](crate::Request::RefreshAttachment) another.
    #[must_use]
    pub fn url(&self, now: Instant) -> Option<&SecretString> {
        (now < self.until).then_some(&self.url)
    }
}

/// A change of an attachment, or of a requested download link.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttachmentEvent {
    /// It was deleted before it was sent.
    Deleted(AttachmentId),
    /// It cannot be sent, and is removed.
    Failed(AttachmentId, Failure),
    /// A fresh download link.
    Link(AttachmentId, Link),
    /// No download link was obtained.
    NoLink(AttachmentId, Failure),
    /// It was not deleted, and can still be sent.
    NotDeleted(AttachmentId, Failure),
    /// The service accepted the message that it was sent with.
    Sent(AttachmentId, MessageId),
    /// It can be sent with a message. The service may have sent a download link.
    Uploaded(AttachmentId, Option<Link>),
}
