//! The consent policy, and the re-evaluation of stored decisions under it.
//!
//! They are re-evaluated after a change of the policy, as agreements expire, and before data leaves.

use std::sync::{Arc, PoisonError};

use audit::Actor;
use genesys_api::Now;
use guest_payload::{ConsentUpdate, Policy};

use super::session_row::SessionRow;
use super::update::Mutation;
use super::{Direct, Shared};
use crate::Error;

impl Direct {
    /// The consent policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.shared.policy()
    }

    /// Changes the consent policy. The background tasks re-evaluate the live sessions whose decision it changes, as a start
    /// with it does. Data that leaves meanwhile is of a decision under it.
    pub fn set_policy(&self, policy: Arc<Policy>) {
        let held = &self.shared.policy;
        *held.write().unwrap_or_else(PoisonError::into_inner) = policy;
        self.shared.deadlines.refill();
        // wakes the background tasks
        self.shared.events.notify_one();
    }

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
            let policy_now = self.policy();
            let Some(update) = record.document.data.reevaluate(&policy_now, now.utc) else {
                return Ok((Mutation::default(), record.clone()));
            };
            let before = record.document.data.consent();
            let policy = format!("{} {}", before.policy, before.policy_version);
            let entry = record
                .draft(now, Actor::system("guest-suite"), "consent.reevaluated")
                .detail("before.policy", policy);
            let has_diffs = !update.diffs.is_empty();
            let (mut mutation, changed) = record.with_data(update, entry, has_diffs, now)?;
            mutation.deadline = Some(changed.deadline(policy_now, now));
            Ok((mutation, changed))
        })
        .await
    }

    /// The new decision, if it differs. An ended session has one too: its attributes are kept until it is erased.
    pub(super) fn reevaluation(&self, record: &SessionRow, now: Now) -> Option<ConsentUpdate> {
        record.document.data.reevaluate(&self.policy(), now.utc)
    }
}

impl Shared {
    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use genesys_api::Hosts;
    use guest_payload::NewGuest;

    use super::*;
    use crate::direct::DirectConfig;

    #[tokio::test]
    async fn decision_that_is_stored_after_a_change_of_the_policy_is_due_at_once() {
        let config = DirectConfig::new(Hosts::of_domain("mypurecloud.de").unwrap()).unwrap();
        let config = config.with_channel("shop-chat".parse().unwrap(), "d-1".parse().unwrap());
        let direct = Direct::open(config).await.unwrap();
        let body =
            br#"{"channelConfigurationId": "shop-chat", "guestAttributes": {"region": "US"}, "consent": {}}"#;
        let guest = NewGuest::parse(body, Default::default(), direct.clock().now().utc).unwrap();
        let id = direct.create("shop", guest, None).await.unwrap().session.id;
        let before = direct.policy();
        let is_due = || direct.shared.deadlines.next() <= Some(direct.clock().now().instant);
        let store = async |policy: &Arc<Policy>| {
            let decide = |record: &SessionRow, now| {
                let mut mutation: Mutation = record.clone().store().into();
                mutation.deadline = Some(record.deadline(Arc::clone(policy), now));
                Ok((mutation, ()))
            };
            direct.update("shop", &id, decide).await.unwrap();
        };
        store(&before).await;
        assert!(!is_due());
        direct.set_policy(Policy::purpose_scoped().into());
        direct.expire_idle().await.unwrap();
        assert_eq!(
            direct.session("shop", &id).await.unwrap().consent.policy,
            "purpose-scoped"
        );
        assert!(!is_due());
        store(&before).await;
        assert!(is_due());
    }
}
