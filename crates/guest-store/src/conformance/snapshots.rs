//! Full queues, dead letters, disabled webhooks and removed sessions: nothing is lost.

use std::ops::RangeInclusive;

use super::Make;
use super::deliveries::{fenced, lease};
use super::samples::{
    at, event, events, removal, session, settlement, store_sessions, stored, unit, webhook,
};
use crate::{
    Change, Committed, Event, Leased, Limits, Payload, QueueStats, Settled, Settlement, Stats, Store, Unit,
    Webhook,
};

/// An event at as many seconds as its sequence number.
fn numbered(session: &str, sequence: u64) -> Event {
    Event {
        session: session.parse().expect("a valid id"),
        sequence,
        at: at(i64::try_from(sequence).expect("a small number")),
        ..event(&format!("{session}-{sequence}"), "o", "n")
    }
}

async fn commit(store: &dyn Store, session: &str, sequence: u64) -> Committed {
    let unit = events(vec![numbered(session, sequence)]);
    store.commit(unit).await.expect("it is stored")
}

async fn put(store: &dyn Store, id: &str, version: u64, enabled: bool) {
    let webhook = Webhook {
        version,
        enabled,
        ..webhook(id, "o", id, &["n"])
    };
    stored(store, unit(Change::PutWebhook(webhook))).await;
}

async fn settle(store: &dyn Store, leased: &Leased, settled: Settled) {
    let settlement = settlement(leased, settled);
    store
        .commit(Change::Settle(settlement).into())
        .await
        .expect("settled");
}

async fn stats(store: &dyn Store) -> Stats {
    store.stats().await.expect("readable")
}

fn snapshot(session: &str, range: RangeInclusive<u64>) -> Payload {
    Payload::Snapshot {
        session: session.parse().expect("a valid id"),
        range,
    }
}

fn erased(session: &str, range: RangeInclusive<u64>) -> Payload {
    Payload::Erased {
        session: session.parse().expect("a valid id"),
        range,
    }
}

fn is_event(leased: &Leased) -> bool {
    matches!(leased.payload, Payload::Event { .. })
}

/// Leases and accepts all that is due, until nothing is. Returns the snapshots and erasures in their order.
async fn accept_all(store: &dyn Store) -> Vec<Payload> {
    let mut accepted = Vec::new();
    loop {
        let leased = lease(store, at(10_000), 100).await;
        if leased.is_empty() {
            return accepted;
        }
        for delivery in leased {
            settle(store, &delivery, Settled::Delivered).await;
            if !is_event(&delivery) {
                accepted.push(delivery.payload);
            }
        }
    }
}

/// A queue holds so many events. Later events of a session make one snapshot with their range.
pub(crate) async fn queue_is_bounded(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 2,
        ..Limits::default()
    });
    store_sessions(&*store, &["s-1", "s-2", "s-3"]).await;
    put(&*store, "w", 0, true).await;
    for (sequence, queued) in [(1, 1), (2, 1), (3, 0), (4, 0), (7, 0)] {
        let committed = commit(&*store, "s-1", sequence).await;
        assert_eq!(
            (committed.deliveries, committed.overflowed),
            (queued, 1 - queued),
            "{sequence}"
        );
    }
    commit(&*store, "s-2", 1).await;
    let queue = QueueStats {
        pending: 2,
        snapshots: 2,
        oldest: Some(at(1)),
    };
    let found = stats(&*store).await;
    assert_eq!(found.queues, [("w".parse().expect("a valid id"), queue)].into());
    assert_eq!((found.outbox_pending, found.snapshots_pending), (2, 2));
    assert_eq!(found.outbox_oldest, Some(at(1)));

    // no snapshot is due before a delivery succeeds
    let leased = lease(&*store, at(100), 10).await;
    assert_eq!(leased.len(), 2);
    assert!(leased.iter().all(is_event));
    settle(&*store, &leased[0], Settled::RetryAt(at(200))).await;
    assert!(lease(&*store, at(101), 10).await.is_empty());
    assert_eq!(
        commit(&*store, "s-1", 9).await.overflowed,
        1,
        "a retry keeps its place"
    );
    settle(&*store, &leased[1], Settled::Delivered).await;
    assert_eq!(
        commit(&*store, "s-3", 1).await.deliveries,
        1,
        "there is room again"
    );
    let payloads: Vec<_> = lease(&*store, at(102), 10).await;
    let payloads: Vec<_> = payloads.into_iter().map(|leased| leased.payload).collect();
    assert!(payloads.contains(&snapshot("s-1", 3..=9)), "{payloads:?}");
    assert!(payloads.contains(&snapshot("s-2", 1..=1)), "{payloads:?}");
    assert_eq!(payloads.len(), 3);
    assert!(accept_all(&*store).await.len() == 2, "their leases ended");
    assert!(stats(&*store).await.queues.is_empty());
}

