//! Faults of the disk: those that pass, and those that close the store.

use super::*;

/// The pages that the file may have, as the writer's connection enforces it.
async fn limit_pages(store: &SqliteStore, sql: &'static str) {
    let limit = store.threads.write(move |transaction| {
        let pages = transaction.prepared.row(sql, (), |row| row.get::<i64>(0))?;
        Ok(pages.unwrap_or_default())
    });
    assert!(limit.await.unwrap() > 0);
}

#[tokio::test]
async fn full_disk_refuses_units_until_space_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("guest.db")).unwrap();
    store.commit(log(3)).await.unwrap();
    // no page more than the file has
    limit_pages(&store, "PRAGMA max_page_count = 1").await;
    let mut stored = 3;
    let full = loop {
        match store.commit(log(50)).await {
            Ok(committed) => stored = committed.entries.end,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(full, StoreErrorKind::Full);
    assert_eq!(refused(&store, log(50)).await, StoreErrorKind::Full);
    for _ in 0..2 {
        assert_eq!(store.stats().await.unwrap().fault, Some(StoreErrorKind::Full));
    }
    let read = store.entries(EntryQuery::From(stored - 1), 10).await.unwrap();
    assert_eq!(read.len(), 1, "nothing of the refused units is stored");
    limit_pages(&store, "PRAGMA max_page_count = 1000000").await;
    assert_eq!(store.stats().await.unwrap().fault, None, "without a change");
    assert_eq!(store.commit(log(50)).await.unwrap().entries, stored..stored + 50);
    let exported = folder.path().join("audit.jsonl");
    export(&store, &exported).await.unwrap();
    assert!(files::verify_file(&exported, store.verifier_key(), None).is_ok());
}

#[tokio::test]
async fn locked_file_refuses_units_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(log(1)).await.unwrap();
    let impatient = store.threads.write(|transaction| {
        transaction
            .prepared
            .row("PRAGMA busy_timeout = 0", (), |_| Ok(()))
    });
    impatient.await.unwrap();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(refused(&store, log(1)).await, StoreErrorKind::Busy);
    raw.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.commit(log(1)).await.unwrap().entries, 1..2);
}

#[tokio::test]
async fn file_of_largest_size_refuses_units_until_the_limit_is_raised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let limits = Limits {
        file_bytes: 1024 * 1024,
        ..Limits::default()
    };
    let store = SqliteStore::open(&path, keys(1, 2, "log"), limits).unwrap();
    let full = loop {
        if let Err(error) = store.commit(log(50)).await {
            break error.kind();
        }
    };
    assert_eq!(full, StoreErrorKind::Full);
    drop(store);
    assert!(path.metadata().unwrap().len() <= limits.file_bytes);
    let smaller = Limits {
        file_bytes: 1,
        ..Limits::default()
    };
    let store = SqliteStore::open(&path, keys(1, 2, "log"), smaller).unwrap();
    assert_eq!(refused(&store, log(50)).await, StoreErrorKind::Full);
    drop(store);
    let store = open(&path).unwrap();
    store.commit(log(50)).await.unwrap();
}

#[tokio::test]
async fn refused_commit_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(log(3)).await.unwrap();
    // a foreign key that is checked, and broken, at COMMIT only
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE trap (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER spring AFTER INSERT ON sessions BEGIN INSERT INTO trap VALUES (1); END;",
    )
    .unwrap();
    assert_eq!(refused(&store, unit("x")).await, StoreErrorKind::Unavailable);
    assert_eq!(store.stats().await.unwrap().live_sessions, 0);
    assert_eq!(store.commit(log(1)).await.unwrap().entries, 3..4);
    raw.execute_batch("DROP TRIGGER spring").unwrap();
    assert_eq!(store.commit(unit("x")).await.unwrap().entries, 4..5);
}

