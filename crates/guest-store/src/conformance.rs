//! The conformance suite: the same assertions for every store.
//!
//! `conformance_tests!(make)` makes a test of each, where `make` is a `fn(Limits) -> Fixture` that gives an empty store.

mod audit_log;
mod deliveries;
mod delivery_log;
mod model;
mod order;
mod requests;
pub(crate) mod samples;
mod sessions;
mod snapshots;
mod units;
mod webhooks;

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::{Limits, Store};

pub(crate) use audit_log::{checkpoint_follows_every_256_entries, entries_page_by_subject, export_verifies};
pub(crate) use deliveries::{
    lease_is_exclusive_until_it_ends, leases_are_fair, leases_of_an_owner_are_limited,
    number_of_leases_follows_pace, owners_that_hang_leave_leases_to_others, settlement_counts_failures,
    webhook_is_not_leased_before_rest_until, webhook_removal_removes_deliveries,
};
pub(crate) use delivery_log::{
    attempts_are_logged_by_state, dead_event_is_replayed, log_is_bounded_by_count_and_age,
};
pub(crate) use model::store_behaves_like_model;
pub(crate) use order::{
    events_of_a_session_are_due_in_order, failed_delivery_keeps_its_time_in_order,
    order_is_kept_by_what_changes_a_queue, snapshot_waits_for_earlier_events,
};
pub(crate) use requests::{
    request_is_stored_with_its_creation, request_of_removed_resource_has_no_link,
    requests_are_limited_until_the_oldest_are_removed,
};
pub(crate) use sessions::{
    guest_has_one_live_session, refused_unit_changes_no_live_guest, session_pages_cover_ids_without_a_time,
    session_queries_return_matching_pages, session_reads_back, sessions_of_a_guest_are_found,
    stale_version_is_refused,
};
pub(crate) use snapshots::{
    dead_event_joins_snapshot, disabled_webhook_keeps_what_it_misses,
    full_queue_affects_no_session_and_no_other_webhook, old_events_of_disabled_webhook_join_snapshots,
    queue_is_bounded, removed_session_leaves_one_erasure, snapshot_is_kept_when_its_range_grows,
    snapshots_are_due_in_turn,
};
pub(crate) use units::{
    concurrent_units_are_each_stored_once, event_reaches_subscribed_webhooks, failed_unit_stores_nothing,
    shared_token_is_swapped, totals_add_up,
};
pub(crate) use webhooks::{
    webhook_count_is_limited, webhook_put_keeps_or_resets_health, webhooks_are_put_and_removed,
};

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

/// Makes a test of every scenario: `conformance_tests!(make)`, where `make` is a [`Make`]. `conformance_tests!(make,
/// is_left_out)` leaves them out if `is_left_out()`.
macro_rules! conformance_tests {
    ($make:path) => {
        $crate::conformance::conformance_tests! { $make, || false }
    };
    ($make:path, $is_left_out:expr) => {
        $crate::conformance::conformance_tests! { @tests $make, $is_left_out,
            guest_has_one_live_session
            refused_unit_changes_no_live_guest
            lease_is_exclusive_until_it_ends
            session_reads_back
            failed_unit_stores_nothing
            webhook_is_not_leased_before_rest_until
            webhook_removal_removes_deliveries
            export_verifies
            checkpoint_follows_every_256_entries
            concurrent_units_are_each_stored_once
            event_reaches_subscribed_webhooks
            events_of_a_session_are_due_in_order
            failed_delivery_keeps_its_time_in_order
            order_is_kept_by_what_changes_a_queue
            snapshot_waits_for_earlier_events
            leases_are_fair
            leases_of_an_owner_are_limited
            number_of_leases_follows_pace
            owners_that_hang_leave_leases_to_others
            attempts_are_logged_by_state
            dead_event_is_replayed
            log_is_bounded_by_count_and_age
            old_events_of_disabled_webhook_join_snapshots
            session_pages_cover_ids_without_a_time
            session_queries_return_matching_pages
            sessions_of_a_guest_are_found
            settlement_counts_failures
            shared_token_is_swapped
            entries_page_by_subject
            request_is_stored_with_its_creation
            request_of_removed_resource_has_no_link
            requests_are_limited_until_the_oldest_are_removed
            stale_version_is_refused
            totals_add_up
            webhook_count_is_limited
            webhook_put_keeps_or_resets_health
            webhooks_are_put_and_removed
            dead_event_joins_snapshot
            disabled_webhook_keeps_what_it_misses
            full_queue_affects_no_session_and_no_other_webhook
            queue_is_bounded
            removed_session_leaves_one_erasure
            snapshot_is_kept_when_its_range_grows
            snapshots_are_due_in_turn
        }

        #[test]
        fn store_behaves_like_model() {
            let is_left_out = $is_left_out;
            if is_left_out() {
                return;
            }
            $crate::conformance::store_behaves_like_model($make);
        }
    };
    (@tests $make:path, $is_left_out:expr,) => {};
    (@tests $make:path, $is_left_out:expr, $scenario:ident $($rest:ident)*) => {
        #[tokio::test]
        async fn $scenario() {
            let is_left_out = $is_left_out;
            if is_left_out() {
                return;
            }
            $crate::conformance::$scenario($make).await;
        }
        $crate::conformance::conformance_tests! { @tests $make, $is_left_out, $($rest)* }
    };
}
pub(crate) use conformance_tests;
