//! Errors and failures of attachments.

use web_messaging::ErrorCode;
use web_messaging::rest::UploadError;

use super::Stage;

/// The error of a file that was not attached.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The extension is blocked.
    #[error(
        "invalid file: the service blocks the extension .{extension}; attach another kind of file, or an archive of it"
    )]
    Blocked {
        /// The extension, lower case.
        extension: Box<str>,
    },
    /// Too many files, or too many bytes, are being uploaded.
    #[error(
        "cannot attach: {count} files, or {bytes} bytes of them, are being uploaded; attach the file after the next one"
    )]
    Busy {
        /// Most files at once.
        count: usize,
        /// Most bytes at once.
        bytes: usize,
    },
    /// The file is empty; the service would answer 4102.
    #[error("invalid file: it is empty; attach one with content")]
    Empty,
    /// The conversation is over, or ending.
    #[error("cannot attach: the conversation has ended; attach the file in a new one")]
    Ended,
    /// The id is in use.
    #[error("invalid attachment id: it is in use; take a fresh one")]
    Known,
    /// The media type is not allowed; the service would answer 4001.
    #[error("invalid file: the service does not accept the type {media_type}; attach another kind of file")]
    MediaType {
        /// Media type of the file.
        media_type: Box<str>,
    },
    /// The name has a slash, a control character, a change of direction, or a space at its end; our choice.
    #[error(
        "invalid file name: a slash, a control character, a change of direction, or a space at the end; remove them, and the folder"
    )]
    Name,
    /// The name is too long; the service would answer 4005.
    #[error("invalid file name: {characters} characters; shorten it to at most 1023")]
    NameTooLong {
        /// Characters of the name.
        characters: usize,
    },
    /// The name has no extension, which Genesys Cloud requires.
    #[error("invalid file name: no extension; add one that names its type, such as .png")]
    NoExtension,
    /// The rules are not known yet.
    #[error("cannot attach: the session is not ready; attach the file when it is configured")]
    NotReady,
    /// The deployment takes no attachments; the service would answer 4000.
    #[error("{OFF}")]
    Off,
    /// The conversation is read-only.
    #[error("cannot attach: the conversation is read-only; attach the file in a new one")]
    ReadOnly,
    /// The file is too large; the service would answer 4002.
    #[error("invalid file: {bytes} bytes; attach one of at most {limit}")]
    TooLarge {
        /// Bytes of the file.
        bytes: u64,
        /// Largest size.
        limit: u64,
    },
    /// Too many files are attached.
    #[error("cannot attach: {count} files are attached; send or delete some first")]
    TooMany {
        /// Most attachments.
        count: usize,
    },
}

const OFF: &str = "cannot attach: the deployment takes no attachments; an administrator can allow them in its configuration";

/// The error of an attachment that was not deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// A message has it.
    #[error("cannot delete the attachment: it is being sent; attach another one in its place")]
    Sending,
    /// It is unknown.
    #[error(
        "cannot delete the attachment: it failed, was deleted, or was sent already; nothing is left to delete"
    )]
    Unknown,
}

/// The cause of a failed attachment, or of a link that was not obtained. `Display` includes the remedy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The connection was lost meanwhile.
    #[error("the connection was lost while the attachment was {stage}: once it is restored, try again")]
    ConnectionLost {
        /// Stage at that time.
        stage: Stage,
    },
    /// The service refused it.
    #[error("{}", refusal(*.code, .message))]
    Refused {
        /// Code of the service.
        code: ErrorCode,
        /// Text of the service.
        message: String,
    },
    /// The gateway refused it (`guest-sessions` only).
    #[error("{message}")]
    RefusedByGateway {
        /// Stable code of the gateway.
        code: Box<str>,
        /// Text of the gateway, with the remedy.
        message: Box<str>,
    },
    /// The session ended, or a new one began.
    #[error("the session of the attachment is over: attach the file in the new one")]
    SessionEnded,
    /// The storage refused the upload, or did not answer.
    #[error(
        "the storage did not take the upload ({}): attach the file again",
        .status.map_or("no answer".to_owned(), |status| format!("status {status}"))
    )]
    Storage {
        /// HTTP status, if it answered.
        status: Option<u16>,
    },
    /// There was no answer in time.
    #[error("there was no answer in time while the attachment was {stage}: try again")]
    TimedOut {
        /// Stage at that time.
        stage: Stage,
    },
    /// The upload URL of the service is invalid.
    #[error("{0}")]
    UploadUrl(UploadError),
}

/// Text for a refusal, by its code (Genesys' Developer Center and mobile SDK), or by the service's own text.
fn refusal(code: ErrorCode, message: &str) -> String {
    match code {
        ErrorCode::FeatureUnavailable => OFF,
        ErrorCode::FileTypeInvalid => {
            "the service does not take this type of file: attach another kind of file"
        }
        ErrorCode::FileSizeInvalid => "the service found the file too large: attach a smaller one",
        ErrorCode::FileContentInvalid => "the service does not take what is in the file: attach another one",
        ErrorCode::FileNameInvalid => {
            "the service does not take the file's name: give it a plain one with an extension"
        }
        ErrorCode::FileNameTooLong => "the service found the file's name too long: shorten it",
        ErrorCode::AttachmentExpired => "the attachment has expired: attach the file again",
        ErrorCode::AttachmentNotFound => "the service does not know the attachment: attach the file again",
        ErrorCode::AttachmentNotUploaded => {
            "the service has not received the file: attach it again, and send it when it is uploaded"
        }
        ErrorCode::FileEmpty => "the service found the file empty: attach one that is not",
        _ => {
            return format!(
                "the service refused the attachment: {message} ({})",
                code.number()
            );
        }
    }
    .to_owned()
}
