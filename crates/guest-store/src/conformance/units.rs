//! Units of work: all or nothing, and once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::Make;
use super::samples::{
    at, bad_draft, draft, event, events, refused, session, store_sessions, stored, unit, webhook,
};
use crate::outbox::event_id;
use crate::{
    Change, Conflict, EntryQuery, Limits, Payload, SessionQuery, SharedToken, StoreErrorKind, Unit, Webhook,
    verify,
};

/// Of several processes that change a shared token, one succeeds. The token is stored with the rest of its unit or not at all.
pub(crate) async fn shared_token_is_swapped(make: Make) {
    let store = make(Limits::default());
    assert!(store.shared_token("a").await.expect("readable").is_none());
    let token = |name: &str, version, content: &str| {
        Unit::from(SharedToken {
            name: name.to_owned(),
            version,
            content: Some(content.into()),
            leased_until: Some(at(7)),
        })
    };
    stored(&*store, token("a", 0, "canary-1")).await;
    let changed = StoreErrorKind::Conflict(Conflict::TokenChanged);
    assert_eq!(refused(&*store, token("a", 0, "canary-2")).await, changed);
    let with_session = |version, id: &str| Unit {
        change: Some(Change::CreateSession(session(id, "o", "g"))),
        ..token("a", version, "canary-3")
    };
    assert_eq!(refused(&*store, with_session(0, "s-1")).await, changed);
    stored(&*store, with_session(1, "s-1")).await;
    let in_use = StoreErrorKind::Conflict(Conflict::GuestInUse);
    assert_eq!(refused(&*store, with_session(2, "s-2")).await, in_use);
    let live = store
        .sessions(SessionQuery::Live(None), 10)
        .await
        .expect("readable");
    assert!(live.iter().map(|session| session.id.as_str()).eq(["s-1"]));
    stored(&*store, token("b", 0, "canary-4")).await;
    let found = store.shared_token("a").await.expect("readable").expect("stored");
    let content = found.content.as_ref().map(|content| content.expose_secret());
    assert_eq!(
        (content, found.version, found.leased_until),
        (Some("canary-3"), 2, Some(at(7)))
    );
    assert!(!format!("{found:?}").contains("canary"));
}

/// Totals add up, and a refused unit adds nothing.
pub(crate) async fn totals_add_up(make: Make) {
    let store = make(Limits::default());
    assert!(store.stats().await.expect("readable").totals.is_empty());
    let addition = |name: &str, value| Unit {
        totals: vec![(name.to_owned(), value), ("all".to_owned(), 1)],
        ..Unit::default()
    };
    for (name, value) in [("a b", 2), ("c", 3), ("a b", 5)] {
        stored(&*store, addition(name, value)).await;
    }
    let lost = Unit {
        entries: vec![bad_draft()],
        ..addition("c", 9)
    };
    refused(&*store, lost).await;
    stored(&*store, unit(Change::CreateSession(session("s-1", "o", "g")))).await;
    let totals = store.stats().await.expect("readable").totals;
    let totals: Vec<_> = totals
        .iter()
        .map(|(name, total)| (name.as_str(), *total))
        .collect();
    assert_eq!(totals, [("a b", 7), ("all", 3), ("c", 3)]);
}

/// Events reach the webhooks of their owner that ask for them, also a disabled one, and one that is put in the same unit.
pub(crate) async fn event_reaches_subscribed_webhooks(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    for new in [
        webhook("w-1", "o", "one", &["created", "ended"]),
        webhook("w-2", "o", "two", &["created"]),
        webhook("w-3", "o", "three", &["updated", "creat", "created2"]),
        webhook("w-4", "other", "four", &["created"]),
        Webhook {
            enabled: false,
            ..webhook("w-5", "o", "five", &["created"])
        },
    ] {
        stored(&*store, unit(Change::PutWebhook(new))).await;
    }
    let committed = store
        .commit(Unit {
            change: Some(Change::PutWebhook(webhook("w-6", "o", "six", &["created"]))),
            entries: vec![draft("g")],
            events: vec![
                event("e-1", "o", "created"),
                event("e-2", "o", "ended"),
                event("e-3", "o", "none"),
            ],
            ..Unit::default()
        })
        .await
        .expect("it is stored");
    assert_eq!(
        (committed.version, committed.entries, committed.deliveries),
        (Some(1), 0..1, 5)
    );

    let leased = store
        .lease_deliveries(at(0), Duration::from_secs(60), 10)
        .await
        .expect("leased")
        .deliveries;
    let reached: BTreeSet<_> = leased
        .iter()
        .map(|delivery| {
            let Payload::Event {
                name,
                session,
                sequence,
            } = &delivery.payload
            else {
                panic!("{delivery:?}")
            };
            assert_eq!((session.as_str(), *sequence), ("s-1", 1));
            (name.as_str(), delivery.webhook.id.as_str())
        })
        .collect();
    assert_eq!(
        reached,
        BTreeSet::from([
            ("created", "w-1"),
            ("created", "w-2"),
            ("created", "w-6"),
            ("ended", "w-1"),
        ])
    );
    let ids: BTreeSet<_> = leased.iter().map(|delivery| delivery.id.clone()).collect();
    assert_eq!(ids.len(), 4);
    for delivery in &leased {
        let is_of = |event: &str| delivery.id == event_id(delivery.webhook.id.as_str(), event);
        assert!(is_of("e-1") || is_of("e-2"));
    }
}

