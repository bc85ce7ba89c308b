//! Errors of attachment requests.

use super::{AttachmentId, Stage};

/// The attachments cannot go with the message.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachToError {
    /// One is in another stage.
    #[error("attachment {id} is {stage}: wait until it is uploaded, or send without it")]
    NotUploaded {
        /// Which.
        id: AttachmentId,
        /// Where it stands.
        stage: Stage,
    },
    /// One is not held.
    #[error(
        "attachment {id} is not held: it failed, was deleted, or was sent already; attach the file again"
    )]
    Unknown {
        /// Which.
        id: AttachmentId,
    },
}

/// The attachment cannot be deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// A message has it.
    #[error("the attachment is being sent: what is sent cannot be deleted")]
    Sending,
    /// It is not held.
    #[error(
        "the attachment is not held: it failed, was deleted, or was sent, and what is sent cannot be deleted"
    )]
    Unknown,
}

/// No link can be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{count} download links are being asked for, which is as many as may be: ask again when one has come"
)]
pub struct RefreshError {
    /// How many may be asked for at once.
    pub count: usize,
}
