//! One attachment, and where it stands.

use std::fmt;
use std::time::Instant;

use super::{AttachmentId, File};
use crate::MessageId;
use web_messaging::rest::Upload;

/// Where an attachment stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// Checked; the service is not asked yet.
    Waiting,
    /// The service is asked where to put it.
    Requested,
    /// The service said where.
    Presigned,
    /// The driver uploads it.
    Uploading,
    /// The storage has it; the service looks at it.
    Confirming,
    /// A message can carry it.
    Uploaded,
    /// A message carries it, and is not accepted yet.
    Sending,
    /// It is to be deleted.
    Deleting,
    /// A download link is asked for.
    Refreshing,
}

impl Stage {
    pub(super) fn is_in_flight(self) -> bool {
        matches!(
            self,
            Self::Waiting | Self::Requested | Self::Presigned | Self::Uploading | Self::Confirming
        )
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting to be uploaded",
            Self::Requested => "waiting for a place at the service",
            Self::Presigned => "about to be uploaded",
            Self::Uploading => "being uploaded",
            Self::Confirming => "being checked by the service",
            Self::Uploaded => "uploaded",
            Self::Sending => "being sent",
            Self::Deleting => "being deleted",
            Self::Refreshing => "getting a download link",
        })
    }
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: AttachmentId,
    pub(super) stage: Stage,
    pub(super) load: Load,
    /// That carries it.
    pub(super) message: Option<MessageId>,
    pub(super) tries: u8,
    /// When the stage has taken too long; none for one that takes as long as it takes.
    pub(super) deadline: Option<Instant>,
}

impl Item {
    pub(super) fn enter(&mut self, stage: Stage, deadline: Option<Instant>) {
        self.stage = stage;
        self.deadline = deadline;
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.load {
            Load::File(file) => file.len(),
            Load::Leaving(bytes) => *bytes,
            Load::Nothing => 0,
            Load::Upload(upload) => upload.len(),
        }
    }
}

/// What is held of the file.
#[derive(Debug, Default)]
pub(super) enum Load {
    File(File),
    /// The driver holds that many bytes.
    Leaving(usize),
    #[default]
    Nothing,
    Upload(Box<Upload>),
}

#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) id: AttachmentId,
    pub(super) asked: bool,
    pub(super) tries: u8,
    pub(super) deadline: Option<Instant>,
}
