//! Files of earlier versions.

use rusqlite::params;

use secrecy::ExposeSecret as _;

use super::*;
use crate::Leased;
use crate::audit_log::LogHead;
use crate::sqlite::rows::{aad, session, session_columns, webhook as stored_webhook};

/// The sessions of version 1.
const SESSIONS_1: &str = "
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        guest TEXT NOT NULL,
        channel TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        idle_deadline INTEGER NOT NULL,
        ended_at INTEGER,
        access BLOB NOT NULL,
        refresh BLOB NOT NULL,
        previous_refresh BLOB,
        generation INTEGER NOT NULL,
        version INTEGER NOT NULL,
        secrets BLOB NOT NULL,
        document BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX sessions_live_guest ON sessions (owner, guest) WHERE ended_at IS NULL;
    CREATE INDEX sessions_due ON sessions (idle_deadline, id) WHERE ended_at IS NULL;
    CREATE INDEX sessions_ended ON sessions (ended_at, id) WHERE ended_at IS NOT NULL;
    PRAGMA user_version = 1;
";

/// The outbox of version 1.
const OUTBOX_1: &str = "
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

/// Makes the tables of the log those of version 1.
const LOG_1: &str = "
    DROP TRIGGER entries_no_update;
    DROP TRIGGER entries_no_delete;
    DELETE FROM meta WHERE name = 'head';
    ALTER TABLE entries ADD COLUMN leaf BLOB;
    ALTER TABLE entries DROP COLUMN mac;
    ALTER TABLE entries DROP COLUMN subject_index;
    ALTER TABLE checkpoints DROP COLUMN mac;
    ALTER TABLE checkpoints DROP COLUMN previous;
    CREATE TRIGGER entries_stay BEFORE UPDATE ON entries WHEN 0 BEGIN SELECT 1; END;
    CREATE TRIGGER entries_remain BEFORE DELETE ON entries WHEN 0 BEGIN SELECT 1; END;
";

/// Makes a file without sessions one of version 1.
pub(in crate::sqlite) fn downgrade(path: &Path) -> Connection {
    let raw = Connection::open(path).unwrap();
    raw.execute_batch("DROP TABLE sessions; DROP TABLE subjects; DROP TABLE counts; DROP TABLE requests;")
        .unwrap();
    raw.execute_batch(OUTBOX_1).unwrap();
    raw.execute_batch(LOG_1).unwrap();
    raw.execute_batch(SESSIONS_1).unwrap();
    let proof = SealKey::new(&[1; 32]).seal("meta/seal/value", b"");
    raw.execute("UPDATE meta SET value = ?1 WHERE name = 'seal'", [proof])
        .unwrap();
    raw
}

#[tokio::test]
async fn version_changed_without_the_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(log(3)).await.unwrap();
    drop(store);
    let raw = Connection::open(&path).unwrap();
    let seal = "SELECT value FROM meta WHERE name = 'seal'";
    let proof: Vec<u8> = raw.query_row(seal, [], |row| row.get(0)).unwrap();
    downgrade(&path)
        .execute("UPDATE meta SET value = ?1 WHERE name = 'seal'", [proof])
        .unwrap();
    assert_eq!(open(&path).unwrap_err(), StoreErrorKind::WrongKey);
}

/// Makes a file of version 1 with `count` sessions, of which those with an odd number have ended.
pub(super) async fn file_of_version_1(path: &Path, count: u8) {
    let store = open(path).unwrap();
    store.commit(log(3)).await.unwrap();
    drop(store);
    let raw = downgrade(path);
    let seal = SealKey::new(&[1; 32]);
    for number in 0..count {
        let id = format!("session-{number}");
        let secrets = format!("token-{number} {} refresh", STANDARD.encode([number; 32]));
        raw.execute(
            "INSERT INTO sessions VALUES (?1, 'o', ?2, 'c', 1, 2, 3, ?3, ?4, ?4, NULL, 4, 5, ?5, ?6)",
            params![
                id,
                format!("guest-{number}"),
                (number % 2 == 1).then_some(9),
                [number; 32],
                seal.seal(aad("sessions", &id, "secrets"), secrets.as_bytes()),
                seal.seal(aad("sessions", &id, "document"), b"document"),
            ],
        )
        .unwrap();
    }
}

