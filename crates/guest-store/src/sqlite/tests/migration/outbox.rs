//! The outbox of earlier versions.

use super::*;
use crate::{Leased, Settled};

/// The outbox of version 1.
pub(super) const OUTBOX_1: &str = "
    DROP TABLE outbox;
    ALTER TABLE webhooks DROP COLUMN pending;
    ALTER TABLE webhooks DROP COLUMN snapshots;
    CREATE TABLE outbox (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
        event TEXT NOT NULL,
        at INTEGER NOT NULL,
        due_at INTEGER,
        leased INTEGER NOT NULL,
        fence INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX outbox_due ON outbox (webhook, due_at, place);
    CREATE INDEX outbox_leased ON outbox (webhook, due_at) WHERE leased = 1;
    CREATE INDEX outbox_oldest ON outbox (at) WHERE due_at IS NOT NULL;
    CREATE INDEX outbox_dead ON outbox (place) WHERE due_at IS NULL;
";

pub(super) async fn put(store: &SqliteStore, id: &str, version: u64, enabled: bool) {
    let mut unit = webhook("x");
    if let Some(Change::PutWebhook(webhook)) = &mut unit.change {
        (webhook.id, webhook.name) = (id.parse().unwrap(), id.to_owned());
        (webhook.version, webhook.enabled) = (version, enabled);
    }
    store.commit(unit).await.unwrap();
}

pub(super) async fn lease(store: &SqliteStore, webhook: &str) -> Vec<Leased> {
    let leased = store
        .lease_deliveries(at(), Duration::ZERO, 100)
        .await
        .unwrap()
        .deliveries;
    let is_its = |leased: &Leased| leased.webhook.id.as_str() == webhook;
    leased.into_iter().filter(is_its).collect()
}

#[tokio::test]
async fn outbox_of_version_1_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    for (id, enabled) in [("healthy", true), ("dead", true), ("off", false)] {
        put(&store, id, 0, enabled).await;
    }
    drop(store);
    file_of_version_1(&path, 2).await;
    let raw = Connection::open(&path).unwrap();
    let seal = SealKey::new(&[1; 32]);
    let body = r#"{"type":"created","data":{"id":"session-1","sequence":4}}"#;
    for (webhook, event, due_at, body) in [
        ("healthy", "e-1", Some(7), body),
        ("dead", "e-1", Some(7), body),
        ("dead", "e-2", None, ""),
    ] {
        let id = event_id(webhook, event);
        let sealed = seal.seal(aad("outbox", &id, "body"), body.as_bytes());
        let sql = "INSERT INTO outbox (id, webhook, event, at, due_at, leased, fence, attempts, bytes, body)
                   VALUES (?1, ?2, 'created', 7, ?3, 0, 5, 5, ?4, ?5)";
        let bytes = i64::try_from(body.len()).unwrap();
        raw.execute(sql, params![id, webhook, due_at, bytes, sealed])
            .unwrap();
    }
    drop(raw);

    let store = open(&path).unwrap();
    let stats = store.stats().await.unwrap();
    let queue = |id: &str| {
        let queue = stats.queues[&id.parse().unwrap()];
        (queue.pending, queue.snapshots)
    };
    assert_eq!(queue("healthy"), (1, 0));
    assert_eq!(queue("dead"), (1, 2));
    assert_eq!(queue("off"), (0, 2));
    let kept = lease(&store, "healthy").await.remove(0);
    assert_eq!((kept.id, kept.attempt), (event_id("healthy", "e-1"), 6));
    assert_eq!(kept.payload, payload("session-1", 4));

    // every session of the owner: version 1 does not know which events were lost
    let snapshots = |leased: Vec<Leased>| {
        let payloads = leased.into_iter().map(|leased| leased.payload);
        let mut found: Vec<_> = payloads
            .filter_map(|payload| match payload {
                Payload::Snapshot { session, range } => Some((session.to_string(), range)),
                _ => None,
            })
            .collect();
        found.sort_by_key(|(session, _)| session.clone());
        found
    };
    let expected = ["session-0", "session-1"].map(|id| (id.to_owned(), 1..=5));
    assert_eq!(snapshots(lease(&store, "dead").await), expected);
    assert!(lease(&store, "off").await.is_empty());
    put(&store, "off", 1, true).await;
    assert_eq!(snapshots(lease(&store, "off").await), expected);
    assert_eq!(store.commit(event("e-3")).await.unwrap().deliveries, 3);
}

