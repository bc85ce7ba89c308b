//! Leases and settlements.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::Make;
use super::samples::{
    at, bad_draft, draft, event, events, session, settlement, store_sessions, stored, unit, webhook,
};
use crate::{Change, Event, Leased, Limits, Pace, Payload, Settled, Settlement, Store, StoreErrorKind, Unit};

const MINUTE: Duration = Duration::from_secs(60);

pub(super) async fn lease(store: &dyn Store, now: OffsetDateTime, limit: usize) -> Vec<Leased> {
    store
        .lease_deliveries(now, MINUTE, limit)
        .await
        .expect("leasable")
        .deliveries
}

pub(super) async fn fenced(store: &dyn Store, settlement: Settlement) {
    let error = store
        .commit(Change::Settle(settlement).into())
        .await
        .expect_err("it is fenced");
    assert_eq!(error.kind(), StoreErrorKind::Fenced);
}

/// A delivery is leased to one caller at a time, with a growing fencing token.
pub(crate) async fn lease_is_exclusive_until_it_ends(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("w", "o", "crm", &["created"]))),
    )
    .await;
    stored(&*store, events(vec![event("e", "o", "created")])).await;
    assert!(lease(&*store, at(-1), 10).await.is_empty(), "not due yet");
    assert!(lease(&*store, at(0), 0).await.is_empty());
    let first = lease(&*store, at(0), 10).await.remove(0);
    assert_eq!((first.attempt, first.at), (1, at(0)));
    let expected = Payload::Event {
        session: "s-1".parse().expect("a valid id"),
        name: "created".to_owned(),
        sequence: 1,
    };
    assert_eq!(first.payload, expected);
    assert_eq!(first.webhook.document, webhook("w", "o", "crm", &[]).document);
    assert!(!format!("{first:?}").contains("canary"));
    assert!(lease(&*store, at(59), 10).await.is_empty(), "it is leased");

    let second = lease(&*store, at(60), 10).await.remove(0);
    assert_eq!((&second.id, second.attempt), (&first.id, 2));
    assert!(second.fence > first.fence);
    fenced(&*store, settlement(&first, Settled::Delivered)).await;
    let retry = settlement(&second, Settled::RetryAt(at(300)));
    store
        .commit(Change::Settle(retry.clone()).into())
        .await
        .expect("settled");
    fenced(&*store, retry).await;
    assert!(lease(&*store, at(299), 10).await.is_empty());
    let third = lease(&*store, at(300), 10).await.remove(0);
    assert_eq!((&third.id, third.attempt), (&first.id, 3));
    assert!(third.fence > second.fence);
    // a lease that ended is still the last one
    let late = settlement(&third, Settled::Delivered);
    store
        .commit(Change::Settle(late.clone()).into())
        .await
        .expect("settled");
    fenced(&*store, late).await;
    assert_eq!(store.stats().await.expect("readable").outbox_pending, 0);
    let endless = store.lease_deliveries(at(0), Duration::MAX, usize::MAX).await;
    assert!(endless.expect("leasable").deliveries.is_empty());
}

/// An endpoint that does not answer delays no other one.
pub(crate) async fn leases_are_fair(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    for id in ["a", "b", "c"] {
        stored(&*store, unit(Change::PutWebhook(webhook(id, "o", id, &[id])))).await;
    }
    for (webhook, count) in [("a", 20), ("b", 3)] {
        let many = (0..count).map(|number| event(&format!("{webhook}-{number}"), "o", webhook));
        stored(&*store, events(many.collect())).await;
    }
    let count = |leased: &[Leased]| {
        let mut counts = BTreeMap::new();
        for delivery in leased {
            *counts.entry(delivery.webhook.id.as_str().to_owned()).or_insert(0) += 1;
        }
        counts.into_iter().collect::<Vec<_>>()
    };
    let counts = |expected: &[(&str, i32)]| {
        let expected = expected.iter();
        expected
            .map(|(id, count)| ((*id).to_owned(), *count))
            .collect::<Vec<_>>()
    };
    let leased = lease(&*store, at(0), 3).await;
    assert_eq!(count(&leased), counts(&[("a", 2), ("b", 1)]));
    let leased = lease(&*store, at(1), 1).await;
    assert_eq!(count(&leased), counts(&[("b", 1)]), "which has fewer under lease");
    let under_lease = lease(&*store, at(2), 100).await;
    assert_eq!(
        count(&under_lease),
        counts(&[("a", 2), ("b", 1)]),
        "four, and all there are"
    );
    assert!(
        lease(&*store, at(3), 100).await.is_empty(),
        "no other delivery of it is due"
    );
    stored(&*store, events(vec![event("c-1", "o", "c")])).await;
    assert_eq!(count(&lease(&*store, at(3), 100).await), counts(&[("c", 1)]));

    // what is settled makes room, and so does what was not settled in time
    let of_a = under_lease
        .iter()
        .find(|leased| leased.webhook.id.as_str() == "a");
    let settled = settlement(of_a.expect("there are two"), Settled::RetryAt(at(1_000)));
    store
        .commit(Change::Settle(settled).into())
        .await
        .expect("settled");
    assert_eq!(count(&lease(&*store, at(4), 100).await), counts(&[("a", 1)]));
    let leased = lease(&*store, at(60), 100).await;
    assert_eq!(count(&leased), counts(&[("a", 2), ("b", 1)]));

    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    for id in ["a", "b", "c"] {
        stored(&*store, unit(Change::PutWebhook(webhook(id, "o", id, &["n"])))).await;
    }
    let many = (0..9).map(|number| event(&format!("e-{number}"), "o", "n"));
    stored(&*store, events(many.collect())).await;
    let mut order = Vec::new();
    for second in 0..9 {
        // each gives up at once, so none has anything under lease
        let leased = store.lease_deliveries(at(second), Duration::ZERO, 1).await;
        order.push(
            leased
                .expect("leasable")
                .deliveries
                .remove(0)
                .webhook
                .id
                .to_string(),
        );
    }
    assert_eq!(order.concat(), "abcabcabc", "in turn");
}

