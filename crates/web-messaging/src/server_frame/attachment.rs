//! Files on their way.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::loose::number;
use genesys_api::wire::{SecretText, Text};

/// Where to upload a file, or where to download it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PresignedUrl<'a> {
    /// Which file.
    #[serde(borrow)]
    pub attachment_id: Text<'a>,
    /// Where. Whoever has it has the file: it is a secret.
    #[serde(borrow)]
    pub url: SecretText<'a>,
    /// What an upload has to send along, word for word.
    #[serde(borrow, default)]
    pub headers: BTreeMap<Text<'a>, Text<'a>>,
    /// Its name.
    #[serde(borrow)]
    pub file_name: Option<Text<'a>>,
    /// Its size in bytes.
    #[serde(default, deserialize_with = "number")]
    pub file_size: Option<i64>,
    /// Its media type.
    #[serde(borrow)]
    pub file_type: Option<Text<'a>>,
}

impl PresignedUrl<'_> {
    /// Whether it answers `getAttachment`: a link for about ten minutes. As Genesys' mobile SDK tells the two apart.
    #[must_use]
    pub fn is_download(&self) -> bool {
        self.headers.is_empty() && self.file_size.is_some()
    }
}

/// An uploaded file is there, and may be sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UploadSuccess<'a> {
    /// Which file.
    #[serde(borrow)]
    pub attachment_id: Text<'a>,
    /// Where it can be seen for about ten minutes: a secret.
    #[serde(borrow)]
    pub download_url: SecretText<'a>,
    /// When, RFC 3339.
    #[serde(borrow)]
    pub timestamp: Option<Text<'a>>,
}

/// A file was refused, before the upload or after it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AttachmentError<'a> {
    /// Which file.
    #[serde(borrow)]
    pub attachment_id: Option<Text<'a>>,
    /// Why: see [`ErrorCode`](crate::ErrorCode).
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// For people.
    #[serde(borrow)]
    pub error_message: Option<Text<'a>>,
    /// When, RFC 3339; of an upload only.
    #[serde(borrow)]
    pub timestamp: Option<Text<'a>>,
}
