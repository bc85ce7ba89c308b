//! The name of an attachment.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Names one attachment: a UUID of ours, or whatever the service calls one of the other side. No secret.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AttachmentId(Box<str>);

impl AttachmentId {
    const LONGEST: usize = 128;

    /// As it stands in a frame.
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

/// The text is no attachment id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "an attachment id has 1 to 128 printable ASCII characters: take it from the message that has the attachment"
)]
pub struct AttachmentIdError;