/// Units are stored also when a queue is full, and other webhooks and owners get their events.
pub(crate) async fn full_queue_affects_no_session_and_no_other_webhook(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 1,
        ..Limits::default()
    });
    store_sessions(&*store, &["s-0"]).await;
    put(&*store, "dead", 0, true).await;
    commit(&*store, "s-0", 1).await;
    put(&*store, "healthy", 0, true).await;
    let others = webhook("others", "other", "one", &["n"]);
    stored(&*store, unit(Change::PutWebhook(others))).await;
    for number in 1..=3 {
        let id = format!("s-{number}");
        let creation = Unit {
            change: Some(Change::CreateSession(session(&id, "o", &id))),
            ..events(vec![numbered(&id, 1)])
        };
        let committed = store.commit(creation).await.expect("it is stored");
        assert_eq!((committed.deliveries, committed.overflowed), (1, 1), "{id}");
        let leased = lease(&*store, at(number), 10).await;
        let of_healthy = leased
            .iter()
            .find(|leased| leased.webhook.id.as_str() == "healthy");
        settle(&*store, of_healthy.expect("it is due"), Settled::Delivered).await;
    }
    let theirs = Event {
        owner: "other".to_owned(),
        ..numbered("s-9", 1)
    };
    let committed = store.commit(events(vec![theirs])).await.expect("it is stored");
    assert_eq!((committed.deliveries, committed.overflowed), (1, 0));
    let found = stats(&*store).await;
    assert_eq!(
        (found.live_sessions, found.outbox_pending, found.snapshots_pending),
        (3, 2, 3)
    );
}

/// A delivered snapshot is removed if its range is still the one that was sent.
pub(crate) async fn snapshot_is_kept_when_its_range_grows(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 0,
        ..Limits::default()
    });
    store_sessions(&*store, &["s"]).await;
    put(&*store, "w", 0, true).await;
    commit(&*store, "s", 3).await;
    let first = lease(&*store, at(10), 10).await.remove(0);
    assert_eq!(first.payload, snapshot("s", 3..=3), "nothing else could succeed");
    settle(&*store, &first, Settled::RetryAt(at(20))).await;
    let second = lease(&*store, at(20), 10).await.remove(0);
    assert_eq!(
        (&second.id, second.attempt),
        (&first.id, 2),
        "the same for every attempt"
    );

    commit(&*store, "s", 5).await;
    settle(&*store, &second, Settled::Delivered).await;
    assert_eq!(stats(&*store).await.snapshots_pending, 1);
    let third = lease(&*store, at(30), 10).await.remove(0);
    assert_eq!((&third.payload, third.attempt), (&snapshot("s", 3..=5), 1));
    assert_ne!(third.id, second.id, "another content has another id");
    fenced(&*store, settlement(&second, Settled::Delivered)).await;

    commit(&*store, "s", 6).await;
    settle(&*store, &third, Settled::RetryAt(at(40))).await;
    let fourth = lease(&*store, at(40), 10).await.remove(0);
    assert_eq!(fourth.payload, snapshot("s", 3..=6));
    settle(&*store, &fourth, Settled::Delivered).await;
    assert!(stats(&*store).await.queues.is_empty());
    commit(&*store, "s", 7).await;
    assert_eq!(accept_all(&*store).await, [snapshot("s", 7..=7)]);
}

