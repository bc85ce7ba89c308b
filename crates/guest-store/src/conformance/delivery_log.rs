//! The log of deliveries.

use std::time::Duration;

use super::Make;
use super::deliveries::lease;
use super::samples::{
    at, attempt, event, events, removal, session, settlement, store_sessions, stored, unit, webhook,
};
use crate::{
    Change, Delivery, DeliveryAttempt, DeliveryKind, DeliveryQuery, DeliverySelect, DeliveryState, Event,
    Leased, Limits, Replay, Settled, Settlement, Store,
};

async fn put(store: &dyn Store) {
    store_sessions(store, &["s-1"]).await;
    stored(store, unit(Change::PutWebhook(webhook("w", "o", "crm", &["n"])))).await;
}

async fn commit(store: &dyn Store, numbers: std::ops::Range<i64>) {
    let numbered = |number| Event {
        at: at(number),
        ..event(&format!("e-{number}"), "o", "n")
    };
    stored(store, events(numbers.map(numbered).collect())).await;
}

async fn settle(store: &dyn Store, leased: &Leased, settled: Settled, attempt: DeliveryAttempt) {
    let settlement = Settlement {
        attempt: Some(attempt),
        ..settlement(leased, settled)
    };
    store
        .commit(Change::Settle(settlement).into())
        .await
        .expect("settled");
}

async fn select(store: &dyn Store, select: DeliverySelect, limit: usize) -> Vec<Delivery> {
    let webhook = "w".parse().expect("a valid id");
    let query = DeliveryQuery { webhook, select };
    store.deliveries(query, limit).await.expect("readable")
}

async fn in_state(store: &dyn Store, state: DeliveryState) -> Vec<Delivery> {
    select(store, DeliverySelect::State(state, None), 2_000).await
}

async fn replay(store: &dyn Store, replay: Replay) -> (usize, usize) {
    let webhook = "w".parse().expect("a valid id");
    let replayed = store
        .commit(Change::ReplayDeliveries { webhook, replay }.into())
        .await;
    let replayed = replayed.expect("it is stored");
    (replayed.deliveries, replayed.overflowed)
}

/// A delivery has its attempts in each state, and they go with its session.
pub(crate) async fn attempts_are_logged_by_state(make: Make) {
    let store = make(Limits::default());
    put(&*store).await;
    commit(&*store, 0..3).await;
    let leased = lease(&*store, at(10), 10).await;
    let refused = DeliveryAttempt {
        status: None,
        error: Some("timeout".to_owned()),
        response: "".into(),
        ..attempt(11)
    };
    settle(&*store, &leased[0], Settled::Delivered, attempt(10)).await;
    settle(&*store, &leased[1], Settled::RetryAt(at(20)), refused.clone()).await;
    settle(&*store, &leased[2], Settled::Dead, attempt(12)).await;
    let waiting = in_state(&*store, DeliveryState::Waiting).await;
    // the snapshot of the dead one waits for a success
    assert_eq!(waiting.len(), 2);
    let retried = waiting
        .iter()
        .find(|waiting| waiting.id == leased[1].id)
        .expect("it waits");
    assert_eq!(
        (&retried.attempts[..], retried.due_at),
        (&[refused.clone()][..], Some(at(20)))
    );
    assert_eq!(retried.kind, DeliveryKind::Event("n".to_owned()));
    let snapshot = waiting
        .iter()
        .find(|waiting| waiting.kind == DeliveryKind::Snapshot)
        .expect("it waits");
    assert!(snapshot.attempts.is_empty());
    assert!(snapshot.id.starts_with("msg_"), "{}", snapshot.id);
    let delivered = in_state(&*store, DeliveryState::Delivered).await.remove(0);
    assert_eq!(
        (&delivered.id, &delivered.attempts[..]),
        (&leased[0].id, &[attempt(10)][..])
    );
    assert_eq!(delivered.session, Some("s-1".parse().expect("a valid id")));
    assert_eq!(
        (delivered.range, delivered.at, delivered.due_at),
        (1..=1, at(0), None)
    );
    let dead = in_state(&*store, DeliveryState::Dead).await;
    assert_eq!((dead.len(), &dead[0].id), (1, &leased[2].id));

    let again = lease(&*store, at(20), 10).await;
    let again = again
        .iter()
        .find(|again| again.id == leased[1].id)
        .expect("it is due");
    settle(&*store, again, Settled::Delivered, attempt(21)).await;
    let found = select(&*store, DeliverySelect::Id(again.id.clone()), 1)
        .await
        .remove(0);
    assert_eq!(
        (found.state, found.attempts),
        (DeliveryState::Delivered, vec![refused, attempt(21)])
    );
    let delivered = in_state(&*store, DeliveryState::Delivered).await;
    assert_eq!(delivered[0].id, again.id, "the latest attempt first");
    let latest = select(&*store, DeliverySelect::Latest, 1).await;
    assert_eq!(latest[0].id, again.id);
    let next = DeliverySelect::State(DeliveryState::Delivered, Some(delivered[0].place));
    let next = select(&*store, next, 10).await;
    assert_eq!((next.len(), &next[0].id), (1, &leased[0].id));
    assert!(!format!("{delivered:?}").contains("canary"));

    // the erasure has attempts without the response
    let mut ended = session("s-1", "o", "s-1");
    (ended.version, ended.ended_at) = (1, Some(at(0)));
    stored(&*store, unit(Change::UpdateSession(ended))).await;
    stored(&*store, removal("s-1")).await;
    for state in [DeliveryState::Delivered, DeliveryState::Dead] {
        assert!(in_state(&*store, state).await.is_empty());
    }
    let erasure = lease(&*store, at(30), 10).await.remove(0);
    settle(&*store, &erasure, Settled::Delivered, attempt(31)).await;
    let delivered = in_state(&*store, DeliveryState::Delivered).await.remove(0);
    assert_eq!(
        (&delivered.kind, &delivered.session),
        (&DeliveryKind::Erasure, &None)
    );
    assert_eq!(
        (delivered.attempts[0].status, delivered.attempts[0].response.len()),
        (Some(500), 0)
    );
    assert_eq!(
        replay(&*store, Replay::Id(erasure.id)).await,
        (0, 0),
        "its id is destroyed"
    );
    store.verify_rows().await.expect("the sums are right");
}

