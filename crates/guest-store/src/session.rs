//! A guest session as it is stored.

use std::fmt;
use std::hint::black_box;

use audit::Pseudonym;
use bytes::Bytes;
use genesys_api::{ChannelId, GuestId, SessionId};
use ring::digest::{SHA256, digest};
use time::OffsetDateTime;

use crate::SessionSecrets;

/// A guest session. Times are kept to the microsecond.
#[derive(Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is: the API client, or the tenant, that created it.
    pub owner: String,
    /// The guest. An owner has at most one session of a guest that has not ended.
    pub guest: GuestId,
    /// The channel that it came by.
    pub channel: ChannelId,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When its access token expires.
    pub expires_at: OffsetDateTime,
    /// When its refresh token, and with it the session, runs out.
    pub lapses_at: OffsetDateTime,
    /// When it ended, if it has.
    pub ended_at: Option<OffsetDateTime>,
    /// The access token.
    pub access: TokenHash,
    /// The refresh token.
    pub refresh: TokenHash,
    /// The refresh token before this one: whoever shows it uses it a second time.
    pub previous_refresh: Option<TokenHash>,
    /// How often its tokens were rotated.
    pub generation: u64,
    /// How often it was written: 0 for one that is new. A commit answers with the next one.
    pub version: u64,
    /// Its secrets. Sealed at rest.
    pub secrets: SessionSecrets,
    /// Bytes that the store does not interpret: the consent record, the stage, the attributes. Sealed at rest.
    pub document: Bytes,
}

impl Session {
    /// Its pseudonym in the audit log.
    #[must_use]
    pub fn pseudonym(&self) -> Pseudonym {
        self.secrets.pseudonym(&self.id)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("guest", &self.guest)
            .field("ended_at", &self.ended_at)
            .field("generation", &self.generation)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The SHA-256 of a token: all that is stored of one.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Whether this is the hash of `token`. The time it takes does not depend on how much of it is right.
    #[must_use]
    pub fn matches(&self, token: &str) -> bool {
        let other = Self::of(token);
        let difference = self
            .0
            .iter()
            .zip(other.0)
            .fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
        difference == 0
    }

    /// The hash that these bytes are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_its_own_hash_only() {
        let hash = TokenHash::of("token");
        assert!(hash.matches("token"));
        assert!(!hash.matches("Token"));
        assert!(!hash.matches(""));
        assert_eq!(TokenHash::from_bytes(*hash.as_bytes()), hash);
        assert_eq!(format!("{hash:?}"), "TokenHash(redacted)");
    }
}
