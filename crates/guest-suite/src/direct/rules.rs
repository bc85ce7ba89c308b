//! The rules that change while the process runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use guest_payload::Policy;

use super::{Direct, Shared};

/// Rules that a running process can change, all at once: [`Direct::set_rules`].
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the caller")]
pub struct Rules {
    /// The consent policy. Default: `tutorial-strict`.
    pub policy: Arc<Policy>,
    /// Largest number of live sessions. Default: 100,000.
    pub limit: usize,
    /// The names of the organizations whose channels each owner may use, also for sessions that exist: those of other
    /// organizations are unknown to their owner, and only their `erased` events are sent to its webhooks. They expire and are
    /// erased as before, and open conversations go on. Default: `None`, with which every owner may use all.
    pub memberships: Option<BTreeMap<String, BTreeSet<String>>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: Policy::tutorial_strict().into(),
            limit: 100_000,
            memberships: None,
        }
    }
}

impl Direct {
    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.shared.rules()
    }

    /// Changes the rules as a whole. Sessions above the limit continue. After a change of the policy, the background tasks
    /// re-evaluate the live sessions whose decision it changes, as a start with it does. Data that leaves meanwhile is of a
    /// decision under it.
    pub fn set_rules(&self, mut rules: Rules) {
        let mut held = self.shared.rules.write().unwrap_or_else(PoisonError::into_inner);
        let has_policy = *rules.policy != *held.policy;
        if !has_policy {
            rules.policy = Arc::clone(&held.policy);
        }
        *held = Arc::new(rules);
        drop(held);
        if has_policy {
            self.shared.deadlines.refill();
            // wakes the background tasks
            self.shared.events.notify_one();
        }
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.rules().policy)
    }
}

impl Shared {
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use genesys_api::Hosts;

    use super::*;
    use crate::direct::DirectConfig;

    #[tokio::test]
    async fn only_another_policy_reads_the_live_sessions_again() {
        let config = DirectConfig::new(Hosts::of_domain("mypurecloud.de").unwrap()).unwrap();
        let direct = Direct::open(config).await.unwrap();
        let refills = || direct.shared.deadlines.refills();
        let before = (refills(), direct.policy());
        direct.set_rules(Rules {
            limit: 1,
            ..Rules::default()
        });
        assert_eq!(direct.rules().limit, 1);
        assert!(before.0 == refills() && Arc::ptr_eq(&before.1, &direct.policy()));
        direct.set_rules(Rules {
            policy: Policy::purpose_scoped().into(),
            ..Rules::default()
        });
        assert_eq!(refills(), before.0 + 1);
    }
}
