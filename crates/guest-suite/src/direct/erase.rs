//! Erasure of ended sessions after their retention.

use audit::{Actor, Draft};
use guest_store::{Change, Session, SessionQuery, Unit};
use time::OffsetDateTime;

use super::{Direct, DirectError};

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
        self.change_each(
            |limit| SessionQuery::EndedBefore { time, limit },
            |session| async move { self.erase(session, now).await.map(|()| true) },
        )
        .await
    }

    async fn erase(&self, session: Session, now: OffsetDateTime) -> Result<(), DirectError> {
        let change = Some(Change::RemoveSession(session.id.clone()));
        let entry =
            Draft::new(now, Actor::system("guest-suite"), "session.erased").subject(session.pseudonym());
        let unit = Unit {
            change,
            entries: vec![entry],
            events: Vec::new(),
        };
        Ok(self.commit(unit).await?)
    }
}
