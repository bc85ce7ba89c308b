//! The audit trail of a session.

use audit::{Actor, Draft};
use genesys_api::SessionId;
use guest_store::{StoredEntry, Unit};

use super::{Direct, DirectError};

/// Largest number of entries.
const MAX_ENTRIES: usize = 10_000;

impl Direct {
    /// Returns the audit entries of one session, oldest first. The last one records this read.
    ///
    /// # Errors
    /// [`DirectError::NotFound`], or the store's.
    pub async fn audit_trail(&self, owner: &str, id: &SessionId) -> Result<Vec<StoredEntry>, DirectError> {
        let record = self.load(owner, id).await?;
        let subject = record.subject();
        let read = Draft::new(self.clock().now().utc, Actor::client(owner), "audit.read").subject(subject);
        self.commit(Unit {
            entries: vec![read],
            ..Unit::default()
        })
        .await?;
        let mut trail: Vec<StoredEntry> = Vec::new();
        loop {
            let from = trail.last().map_or(0, |entry| entry.seq + 1);
            let page = self.store().audit_lines(from, 1_000, Some(&subject)).await?;
            if page.is_empty() || trail.len() >= MAX_ENTRIES {
                return Ok(trail);
            }
            trail.extend(page);
        }
    }
}
