//! Ordered webhooks: the events of a session one after another.

use super::Make;
use super::deliveries::lease;
use super::samples::{at, event, events, removal, settlement, store_sessions, stored, unit, webhook};
use crate::{
    Change, DeliveryQuery, DeliverySelect, DeliveryState, Event, Leased, Limits, Payload, Replay, Settled,
    Store, Webhook,
};

async fn put(store: &dyn Store, version: u64, enabled: bool, ordered: bool) {
    let webhook = Webhook {
        version,
        enabled,
        ordered,
        ..webhook("w", "o", "crm", &["n"])
    };
    stored(store, unit(Change::PutWebhook(webhook))).await;
}

/// Commits an event of each session and sequence number.
async fn commit(store: &dyn Store, numbers: &[(&str, u64)]) {
    let numbered = numbers.iter().map(|(session, sequence)| Event {
        session: session.parse().expect("a valid id"),
        sequence: *sequence,
        ..event(&format!("{session}-{sequence}"), "o", "n")
    });
    stored(store, events(numbered.collect())).await;
}

/// Leases what is due at a time.
async fn due(store: &dyn Store, second: i64) -> Vec<Leased> {
    let mut leased = lease(store, at(second), 100).await;
    leased.sort_by_key(name);
    leased
}

/// The session and the sequence numbers of a delivery.
fn name(leased: &Leased) -> String {
    match &leased.payload {
        Payload::Event {
            session, sequence, ..
        } => format!("{session} {sequence}"),
        Payload::Snapshot { session, range } | Payload::Erased { session, range } => {
            format!("{session} {range:?}")
        }
    }
}

fn names(leased: &[Leased]) -> Vec<String> {
    leased.iter().map(name).collect()
}

async fn settle(store: &dyn Store, leased: &Leased, settled: Settled) {
    let settlement = settlement(leased, settled);
    store
        .commit(Change::Settle(settlement).into())
        .await
        .expect("settled");
}

/// The sequence numbers of the waiting deliveries, with the id of that which each waits for.
async fn waiting(store: &dyn Store) -> Vec<(u64, Option<String>)> {
    let query = DeliveryQuery {
        webhook: "w".parse().expect("a valid id"),
        select: DeliverySelect::State(DeliveryState::Waiting, None),
    };
    let found = store.deliveries(query, 100).await.expect("readable");
    found
        .into_iter()
        .map(|delivery| (*delivery.range.end(), delivery.waits_for))
        .collect()
}

/// A failing delivery holds back later ones of its session, and no others.
pub(crate) async fn events_of_a_session_are_due_in_order(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1", "s-2"]).await;
    put(&*store, 0, true, true).await;
    commit(&*store, &[("s-1", 1), ("s-1", 2), ("s-2", 1), ("s-1", 3)]).await;
    let first = due(&*store, 0).await;
    assert_eq!(names(&first), ["s-1 1", "s-2 1"]);
    let id = Some(first[0].id.clone());
    let mut waits = waiting(&*store).await;
    waits.sort_unstable();
    assert_eq!(waits, [(1, None), (1, None), (2, id.clone()), (3, id)]);
    settle(&*store, &first[0], Settled::RetryAt(at(10))).await;
    settle(&*store, &first[1], Settled::Delivered).await;
    commit(&*store, &[("s-2", 2), ("s-1", 4)]).await;
    let other = due(&*store, 1).await;
    assert_eq!(names(&other), ["s-2 2"]);
    settle(&*store, &other[0], Settled::NotSent(at(500))).await;

    // a pause in between changes nothing
    put(&*store, 1, false, true).await;
    put(&*store, 2, true, true).await;
    let again = due(&*store, 2).await;
    assert_eq!(names(&again), ["s-1 1", "s-2 2"]);
    settle(&*store, &again[1], Settled::Unwanted).await;
    settle(&*store, &again[0], Settled::Delivered).await;
    for (number, settled) in [
        (2, Settled::Unwanted),
        (3, Settled::Dead),
        (4, Settled::Delivered),
    ] {
        let next = due(&*store, 3).await;
        assert_eq!(names(&next), [format!("s-1 {number}")]);
        settle(&*store, &next[0], settled).await;
    }
    assert_eq!(names(&due(&*store, 4).await), ["s-1 3..=3"], "the dead one");
    store.verify_rows().await.expect("the sums are right");
}

/// A snapshot waits for the queued events before the end of its range. No event waits for it.
pub(crate) async fn snapshot_waits_for_earlier_events(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 3,
        ..Limits::default()
    });
    store_sessions(&*store, &["s-1", "s-2"]).await;
    put(&*store, 0, true, true).await;
    commit(
        &*store,
        &[("s-1", 1), ("s-1", 2), ("s-2", 1), ("s-1", 3), ("s-2", 2)],
    )
    .await;
    let first = due(&*store, 0).await;
    assert_eq!(names(&first), ["s-1 1", "s-2 1"]);
    settle(&*store, &first[1], Settled::Delivered).await;
    commit(&*store, &[("s-2", 3)]).await;
    let next = due(&*store, 1).await;
    assert_eq!(names(&next), ["s-2 2..=2", "s-2 3"], "it precedes the event");
    for leased in &next {
        settle(&*store, leased, Settled::Delivered).await;
    }
    // the released one of the other session grows beyond an event
    settle(&*store, &first[0], Settled::Dead).await;
    assert_eq!(
        names(&due(&*store, 2).await),
        ["s-1 2"],
        "its snapshot ends later"
    );
    let second = due(&*store, 62).await.remove(0);
    settle(&*store, &second, Settled::Delivered).await;
    assert_eq!(names(&due(&*store, 63).await), ["s-1 1..=3"]);
    stored(&*store, removal("s-1")).await;
    assert_eq!(names(&due(&*store, 64).await), ["s-1 1..=3"], "its erasure");
}