/// A hook of the write-ahead log runs after the commit, and its error becomes that of `COMMIT`.
#[tokio::test]
async fn commit_that_reports_an_error_and_is_stored_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    drop(open(&path).unwrap());
    let lock = lock(&path).unwrap();
    let keys = Arc::new(keys(1, 2, "log"));
    let mut connection = schema::open(&path).unwrap();
    let prepared = startup::prepare(&connection, &keys).unwrap();
    let fail = |_: &mut rusqlite::hooks::Wal, _: i32| Err(rusqlite::Error::InvalidQuery);
    connection.wal_hook(Some(fail)).unwrap();
    let store = SqliteStore::start_with(connection, prepared, keys, Limits::default(), Wal::default());
    let mut store = store.unwrap();
    store._lock = Some(lock);
    assert_eq!(store.commit(unit("x")).await.unwrap().entries, 0..1);
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(store.stats().await.unwrap().live_sessions, 1);
    assert_eq!(store.commit(log(1)).await.unwrap().entries, 1..2);
}

#[tokio::test]
async fn failed_sync_closes_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(log(3)).await.unwrap();
    let failed = store.threads.write(|transaction| {
        transaction.failed = Some(StoreErrorKind::Poisoned);
        Ok(())
    });
    assert_eq!(failed.await.unwrap_err().kind(), StoreErrorKind::Poisoned);
    assert_eq!(
        refused(&store, log(1)).await,
        StoreErrorKind::Poisoned,
        "and stays so"
    );
    assert_eq!(
        store.checkpoint().await.unwrap_err().kind(),
        StoreErrorKind::Poisoned
    );
    assert_eq!(store.stats().await.unwrap_err().kind(), StoreErrorKind::Poisoned);
    let none = store.lease_deliveries(at(), Duration::ZERO, 0).await;
    assert!(
        none.unwrap().deliveries.is_empty(),
        "for nothing, no transaction is needed"
    );
    assert_eq!(
        store.entries(EntryQuery::From(0), 10).await.unwrap().len(),
        3,
        "it can still be read"
    );
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(store.commit(unit("x")).await.unwrap().entries, 3..4);
}

#[tokio::test]
async fn unit_that_loses_its_transaction_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(log(3)).await.unwrap();
    // as SQLite does by itself when the disk is full
    let raw = Connection::open(&path).unwrap();
    let spring = "CREATE TRIGGER spring AFTER INSERT ON sessions BEGIN SELECT raise(ROLLBACK, 'full'); END";
    raw.execute_batch(spring).unwrap();

    // while the writer is busy, three units gather for one transaction
    let (started, start) = tokio::sync::oneshot::channel();
    let (release, wait) = std::sync::mpsc::channel();
    let mut started = Some(started);
    let busy = store.threads.write(move |_| {
        started.take().unwrap().send(()).unwrap();
        wait.recv().unwrap();
        Ok(())
    });
    let gather = async {
        start.await.unwrap();
        let (one, two, three, ()) = tokio::join!(
            store.commit(log(2)),
            store.commit(unit("x")),
            store.commit(log(2)),
            async { release.send(()).unwrap() },
        );
        [one, two, three]
    };
    let (busy, lost) = tokio::join!(busy, gather);
    assert!(busy.is_ok());
    let [one, two, three] = lost;
    assert_eq!(one.unwrap().entries, 3..5);
    assert_eq!(two.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(three.unwrap().entries, 5..7);
    raw.execute_batch("DROP TRIGGER spring").unwrap();
    assert_eq!(store.commit(unit("x")).await.unwrap().entries, 7..8);
    let exported = folder.path().join("audit.jsonl");
    export(&store, &exported).await.unwrap();
    assert!(files::verify_file(&exported, store.verifier_key(), None).is_ok());
}

#[tokio::test]
async fn write_ahead_log_is_bounded_once_a_reader_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let wal = folder.path().join("guest.db-wal");
    let store = open(&path).unwrap();
    store.commit(log(1)).await.unwrap();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("BEGIN; SELECT * FROM entries;").unwrap();
    while wal.metadata().unwrap().len() < 24 * 1024 * 1024 {
        store.commit(log(200)).await.unwrap();
    }
    raw.execute_batch("COMMIT").unwrap();
    // the first makes the checkpoint, the next one starts the log anew
    for _ in 0..2 {
        store.commit(log(1)).await.unwrap();
    }
    assert!(wal.metadata().unwrap().len() <= 16 * 1024 * 1024);
}