/// The endpoints of one owner leave leases to those of another one.
pub(crate) async fn leases_of_an_owner_are_limited(make: Make) {
    let store = make(Limits {
        owner_leases: 6,
        ..Limits::default()
    });
    store_sessions(&*store, &["s-1"]).await;
    let mut other = session("s-2", "p", "g-2");
    other.ended_at = Some(at(0));
    stored(&*store, unit(Change::CreateSession(other))).await;
    for (id, owner) in [("a", "o"), ("b", "o"), ("c", "p")] {
        stored(&*store, unit(Change::PutWebhook(webhook(id, owner, id, &["n"])))).await;
    }
    let many = (0..9).map(|number| event(&format!("e-{number}"), "o", "n"));
    stored(&*store, events(many.collect())).await;
    assert_eq!(lease(&*store, at(0), 100).await.len(), 6, "of both webhooks");
    assert!(lease(&*store, at(0), 100).await.is_empty());
    let of_other = Event {
        session: "s-2".parse().expect("a valid id"),
        ..event("f", "p", "n")
    };
    stored(&*store, events(vec![of_other])).await;
    let leased = lease(&*store, at(0), 1).await.remove(0);
    assert_eq!(leased.webhook.id.as_str(), "c");
    assert_eq!(lease(&*store, at(60), 100).await.len(), 7, "leases that ended");
}

/// An owner gets no more leases than are free, so that a delivery of another owner is leased at once.
pub(crate) async fn owners_that_hang_leave_leases_to_others(make: Make) {
    let store = make(Limits {
        leases: 16,
        owner_leases: 8,
        webhook_leases: 8,
        ..Limits::default()
    });
    let owners = ["a", "b", "c", "d", "late"];
    for owner in owners {
        let mut of_owner = session(owner, owner, owner);
        of_owner.ended_at = Some(at(0));
        stored(&*store, unit(Change::CreateSession(of_owner))).await;
        for number in 0..3 {
            let id = format!("{owner}-{number}");
            stored(
                &*store,
                unit(Change::PutWebhook(webhook(&id, owner, &id, &["n"]))),
            )
            .await;
        }
    }
    let event_of = |owner: &str, number: u32| Event {
        session: owner.parse().expect("a valid id"),
        ..event(&format!("{owner}-{number}"), owner, "n")
    };
    for (owner, expected) in [("a", 8), ("b", 4), ("c", 2), ("d", 1), ("late", 1)] {
        let many = (0..20).map(|number| event_of(owner, number));
        stored(&*store, events(many.collect())).await;
        // no lease ends, as of endpoints that hang
        let leased = lease(&*store, at(1), 100).await;
        let count = leased
            .iter()
            .filter(|leased| leased.webhook.owner == owner)
            .count();
        assert_eq!((count, leased.len()), (expected, expected), "{owner}");
    }
    let ended = lease(&*store, at(61), 100).await;
    let of_late = ended.iter().filter(|leased| leased.webhook.owner == "late");
    assert_eq!(
        (of_late.count(), ended.len()),
        (2, 14),
        "all leases ended: the owners share"
    );
}

/// A webhook gets as many deliveries at a time as its endpoint handles.
pub(crate) async fn number_of_leases_follows_pace(make: Make) {
    let store = make(Limits {
        webhook_leases: 6,
        ..Limits::default()
    });
    store_sessions(&*store, &["s-1"]).await;
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("w", "o", "crm", &["n"]))),
    )
    .await;
    let many = (0..40).map(|number| event(&format!("e-{number}"), "o", "n"));
    stored(&*store, events(many.collect())).await;
    let mut under_lease = lease(&*store, at(0), 100).await;
    assert_eq!(under_lease.len(), 4);
    for (pace, count) in [
        (Pace::Same, 4),
        (Pace::Faster, 5),
        (Pace::Faster, 6),
        (Pace::Faster, 6),
        (Pace::Slower, 5),
        (Pace::Stopped, 4),
        (Pace::Stopped, 3),
        (Pace::Stopped, 2),
        (Pace::Stopped, 1),
        (Pace::Stopped, 1),
        (Pace::Faster, 2),
    ] {
        let settlement = Settlement {
            pace,
            ..settlement(&under_lease.remove(0), Settled::Delivered)
        };
        store
            .commit(Change::Settle(settlement).into())
            .await
            .expect("settled");
        under_lease.extend(lease(&*store, at(0), 100).await);
        assert_eq!(under_lease.len(), count, "{pace:?}");
    }
}

