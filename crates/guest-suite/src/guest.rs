//! Guests and their sessions, whichever mode keeps them.

use genesys_api::{GuestId, SessionId, SessionState};
use guest_payload::ConsentRecord;
use time::OffsetDateTime;

/// A session as its owner may see it. It holds no token.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// The guest.
    pub guest: GuestId,
    /// How far it has come.
    pub state: SessionState,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// End of the access token.
    pub expires_at: OffsetDateTime,
    /// When it ended, and why.
    pub ended: Option<(OffsetDateTime, String)>,
    /// What the guest consented to, and what follows.
    pub consent: ConsentRecord,
}
