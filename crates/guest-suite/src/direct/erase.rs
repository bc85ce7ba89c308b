//! Erasure of ended sessions after their retention.

use audit::{Action, Actor, Draft};
use guest_store::{Change, Session, SessionQuery, Unit};
use time::OffsetDateTime;

use super::{Direct, DirectError};

/// Sessions of a page.
const PAGE: usize = 1_000;

impl Direct {
    /// Erases sessions whose retention has passed, and returns their number.
    ///
    /// The audit log keeps their entries under pseudonyms that can no longer be linked to a session. A session that
    /// cannot be erased does not stop the others.
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
            let (found, before) = (old.len(), erased);
            for session in old {
                let id = session.id.clone();
                match self.erase(session, now).await {
                    Ok(()) => erased += 1,
                    Err(error) => tracing::error!(session = %id, %error, "cannot erase an ended session"),
                }
            }
            if found < PAGE || erased == before {
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
