//! The row of a guest session.

use std::fmt;
use std::hint::black_box;

use audit::Pseudonym;
use genesys_api::{ChannelId, GuestId, SessionId, entropy};
use ring::digest::{SHA256, digest};
use time::OffsetDateTime;

use crate::{Opaque, SessionSecrets};

/// A guest session. Times have a precision of one microsecond.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its owner: the API client or tenant that created it.
    pub owner: String,
    /// The guest. An owner has at most one live session of a guest.
    pub guest: GuestId,
    /// Its channel.
    pub channel: ChannelId,
    /// Time of its creation.
    pub created_at: OffsetDateTime,
    /// Expiry of its access token.
    pub expires_at: OffsetDateTime,
    /// End of its idle timeout, when its refresh token and the session expire.
    pub idle_deadline: OffsetDateTime,
    /// Time of its end.
    pub ended_at: Option<OffsetDateTime>,
    /// Hash of the access token.
    pub access: TokenHash,
    /// Hash of the refresh token.
    pub refresh: TokenHash,
    /// Hash of the refresh token that the last rotation replaced. Its use is a reuse.
    pub previous_refresh: Option<TokenHash>,
    /// Number of its token pairs, from 1.
    pub generation: u64,
    /// Version for compare-and-swap: 0 for a new session. A commit returns the next one.
    pub version: u64,
    /// Its secrets. Sealed at rest.
    pub secrets: SessionSecrets,
    /// The consent record, the stage, the attributes.
    pub document: Opaque,
}

impl Session {
    /// A session with a time-ordered id, random secrets, no tokens, no document, and an idle timeout of one day.
    #[must_use]
    pub fn new(owner: impl Into<String>, guest: GuestId, channel: ChannelId, now: OffsetDateTime) -> Self {
        Self {
            id: SessionId::from(entropy::ordered_uuid(now)),
            owner: owner.into(),
            guest,
            channel,
            created_at: now,
            expires_at: now,
            idle_deadline: now + time::Duration::DAY,
            ended_at: None,
            access: TokenHash::NONE,
            refresh: TokenHash::NONE,
            previous_refresh: None,
            generation: 1,
            version: 0,
            secrets: SessionSecrets::random(),
            document: Opaque::default(),
        }
    }

    /// Its pseudonym in the audit log.
    #[must_use]
    pub fn pseudonym(&self) -> Pseudonym {
        self.secrets.pseudonym(&self.id)
    }

    /// The fingerprint of one of its tokens in the audit log, under its subject key. After the destruction of the key,
    /// a token can no longer be recognized.
    #[must_use]
    pub fn fingerprint(&self, token: &TokenHash) -> Pseudonym {
        let hash = audit::Hash::from_bytes(token.0);
        Pseudonym::of(&self.secrets.subject_key, &format!("token/{hash}"))
    }
}

/// The SHA-256 of a token, which is stored in its place.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// A hash of no token.
    const NONE: Self = Self([0; 32]);

    /// The hash of `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Whether this is the hash of `token`, compared in constant time.
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

    /// A hash of these bytes.
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
    fn token_hash_matches_own_token_only() {
        let hash = TokenHash::of("token");
        assert!(hash.matches("token"));
        assert!(!hash.matches("Token"));
        assert!(!hash.matches(""));
        assert_eq!(TokenHash::from_bytes(*hash.as_bytes()), hash);
        assert_eq!(format!("{hash:?}"), "TokenHash(redacted)");
    }
}
