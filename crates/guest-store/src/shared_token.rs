//! The access token of an API client, or another secret, which processes share.

use secrecy::SecretString;
use time::OffsetDateTime;

/// A token or another secret under its name, or the lease of the process that requests it. Sealed at rest, but for the name.
///
/// It changes by compare-and-swap ([`Unit::token`](crate::Unit::token)): of several processes without a valid token one writes
/// the lease, and only that one can write the token.
#[derive(Clone, Debug)]
pub struct SharedToken {
    /// Its name, such as the login host and the id of the client.
    pub name: String,
    /// Version for compare-and-swap: 0 for a new one. A commit increments it.
    pub version: u64,
    /// The token and what the caller stores with it, if one was issued.
    pub content: Option<SecretString>,
    /// Until when one process requests the next token.
    pub leased_until: Option<OffsetDateTime>,
}
