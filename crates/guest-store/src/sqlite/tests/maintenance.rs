//! Backup, restore, check and vacuum.

use super::migration::file_of_version_1;
use super::*;

fn own_keys() -> Keys {
    keys(1, 2, "log")
}

fn check(path: &Path) -> Vec<String> {
    SqliteStore::check(path, &own_keys()).unwrap()
}

/// Creates the dropped trigger of the log again.
fn guard_again(raw: &Connection) {
    raw.execute_batch("DROP TRIGGER entries_no_delete").unwrap();
    raw.execute_batch(schema::LOG_TRIGGERS).unwrap();
}

#[tokio::test]
async fn backup_of_an_open_store_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("guest.db"), folder.path().join("backup.db"));
    let store = open(&path).unwrap();
    store.commit(webhook("x")).await.unwrap();
    store.commit(unit("x")).await.unwrap();
    // of commands that were killed
    for leftover in [
        "backup.db.partial",
        "backup.db.partial-journal",
        "guest.db.restore",
        "guest.db.restore-wal",
    ] {
        std::fs::write(folder.path().join(leftover), "erased").unwrap();
    }
    SqliteStore::backup(&path, &backup).unwrap();
    let again = SqliteStore::backup(&path, &backup).unwrap_err();
    assert_eq!(
        again.kind(),
        StoreErrorKind::Unavailable,
        "no file is overwritten"
    );
    store.commit(log(1)).await.unwrap();
    let restore =
        |keys: &Keys, force| SqliteStore::restore(&backup, &path, keys, force).map_err(|error| error.kind());
    assert_eq!(restore(&own_keys(), true), Err(StoreErrorKind::Locked));
    drop(store);

    assert_eq!(restore(&own_keys(), false), Err(StoreErrorKind::NotEmpty));
    assert_eq!(restore(&keys(9, 2, "log"), true), Err(StoreErrorKind::WrongKey));
    assert_eq!(open(&path).unwrap().stats().await.unwrap().audit_entries, 2);
    restore(&own_keys(), true).unwrap();
    let store = open(&path).unwrap();
    assert_eq!(store.stats().await.unwrap().audit_entries, 1);
    assert!(store.session(&"s-1".parse().unwrap()).await.unwrap().is_some());
    drop(store);
    std::fs::remove_file(&path).unwrap();
    restore(&own_keys(), false).unwrap();
    assert_eq!(check(&path), [""; 0]);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            ["guest.db", "guest.db.lock", "backup.db"].contains(&&*name),
            "{name}"
        );
    }
}

#[tokio::test]
async fn check_names_each_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(webhook("x")).await.unwrap();
    let mut erased = unit("x");
    if let Some(Change::CreateSession(session)) = &mut erased.change {
        session.id = "s-2".parse().unwrap();
    }
    erased.events.clear();
    store.commit(erased).await.unwrap();
    let removal = Change::RemoveSession {
        id: "s-2".parse().unwrap(),
        at: at(),
    };
    store.commit(removal.into()).await.unwrap();
    store.commit(unit("x")).await.unwrap();
    store.commit(log(300)).await.unwrap();
    assert_eq!(check(&path), [""; 0], "the store is open");
    drop(store);
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(
        "DROP TRIGGER entries_no_update;
         UPDATE sessions SET personal = x'00';
         UPDATE webhooks SET secrets = x'00';
         UPDATE outbox SET body = x'00' WHERE kind = 2;
         UPDATE entries SET bytes = x'00' WHERE seq = 17;",
    )
    .unwrap();
    guard_again(&raw);
    let faults = check(&path);
    let starts = [
        "the session in row ",
        "webhook w-1 ",
        "delivery msg_",
        "the audit log was altered: ",
        "rows of the table outbox ",
        "rows of the table sessions ",
        "rows of the table webhooks ",
    ];
    assert_eq!(faults.len(), starts.len(), "{faults:?}");
    for (fault, start) in faults.iter().zip(starts) {
        assert!(fault.starts_with(start), "{faults:?}");
    }
    assert!(faults[3].ends_with("entry 17 was altered"), "{faults:?}");
    let other = SqliteStore::check(&path, &keys(9, 2, "log")).unwrap_err();
    assert_eq!(other.kind(), StoreErrorKind::WrongKey);
}

