//! Refusals that come as objects.

use serde::Deserialize;

use super::loose::number;
use genesys_api::wire::Text;

/// Why a request was refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ErrorBody<'a> {
    /// More exact than the envelope's code, if there.
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// For people: see [`ErrorBody::text`].
    #[serde(borrow)]
    pub error_message: Option<Text<'a>>,
    /// The same; only the schema has it.
    #[serde(borrow)]
    pub message: Option<Text<'a>>,
    /// The machine's name for it; only the schema has it.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
}

impl ErrorBody<'_> {
    /// For people, under whichever name it came; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        let text = self.error_message.as_deref().or(self.message.as_deref());
        text.unwrap_or_default()
    }
}

/// A limit was exceeded.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TooManyRequests<'a> {
    /// How long to wait, in seconds.
    #[serde(default, deserialize_with = "number")]
    pub retry_after: Option<i64>,
    /// 4029, or 429: both are seen.
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// Which limit, for people.
    #[serde(borrow)]
    pub error_message: Option<Text<'a>>,
}
