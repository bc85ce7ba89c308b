//! Ending a session, and ending those that nobody uses any more.

use audit::{Action, Actor, Draft};
use genesys_api::SessionId;
use guest_store::{Change, SessionQuery, Unit};
use session_metrics::EndReason;
use webhook::EventName;

use super::{Direct, DirectError};

/// Sessions that one sweep ends at the most.
const SWEEP: usize = 1_000;

impl Direct {
    /// Ends a session: its tokens stop working. Ending it again changes nothing.
    ///
    /// # Errors
    /// [`DirectError::NotFound`], or the store's.
    pub async fn end(&self, owner: &str, id: &SessionId, reason: EndReason) -> Result<(), DirectError> {
        let actor = match reason {
            EndReason::Guest => Actor::client(owner),
            _ => Actor::system("guest-suite"),
        };
        let action = if reason == EndReason::Expired {
            Action::SessionExpired
        } else {
            Action::SessionEnded
        };
        let event = self
            .update(owner, id, |record, now| {
                if record.row.ended_at.is_some() {
                    return Ok((Unit::default(), None));
                }
                let mut journey = record.journey(now);
                let entry = Draft::new(now.utc, actor.clone(), action)
                    .subject(record.subject())
                    .detail("reason", reason.name())
                    .detail("stage", journey.stage().name());
                let mut ended = record.clone();
                ended.row.ended_at = Some(now.utc);
                ended.document.end_reason = Some(reason);
                let event = ended.event(EventName::Ended, now.utc);
                let change = Some(Change::UpdateSession(ended.into_row()));
                let unit = Unit {
                    change,
                    entries: vec![entry],
                    events: vec![event],
                };
                Ok((unit, journey.end(reason, now.instant)))
            })
            .await?;
        if let Some(event) = event {
            self.shared.metrics.record(event);
        }
        Ok(())
    }

    /// Ends the sessions whose time is over, up to 1,000 at once, and says which.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep(&self) -> Result<Vec<SessionId>, DirectError> {
        let time = self.clock().now().utc;
        let due = self
            .store()
            .sessions(SessionQuery::DueBefore { time, limit: SWEEP })
            .await?;
        let mut ended = Vec::with_capacity(due.len());
        for session in due {
            // rotated in between: it is due no more
            let still_due = self.load_any(&session.id).await?.row.lapses_at <= time;
            if still_due {
                self.end(&session.owner, &session.id, EndReason::Expired).await?;
                ended.push(session.id);
            }
        }
        Ok(ended)
    }
}
