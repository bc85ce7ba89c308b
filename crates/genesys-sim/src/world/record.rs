//! What was said in a session, for tests that compare it with what a client was told.

use time::OffsetDateTime;

use crate::world::World;

/// One message on the cloud's record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said {
    /// By the guest, or else by the agent.
    pub by_guest: bool,
    /// The text, as it was sent.
    pub text: String,
    /// When, by the world's clock: what `channel.time` says.
    pub at: OffsetDateTime,
}

impl World {
    /// The texts of a session, oldest first, events left out. Empty if there is no such session, or no longer.
    #[must_use]
    pub fn record(&self, token: &str) -> Vec<Said> {
        let session = self
            .sessions
            .key_of(token)
            .and_then(|key| self.sessions.get(&key));
        session.map(|session| session.history.said()).unwrap_or_default()
    }
}
