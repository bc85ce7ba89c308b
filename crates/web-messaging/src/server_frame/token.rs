//! Tokens that the service issues on the socket.

use serde::Deserialize;
use time::OffsetDateTime;

use super::meaning::epoch;
use genesys_api::wire::SecretText;

/// The token that reads the history; it is valid for one minute.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Jwt<'a> {
    /// The token.
    #[serde(borrow)]
    pub jwt: SecretText<'a>,
    /// Expiry, in seconds since 1970.
    pub exp: i64,
}

impl Jwt<'_> {
    /// Expiry.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        epoch(self.exp)
    }
}

/// A token of the schema that no official client uses.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ResumeToken<'a> {
    /// The token.
    #[serde(borrow)]
    pub resume_token: SecretText<'a>,
    /// Expiry, in seconds since 1970.
    pub exp: i64,
}
