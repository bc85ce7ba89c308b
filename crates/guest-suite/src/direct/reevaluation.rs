//! Re-evaluation of stored decisions: after a change of the policy, as agreements expire, and before data leaves.

use audit::Actor;
use genesys_api::Now;
use guest_payload::ConsentUpdate;

use super::Direct;
use super::session_row::SessionRow;
use super::update::Mutation;
use crate::Error;

impl Direct {
    /// Returns the session with the decision that the policy makes now. A decision that differs is stored and audited
    /// first, conversations drop the attributes of purposes that are off, and webhooks get an event if a purpose differs.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the store's: then the data must not leave.
    pub(super) async fn reevaluated(&self, record: SessionRow) -> Result<SessionRow, Error> {
        // most decisions stand, and need no copy of the session
        if self.reevaluation(&record, self.clock().now()).is_none() {
            return Ok(record);
        }
        self.update_record(record, |record, now| {
            let Some(update) = self.reevaluation(record, now) else {
                return Ok((Mutation::default(), record.clone()));
            };
            let before = record.document.data.consent();
            let policy = format!("{} {}", before.policy, before.policy_version);
            let entry = record
                .draft(now, Actor::system("guest-suite"), "consent.reevaluated")
                .detail("before.policy", policy);
            let has_diffs = !update.diffs.is_empty();
            record.with_data(update, entry, has_diffs, now)
        })
        .await
    }

    /// The new decision, if it differs. An ended session has one too: its attributes are kept until it is erased.
    pub(super) fn reevaluation(&self, record: &SessionRow, now: Now) -> Option<ConsentUpdate> {
        let policy = self.shared.config.policy;
        record.document.data.reevaluate(policy, now.utc)
    }
}
