//! Reasons of a failed attachment.

use super::{Refusal, Stage};
use web_messaging::ErrorCode;
use web_messaging::rest::UploadError;

/// Whether a message was refused because of what it carries.
pub(super) fn is_about_attachments(code: i64) -> bool {
    matches!(
        ErrorCode::new(code),
        ErrorCode::AttachmentExpired | ErrorCode::AttachmentNotFound | ErrorCode::AttachmentNotUploaded
    )
}

/// Why an attachment failed, or its link could not be had. `Display` says what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The connection was lost meanwhile.
    #[error("the connection was lost while the attachment was {stage}: once it is restored, try again")]
    ConnectionLost {
        /// Where the attachment stood.
        stage: Stage,
    },
    /// 4003.
    #[error("the service does not take what is in the file: attach another one")]
    Content,
    /// 4102.
    #[error("the service found the file empty: attach one that is not")]
    Empty,
    /// 4008.
    #[error("the attachment has expired: attach the file again")]
    Expired,
    /// 4002.
    #[error("the service found the file too large: attach a smaller one")]
    FileSize,
    /// 4001.
    #[error("the service does not take this type of file: attach another kind of file")]
    FileType,
    /// The service's grant cannot be used.
    #[error("{0}")]
    UploadUrl(UploadError),
    /// 4004.
    #[error("the service does not take the file's name: give it a plain one with an extension")]
    Name,
    /// 4005.
    #[error("the service found the file's name too long: shorten it")]
    NameTooLong,
    /// 4009.
    #[error("the service does not know the attachment: attach the file again")]
    NotFound,
    /// 4010.
    #[error("the service has not got the file: attach it again, and send it when it is uploaded")]
    NotUploaded,
    /// 4000.
    #[error(
        "attachments are switched off for this deployment: an administrator can allow them in its configuration"
    )]
    Off,
    /// Another refusal.
    #[error("the service refused the attachment: {0}")]
    Refused(Refusal),
    /// The session ended, or a new one began.
    #[error("the session of the attachment is over: attach the file in the new one")]
    SessionEnded,
    /// The storage did not take the upload, or did not answer.
    #[error("the storage did not take the upload ({}): attach the file again", Status(*.status))]
    Storage {
        /// HTTP status, if it answered.
        status: Option<u16>,
    },
    /// Nobody answered in time.
    #[error("there was no answer in time while the attachment was {stage}: try again")]
    TimedOut {
        /// Where the attachment stood.
        stage: Stage,
    },
}

impl Failure {
    /// What an error code of the service means for an attachment (Genesys' Developer Center and mobile SDK). `message`
    /// is the service's, for people; it is used where the code says nothing.
    #[must_use]
    pub fn of(code: i64, message: &str) -> Self {
        match ErrorCode::new(code) {
            ErrorCode::FeatureUnavailable => Self::Off,
            ErrorCode::FileTypeInvalid => Self::FileType,
            ErrorCode::FileSizeInvalid => Self::FileSize,
            ErrorCode::FileContentInvalid => Self::Content,
            ErrorCode::FileNameInvalid => Self::Name,
            ErrorCode::FileNameTooLong => Self::NameTooLong,
            ErrorCode::AttachmentExpired => Self::Expired,
            ErrorCode::AttachmentNotFound => Self::NotFound,
            ErrorCode::AttachmentNotUploaded => Self::NotUploaded,
            ErrorCode::FileEmpty => Self::Empty,
            _ => Self::Refused(Refusal::new(code, message)),
        }
    }
}

struct Status(Option<u16>);

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(status) => write!(f, "status {status}"),
            None => f.write_str("no answer"),
        }
    }
}