#[tokio::test]
async fn vacuum_removes_what_a_migration_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    file_of_version_1(&path, 40).await;
    let store = open(&path).unwrap();
    let locked = SqliteStore::vacuum(&path, &own_keys()).unwrap_err();
    assert_eq!(locked.kind(), StoreErrorKind::Locked);
    drop(store);
    SqliteStore::vacuum(&path, &own_keys()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for trace in ["session-1", "guest-1"] {
        assert!(
            !bytes
                .windows(trace.len())
                .any(|window| window == trace.as_bytes()),
            "{trace}"
        );
    }
    let raw = Connection::open(&path).unwrap();
    let sql = "SELECT count(*) FROM meta WHERE name = 'vacuum_due'";
    let due: i64 = raw.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(due, 0);
    drop(raw);
    assert_eq!(open(&path).unwrap().stats().await.unwrap().live_sessions, 20);
}

#[tokio::test]
async fn damaged_backup_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("guest.db"), folder.path().join("backup.db"));
    let store = open(&path).unwrap();
    store.commit(unit("x")).await.unwrap();
    store.commit(log(300)).await.unwrap();
    SqliteStore::backup(&path, &backup).unwrap();
    drop(store);
    let raw = Connection::open(&backup).unwrap();
    raw.execute_batch("DROP TRIGGER entries_no_update; UPDATE entries SET bytes = x'00' WHERE seq = 17;")
        .unwrap();
    guard_again(&raw);
    drop(raw);
    let restored = SqliteStore::restore(&backup, &path, &own_keys(), true);
    assert_eq!(restored.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(check(&path), [""; 0]);
}

#[tokio::test]
async fn check_accepts_a_snapshot_that_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let limits = Limits {
        webhook_queue_rows: 0,
        ..Limits::default()
    };
    let store = SqliteStore::open(&path, own_keys(), limits).unwrap();
    store.commit(webhook("x")).await.unwrap();
    store.commit(unit("x")).await.unwrap();
    let leased = store
        .lease_deliveries(at(), Duration::ZERO, 1)
        .await
        .unwrap()
        .deliveries;
    assert_eq!(
        leased.len(),
        1,
        "the event overflows into a snapshot, which is due"
    );
    assert_eq!(check(&path), [""; 0]);
}

#[tokio::test]
async fn changed_schema_is_named_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(unit("x")).await.unwrap();
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    for (sql, fault) in [
        (
            "DROP TRIGGER entries_no_delete",
            "trigger entries_no_delete is missing",
        ),
        ("DROP INDEX sessions_ended", "index sessions_ended is missing"),
        (
            "CREATE TRIGGER evil AFTER UPDATE ON counts BEGIN DELETE FROM sessions; END",
            "trigger evil is not of this version",
        ),
        ("CREATE TABLE more (x)", "table more is not of this version"),
        (
            "ALTER TABLE sessions ADD COLUMN more TEXT",
            "table sessions differs from that of this version",
        ),
        ("DROP TABLE counts", "table counts is missing"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        assert!(check(&path).iter().any(|named| named == fault), "{sql}");
        let refused = open_store(&path).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::SchemaDiffers, "{sql}");
        let source = std::error::Error::source(&refused).unwrap().to_string();
        assert_eq!(source, fault);
    }
}

#[tokio::test]
async fn check_finds_missing_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(webhook("x")).await.unwrap();
    store.commit(unit("x")).await.unwrap();
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    for (sql, fault) in [
        (
            "DELETE FROM subjects",
            "row 1 of sessions refers to a missing row of subjects",
        ),
        (
            "UPDATE outbox SET webhook = 'gone'",
            "row 1 of outbox refers to a missing row of webhooks",
        ),
        (
            "DELETE FROM counts",
            "the row live_sessions of the table counts is missing",
        ),
        (
            "UPDATE counts SET value = 7 WHERE name = 'live_sessions'",
            "1 sessions are live, but 7 are counted",
        ),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        raw.execute_batch(sql).unwrap();
        let faults = check(&path);
        assert_eq!(faults[0], fault, "{sql}");
        assert!(
            faults[1..]
                .iter()
                .all(|fault| fault.starts_with("rows of the table ")),
            "{faults:?}"
        );
    }
}
