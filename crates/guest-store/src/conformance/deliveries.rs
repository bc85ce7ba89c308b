//! Leases and settlements.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::Make;
use super::samples::{at, bad_draft, draft, event, events, stored, unit, webhook};
use crate::{Change, Leased, Limits, Settled, Settlement, Store, StoreErrorKind, Webhook};

const MINUTE: Duration = Duration::from_secs(60);

async fn lease(store: &dyn Store, now: OffsetDateTime, limit: usize) -> Vec<Leased> {
    store
        .lease_deliveries(now, MINUTE, limit)
        .await
        .expect("leasable")
}

fn settlement(leased: &Leased, settled: Settled) -> Settlement {
    Settlement {
        delivery: leased.id.clone(),
        fence: leased.fence,
        at: at(30),
        settled,
        disable_webhook: false,
        entries: Vec::new(),
    }
}

async fn fenced(store: &dyn Store, settlement: Settlement) {
    let error = store.settle_delivery(settlement).await.expect_err("it is fenced");
    assert_eq!(error.kind(), StoreErrorKind::Fenced);
}

/// A delivery is one caller's until its lease ends; then the next one's, whose fence is higher.
pub async fn a_lease_is_exclusive_until_it_ends(make: Make) {
    let store = make(Limits::default());
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
    assert_eq!(first.body, event("e", "o", "").body);
    assert_eq!(first.webhook.document, webhook("w", "o", "crm", &[]).document);
    assert!(!format!("{first:?}").contains("canary"));
    assert!(lease(&*store, at(59), 10).await.is_empty(), "it is leased");

    let second = lease(&*store, at(60), 10).await.remove(0);
    assert_eq!((&second.id, second.attempt), (&first.id, 2));
    assert!(second.fence > first.fence);
    fenced(&*store, settlement(&first, Settled::Delivered)).await;
    let retry = settlement(&second, Settled::RetryAt(at(300)));
    store.settle_delivery(retry.clone()).await.expect("settled");
    fenced(&*store, retry).await;
    assert!(lease(&*store, at(299), 10).await.is_empty());
    let third = lease(&*store, at(300), 10).await.remove(0);
    assert_eq!((&third.id, third.attempt), (&first.id, 3));
    assert!(third.fence > second.fence);
    // a lease that ended is still the last one
    let late = settlement(&third, Settled::Delivered);
    store.settle_delivery(late.clone()).await.expect("settled");
    fenced(&*store, late).await;
    assert_eq!(store.stats().await.expect("readable").outbox_pending, 0);
    let endless = store.lease_deliveries(at(0), Duration::MAX, usize::MAX).await;
    assert!(endless.expect("leasable").is_empty());
}

/// A webhook with many deliveries does not keep those of another one waiting.
pub async fn leases_are_fair(make: Make) {
    let store = make(Limits::default());
    for id in ["a", "b", "c"] {
        stored(&*store, unit(Change::PutWebhook(webhook(id, "o", id, &[id])))).await;
    }
    let off = Webhook {
        enabled: false,
        version: 1,
        ..webhook("c", "o", "c", &["c"])
    };
    for (webhook, count) in [("a", 20), ("b", 3), ("c", 2)] {
        let many = (0..count).map(|number| event(&format!("{webhook}-{number}"), "o", webhook));
        stored(&*store, events(many.collect())).await;
    }
    stored(&*store, unit(Change::PutWebhook(off))).await;
    let count = |leased: &[Leased]| {
        let mut counts = BTreeMap::new();
        for delivery in leased {
            *counts.entry(delivery.webhook.id.as_str().to_owned()).or_insert(0) += 1;
        }
        counts.into_iter().collect::<Vec<_>>()
    };
    let leased = lease(&*store, at(0), 4).await;
    assert_eq!(count(&leased), [("a".to_owned(), 2), ("b".to_owned(), 2)]);
    let leased = lease(&*store, at(0), 4).await;
    assert_eq!(count(&leased), [("a".to_owned(), 3), ("b".to_owned(), 1)]);
    let leased = lease(&*store, at(0), 100).await;
    assert_eq!(
        count(&leased),
        [("a".to_owned(), 15)],
        "and none of one that is off"
    );
    let on = Webhook {
        version: 2,
        ..webhook("c", "o", "c", &["c"])
    };
    stored(&*store, unit(Change::PutWebhook(on))).await;
    assert_eq!(count(&lease(&*store, at(0), 100).await), [("c".to_owned(), 2)]);
}