#[tokio::test]
async fn file_of_version_1_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    file_of_version_1(&path, 40).await;
    let store = open(&path).unwrap();
    assert_eq!(store.stats().await.unwrap().live_sessions, 20);
    let moved = store
        .session(&"session-7".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((moved.guest.as_str(), moved.version), ("guest-7", 5));
    assert_eq!(moved.secrets.subject_key, [7; 32]);
    assert_eq!(*moved.document, "document");
    assert!(moved.ended_at.is_some());
    let all = store.sessions(SessionQuery::All(None), 100).await.unwrap();
    assert_eq!(all.len(), 40);
    let mut taken = all
        .into_iter()
        .find(|session| session.ended_at.is_none())
        .unwrap();
    (taken.id, taken.version) = ("session-new".parse().unwrap(), 0);
    let taken = store.commit(Change::CreateSession(taken).into()).await;
    assert_eq!(
        taken.unwrap_err().kind(),
        StoreErrorKind::Conflict(crate::Conflict::GuestInUse)
    );
    drop(store);
    let raw = Connection::open(&path).unwrap();
    let is_due: bool = raw
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM meta WHERE name = 'vacuum_due')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(is_due);
    drop(raw);
    assert!(open(&path).is_ok(), "it is of the current version");
}

#[tokio::test]
async fn file_with_an_unreadable_session_is_not_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    file_of_version_1(&path, 3).await;
    let raw = Connection::open(&path).unwrap();
    raw.execute("UPDATE sessions SET secrets = x'' WHERE id = 'session-1'", [])
        .unwrap();
    for _ in 0..2 {
        let error = SqliteStore::open(&path, keys(1, 2, "log"), Limits::default()).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("session-1"), "{source}");
        let kept: i64 = raw
            .query_row(
                "SELECT count(*) FROM sessions WHERE id LIKE 'session-%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(kept, 3, "the file is unchanged");
    }
}

async fn put(store: &SqliteStore, id: &str, version: u64, enabled: bool) {
    let mut unit = webhook("x");
    if let Some(Change::PutWebhook(webhook)) = &mut unit.change {
        (webhook.id, webhook.name) = (id.parse().unwrap(), id.to_owned());
        (webhook.version, webhook.enabled) = (version, enabled);
    }
    store.commit(unit).await.unwrap();
}