/// An event whose schedule is exhausted joins the snapshot of its session. The snapshot is due if no event is pending.
pub(crate) async fn dead_event_joins_snapshot(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s"]).await;
    put(&*store, "w", 0, true).await;
    for sequence in 1..=3 {
        commit(&*store, "s", sequence).await;
    }
    let leased = lease(&*store, at(10), 10).await;
    settle(&*store, &leased[2], Settled::Dead).await;
    settle(&*store, &leased[0], Settled::Dead).await;
    fenced(&*store, settlement(&leased[0], Settled::Delivered)).await;
    let queue = *stats(&*store).await.queues.values().next().expect("there is one");
    assert_eq!((queue.pending, queue.snapshots), (1, 1));
    assert!(lease(&*store, at(20), 10).await.is_empty(), "an event is pending");
    settle(&*store, &leased[1], Settled::Dead).await;

    // a snapshot that is given up begins its schedule again
    let given_up = lease(&*store, at(20), 10).await.remove(0);
    assert_eq!(given_up.payload, snapshot("s", 1..=3));
    settle(&*store, &given_up, Settled::Dead).await;
    let again = lease(&*store, at(20), 10).await.remove(0);
    assert_eq!((&again.id, again.attempt), (&given_up.id, 1));
    assert!(again.fence > given_up.fence);
    settle(&*store, &again, Settled::Delivered).await;
    assert!(stats(&*store).await.queues.is_empty());
}

/// Four snapshots are due at a time, and one that fails does not hold up the others.
pub(crate) async fn snapshots_are_due_in_turn(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 1,
        ..Limits::default()
    });
    put(&*store, "w", 0, true).await;
    let ids: Vec<_> = (0..8).map(|number| format!("s-{number}")).collect();
    store_sessions(&*store, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for number in 0..8 {
        commit(&*store, &format!("s-{number}"), 1).await;
    }
    let event = lease(&*store, at(10), 10).await;
    assert_eq!(event.len(), 1);
    settle(&*store, &event[0], Settled::Delivered).await;
    let range = |number: u64| snapshot(&format!("s-{number}"), 1..=1);
    let mut leased = lease(&*store, at(10), 2).await;
    let payloads: Vec<_> = leased.iter().map(|leased| leased.payload.clone()).collect();
    assert_eq!(payloads, [range(1), range(2)]);
    leased.extend(lease(&*store, at(10), 10).await);
    assert_eq!(leased.len(), 4);

    // an endpoint that fails is not tried with further ones
    for delivery in &leased[..3] {
        settle(&*store, delivery, Settled::RetryAt(at(1_000))).await;
        assert!(lease(&*store, at(11), 10).await.is_empty());
    }
    settle(&*store, &leased[3], Settled::Delivered).await;
    let payloads: Vec<_> = lease(&*store, at(12), 10).await;
    let payloads: Vec<_> = payloads.into_iter().map(|leased| leased.payload).collect();
    assert_eq!(payloads, [range(5), range(6), range(7)]);
    let mut last = accept_all(&*store).await;
    last.sort_by_key(|payload| format!("{payload:?}"));
    assert_eq!(last, [1, 2, 3, 5, 6, 7].map(range));
    assert!(stats(&*store).await.queues.is_empty());
}

/// Pending and later events of a disabled webhook are due when it is enabled again, with a schedule of their own.
pub(crate) async fn disabled_webhook_keeps_what_it_misses(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 4,
        ..Limits::default()
    });
    store_sessions(&*store, &["s-1", "s-2"]).await;
    put(&*store, "w", 0, true).await;
    for (session, sequence) in [("s-1", 1), ("s-2", 1), ("s-1", 2)] {
        commit(&*store, session, sequence).await;
    }
    let held = lease(&*store, at(10), 2).await;
    let last = Settlement {
        disable_webhook: true,
        ..settlement(&held[0], Settled::RetryAt(at(500)))
    };
    store.commit(Change::Settle(last).into()).await.expect("settled");
    // one that is in flight counts
    settle(&*store, &held[1], Settled::Delivered).await;
    let queue = async || {
        let queues = stats(&*store).await.queues;
        queues
            .values()
            .next()
            .map(|queue| (queue.pending, queue.snapshots))
    };
    for sequence in 2..=4 {
        commit(&*store, "s-2", sequence).await;
    }
    assert_eq!(queue().await, Some((4, 1)), "the queue is bounded");
    assert!(accept_all(&*store).await.is_empty(), "it is disabled");

    put(&*store, "w", 2, true).await;
    let due = lease(&*store, at(10), 10).await;
    let attempts: Vec<_> = due
        .iter()
        .map(|leased| (is_event(leased), leased.attempt))
        .collect();
    assert_eq!(
        attempts,
        [(true, 1); 4],
        "at once, and from the start of the schedule"
    );
    assert_eq!(due[0].id, held[0].id);
    for leased in &due {
        settle(&*store, leased, Settled::Delivered).await;
    }
    assert_eq!(accept_all(&*store).await, [snapshot("s-2", 4..=4)]);
    assert!(stats(&*store).await.queues.is_empty());
}

