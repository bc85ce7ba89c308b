//! Ending a session, and ending those that nobody uses any more.

use audit::{Action, Actor, Draft};
use genesys_api::SessionId;
use guest_store::{Change, SessionQuery, Unit};
use session_metrics::EndReason;
use time::OffsetDateTime;
use webhook::EventName;

use super::conversation::SessionUpdate;
use super::update::Mutation;
use super::{Direct, DirectError};

/// Sessions that are looked at together.
const PAGE: usize = 1_000;

impl Direct {
    /// Ends a session: its tokens stop working, its conversations in this process are over, and what was known of
    /// the guest is forgotten. Ending it again changes nothing.
    ///
    /// # Errors
    /// [`DirectError::NotFound`], or the store's.
    pub async fn end(&self, owner: &str, id: &SessionId, reason: EndReason) -> Result<(), DirectError> {
        self.end_if(owner, id, reason, |_| true).await.map(drop)
    }

    /// Ends the sessions whose time is over, and says how many these were. One that cannot be ended keeps no other
    /// from it.
    ///
    /// # Errors
    /// If the sessions cannot be read.
    pub async fn sweep(&self) -> Result<usize, DirectError> {
        let time = self.clock().now().utc;
        let mut swept = 0;
        loop {
            let query = SessionQuery::DueBefore { time, limit: PAGE };
            let due = self.store().sessions(query).await?;
            let (looked_at, before) = (due.len(), swept);
            for session in due {
                // it may have been rotated meanwhile
                let still_due = |idle_deadline| idle_deadline <= time;
                match self
                    .end_if(&session.owner, &session.id, EndReason::Expired, still_due)
                    .await
                {
                    Ok(ended) => swept += usize::from(ended),
                    Err(error) => {
                        tracing::error!(session = %session.id, %error, "a session whose time is over cannot be ended");
                    }
                }
            }
            if looked_at < PAGE || swept == before {
                return Ok(swept);
            }
        }
    }

    /// Ends a session if its time of lapsing says so; gives whether it did.
    async fn end_if(
        &self,
        owner: &str,
        id: &SessionId,
        reason: EndReason,
        lapses: impl Fn(OffsetDateTime) -> bool,
    ) -> Result<bool, DirectError> {
        let (actor, action) = match reason {
            EndReason::Guest => (Actor::client(owner), Action::SessionEnded),
            EndReason::Expired => (Actor::system("guest-suite"), Action::SessionExpired),
            _ => (Actor::system("guest-suite"), Action::SessionEnded),
        };
        self.update(owner, id, |record, now| {
            if record.row.ended_at.is_some() || !lapses(record.row.idle_deadline) {
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
