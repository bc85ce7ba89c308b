//! Frames of uploads and download links.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::loose::number;
use genesys_api::wire::{SecretText, Text};

/// A URL for the upload or the download of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PresignedUrl<'a> {
    /// Id of the file.
    #[serde(borrow)]
    pub attachment_id: Text<'a>,
    /// The URL: a secret that grants access to the file.
    #[serde(borrow)]
    pub url: SecretText<'a>,
    /// Headers that the upload must send unchanged.
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
    /// Whether it is the response to `getAttachment`, a link for about ten minutes; by the rule of Genesys' mobile SDK.
    #[must_use]
    pub fn is_download(&self) -> bool {
        self.headers.is_empty() && self.file_size.is_some()
    }
}

/// An accepted upload, which may be sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UploadSuccess<'a> {
    /// Id of the file.
    #[serde(borrow)]
    pub attachment_id: Text<'a>,
    /// Download link, a secret that is valid for about ten minutes.
    #[serde(borrow)]
    pub download_url: SecretText<'a>,
    /// Time, RFC 3339.
    #[serde(borrow)]
    pub timestamp: Option<Text<'a>>,
}

/// A refusal of a file, before or after the upload.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AttachmentError<'a> {
    /// Id of the file.
    #[serde(borrow)]
    pub attachment_id: Option<Text<'a>>,
    /// Code of the refusal: see [`ErrorCode`](crate::ErrorCode).
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// Text of the refusal.
    #[serde(borrow)]
    pub error_message: Option<Text<'a>>,
    /// Time, RFC 3339; of an upload only.
    #[serde(borrow)]
    pub timestamp: Option<Text<'a>>,
}
