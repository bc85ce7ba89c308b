//! Transcript of a session, for tests that compare it with what a client received.

use time::OffsetDateTime;

use crate::world::World;

/// One message in the history of the simulated cloud.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TranscriptEntry {
    /// Whether the guest sent it, and not the agent.
    pub by_guest: bool,
    /// The text as sent.
    pub text: String,
    /// Time by the world's clock, equal to `channel.time` of its frame.
    pub at: OffsetDateTime,
}

impl World {
    /// Returns the texts of a session, oldest first, without events. Empty if there is no such session any more.
    #[must_use]
    pub fn transcript(&self, token: &str) -> Vec<TranscriptEntry> {
        let session = self.sessions.by_token(token);
        session
            .map(|session| session.history.transcript())
            .unwrap_or_default()
    }
}
