//! Rows that another program changes, or replaces by an older copy of themselves, without the keys.

use audit::Pseudonym;

use super::*;
use crate::sqlite::row_sums::TABLES;
use crate::{DeliveryAttempt, KeyedRequest, Settled, Settlement, verify};

/// A folder whose files take no time to sync, where the system has one.
fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn named_webhook(id: &str, owner: &str, version: u64) -> Unit {
    let mut unit = webhook("x");
    if let Some(Change::PutWebhook(webhook)) = &mut unit.change {
        (webhook.id, webhook.owner) = (id.parse().unwrap(), owner.to_owned());
        (webhook.version, webhook.document) = (version, format!("version {version}").into());
    }
    unit
}

fn created(number: u8) -> Unit {
    let mut unit = unit("x");
    if let Some(Change::CreateSession(session)) = &mut unit.change {
        (session.id, session.guest) = (
            format!("s-{number}").parse().unwrap(),
            format!("g-{number}").parse().unwrap(),
        );
        session.secrets.subject_key = [number; 32];
    }
    unit.events[0].id = format!("e-{number}");
    unit.events[0].session = format!("s-{number}").parse().unwrap();
    unit.totals = vec![("created".to_owned(), 1)];
    unit.request = Some(KeyedRequest {
        owner: "o".to_owned(),
        key: format!("k-{number}").parse().unwrap(),
        digest: [number; 32],
        at: at(),
    });
    unit
}

/// A store with rows in every table.
async fn filled(path: &Path) -> SqliteStore {
    let store = open(path).unwrap();
    store.commit(named_webhook("w-1", "o", 0)).await.unwrap();
    store.commit(named_webhook("w-2", "other", 0)).await.unwrap();
    for number in 1..=3 {
        store.commit(created(number)).await.unwrap();
    }
    fail_first_delivery(&store, at()).await;
    store
}

/// Makes an attempt of the first delivery, which is due again at `retry`.
async fn fail_first_delivery(store: &SqliteStore, retry: OffsetDateTime) {
    let leased = store.lease_deliveries(at(), Duration::from_secs(60), 1).await;
    let leased = leased.unwrap().deliveries.remove(0);
    let attempt = DeliveryAttempt {
        at: retry,
        latency: Duration::ZERO,
        status: Some(500),
        error: None,
        response: "no".into(),
    };
    let settlement = Settlement {
        attempt: Some(attempt),
        ..leased.settlement(Settled::RetryAt(retry), at())
    };
    store.commit(Change::Settle(settlement).into()).await.unwrap();
}

/// Changes a row of each table: a withdrawal, an erasure, a webhook, an attempt of a delivery.
async fn change_rows(store: &SqliteStore) {
    let mut withdrawn = store.session(&"s-1".parse().unwrap()).await.unwrap().unwrap();
    withdrawn.document = "withdrawn".into();
    let draft = Draft::new(at(), Actor::system("test"), "consent.withdrawn");
    let unit = Unit {
        entries: vec![draft.subject(Pseudonym::of(&[1; 32], "s-1"))],
        totals: vec![("created".to_owned(), 1)],
        ..Change::UpdateSession(withdrawn).into()
    };
    store.commit(unit).await.unwrap();
    store.commit(named_webhook("w-1", "o", 1)).await.unwrap();
    fail_first_delivery(store, at() + Duration::from_secs(5)).await;
    let removal = Change::RemoveSession {
        id: "s-3".parse().unwrap(),
        at: at(),
    };
    store.commit(removal.into()).await.unwrap();
}

/// Changes a file as another program does.
fn alter(path: &Path, sql: &str) {
    let raw = Connection::open(path).unwrap();
    raw.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF;")
        .unwrap();
    raw.execute_batch(sql).unwrap();
    assert!(raw.total_changes() > 0, "{sql}");
}

/// Asserts that a running store, `store check` and a store that is opened find rows of `table` altered.
async fn assert_detected(path: &Path, bytes: &[u8], table: &str, sql: &str) {
    std::fs::write(path, bytes).unwrap();
    let running = open(path).unwrap();
    alter(path, sql);
    let named = format!("rows of the table {table} ");
    let is_named = |error: &dyn std::error::Error| genesys_api::error_chain(error).contains(&named);
    let error = running.verify_rows().await.expect_err(sql);
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{sql}");
    assert!(is_named(&error), "{sql}");
    drop(running);
    let faults = SqliteStore::check(path, &keys(1, 2, "log")).unwrap();
    assert!(
        faults.iter().any(|fault| fault.starts_with(&named)),
        "{sql}: {faults:?}"
    );
    // the store may not open at all
    if let Ok(store) = open(path) {
        let error = verify(&store, |_| ()).await.expect_err(sql);
        assert!(is_named(&error), "{sql}");
    }
}

