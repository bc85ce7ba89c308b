//! Ending a session, and ending those that nobody uses any more.

use audit::{Actor, Draft};
use genesys_api::SessionId;
use guest_store::{Change, SessionQuery, Unit};
use session_metrics::EndReason;
use time::OffsetDateTime;
use webhook::EventName;

use super::conversation::SessionUpdate;
use super::update::Mutation;
use super::{Direct, DirectError};

impl Direct {
    /// Ends a session: its tokens stop working, its conversations in this process are over, and what was known of
    /// the guest is forgotten. Ending it again changes nothing.
    ///
    /// # Errors
    /// [`DirectError::NotFound`], or the store's.
    pub async fn end(&self, owner: &str, id: &SessionId, reason: EndReason) -> Result<(), DirectError> {
        self.end_if(owner, id, reason, |_| true).await.map(drop)
    }

    /// Ends the live sessions whose idle timeout has passed, and returns their number. A failure of one session does not
    /// affect the others.
    ///
    /// # Errors
    /// If the sessions cannot be read.
    pub async fn expire_idle(&self) -> Result<usize, DirectError> {
        let time = self.clock().now().utc;
        self.change_each(
            |limit| SessionQuery::DueBefore { time, limit },
            |session| async move {
                // a rotation may have moved the deadline meanwhile
                let is_due = |idle_deadline| idle_deadline <= time;
                self.end_if(&session.owner, &session.id, EndReason::Expired, is_due)
                    .await
            },
        )
        .await
    }

    /// Ends a session if its idle deadline satisfies `is_due`, and returns whether it did.
    async fn end_if(
        &self,
        owner: &str,
        id: &SessionId,
        reason: EndReason,
        is_due: impl Fn(OffsetDateTime) -> bool,
    ) -> Result<bool, DirectError> {
        let (actor, action) = match reason {
            EndReason::Guest => (Actor::client(owner), "session.ended"),
            EndReason::Expired => (Actor::system("guest-suite"), "session.expired"),
            _ => (Actor::system("guest-suite"), "session.ended"),
        };
        self.update(owner, id, |record, now| {
            if record.row.ended_at.is_some() || !is_due(record.row.idle_deadline) {
                return Ok((Mutation::default(), false));
            }
            let mut journey = record.journey(now);
            let entry = Draft::new(now.utc, actor.clone(), action)
                .subject(record.subject())
                .detail("reason", reason.name())
                .detail("stage", journey.stage().name());
            let mut ended = record.clone().with_refresh_token(None);
            ended.row.ended_at = Some(now.utc);
            ended.document.end_reason = Some(reason);
            let event = ended.event(EventName::Ended, now.utc);
            ended.document.data = ended.document.data.without_attributes();
            let unit = Unit {
                change: Some(Change::UpdateSession(ended.into_row())),
                entries: vec![entry],
                events: vec![event],
            };
            let mutation = Mutation {
                unit,
                metric: journey.end(reason, now.instant),
                update: Some((id.clone(), SessionUpdate::Ended(reason))),
            };
            Ok((mutation, true))
        })
        .await
    }
}
