//! Refusals with a body.

use serde::Deserialize;

use super::loose::number;
use genesys_api::wire::Text;

/// The refusal of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ErrorBody<'a> {
    /// Code, more specific than that of the envelope.
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// Text of the refusal: see [`ErrorBody::text`].
    #[serde(borrow)]
    pub error_message: Option<Text<'a>>,
    /// As `message`; only the schema has it.
    #[serde(borrow)]
    pub message: Option<Text<'a>>,
    /// Symbolic code; only the schema has it.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
}

impl ErrorBody<'_> {
    /// Text of the refusal; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        let text = self.error_message.as_deref().or(self.message.as_deref());
        text.unwrap_or_default()
    }
}

/// An exceeded limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TooManyRequests<'a> {
    /// Time to wait, in seconds.
    #[serde(default, deserialize_with = "number")]
    pub retry_after: Option<i64>,
    /// 4029 or 429; both occur.
    #[serde(default, deserialize_with = "number")]
    pub error_code: Option<i64>,
    /// Description of the limit.
    #[serde(borrow)]
    pub error_message: Option<Text<'a>>,
}