/// Makes the outbox and the triggers those of version 2.
const OUTBOX_2: &str = "
    DROP INDEX sessions_guest;
    CREATE UNIQUE INDEX sessions_live_guest ON sessions (owner, guest) WHERE ended_at IS NULL;
    ALTER TABLE webhooks ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox DROP COLUMN slot;
    ALTER TABLE outbox DROP COLUMN grown;
    ALTER TABLE outbox ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox RENAME COLUMN position TO place;
    DROP TRIGGER entries_no_update;
    DROP TRIGGER entries_no_delete;
    CREATE TRIGGER entries_stay BEFORE UPDATE ON entries WHEN 0 BEGIN SELECT 1; END;
    CREATE TRIGGER entries_remain BEFORE DELETE ON entries WHEN 0 BEGIN SELECT 1; END;
";

#[tokio::test]
async fn outbox_of_version_2_is_kept_without_its_bodies() {
    const CANARY: &[u8] = b"sealed-body-canary";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let full = Limits {
        webhook_queue_rows: 1,
        ..Limits::default()
    };
    let store = SqliteStore::open(&path, keys(1, 2, "log"), full).unwrap();
    put(&store, "w-1", 0, true).await;
    store.commit(unit("x")).await.unwrap();
    store.commit(event("e-2")).await.unwrap();
    let mut erased = unit("x");
    if let Some(Change::CreateSession(session)) = &mut erased.change {
        (session.id, session.guest) = ("s-2".parse().unwrap(), "g-2".parse().unwrap());
    }
    erased.events.clear();
    store.commit(erased).await.unwrap();
    let removal = Change::RemoveSession {
        id: "s-2".parse().unwrap(),
        at: at(),
    };
    store.commit(removal.into()).await.unwrap();
    drop(store);
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(SESSION_INDEXES_4).unwrap();
    raw.execute_batch(OUTBOX_2).unwrap();
    let seal = SealKey::new(&[1; 32]);
    let erasure: String = raw
        .query_row("SELECT id FROM outbox WHERE kind = 2", [], |row| row.get(0))
        .unwrap();
    let sealed = seal.seal(aad("outbox", &erasure, "body"), b"s-2");
    raw.execute("UPDATE outbox SET body = ?1 WHERE kind = 2", [&sealed])
        .unwrap();
    raw.execute("UPDATE outbox SET body = ?1, bytes = 18 WHERE kind = 0", [CANARY])
        .unwrap();
    seal_as_3(&raw);
    raw.execute(
        "UPDATE meta SET value = ?1 WHERE name = 'seal'",
        [seal.seal("meta/seal/value/2", b"")],
    )
    .unwrap();
    raw.pragma_update(None, "user_version", 2).unwrap();
    drop(raw);

    let store = open(&path).unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.outbox_pending, stats.snapshots_pending), (1, 2));
    for trace in [CANARY, &sealed] {
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(trace.len()).any(|window| window == trace));
        }
    }
    let event = lease(&store, "w-1").await.remove(0);
    assert_eq!(event.id, event_id("w-1", "e-1"));
    assert_eq!(event.payload, payload("s-1", 1));
    let settled = event.settlement(Settled::Delivered, at());
    store.commit(Change::Settle(settled).into()).await.unwrap();
    let rest = lease(&store, "w-1")
        .await
        .into_iter()
        .map(|leased| leased.payload);
    let expected = [
        Payload::Snapshot {
            session: "s-1".parse().unwrap(),
            range: 1..=1,
        },
        Payload::Erased {
            session: "s-2".parse().unwrap(),
            range: 2..=2,
        },
    ];
    assert_eq!(rest.collect::<Vec<_>>(), expected);
    drop(store);
    assert_eq!(SqliteStore::check(&path, &keys(1, 2, "log")).unwrap(), [""; 0]);
}