fn texts(raw: &Connection, sql: &str) -> Vec<String> {
    let mut statement = raw.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn older_copy_of_each_changed_row_is_detected() {
    let folder = folder_in_memory();
    let (path, older) = (folder.path().join("guest.db"), folder.path().join("older.db"));
    drop(filled(&path).await);
    std::fs::copy(&path, &older).unwrap();
    let store = open(&path).unwrap();
    change_rows(&store).await;
    verify(&store, |_| ()).await.unwrap();
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    let attach = format!("ATTACH '{}' AS older;", older.display());
    for table in &TABLES {
        let (name, key) = (table.name, table.columns.split(", ").next().unwrap());
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(&attach).unwrap();
        let changed = texts(
            &raw,
            &format!(
                "SELECT '{key} = ' || quote({key}) FROM (SELECT * FROM older.{name} EXCEPT SELECT * FROM main.{name})"
            ),
        );
        let added = texts(
            &raw,
            &format!(
                "SELECT '{key} = ' || quote({key}) FROM main.{name} WHERE {key} NOT IN (SELECT {key} FROM older.{name})"
            ),
        );
        drop(raw);
        assert!(!changed.is_empty(), "{name}");
        for row in changed {
            let sql = format!("{attach} REPLACE INTO main.{name} SELECT * FROM older.{name} WHERE {row}");
            assert_detected(&path, &bytes, name, &sql).await;
        }
        for row in added {
            assert_detected(&path, &bytes, name, &format!("DELETE FROM {name} WHERE {row}")).await;
        }
    }
}

#[tokio::test]
async fn each_changed_column_is_detected() {
    let folder = folder_in_memory();
    let path = folder.path().join("guest.db");
    let store = filled(&path).await;
    change_rows(&store).await;
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    let raw = Connection::open(&path).unwrap();
    for table in &TABLES {
        let name = table.name;
        let mut columns = texts(&raw, &format!("SELECT name FROM pragma_table_info('{name}')"));
        let mut listed: Vec<_> = table.columns.split(", ").map(str::to_owned).collect();
        columns.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, columns, "{name} has other columns");
        let first = texts(&raw, &format!("SELECT min(rowid) || '' FROM {name}")).remove(0);
        for column in columns {
            let sql = format!(
                "UPDATE {name} SET {column} = CASE typeof({column})
                     WHEN 'integer' THEN {column} + 1000
                     WHEN 'text' THEN {column} || 'x'
                     WHEN 'blob' THEN CAST({column} || x'01' AS BLOB)
                     ELSE CASE '{column}' WHEN 'previous_refresh' THEN zeroblob(32) ELSE 1 END END
                 WHERE rowid = {first}"
            );
            assert_detected(&path, &bytes, name, &sql).await;
        }
    }
}

#[tokio::test]
async fn altered_column_is_refused_where_it_is_read() {
    let folder = folder_in_memory();
    let path = folder.path().join("guest.db");
    drop(filled(&path).await);
    let bytes = std::fs::read(&path).unwrap();
    for change in [
        "owner = 'other'",
        "guest = zeroblob(16)",
        "channel = 'other'",
        "created_at = created_at + 1",
        "expires_at = expires_at + 1",
        "idle_deadline = idle_deadline + 1",
        "ended_at = 7",
        "access = refresh, refresh = zeroblob(32)",
        "previous_refresh = NULL",
        "generation = generation + 1",
        "version = version + 1",
        "slot = 2",
        "personal = (SELECT personal FROM sessions WHERE rowid = 2)",
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let store = open(&path).unwrap();
        alter(&path, &format!("UPDATE sessions SET {change} WHERE rowid = 1"));
        let error = store.session(&"s-1".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{change}");
        let rest = store.sessions(SessionQuery::All(None), 10).await.unwrap();
        assert_eq!(rest.len(), 2, "{change}");
    }
    for change in [
        "owner = 'o-2'",
        "name = 'other'",
        "events = '[]'",
        "enabled = 0",
        "version = version + 1",
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let store = open(&path).unwrap();
        alter(&path, &format!("UPDATE webhooks SET {change} WHERE id = 'w-1'"));
        assert_eq!(store.webhooks().await.unwrap().len(), 1, "{change}");
    }
}

#[tokio::test]
async fn delivery_is_not_leased_to_the_webhook_of_another_owner() {
    let folder = folder_in_memory();
    let path = folder.path().join("guest.db");
    let store = filled(&path).await;
    alter(&path, "UPDATE outbox SET webhook = 'w-2'");
    let leased = store
        .lease_deliveries(at(), Duration::ZERO, 10)
        .await
        .unwrap()
        .deliveries;
    assert!(leased.is_empty(), "{leased:?}");
    assert!(store.verify_rows().await.is_err());
}

#[tokio::test]
async fn rows_are_verified_while_units_change_them() {
    let folder = folder_in_memory();
    let store = filled(&folder.path().join("guest.db")).await;
    let writing = async {
        for number in 10..200 {
            store.commit(created(number)).await.unwrap();
            let removal = Change::RemoveSession {
                id: format!("s-{}", number - 5).parse().unwrap(),
                at: at(),
            };
            if number > 15 {
                store.commit(removal.into()).await.unwrap();
            }
        }
    };
    let verifying = async {
        for _ in 0..100 {
            store.verify_rows().await.unwrap();
        }
    };
    tokio::join!(writing, verifying);
}
