//! The conformance suite: the same assertions for every store.
//!
//! `conformance_tests!(make)` makes a test of each, where `make` is a `fn(Limits) -> Fixture` that gives an empty store.

mod audit_log;
mod deliveries;
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

pub(crate) use audit_log::{
    audit_lines_page_by_subject, checkpoint_follows_every_256_entries, export_verifies,
};
pub(crate) use deliveries::{
    dead_letters_are_pruned_at_limit, disabled_webhook_has_no_pending_delivery,
    lease_is_exclusive_until_it_ends, leases_are_fair, settlement_counts_failures,
    webhook_is_not_leased_before_rest_until, webhook_removal_removes_deliveries,
};
pub(crate) use model::store_behaves_like_model;
pub(crate) use sessions::{
    guest_has_one_live_session, session_pages_cover_ids_without_a_time,
    session_queries_return_matching_pages, session_reads_back, stale_version_is_refused,
};
pub(crate) use units::{
    concurrent_units_are_each_stored_once, event_reaches_subscribed_webhooks, failed_unit_stores_nothing,
    full_owner_share_affects_no_other_owner, outbox_is_bounded, totals_add_up,
};
pub(crate) use webhooks::{webhook_count_is_limited, webhooks_are_put_and_removed};

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
            guest_has_one_live_session
            lease_is_exclusive_until_it_ends
            session_reads_back
            failed_unit_stores_nothing
            webhook_is_not_leased_before_rest_until
            webhook_removal_removes_deliveries
            disabled_webhook_has_no_pending_delivery
            export_verifies
            checkpoint_follows_every_256_entries
            concurrent_units_are_each_stored_once
            event_reaches_subscribed_webhooks
            leases_are_fair
            full_owner_share_affects_no_other_owner
            session_pages_cover_ids_without_a_time
            session_queries_return_matching_pages
            settlement_counts_failures
            dead_letters_are_pruned_at_limit
            audit_lines_page_by_subject
            outbox_is_bounded
            stale_version_is_refused
            totals_add_up
            webhook_count_is_limited
            webhooks_are_put_and_removed
        }

        #[test]
        fn store_behaves_like_model() {
            $crate::conformance::store_behaves_like_model($make);
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