/// Events that have waited too long for a disabled webhook join the snapshots of their sessions.
pub(crate) async fn old_events_of_disabled_webhook_join_snapshots(make: Make) {
    let store = make(Limits::default());
    store_sessions(&*store, &["s-1", "s-2"]).await;
    put(&*store, "w", 0, false).await;
    put(&*store, "on", 0, true).await;
    for (session, sequence) in [("s-1", 1), ("s-2", 2), ("s-1", 3), ("s-1", 4)] {
        commit(&*store, session, sequence).await;
    }
    stored(&*store, unit(Change::RemoveOldDeliveries { before: at(4) })).await;
    let found = stats(&*store).await.queues;
    let counts = |id: &str| {
        let queue = found[&id.parse().expect("a valid id")];
        (queue.pending, queue.snapshots, queue.oldest)
    };
    assert_eq!(counts("w"), (1, 2, Some(at(1))));
    assert_eq!(counts("on"), (4, 0, Some(at(1))), "it is enabled");
    stored(
        &*store,
        unit(Change::RemoveWebhook("on".parse().expect("a valid id"))),
    )
    .await;
    put(&*store, "w", 1, true).await;
    assert_eq!(
        accept_all(&*store).await,
        [snapshot("s-1", 1..=3), snapshot("s-2", 2..=2)]
    );
}

/// A removed session leaves one erasure at every webhook of its owner, in place of all that was not delivered.
pub(crate) async fn removed_session_leaves_one_erasure(make: Make) {
    let store = make(Limits {
        webhook_queue_rows: 3,
        ..Limits::default()
    });
    put(&*store, "w", 0, true).await;
    put(&*store, "off", 0, false).await;
    stored(
        &*store,
        unit(Change::PutWebhook(webhook("theirs", "other", "one", &["n"]))),
    )
    .await;
    store_sessions(&*store, &["s-1", "s-2"]).await;
    let mut ended = session("s-3", "other", "s-3");
    ended.ended_at = Some(at(0));
    stored(&*store, unit(Change::CreateSession(ended))).await;
    commit(&*store, "s-1", 1).await;
    for version in 1..=3 {
        let mut changed = session("s-1", "o", "s-1");
        (changed.version, changed.ended_at) = (version, Some(at(0)));
        let update = Unit {
            change: Some(Change::UpdateSession(changed)),
            ..events(vec![numbered("s-1", version + 1)])
        };
        stored(&*store, update).await;
    }
    let in_flight = lease(&*store, at(10), 1).await.remove(0);
    stored(&*store, removal("s-1")).await;
    fenced(&*store, settlement(&in_flight, Settled::Delivered)).await;
    let counts = |stats: &Stats| (stats.outbox_pending, stats.snapshots_pending);
    assert_eq!(counts(&stats(&*store).await), (0, 2));

    let first = lease(&*store, at(10), 10).await.remove(0);
    // the version of the session is 4, so the removal is number 5
    assert_eq!(first.payload, erased("s-1", 1..=5));
    settle(&*store, &first, Settled::RetryAt(at(20))).await;
    let second = lease(&*store, at(20), 10).await.remove(0);
    assert_eq!((&second.id, second.at), (&first.id, at(0)));
    settle(&*store, &second, Settled::Delivered).await;

    // also if everything was delivered before
    stored(&*store, removal("s-2")).await;
    assert_eq!(accept_all(&*store).await, [erased("s-2", 2..=2)]);
    stored(&*store, removal("s-3")).await;
    assert_eq!(accept_all(&*store).await, [erased("s-3", 2..=2)], "to its owner");
    put(&*store, "off", 1, true).await;
    let missed = accept_all(&*store).await;
    assert_eq!(missed, [erased("s-1", 1..=5), erased("s-2", 2..=2)]);
    assert_eq!(counts(&stats(&*store).await), (0, 0));
}
