//! Files of earlier versions.

use rusqlite::params;

use super::*;
use crate::sqlite::rows::aad;

/// The table of sessions of version 1.
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

/// Makes a file of version 1 with `count` sessions, of which those with an odd number have ended.
pub(super) async fn file_of_version_1(path: &Path, count: u8) {
    let store = open(path).unwrap();
    store.commit(log(3)).await.unwrap();
    drop(store);
    let raw = Connection::open(path).unwrap();
    raw.execute_batch("DROP TABLE sessions; DROP TABLE subjects; DROP TABLE counts;")
        .unwrap();
    raw.execute_batch(SESSIONS_1).unwrap();
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
                seal.seal(&aad("sessions", &id, "secrets"), secrets.as_bytes()),
                seal.seal(&aad("sessions", &id, "document"), b"document"),
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