/// A settlement counts for its webhook, and is stored with its entries or not at all.
pub async fn settlements_count(make: Make) {
    let store = make(Limits::default());
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("w", "o", "crm", &["created"]))),
    )
    .await;
    let many = (0..3).map(|number| event(&format!("e-{number}"), "o", "created"));
    stored(&*store, events(many.collect())).await;
    let leased = lease(&*store, at(0), 10).await;

    let mut unsealable = settlement(&leased[0], Settled::Delivered);
    unsealable.entries = vec![draft("g"), bad_draft()];
    let error = store
        .settle_delivery(unsealable)
        .await
        .expect_err("it is refused");
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    let stats = store.stats().await.expect("readable");
    assert_eq!((stats.outbox_pending, stats.audit_entries), (3, 0));

    let health = async || {
        let webhook = store.webhooks().await.expect("readable").remove(0);
        (webhook.failing_since, webhook.enabled, webhook.version)
    };
    store
        .settle_delivery(settlement(&leased[0], Settled::RetryAt(at(90))))
        .await
        .expect("settled");
    assert_eq!(health().await, (Some(at(30)), true, 1));
    let later = Settlement {
        at: at(40),
        ..settlement(&leased[1], Settled::Dead)
    };
    store.settle_delivery(later).await.expect("settled");
    assert_eq!(health().await, (Some(at(30)), true, 1), "since the first failure");
    store
        .settle_delivery(settlement(&leased[2], Settled::Delivered))
        .await
        .expect("settled");
    assert_eq!(health().await, (None, true, 1));

    let again = lease(&*store, at(90), 10).await.remove(0);
    let last = Settlement {
        disable_webhook: true,
        entries: vec![draft("g"), draft("g")],
        ..settlement(&again, Settled::Dead)
    };
    store.settle_delivery(last).await.expect("settled");
    assert_eq!(health().await, (Some(at(30)), false, 2));
    let stats = store.stats().await.expect("readable");
    assert_eq!(
        (stats.outbox_pending, stats.outbox_dead, stats.audit_entries),
        (0, 2, 2)
    );
    assert_eq!((stats.outbox_bytes, stats.outbox_oldest), (0, None));
}

/// What was given up is not leased again, and only so much of it is remembered.
pub async fn the_dead_are_remembered_within_limits(make: Make) {
    let store = make(Limits {
        outbox_dead: 2,
        ..Limits::default()
    });
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("w", "o", "crm", &["created"]))),
    )
    .await;
    let many = (0..5).map(|number| event(&format!("e-{number}"), "o", "created"));
    stored(&*store, events(many.collect())).await;
    for leased in lease(&*store, at(0), 4).await {
        let dead = settlement(&leased, Settled::Dead);
        store.settle_delivery(dead.clone()).await.expect("settled");
        fenced(&*store, dead).await;
    }
    let stats = store.stats().await.expect("readable");
    assert_eq!((stats.outbox_pending, stats.outbox_dead), (1, 2));
    assert_eq!(lease(&*store, at(1_000), 10).await.len(), 1);
}

/// With a webhook goes what is waiting for it.
pub async fn a_webhook_takes_its_deliveries_along(make: Make) {
    let store = make(Limits::default());
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
    assert_eq!(
        (stats.outbox_pending, stats.outbox_bytes, stats.outbox_dead),
        (0, 0, 0)
    );
}
