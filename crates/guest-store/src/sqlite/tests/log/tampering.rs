//! A stored log that another program changes in every row and column, without the keys. Tables and columns are read from
//! the file, so that a new one is not forgotten.

use std::fs;
use std::path::PathBuf;

use rusqlite::types::Value;

use super::super::keys;
use super::*;
use crate::{CheckpointQuery, SqliteStore};

/// The tables whose rows are authenticated.
const AUTHENTICATED: [&str; 3] = ["checkpoints", "entries", "meta"];
/// The tables that have no part of the log.
const OTHERS: [&str; 7] = [
    "counts",
    "deliveries",
    "outbox",
    "requests",
    "sessions",
    "subjects",
    "webhooks",
];

/// A change of a file: statements with one parameter at most.
type Change = (String, Option<Value>);

/// A store of 20 entries and three checkpoints.
struct Sample {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
}

impl Sample {
    async fn new() -> Self {
        let folder = folder_in_memory();
        let store = open(&folder.path().join("guest.db")).unwrap();
        for count in [7_u8, 8, 5] {
            let entries = (0..count).map(|number| {
                let draft = Draft::new(at(), Actor::system("test"), "audit.opened");
                match number % 3 {
                    0 => draft,
                    person => draft.subject(pseudonym(person)),
                }
            });
            let entries = entries.collect();
            let unit = Unit {
                entries,
                ..Unit::default()
            };
            store.commit(unit).await.unwrap();
            store.checkpoint().await.unwrap();
        }
        drop(store);
        let bytes = fs::read(folder.path().join("guest.db")).unwrap();
        Self { folder, bytes }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("guest.db")
    }

    /// Restores the file, and opens it for changes.
    fn restored(&self) -> Connection {
        fs::write(self.path(), &self.bytes).unwrap();
        self.raw()
    }

    fn raw(&self) -> Connection {
        let raw = Connection::open(self.path()).unwrap();
        raw.execute_batch(
            "PRAGMA synchronous = OFF; DROP TRIGGER entries_no_update; DROP TRIGGER entries_no_delete;",
        )
        .unwrap();
        raw
    }

    /// Applies a change to the file of a running store, and asserts that the store detects it where it reads, and
    /// that opening or verification does. Returns whether the statements changed anything.
    async fn detects(&self, (sql, value): &Change) -> bool {
        fs::write(self.path(), &self.bytes).unwrap();
        let running = open_store(&self.path()).unwrap();
        let raw = self.raw();
        let before = raw.total_changes();
        let done = match value {
            Some(value) => raw.execute(sql, [value]).map(drop),
            None => raw.execute_batch(sql),
        };
        if done.is_err() || raw.total_changes() == before {
            return false;
        }
        raw.execute_batch(LOG_TRIGGERS).unwrap();
        drop(raw);
        let entries = running.entries(EntryQuery::From(0), 1_000).await;
        let checkpoints = running.checkpoints(CheckpointQuery::From(0), 1_000).await;
        // the keys are compared when a store is opened
        let is_read = !sql.contains("meta") || sql.contains("'head'");
        // rows behind the end are not read before a restart
        let is_behind = sql.starts_with("INSERT") && !sql.contains("SELECT -1");
        let is_refused = entries.is_err() || checkpoints.is_err();
        assert!(
            is_refused || !is_read || is_behind,
            "a running store reads after {sql} {value:?}"
        );
        drop(running);
        let faults = SqliteStore::check(&self.path(), &keys(1, 2, "log"));
        assert!(
            faults.is_err() || !faults.unwrap().is_empty(),
            "checked after {sql} {value:?}"
        );
        match open_store(&self.path()) {
            Err(error) => assert!(
                matches!(error.kind(), StoreErrorKind::Corrupt | StoreErrorKind::WrongKey),
                "{sql} {value:?}: {error:?}"
            ),
            Ok(store) => {
                let verified = verify(&store, |_| ()).await;
                assert!(verified.is_err(), "verified after {sql} {value:?}");
            }
        }
        true
    }
}

/// A folder whose files take no time to sync, where the system has one.
fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn names(raw: &Connection, sql: &str) -> Vec<String> {
    let mut statement = raw.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn columns(raw: &Connection, table: &str) -> Vec<String> {
    names(raw, &format!("SELECT name FROM pragma_table_info('{table}')"))
}

/// Conditions that select each row of a table.
fn rows(raw: &Connection, table: &str) -> Vec<String> {
    let key = &columns(raw, table)[0];
    names(
        raw,
        &format!("SELECT '{key} = ' || quote({key}) FROM {table} ORDER BY {key}"),
    )
}

/// The value with another bit, byte or number.
fn altered(value: &Value) -> Vec<Value> {
    let flipped = |bytes: &[u8], mask: u8| {
        let places = [0, bytes.len() / 2, bytes.len().saturating_sub(1)];
        places.map(|place| {
            let mut bytes = bytes.to_vec();
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= mask;
            }
            bytes
        })
    };
    match value {
        Value::Blob(bytes) => {
            let mut values = flipped(bytes, 0x80).map(Value::Blob).to_vec();
            values.push(Value::Blob(bytes[..bytes.len().saturating_sub(1)].to_vec()));
            values.push(Value::Blob([bytes.as_slice(), b"\0"].concat()));
            values
        }
        Value::Integer(number) => [number + 1, number - 1, -1 - number, i64::MAX]
            .map(Value::Integer)
            .to_vec(),
        Value::Null => vec![Value::Integer(0), Value::Blob(vec![7; 32])],
        Value::Real(_) => panic!("no column has real numbers"),
        Value::Text(text) => {
            let texts = flipped(text.as_bytes(), 1).map(|bytes| String::from_utf8(bytes).unwrap());
            texts.map(Value::Text).to_vec()
        }
    }
}