/// No delivery is leased before the `rest_until` of its webhook.
pub(crate) async fn webhook_is_not_leased_before_rest_until(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("w", "o", "crm", &["created"]))),
    )
    .await;
    let many = (0..4).map(|number| event(&format!("e-{number}"), "o", "created"));
    stored(&*store, events(many.collect())).await;
    let leased = lease(&*store, at(0), 3).await;
    for (delivery, settled, rest_until) in [
        (0, Settled::RetryAt(at(5)), Some(at(30))),
        (1, Settled::RetryAt(at(5)), Some(at(20))),
        (2, Settled::Delivered, None),
    ] {
        let settlement = Settlement {
            rest_until,
            ..settlement(&leased[delivery], settled)
        };
        store
            .commit(Change::Settle(settlement).into())
            .await
            .expect("settled");
        let webhook = store.webhooks().await.expect("readable").remove(0);
        assert_eq!(webhook.rest_until, Some(at(30)), "it is never shortened");
    }
    let early = store
        .lease_deliveries(at(29), MINUTE, 10)
        .await
        .expect("leasable");
    assert_eq!((early.deliveries.len(), early.next_due), (0, Some(at(30))));
    let due = store
        .lease_deliveries(at(30), MINUTE, 10)
        .await
        .expect("leasable");
    assert_eq!((due.deliveries.len(), due.next_due), (3, Some(at(90))));
}

/// A settlement counts for its webhook, and is stored with its entries or not at all.
pub(crate) async fn settlement_counts_failures(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("w", "o", "crm", &["created"]))),
    )
    .await;
    let many = (0..4).map(|number| event(&format!("e-{number}"), "o", "created"));
    stored(&*store, events(many.collect())).await;
    let leased = lease(&*store, at(0), 10).await;

    let unsealable = Unit {
        entries: vec![draft("g"), bad_draft()],
        ..unit(Change::Settle(settlement(&leased[0], Settled::Delivered)))
    };
    let error = store.commit(unsealable).await.expect_err("it is refused");
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    let stats = store.stats().await.expect("readable");
    assert_eq!((stats.outbox_pending, stats.audit_entries), (4, 0));

    let health = async || {
        let webhook = store.webhooks().await.expect("readable").remove(0);
        (
            webhook.failing_since,
            webhook.failures,
            webhook.enabled,
            webhook.version,
        )
    };
    store
        .commit(Change::Settle(settlement(&leased[3], Settled::NotSent(at(1_000)))).into())
        .await
        .expect("settled");
    assert_eq!(health().await, (None, 0, true, 1), "nothing was sent");
    store
        .commit(Change::Settle(settlement(&leased[0], Settled::RetryAt(at(90)))).into())
        .await
        .expect("settled");
    assert_eq!(health().await, (Some(at(30)), 1, true, 1));
    let later = Settlement {
        at: at(40),
        ..settlement(&leased[1], Settled::Dead)
    };
    store.commit(Change::Settle(later).into()).await.expect("settled");
    assert_eq!(
        health().await,
        (Some(at(30)), 2, true, 1),
        "since the first failure"
    );
    store
        .commit(Change::Settle(settlement(&leased[2], Settled::Delivered)).into())
        .await
        .expect("settled");
    assert_eq!(health().await, (None, 0, true, 1));

    let again = lease(&*store, at(90), 10).await.remove(0);
    let last = Settlement {
        disable_webhook: true,
        ..settlement(&again, Settled::Dead)
    };
    let last = Unit {
        entries: vec![draft("g"), draft("g")],
        ..unit(Change::Settle(last))
    };
    stored(&*store, last).await;
    assert_eq!(health().await, (Some(at(30)), 1, false, 2));
    let stats = store.stats().await.expect("readable");
    assert_eq!((stats.outbox_pending, stats.snapshots_pending), (2, 1));
    assert_eq!((stats.audit_entries, stats.outbox_oldest), (2, Some(at(0))));
}

/// The removal of a webhook removes its deliveries.
pub(crate) async fn webhook_removal_removes_deliveries(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    let sample = webhook("w", "o", "crm", &["created"]);
    stored(&*store, unit(Change::PutWebhook(sample.clone()))).await;
    stored(
        &*store,
        events(vec![event("e-1", "o", "created"), event("e-2", "o", "created")]),
    )
    .await;
    let leased = lease(&*store, at(0), 1).await.remove(0);
    stored(&*store, unit(Change::RemoveWebhook(sample.id))).await;
    fenced(&*store, settlement(&leased, Settled::Delivered)).await;
    assert!(lease(&*store, at(1_000), 10).await.is_empty());
    let stats = store.stats().await.expect("readable");
    assert!(stats.queues.is_empty());
}
