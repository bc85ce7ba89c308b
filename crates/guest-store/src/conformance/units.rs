//! Units of work: all or nothing, and once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::samples::{at, bad_draft, draft, event, events, refused, session, stored, unit, webhook};
use super::{Fixture, Make};
use crate::{
    Change, Conflict, Limits, SessionQuery, Settled, Settlement, Store, StoreErrorKind, Unit, Webhook,
};

/// Totals add up, and a refused unit adds nothing.
pub(crate) async fn totals_add_up(make: Make) {
    let store = make(Limits::default());
    assert!(store.totals().await.expect("readable").is_empty());
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
    let totals = store.totals().await.expect("readable");
    let totals: Vec<_> = totals
        .iter()
        .map(|(name, total)| (name.as_str(), *total))
        .collect();
    assert_eq!(totals, [("a b", 7), ("all", 3), ("c", 3)]);
}

/// Events reach the enabled webhooks of their owner that ask for them, also one that is put in the same unit.
pub(crate) async fn event_reaches_subscribed_webhooks(make: Make) {
    let store = make(Limits::default());
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
        (Some(1), 0..1, 4)
    );

    let leased = store
        .lease_deliveries(at(0), Duration::from_secs(60), 10)
        .await
        .expect("leased");
    let reached: BTreeSet<_> = leased
        .iter()
        .map(|delivery| {
            (
                delivery.event.as_str(),
                delivery.webhook.id.as_str(),
                delivery.body.clone(),
            )
        })
        .collect();
    let body = |id: &str| event(id, "o", "").body;
    assert_eq!(
        reached,
        BTreeSet::from([
            ("created", "w-1", body("e-1")),
            ("created", "w-2", body("e-1")),
            ("created", "w-6", body("e-1")),
            ("ended", "w-1", body("e-2")),
        ])
    );
    let ids: BTreeSet<_> = leased.iter().map(|delivery| delivery.id.clone()).collect();
    assert_eq!(ids.len(), 4);
    for delivery in &leased {
        let of = if delivery.event == "created" { "e-1" } else { "e-2" };
        assert_eq!(delivery.id, event(of, "o", "").delivery_id(&delivery.webhook.id));
    }
}

