//! Uploads, download links, and refusals.

use std::collections::BTreeMap;

use genesys_api::wire::{SecretText, Text};
use serde::Deserialize;

use super::lenient::number;

/// A URL for the upload or the download of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct PresignedUrl<'a> {
    /// Id of the file.
    pub attachment_id: Text<'a>,
    /// The URL: a secret that grants access to the file.
    pub url: SecretText<'a>,
    /// Headers that the upload must send unchanged.
    #[serde(default)]
    pub headers: BTreeMap<Text<'a>, Text<'a>>,
    /// Its name.
    pub file_name: Option<Text<'a>>,
    /// Its size in bytes.
    #[serde(default, deserialize_with = "number")]
    pub file_size: Option<i64>,
    /// Its media type.
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
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct UploadSuccess<'a> {
    /// Id of the file.
    pub attachment_id: Text<'a>,
    /// Download link, a secret that is valid for about ten minutes.
    pub download_url: SecretText<'a>,
    /// Time, RFC 3339.
    pub timestamp: Option<Text<'a>>,
}

/// The refusal of a request, of a file, or of one request too many.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct ErrorBody<'a> {
    /// Code, more specific than that of the envelope: see [`ErrorCode`](crate::ErrorCode).
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// Text of the refusal: see [`ErrorBody::text`].
    pub error_message: Option<Text<'a>>,
    /// As `error_message`; only the schema has it.
    pub message: Option<Text<'a>>,
    /// Symbolic code; only the schema has it.
    pub name: Option<Text<'a>>,
    /// Time to wait, in seconds, if a limit was exceeded.
    #[serde(default, deserialize_with = "number")]
    pub retry_after: Option<i64>,
    /// Id of the refused file.
    pub attachment_id: Option<Text<'a>>,
    /// Time, RFC 3339; of an upload only.
    pub timestamp: Option<Text<'a>>,
}

impl ErrorBody<'_> {
    /// Text of the refusal; empty if absent.
    #[must_use]
    pub fn text(&self) -> &str {
        let text = self.error_message.as_deref().or(self.message.as_deref());
        text.unwrap_or_default()
    }
}