/// Replay, a new order, and the removal of old events keep one event of a session due.
pub(crate) async fn order_is_kept_by_what_changes_a_queue(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1"]).await;
    put(&*store, 0, true, false).await;
    commit(&*store, &[("s-1", 1), ("s-1", 2), ("s-1", 3)]).await;
    let first = lease(&*store, at(0), 1).await.remove(0);
    put(&*store, 1, true, true).await;
    assert!(due(&*store, 0).await.is_empty(), "one is under lease");
    let dead = crate::DeliveryAttempt {
        status: None,
        ..super::samples::attempt(1)
    };
    let settled = crate::Settlement {
        attempt: Some(dead),
        ..settlement(&first, Settled::Dead)
    };
    store
        .commit(Change::Settle(settled).into())
        .await
        .expect("settled");
    let second = due(&*store, 1).await.remove(0);
    assert_eq!(name(&second), "s-1 2");
    let replayed = Change::ReplayDeliveries {
        webhook: "w".parse().expect("a valid id"),
        replay: Replay::Dead(None),
    };
    stored(&*store, unit(replayed)).await;
    assert!(due(&*store, 1).await.is_empty());
    settle(&*store, &second, Settled::Delivered).await;
    let next = due(&*store, 2).await;
    assert_eq!(names(&next), ["s-1 1", "s-1 1..=1"], "before those that wait");
    settle(&*store, &next[0], Settled::RetryAt(at(500))).await;

    // old events of a disabled webhook join the snapshot
    commit(&*store, &[("s-1", 4)]).await;
    put(&*store, 2, false, true).await;
    let late = Event {
        at: at(90),
        sequence: 5,
        ..event("s-1-5", "o", "n")
    };
    stored(&*store, events(vec![late])).await;
    stored(&*store, unit(Change::RemoveOldDeliveries { before: at(50) })).await;
    put(&*store, 3, true, true).await;
    assert_eq!(names(&due(&*store, 100).await), ["s-1 1..=4", "s-1 5"]);

    commit(&*store, &[("s-1", 6), ("s-1", 7)]).await;
    assert!(due(&*store, 101).await.is_empty());
    put(&*store, 4, true, false).await;
    assert_eq!(names(&due(&*store, 101).await), ["s-1 6", "s-1 7"]);
    store.verify_rows().await.expect("the sums are right");
}

/// A change of the order, or a wait for other events, leaves a failed delivery the time of its retry.
pub(crate) async fn failed_delivery_keeps_its_time_in_order(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 3,
        ..Limits::default()
    });
    store_sessions(&*store, &["s-1"]).await;
    put(&*store, 0, true, false).await;
    commit(&*store, &[("s-1", 1), ("s-1", 2), ("s-1", 3)]).await;
    let failed = lease(&*store, at(0), 2).await;
    settle(&*store, &failed[0], Settled::RetryAt(at(300))).await;
    settle(&*store, &failed[1], Settled::RetryAt(at(200))).await;
    put(&*store, 1, true, true).await;
    assert!(due(&*store, 199).await.is_empty());
    let second = due(&*store, 200).await;
    assert_eq!(names(&second), ["s-1 2"]);
    settle(&*store, &second[0], Settled::Delivered).await;
    put(&*store, 2, true, false).await;
    assert_eq!(names(&due(&*store, 200).await), ["s-1 3"]);
    put(&*store, 3, true, true).await;
    assert!(due(&*store, 259).await.is_empty());
    let third = due(&*store, 260).await;
    settle(&*store, &third[0], Settled::Dead).await;
    let first = due(&*store, 300).await;
    assert_eq!(names(&first), ["s-1 1"], "the snapshot ends later");
    settle(&*store, &first[0], Settled::Delivered).await;

    let snapshot = due(&*store, 300).await;
    assert_eq!(names(&snapshot), ["s-1 3..=3"]);
    commit(&*store, &[("s-1", 4), ("s-1", 5), ("s-1", 6), ("s-1", 7)]).await;
    settle(&*store, &snapshot[0], Settled::RetryAt(at(500))).await;
    for number in 4..=6 {
        let next = due(&*store, 301).await;
        assert_eq!(names(&next), [format!("s-1 {number}")]);
        settle(&*store, &next[0], Settled::Delivered).await;
    }
    assert!(due(&*store, 499).await.is_empty());
    assert_eq!(names(&due(&*store, 500).await), ["s-1 3..=7"]);
    store.verify_rows().await.expect("the sums are right");
}
