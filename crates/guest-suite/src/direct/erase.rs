//! Erasing sessions that ended long ago.

use audit::{Action, Actor, Draft};
use guest_store::{Change, Session, SessionQuery, Unit};
use time::OffsetDateTime;

use super::{Direct, DirectError};

/// Sessions that are looked at together.
const PAGE: usize = 1_000;

impl Direct {
    /// Erases the sessions that ended longer ago than the retention, and says how many these were. The audit log keeps
    /// its entries about them, under pseudonyms that nothing can link to a session any more. One that cannot be erased
    /// keeps no other from it.
    ///
    /// # Errors
    /// If the sessions cannot be read.
    pub async fn erase_old(&self) -> Result<usize, DirectError> {
        let now = self.clock().now().utc;
        let time = now - self.shared.config.retention;
        let mut erased = 0;
        loop {
            let query = SessionQuery::EndedBefore { time, limit: PAGE };
            let old = self.store().sessions(query).await?;
            let (looked_at, before) = (old.len(), erased);
            for session in old {
                let id = session.id.clone();
                match self.erase(session, now).await {
                    Ok(()) => erased += 1,
                    Err(error) => tracing::error!(session = %id, %error, "an old session cannot be erased"),
                }
            }
            if looked_at < PAGE || erased == before {
                return Ok(erased);
            }
        }
    }

    async fn erase(&self, session: Session, now: OffsetDateTime) -> Result<(), DirectError> {
        let change = Some(Change::RemoveSession(session.id.clone()));
        let entry =
            Draft::new(now, Actor::system("guest-suite"), Action::SessionErased).subject(session.pseudonym());
        let unit = Unit {
            change,
            entries: vec![entry],
            events: Vec::new(),
        };
        Ok(self.commit(unit).await?)
    }
}