/// A unit that fails leaves no change, no entry and no delivery, whatever it failed by.
pub(crate) async fn failed_unit_stores_nothing(make: Make) {
    let store = make(Limits {
        outbox_rows: 3,
        ..Limits::default()
    });
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
    assert_eq!(
        refused(&*store, whole(new(), &["e-2", "e-3", "e-4"])).await,
        StoreErrorKind::OutboxFull
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
    assert!(store.audit_lines(0, 10, None).await.expect("readable").is_empty());
    // what failed took no number and no room
    let committed = store
        .commit(whole(new(), &["e-2", "e-3"]))
        .await
        .expect("it is stored");
    assert_eq!((committed.entries, committed.deliveries), (0..1, 2));
}

/// The outbox takes so many deliveries, and so many bytes, of all owners and of each; what leaves it makes room.
pub(crate) async fn outbox_is_bounded(make: Make) {
    let most = Limits::default();
    for limits in [
        Limits {
            outbox_rows: 2,
            ..most
        },
        Limits {
            outbox_bytes: 20,
            ..most
        },
        Limits {
            owner_outbox_rows: 2,
            ..most
        },
        Limits {
            owner_outbox_bytes: 20,
            ..most
        },
    ] {
        has_room_for_two(make(limits)).await;
    }
}

/// An event of 10 bytes.
fn sized(id: &str, name: &str) -> Unit {
    let mut event = event(id, "o", name);
    event.body = vec![b'x'; 10].into();
    events(vec![event])
}

/// Makes sure that no delivery to the webhook that asks for `ended` finds room.
async fn is_full(store: &dyn Store, round: &str) {
    let dead = async || store.stats().await.expect("readable").outbox_dead;
    let before = dead().await;
    let id = format!("s-{round}");
    let creation = Unit {
        change: Some(Change::CreateSession(session(&id, "o", &id))),
        ..sized(&id, "ended")
    };
    assert_eq!(refused(store, creation).await, StoreErrorKind::OutboxFull, "{id}");
    assert_eq!(dead().await, before);
    let dropped = store.commit(sized(&id, "ended")).await.expect("it is stored");
    assert_eq!((dropped.deliveries, dropped.dropped), (0, 1), "{id}");
    assert_eq!(dead().await, before + 1);
}

async fn has_room_for_two(store: Fixture) {
    let one = webhook("w-1", "o", "one", &["created"]);
    let two = webhook("w-2", "o", "two", &["ended"]);
    stored(&*store, unit(Change::PutWebhook(one.clone()))).await;
    stored(&*store, unit(Change::PutWebhook(two))).await;
    stored(&*store, sized("e-1", "created")).await;
    stored(&*store, sized("e-2", "ended")).await;
    is_full(&*store, "first").await;
    let stats = store.stats().await.expect("readable");
    assert_eq!((stats.outbox_pending, stats.outbox_bytes), (2, 20));
    assert_eq!(stats.outbox_oldest, Some(at(0)));
    // nobody asks for it, so it takes no room
    let idle = Unit {
        change: Some(Change::CreateSession(session("s", "o", "g"))),
        ..sized("e-4", "other")
    };
    stored(&*store, idle).await;

    stored(&*store, unit(Change::RemoveWebhook(one.id))).await;
    assert_eq!(
        store.commit(sized("e-3", "ended")).await.expect("stored").dropped,
        0
    );
    for (round, settled, makes_room) in [
        ("retried", Settled::RetryAt(at(0)), false),
        ("dead", Settled::Dead, true),
        ("delivered", Settled::Delivered, true),
    ] {
        let minute = Duration::from_secs(60);
        let leased = store
            .lease_deliveries(at(0), minute, 1)
            .await
            .expect("leased")
            .remove(0);
        let settlement = Settlement {
            delivery: leased.id,
            fence: leased.fence,
            at: at(0),
            settled,
            rest_until: None,
            disable_webhook: false,
            entries: Vec::new(),
        };
        store.settle_delivery(settlement).await.expect("settled");
        if makes_room {
            let committed = store.commit(sized(&format!("e-{round}"), "ended")).await;
            assert_eq!(committed.expect("stored").dropped, 0, "{round}");
        }
        is_full(&*store, round).await;
    }
}

/// An owner whose share of the outbox is full is held back; what others do, and what the owner has under way, is not.
pub(crate) async fn full_owner_share_affects_no_other_owner(make: Make) {
    let store = make(Limits {
        owner_outbox_rows: 2,
        outbox_dead: 2,
        ..Limits::default()
    });
    for owner in ["o", "other"] {
        for name in ["one", "two"] {
            let new = webhook(&format!("{owner}-{name}"), owner, name, &["n"]);
            stored(&*store, unit(Change::PutWebhook(new))).await;
        }
    }
    let creation = |owner: &str| Unit {
        change: Some(Change::CreateSession(session(owner, owner, "g"))),
        entries: vec![draft("g")],
        events: vec![event(&format!("{owner}-created"), owner, "n")],
        ..Unit::default()
    };
    stored(&*store, creation("o")).await;
    let refused_one = Unit {
        change: Some(Change::CreateSession(session("o-2", "o", "g-2"))),
        ..events(vec![event("e", "o", "n")])
    };
    assert_eq!(refused(&*store, refused_one).await, StoreErrorKind::OutboxFull);
    stored(&*store, creation("other")).await;

    let mut ended = session("o", "o", "g");
    (ended.version, ended.ended_at) = (1, Some(at(1)));
    let unit = Unit {
        change: Some(Change::UpdateSession(ended)),
        entries: vec![draft("g")],
        events: vec![event("ended", "o", "n")],
        ..Unit::default()
    };
    let committed = store.commit(unit).await.expect("it is stored");
    assert_eq!(
        (committed.version, committed.deliveries, committed.dropped),
        (Some(2), 0, 2)
    );
    let stats = store.stats().await.expect("readable");
    assert_eq!(
        (stats.outbox_pending, stats.outbox_dead, stats.audit_entries),
        (4, 2, 3)
    );
    // what was dropped is not forgotten at once, but within limits
    let again = events(vec![event("ended", "o", "n")]);
    let in_use = StoreErrorKind::Conflict(Conflict::EventIdInUse);
    assert_eq!(refused(&*store, again).await, in_use);
    stored(&*store, events(vec![event("more", "o", "n")])).await;
    assert_eq!(store.stats().await.expect("readable").outbox_dead, 2);
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
    super::audit_log::verify(&**store).await;
}
