//! Files of earlier versions.

use rusqlite::params;
use secrecy::ExposeSecret as _;

use self::outbox::{lease, put};
use super::*;
use crate::audit_log::LogHead;
use crate::sql::rows::{aad, session, session_columns, webhook as stored_webhook};
use crate::sql::values::Row;

mod outbox;

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

/// Makes the tables of webhooks and deliveries those of version 6.
const OUTBOX_6: &str = "
    DROP INDEX outbox_session; DROP INDEX outbox_held;
    CREATE INDEX outbox_session ON outbox (session, webhook);
    ALTER TABLE outbox DROP COLUMN waits;
    ALTER TABLE webhooks DROP COLUMN ordered;
";

/// Makes a file without sessions one of version 1.
pub(in crate::sqlite) fn downgrade(path: &Path) -> Connection {
    let raw = Connection::open(path).unwrap();
    raw.execute_batch(
        "DROP TABLE deliveries; DROP TABLE sessions; DROP TABLE subjects; DROP TABLE counts; DROP TABLE requests;",
    )
        .unwrap();
    raw.execute_batch(OUTBOX_6).unwrap();
    raw.execute_batch(outbox::OUTBOX_1).unwrap();
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
    raw.execute_batch("DROP TABLE deliveries;").unwrap();
    raw.execute_batch(OUTBOX_6).unwrap();
    let seal = SealKey::new(&[1; 32]);
    let head: Vec<u8> = raw
        .query_row("SELECT value FROM meta WHERE name = 'head'", [], |row| row.get(0))
        .unwrap();
    let head = LogHead::open(&seal, head).unwrap().seal_5(&seal);
    for (name, value) in [("head", head), ("seal", seal.seal("meta/seal/value/4", b""))] {
        raw.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![name, value])
            .unwrap();
    }
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
        let session = session(&Row::Sqlite(row), 1, &seal).unwrap();
        let personal = crate::sql::personal::seal(&session, crate::sql::personal::AAD.as_bytes()).unwrap();
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
        let webhook = stored_webhook(&Row::Sqlite(row), &seal).unwrap();
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
    raw.execute_batch("DROP TABLE deliveries;").unwrap();
    raw.execute_batch(OUTBOX_6).unwrap();
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

/// Makes a file one of version 6.
fn downgrade_to_6(path: &Path) -> Connection {
    let raw = Connection::open(path).unwrap();
    raw.execute_batch(OUTBOX_6).unwrap();
    let seal = SealKey::new(&[1; 32]);
    let head: Vec<u8> = raw
        .query_row("SELECT value FROM meta WHERE name = 'head'", [], |row| row.get(0))
        .unwrap();
    let mut head = LogHead::open(&seal, head).unwrap();
    for (sum, table) in head.rows.iter_mut().zip(&row_sums::TABLES) {
        let columns = table
            .columns
            .trim_end_matches(", waits")
            .trim_end_matches(", ordered");
        *sum = row_sums::table_sum(&raw, &seal, &row_sums::Table { columns, ..*table }).unwrap();
    }
    for (name, value) in [
        ("head", head.seal(&seal)),
        ("seal", seal.seal("meta/seal/value/6", b"")),
    ] {
        raw.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![name, value])
            .unwrap();
    }
    raw.pragma_update(None, "user_version", 6).unwrap();
    raw
}

#[tokio::test]
async fn queues_of_version_6_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    put(&store, "w-1", 0, true).await;
    store.commit(unit("x")).await.unwrap();
    store.commit(event("e-2")).await.unwrap();
    let stats = store.stats().await.unwrap();
    drop(store);
    drop(downgrade_to_6(&path));

    let store = open(&path).unwrap();
    assert_eq!(store.stats().await.unwrap(), stats);
    assert!(!store.webhooks().await.unwrap()[0].ordered);
    assert_eq!(lease(&store, "w-1").await.len(), 2);
    store.verify_rows().await.unwrap();
    drop(store);
    assert_eq!(SqliteStore::check(&path, &keys(1, 2, "log")).unwrap(), [""; 0]);

    // a row that was altered before is found after the migration
    let raw = downgrade_to_6(&path);
    raw.execute("UPDATE outbox SET at = at + 1 WHERE position = 1", [])
        .unwrap();
    drop(raw);
    let store = open(&path).unwrap();
    assert_eq!(
        store.verify_rows().await.unwrap_err().kind(),
        StoreErrorKind::Corrupt
    );
}
