//! The re-evaluation of stored decisions under the consent policy.
//!
//! They are re-evaluated after a change of the policy, as agreements expire, and before data leaves.

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

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use std::sync::Arc;

    use genesys_api::Hosts;
    use guest_payload::{NewGuest, Policy};

    use super::*;
    use crate::direct::{DirectConfig, Rules};

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
        direct.set_rules(Rules {
            policy: Policy::purpose_scoped().into(),
            ..Rules::default()
        });
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