async fn lease(store: &SqliteStore, webhook: &str) -> Vec<Leased> {
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

/// Makes the indexes of the sessions those of versions 3 and 4.
const SESSION_INDEXES_4: &str = "
    DROP INDEX sessions_live; DROP INDEX sessions_ended;
    CREATE INDEX sessions_guest ON sessions (guest);
    CREATE INDEX sessions_live ON sessions (key) WHERE ended_at IS NULL;
    CREATE INDEX sessions_due ON sessions (idle_deadline) WHERE ended_at IS NULL;
    CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
";

#[tokio::test]
async fn guests_of_version_4_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let session = |number: u8, guest: &str, ended_at| {
        let mut unit = unit("x");
        if let Some(Change::CreateSession(session)) = &mut unit.change {
            session.id = format!("s-{number}").parse().unwrap();
            session.guest = guest.parse().unwrap();
            session.ended_at = ended_at;
        }
        unit.events.clear();
        unit
    };
    let store = open(&path).unwrap();
    for (number, ended_at) in [(1, Some(at())), (2, None)] {
        store.commit(session(number, "g", ended_at)).await.unwrap();
    }
    let stats = store.stats().await.unwrap();
    drop(store);
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(SESSION_INDEXES_4).unwrap();
    raw.execute(
        "UPDATE meta SET value = ?1 WHERE name = 'seal'",
        [SealKey::new(&[1; 32]).seal("meta/seal/value/4", b"")],
    )
    .unwrap();
    raw.pragma_update(None, "user_version", 4).unwrap();
    drop(raw);

    let store = open(&path).unwrap();
    assert_eq!(store.stats().await.unwrap(), stats);
    let query = SessionQuery::OfGuest {
        guest: "g".parse().unwrap(),
        owner: None,
        after: None,
    };
    assert_eq!(store.sessions(query, 100).await.unwrap().len(), 2);
    let taken = store.commit(session(3, "g", None)).await.unwrap_err();
    assert_eq!(
        taken.kind(),
        StoreErrorKind::Conflict(crate::Conflict::GuestInUse)
    );
    store.commit(session(3, "other", None)).await.unwrap();
    drop(store);
    assert_eq!(SqliteStore::check(&path, &keys(1, 2, "log")).unwrap(), [""; 0]);
    let store = open(&path).unwrap();
    let taken = store.commit(session(4, "other", None)).await.unwrap_err();
    assert_eq!(
        taken.kind(),
        StoreErrorKind::Conflict(crate::Conflict::GuestInUse)
    );
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
    assert_eq!(
        (event.id.as_str(), event.payload),
        (&*event_id("w-1", "e-1"), payload("s-1", 1))
    );
    put(&store, "w-1", 1, false).await;
    put(&store, "w-1", 2, true).await;
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

/// Seals the rows and the head of the log as version 3 does.
fn seal_as_3(raw: &Connection) {
    let seal = SealKey::new(&[1; 32]);
    let mut sessions = raw
        .prepare(concat!(
            "SELECT sessions.rowid, ",
            session_columns!(),
            " FROM sessions JOIN subjects USING (slot)"
        ))
        .unwrap();
    let mut rows = sessions.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let session = session(row, 1, &seal).unwrap();
        let personal = personal::seal(&session, personal::AAD.as_bytes()).unwrap();
        let rowid: i64 = row.get(0).unwrap();
        raw.execute(
            "UPDATE sessions SET personal = ?2 WHERE rowid = ?1",
            params![rowid, personal],
        )
        .unwrap();
    }
    let mut webhooks = raw.prepare("SELECT * FROM webhooks").unwrap();
    let mut rows = webhooks.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let webhook = stored_webhook(row, &seal).unwrap();
        let id = webhook.id.as_str();
        let secrets = seal.seal(
            aad("webhooks", id, "secrets"),
            webhook.secrets.expose_secret().as_bytes(),
        );
        let document = seal.seal(aad("webhooks", id, "document"), &webhook.document);
        raw.execute(
            "UPDATE webhooks SET secrets = ?2, document = ?3 WHERE id = ?1",
            params![id, secrets, document],
        )
        .unwrap();
    }
    let head: Vec<u8> = raw
        .query_row("SELECT value FROM meta WHERE name = 'head'", [], |row| row.get(0))
        .unwrap();
    let head = LogHead::open(&seal, head).unwrap().seal_3(&seal);
    raw.execute("UPDATE meta SET value = ?1 WHERE name = 'head'", [head])
        .unwrap();
    raw.execute(
        "UPDATE meta SET value = ?1 WHERE name = 'seal'",
        [seal.seal("meta/seal/value/3", b"")],
    )
    .unwrap();
    raw.execute_batch(
        "ALTER TABLE counts RENAME TO counts_4;
         CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
         INSERT INTO counts SELECT * FROM counts_4;
         DROP TABLE counts_4;
         DROP TABLE requests;
         PRAGMA user_version = 3;",
    )
    .unwrap();
}

#[tokio::test]
async fn rows_of_version_3_are_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    put(&store, "w-1", 0, true).await;
    let mut created = unit("x");
    created.totals = vec![("ended".to_owned(), 7)];
    store.commit(created).await.unwrap();
    store.commit(log(300)).await.unwrap();
    let stats = store.stats().await.unwrap();
    drop(store);
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(SESSION_INDEXES_4).unwrap();
    seal_as_3(&raw);
    drop(raw);

    let store = open(&path).unwrap();
    assert_eq!(store.stats().await.unwrap(), stats);
    let kept = store.session(&"s-1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((kept.version, &kept.document[..]), (1, &b"x"[..]));
    assert_eq!(store.webhooks().await.unwrap().len(), 1);
    assert_eq!(lease(&store, "w-1").await[0].payload, payload("s-1", 1));
    crate::verify(&store, |_| ()).await.unwrap();
    drop(store);
    assert_eq!(SqliteStore::check(&path, &keys(1, 2, "log")).unwrap(), [""; 0]);
}