/// Changes of one value: other ones, those of other rows, and none.
fn changes_of_values(raw: &Connection, table: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    for row in rows(raw, table) {
        for column in columns(raw, table) {
            let sql = format!("SELECT {column} FROM {table} WHERE {row}");
            let value: Value = raw.query_row(&sql, [], |row| row.get(0)).unwrap();
            let update = format!("UPDATE {table} SET {column} = ?1 WHERE {row}");
            for other in altered(&value) {
                if other != value {
                    changes.push((update.clone(), Some(other)));
                }
            }
            if value != Value::Null {
                changes.push((update, Some(Value::Null)));
            }
            let copy = format!(
                "UPDATE {table} SET {column} = (SELECT {column} FROM {table} AS other WHERE other.{column} IS NOT \
                 {table}.{column} LIMIT 1) WHERE {row}"
            );
            changes.push((copy, None));
        }
    }
    changes
}

/// Removed, cut, inserted and exchanged rows of a table whose first column numbers them.
fn changes_of_rows(raw: &Connection, table: &str) -> Vec<Change> {
    let key = &columns(raw, table)[0];
    let others = columns(raw, table)[1..].join(", ");
    let keys = names(
        raw,
        &format!("SELECT CAST({key} AS TEXT) FROM {table} ORDER BY {key}"),
    );
    let mut changes = Vec::new();
    for (index, row) in keys.iter().enumerate() {
        changes.push(format!("DELETE FROM {table} WHERE {key} = {row}"));
        changes.push(format!("DELETE FROM {table} WHERE {key} >= {row}"));
        changes.push(format!("DELETE FROM {table} WHERE {key} <= {row}"));
        for place in [-1, 1, 20, 21, 1_000_000] {
            changes.push(format!(
                "INSERT INTO {table} SELECT {place}, {others} FROM {table} WHERE {key} = {row}"
            ));
        }
        if let Some(next) = keys.get(index + 1) {
            changes.push(format!(
                "UPDATE {table} SET {key} = -5 WHERE {key} = {row};
                 UPDATE {table} SET {key} = {row} WHERE {key} = {next};
                 UPDATE {table} SET {key} = {next} WHERE {key} = -5;"
            ));
        }
    }
    changes.into_iter().map(|sql| (sql, None)).collect()
}

#[test]
fn every_table_is_authenticated_or_has_no_part_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    drop(open(&path).unwrap());
    let raw = Connection::open(&path).unwrap();
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut known = [AUTHENTICATED.as_slice(), &OTHERS].concat();
    known.sort_unstable();
    assert_eq!(
        names(&raw, sql),
        known,
        "state here whether a new table is authenticated"
    );
}

#[tokio::test]
async fn every_changed_value_of_the_log_is_detected() {
    let sample = Sample::new().await;
    for table in AUTHENTICATED {
        let raw = sample.restored();
        let (changes, columns) = (changes_of_values(&raw, table), columns(&raw, table));
        drop(raw);
        let mut detected = vec![0; columns.len()];
        for change in &changes {
            if sample.detects(change).await {
                let column = columns
                    .iter()
                    .position(|column| change.0.contains(&format!("SET {column} =")));
                detected[column.unwrap()] += 1;
            }
        }
        println!("{table}: {columns:?} changed {detected:?} times");
        assert!(
            detected.iter().all(|count| *count > 2),
            "{table}: {columns:?} {detected:?}"
        );
    }
}

#[tokio::test]
async fn every_removed_inserted_or_exchanged_row_of_the_log_is_detected() {
    let sample = Sample::new().await;
    for table in ["checkpoints", "entries"] {
        let raw = sample.restored();
        let changes = changes_of_rows(&raw, table);
        drop(raw);
        let mut detected = 0;
        for change in &changes {
            detected += usize::from(sample.detects(change).await);
        }
        println!("{table}: {detected} of {} changes", changes.len());
        assert!(detected > 10);
    }
    for name in ["log", "seal", "head"] {
        let change = (format!("DELETE FROM meta WHERE name = '{name}'"), None);
        assert!(sample.detects(&change).await);
    }
}

#[tokio::test]
async fn rollback_is_detected_against_a_kept_checkpoint() {
    let sample = Sample::new().await;
    fs::write(sample.path(), &sample.bytes).unwrap();
    let store = open_store(&sample.path()).unwrap();
    store.commit(log(10)).await.unwrap();
    let note = store.checkpoint().await.unwrap().note;
    let kept = store.verifier_key().open(&note).unwrap();
    drop(store);
    // an older copy is whole, also with entries that were added since
    for added in [0, 10, 30] {
        fs::write(sample.path(), &sample.bytes).unwrap();
        let store = open_store(&sample.path()).unwrap();
        let other = Draft::new(at(), Actor::system("mallory"), "audit.opened");
        let unit = Unit {
            entries: vec![other; added],
            ..Unit::default()
        };
        store.commit(unit).await.unwrap();
        verify(&store, |_| ()).await.unwrap();
        let exported = sample.folder.path().join("audit.jsonl");
        crate::export(&store, &exported).await.unwrap();
        let against = audit::files::verify_file(&exported, store.verifier_key(), Some(kept.clone()));
        assert!(against.unwrap_err().failure().is_some(), "{added} entries added");
    }
}