/// A unit that fails for any reason leaves no change, no entry and no delivery.
pub(crate) async fn failed_unit_stores_nothing(make: Make) {
    let store = make(Limits::default());
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("w", "o", "crm", &["created"]))),
    )
    .await;
    stored(&*store, unit(Change::CreateSession(session("s-1", "o", "g-1")))).await;
    stored(&*store, events(vec![event("e-1", "o", "created")])).await;
    let before = store.stats().await.expect("readable");

    let conflict = |conflict| StoreErrorKind::Conflict(conflict);
    let whole = |change: Change, event_ids: &[&str]| Unit {
        change: Some(change),
        entries: vec![draft("g")],
        events: event_ids.iter().map(|id| event(id, "o", "created")).collect(),
        ..Unit::default()
    };
    let new = || Change::CreateSession(session("s-2", "o", "g-2"));
    let taken = Change::CreateSession(session("s-2", "o", "g-1"));
    assert_eq!(
        refused(&*store, whole(taken, &["e-2"])).await,
        conflict(Conflict::GuestInUse)
    );
    assert_eq!(
        refused(&*store, whole(new(), &["e-2", "e-1"])).await,
        conflict(Conflict::EventIdInUse)
    );
    assert_eq!(
        refused(&*store, whole(new(), &["e-2", "e-2"])).await,
        conflict(Conflict::EventIdInUse)
    );
    let mut unsealable = whole(new(), &["e-2"]);
    unsealable.entries.push(bad_draft());
    assert_eq!(refused(&*store, unsealable).await, StoreErrorKind::Invalid);

    assert_eq!(store.stats().await.expect("readable"), before);
    assert!(
        store
            .session(&session("s-2", "o", "g-2").id)
            .await
            .expect("readable")
            .is_none()
    );
    assert!(
        store
            .entries(EntryQuery::From(0), 10)
            .await
            .expect("readable")
            .is_empty()
    );
    // a failed unit uses no sequence number and no space in the queue
    let committed = store
        .commit(whole(new(), &["e-2", "e-3"]))
        .await
        .expect("it is stored");
    assert_eq!((committed.entries, committed.deliveries), (0..1, 2));
}

/// However many commit at once, each unit is stored once, the log has no gap, and of several that exclude each
/// other one is stored.
pub(crate) async fn concurrent_units_are_each_stored_once(make: Make) {
    const TASKS: usize = 64;
    const EACH: usize = 4;
    let fixture = make(Limits {
        queue: 16,
        ..Limits::default()
    });
    let store = &fixture.store;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut won = Vec::new();
                for round in 0..EACH {
                    let id = format!("s-{task}-{round}");
                    let committed = store
                        .commit(Unit {
                            change: Some(Change::CreateSession(session(&id, "o", &format!("g-{round}")))),
                            entries: vec![draft(&id)],
                            events: Vec::new(),
                            ..Unit::default()
                        })
                        .await;
                    let own = store
                        .commit(Unit {
                            change: Some(Change::CreateSession(session(
                                &format!("t-{task}-{round}"),
                                "o",
                                &id,
                            ))),
                            entries: vec![draft(&id), draft(&id)],
                            events: Vec::new(),
                            ..Unit::default()
                        })
                        .await
                        .expect("nobody else has this guest");
                    won.push(own.entries);
                    match committed {
                        Ok(committed) => won.push(committed.entries),
                        Err(error) => {
                            assert_eq!(error.kind(), StoreErrorKind::Conflict(Conflict::GuestInUse));
                        }
                    }
                }
                won
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.extend(task.await.expect("no task panics").into_iter().flatten());
    }
    numbers.sort_unstable();
    let expected = (TASKS * EACH * 2 + EACH) as u64;
    assert_eq!(
        numbers,
        (0..expected).collect::<Vec<_>>(),
        "every entry once, without a gap"
    );
    let stats = store.stats().await.expect("readable");
    assert_eq!(
        (stats.live_sessions, stats.audit_entries),
        ((TASKS * EACH + EACH) as u64, expected)
    );
    let live = SessionQuery::Live(None);
    assert_eq!(
        store.sessions(live, 1_000).await.expect("readable").len(),
        TASKS * EACH + EACH
    );
    verify(&**store, |_| ()).await.expect("the log verifies");
}
