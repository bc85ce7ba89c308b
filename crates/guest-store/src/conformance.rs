//! The conformance suite: the same assertions for every store.
//!
//! `conformance_tests!(make)` makes a test of each, where `make` is a `fn(Limits) -> Fixture` that gives an empty store.

mod deliveries;
mod journal;
mod model;
mod samples;
mod sessions;
mod units;
mod webhooks;

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::{Limits, Store};

pub(crate) use deliveries::{
    a_lease_is_exclusive_until_it_ends, a_webhook_rests, a_webhook_takes_its_deliveries_along,
    a_webhook_that_is_off_keeps_nothing_waiting, leases_are_fair, settlements_count,
    the_dead_are_remembered_within_limits,
};
pub(crate) use journal::{
    an_export_verifies, checkpoints_come_by_themselves, the_log_is_read_by_page_and_subject,
};
pub(crate) use model::behaves_like_the_model;
pub(crate) use sessions::{
    a_guest_has_one_live_session, a_session_is_read_back, sessions_are_found, versions_are_compared,
};
pub(crate) use units::{
    a_unit_that_fails_leaves_nothing, concurrent_units_are_each_stored_once, events_fan_out,
    one_owner_does_not_stop_the_others, the_outbox_is_bounded,
};
pub(crate) use webhooks::{webhooks_are_limited, webhooks_are_put_and_removed};

/// Gives an empty store.
pub(crate) type Make = fn(Limits) -> Fixture;

/// A store under test, and what must live as long as it does.
pub(crate) struct Fixture {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    _keep: Box<dyn Any>,
}

impl Fixture {
    /// A fixture of this store; `keep` is dropped after it.
    pub(crate) fn new(store: impl Store + 'static, keep: impl Any) -> Self {
        Self {
            store: Arc::new(store),
            _keep: Box::new(keep),
        }
    }
}

impl Deref for Fixture {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// Makes a test of every scenario: `conformance_tests!(make)`, where `make` is a [`Make`].
macro_rules! conformance_tests {
    ($make:path) => {
        $crate::conformance::conformance_tests! { @each $make:
            a_guest_has_one_live_session
            a_lease_is_exclusive_until_it_ends
            a_session_is_read_back
            a_unit_that_fails_leaves_nothing
            a_webhook_rests
            a_webhook_takes_its_deliveries_along
            a_webhook_that_is_off_keeps_nothing_waiting
            an_export_verifies
            checkpoints_come_by_themselves
            concurrent_units_are_each_stored_once
            events_fan_out
            leases_are_fair
            one_owner_does_not_stop_the_others
            sessions_are_found
            settlements_count
            the_dead_are_remembered_within_limits
            the_log_is_read_by_page_and_subject
            the_outbox_is_bounded
            versions_are_compared
            webhooks_are_limited
            webhooks_are_put_and_removed
        }

        #[test]
        fn behaves_like_the_model() {
            $crate::conformance::behaves_like_the_model($make);
        }
    };
    (@each $make:path: $($scenario:ident)*) => {$(
        #[tokio::test]
        async fn $scenario() {
            $crate::conformance::$scenario($make).await;
        }
    )*};
}
pub(crate) use conformance_tests;