/// Dead events are sent again with their ids, all or since a time, as far as the queue has room.
pub(crate) async fn dead_event_is_replayed(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 3,
        ..Limits::default()
    });
    put(&*store).await;
    commit(&*store, 0..3).await;
    let leased = lease(&*store, at(10), 10).await;
    for leased in &leased {
        settle(&*store, leased, Settled::Dead, attempt(10)).await;
    }
    assert_eq!(replay(&*store, Replay::Id("unknown".to_owned())).await, (0, 0));
    assert_eq!(replay(&*store, Replay::Dead(Some(at(1)))).await, (2, 0));
    commit(&*store, 3..4).await;
    assert_eq!(
        replay(&*store, Replay::Dead(None)).await,
        (0, 1),
        "the queue is full"
    );
    assert_eq!(
        replay(&*store, Replay::Id(leased[1].id.clone())).await,
        (0, 0),
        "it waits"
    );
    let again = lease(&*store, at(20), 10).await;
    let is_replayed = |again: &&Leased| leased[1..].iter().any(|leased| leased.id == again.id);
    let found = again.iter().filter(is_replayed);
    for again in found.clone() {
        assert_eq!(again.attempt, 1, "a schedule of its own");
        settle(&*store, again, Settled::Delivered, attempt(21)).await;
    }
    assert_eq!(found.count(), 2);
    assert_eq!(replay(&*store, Replay::Dead(None)).await, (1, 0));
    // one that was delivered, with the attempts before
    assert_eq!(replay(&*store, Replay::Id(leased[1].id.clone())).await, (1, 0));
    let waits = select(&*store, DeliverySelect::Id(leased[1].id.clone()), 1)
        .await
        .remove(0);
    assert_eq!((waits.state, waits.attempts.len()), (DeliveryState::Waiting, 2));
    store.verify_rows().await.expect("the sums are right");
}

/// The log keeps so many deliveries of a state, ten attempts of each, and none that is too old.
pub(crate) async fn log_is_bounded_by_count_and_age(make: Make) {
    let store = make(Limits {
        webhook_deliveries: 5,
        ..Limits::default()
    });
    put(&*store).await;
    commit(&*store, 0..9).await;
    let mut second = 10;
    loop {
        let leased = lease(&*store, at(second), 10).await;
        if leased.is_empty() {
            break;
        }
        for leased in leased {
            settle(&*store, &leased, Settled::Delivered, attempt(second)).await;
            second += 1;
        }
    }
    let kept = in_state(&*store, DeliveryState::Delivered).await;
    assert_eq!(kept.len(), 5);
    assert_eq!((kept[0].at, kept[4].at), (at(8), at(4)));
    stored(&*store, unit(Change::RemoveOldDeliveries { before: at(17) })).await;
    assert_eq!(in_state(&*store, DeliveryState::Delivered).await.len(), 2);

    commit(&*store, 20..21).await;
    for attempts in 0..12 {
        let leased = store
            .lease_deliveries(at(100 + attempts), Duration::from_secs(9), 1)
            .await;
        let leased = leased.expect("leasable").deliveries.remove(0);
        settle(
            &*store,
            &leased,
            Settled::RetryAt(at(100 + attempts)),
            attempt(100 + attempts),
        )
        .await;
    }
    let waiting = in_state(&*store, DeliveryState::Waiting).await.remove(0);
    let times: Vec<_> = waiting.attempts.iter().map(|attempt| attempt.at).collect();
    assert_eq!(times, (102..112).map(at).collect::<Vec<_>>());
}
