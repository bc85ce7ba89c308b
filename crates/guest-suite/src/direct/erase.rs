//! Erasing sessions that ended long ago.

use audit::{Action, Actor, Draft};
use guest_store::{Change, SessionQuery, Unit};

use super::record::Record;
use super::{Direct, DirectError};

/// Sessions that are looked at together.
const PAGE: usize = 1_000;

impl Direct {
    /// Erases the sessions that ended longer ago than the retention, and says how many these were. The audit log keeps
    /// its entries about them, under pseudonyms that nothing can link to a session any more.
    ///
    /// # Errors
    /// The store's.
    pub async fn erase_old(&self) -> Result<usize, DirectError> {
        let now = self.clock().now().utc;
        let time = now - self.shared.config.retention;
        let mut erased = 0;
        loop {
            let query = SessionQuery::EndedBefore { time, limit: PAGE };
            let old = self.store().sessions(query).await?;
            let looked_at = old.len();
            for session in old {
                let id = session.id.clone();
                let entry = Draft::new(now, Actor::system("guest-suite"), Action::SessionErased)
                    .subject(Record::load(session)?.subject());
                let unit = Unit {
                    change: Some(Change::RemoveSession(id)),
                    entries: vec![entry],
                    events: Vec::new(),
                };
                self.commit(unit).await?;
                erased += 1;
            }
            if looked_at < PAGE {
                return Ok(erased);
            }
        }
    }
}
