//! The state and limits of a session, and the tokens that the service issues for it.

use genesys_api::wire::{SecretText, Text};
use serde::Deserialize;
use time::OffsetDateTime;

use super::lenient::{null_as_default, number, time};

/// The response to configuring and closing a session.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct SessionResponse<'a> {
    /// `false` after `closeSession`.
    pub connected: bool,
    /// The token was unknown, expired, or a new conversation was requested.
    #[serde(default)]
    pub new_session: bool,
    /// The conversation has ended and is read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Signing in removed an older session of the same guest.
    #[serde(default)]
    pub cleared_existing_session: bool,
    /// The conversation started without a message of the guest. Only the schema has it; its meaning is an inference.
    #[serde(default)]
    pub auto_started: bool,
    /// Files that a guest may send.
    pub allowed_media: Option<AllowedMedia<'a>>,
    /// Refused file extensions, each with its dot.
    #[serde(default, deserialize_with = "null_as_default")]
    pub blocked_extensions: Vec<Text<'a>>,
    /// Most bytes of custom attributes; negative if unknown.
    #[serde(default, deserialize_with = "number")]
    pub max_custom_data_bytes: Option<i64>,
    /// Lifetime after the last message, in seconds.
    #[serde(default, deserialize_with = "number")]
    pub duration_seconds: Option<i64>,
    /// Expiry.
    #[serde(rename = "expirationDate", default, deserialize_with = "time")]
    pub expires_at: Option<OffsetDateTime>,
}

/// The response to `getConfiguration`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct Configuration<'a> {
    /// Files that a guest may send.
    pub allowed_media: Option<AllowedMedia<'a>>,
    /// Refused file extensions, each with its dot.
    #[serde(default, deserialize_with = "null_as_default")]
    pub blocked_extensions: Vec<Text<'a>>,
    /// Most bytes of custom attributes; negative if unknown.
    #[serde(default, deserialize_with = "number")]
    pub max_custom_data_bytes: Option<i64>,
    /// Whether messages reach a flow. Only the schema has it; its meaning is an inference.
    pub message_routing_enabled: Option<bool>,
    /// Lifetime after the last message, in seconds.
    #[serde(default, deserialize_with = "number")]
    pub session_duration_seconds: Option<i64>,
}

/// Files that may be sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct AllowedMedia<'a> {
    /// From the guest.
    pub inbound: Option<MediaRules<'a>>,
}

/// Files that may be sent in one direction.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct MediaRules<'a> {
    /// The types of file.
    #[serde(default, deserialize_with = "null_as_default")]
    pub file_types: Vec<FileType<'a>>,
    /// Largest file, in KiB; 10,240 is usual.
    #[serde(default, rename = "maxFileSizeKB", deserialize_with = "number")]
    pub max_file_size_kb: Option<i64>,
}

/// A type of file.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct FileType<'a> {
    /// A media type, or a pattern such as `image/*` or `*/*`.
    #[serde(rename = "type")]
    pub media_type: Text<'a>,
}

/// A token that the service issues: the JWT that reads the history, or a resume token, which only the schema has.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
#[non_exhaustive]
pub struct IssuedToken<'a> {
    /// The token.
    #[serde(rename = "jwt", alias = "resumeToken")]
    pub token: SecretText<'a>,
    /// Expiry.
    #[serde(rename = "exp", deserialize_with = "time")]
    pub expires_at: Option<OffsetDateTime>,
}
