//! Tests of the audit log against changes of its rows.

mod tampering;

use std::error::Error as _;
use std::path::Path;

use audit::{Actor, Draft};

use audit::Pseudonym;
use rusqlite::Connection;

use super::migration::downgrade;
use super::{at, log, open, open_store};
use crate::sqlite::schema::LOG_TRIGGERS;
use crate::{EntryQuery, Store, StoreError, StoreErrorKind, Unit, VerifyError, verify};

fn pseudonym(person: u8) -> Pseudonym {
    Pseudonym::of(&[person; 32], "id")
}

/// Logs 300 entries: one of each third is about person 1, one about person 2.
async fn filled(path: &Path) {
    let store = open(path).unwrap();
    let entries = (0..300u16).map(|number| {
        let draft = Draft::new(at(), Actor::system("test"), "audit.opened");
        match number % 3 {
            0 => draft,
            person => draft.subject(pseudonym(u8::try_from(person).unwrap())),
        }
    });
    let entries = entries.collect();
    store
        .commit(Unit {
            entries,
            ..Unit::default()
        })
        .await
        .unwrap();
}

fn alter(path: &Path, sql: &str) {
    let raw = Connection::open(path).unwrap();
    raw.execute_batch("DROP TRIGGER entries_no_update; DROP TRIGGER entries_no_delete;")
        .unwrap();
    raw.execute_batch(sql).unwrap();
    raw.execute_batch(LOG_TRIGGERS).unwrap();
}

fn source(error: &StoreError) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Changes of a stored log, each with a part of the error.
const CHANGES: [(&str, &str); 21] = [
    (
        "UPDATE entries SET bytes = CAST(replace(bytes, 'ok', 'no') AS BLOB) WHERE seq = 17",
        "entry 17 was altered",
    ),
    (
        "UPDATE entries SET bytes = (SELECT bytes FROM entries WHERE seq = 18) WHERE seq = 17",
        "entry 17 was altered",
    ),
    (
        "UPDATE entries SET subject = NULL WHERE seq = 17",
        "entry 17 was altered",
    ),
    (
        "UPDATE entries SET subject = NULL, subject_index = NULL WHERE seq = 17",
        "entry 17 was altered",
    ),
    (
        "UPDATE entries SET subject = zeroblob(32) WHERE seq = 17",
        "entry 17 was altered",
    ),
    (
        "UPDATE entries SET subject = (SELECT subject FROM entries WHERE seq = 16) WHERE seq = 17",
        "entry 17 was altered",
    ),
    (
        "UPDATE entries SET subject_index = 99 WHERE seq = 17",
        "entry 17 was altered",
    ),
    (
        "UPDATE entries SET subject_index = 0 WHERE seq = 18",
        "entry 18 was altered",
    ),
    (
        "UPDATE entries SET mac = zeroblob(32) WHERE seq = 17",
        "entry 17 was altered",
    ),
    ("DELETE FROM entries WHERE seq = 17", "entry 17 is missing"),
    (
        "UPDATE entries SET seq = -1 WHERE seq = 17",
        "added before its start",
    ),
    (
        "UPDATE entries SET seq = seq - 1000 WHERE seq < 17",
        "added before its start",
    ),
    ("DELETE FROM entries WHERE seq >= 290", "entry 299 is missing"),
    ("DELETE FROM entries", "entry 299 is missing"),
    (
        "INSERT INTO entries SELECT 300, subject, subject_index, bytes, mac FROM entries WHERE seq = 17",
        "added at its end",
    ),
    (
        "DELETE FROM checkpoints WHERE size = 256",
        "last checkpoint is missing",
    ),
    (
        "UPDATE checkpoints SET note = replace(note, '256', '255')",
        "checkpoint 256 was altered",
    ),
    (
        "UPDATE checkpoints SET previous = 3",
        "checkpoint 256 was altered",
    ),
    ("UPDATE checkpoints SET size = 257", "added at its end"),
    (
        "UPDATE meta SET value = zeroblob(100) WHERE name = 'head'",
        "head was altered",
    ),
    ("DELETE FROM meta WHERE name = 'head'", "head was altered"),
];

#[tokio::test]
async fn altered_log_is_refused_on_open_or_by_verification() {
    for (change, expected) in CHANGES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.db");
        filled(&path).await;
        alter(&path, change);
        let store = match open_store(&path) {
            Ok(store) => store,
            Err(error) => {
                assert!(source(&error).contains(expected), "{change}: {}", source(&error));
                continue;
            }
        };
        match verify(&store, |_| ()).await.unwrap_err() {
            VerifyError::Store(error) => {
                assert!(source(&error).contains(expected), "{change}: {}", source(&error))
            }
            error => panic!("{change}: {error}"),
        }
    }
}

#[tokio::test]
async fn altered_entry_is_refused_where_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    filled(&path).await;
    let store = open_store(&path).unwrap();
    let (one, two) = (pseudonym(1), pseudonym(2));
    let of = |subject, before| EntryQuery::OfSubject { subject, before };
    // the running store has the file open
    alter(&path, "UPDATE entries SET subject = zeroblob(32) WHERE seq = 16");
    for (query, expected) in [
        (EntryQuery::From(0), Some("entry 16 was altered")),
        (EntryQuery::From(16), Some("entry 16 was altered")),
        (EntryQuery::From(17), None),
        (of(one, None), Some("is missing")),
        (of(one, Some(19)), Some("is missing")),
        (of(one, Some(13)), None),
        (of(two, None), None),
    ] {
        let found = store.entries(query, 1_000).await;
        let found = found.map(|_| ()).map_err(|error| source(&error));
        match expected {
            Some(expected) => assert!(found.unwrap_err().contains(expected), "{query:?}"),
            None => assert_eq!(found, Ok(()), "{query:?}"),
        }
    }
}

#[tokio::test]
async fn page_of_log_reads_only_its_own_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    for _ in 0..20 {
        store.commit(log(1)).await.unwrap();
        store.checkpoint().await.unwrap();
    }
    alter(&path, "UPDATE checkpoints SET mac = x'' WHERE size = 20");
    let mut next = 0;
    for _ in 0..3 {
        let page = crate::LogPage::read(&store, next, 5).await.unwrap();
        let sizes: Vec<u64> = page.checkpoints.iter().map(|note| note.size).collect();
        assert_eq!(sizes, (next + 1..=next + 5).collect::<Vec<_>>());
        next = page.next;
    }
    assert!(crate::LogPage::read(&store, next, 5).await.is_err());
}

#[tokio::test]
async fn altered_entry_is_not_signed_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    filled(&path).await;
    // the checkpoints that would prove the change are removed
    alter(
        &path,
        "UPDATE entries SET bytes = CAST(replace(bytes, 'ok', 'no') AS BLOB) WHERE seq = 299; DELETE FROM checkpoints;",
    );
    assert!(source(&open_store(&path).unwrap_err()).contains("entry 299 was altered"));
    alter(
        &path,
        "UPDATE entries SET bytes = CAST(replace(bytes, '\"no\"', '\"ok\"') AS BLOB) WHERE seq = 299",
    );
    assert!(source(&open_store(&path).unwrap_err()).contains("last checkpoint is missing"));
}

#[tokio::test]
async fn log_of_version_1_is_upgraded_once_and_verifies() {
    for (damage, is_sound) in [
        ("", true),
        (
            "UPDATE entries SET bytes = CAST(replace(bytes, 'ok', 'no') AS BLOB) WHERE seq = 17",
            false,
        ),
        ("DELETE FROM entries WHERE seq = 299", true),
        ("DELETE FROM entries WHERE seq > 200", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.db");
        filled(&path).await;
        downgrade(&path).execute_batch(damage).unwrap();
        for _ in 0..2 {
            match open_store(&path) {
                Ok(store) => {
                    assert!(is_sound, "{damage}");
                    store.commit(log(1)).await.unwrap();
                    verify(&store, |_| ()).await.unwrap();
                    let query = EntryQuery::OfSubject {
                        subject: pseudonym(1),
                        before: None,
                    };
                    assert_eq!(store.entries(query, 1_000).await.unwrap().len(), 100);
                }
                Err(error) => {
                    assert!(!is_sound, "{damage}");
                    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
                }
            }
        }
    }
}

#[tokio::test]
async fn entries_without_prefix_are_followed_by_those_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    let (plain, prefixed) = (pseudonym(1), pseudonym(1).with_prefix([1; 6]));
    for (count, subject) in [(3, plain), (4, prefixed)] {
        let draft = Draft::new(at(), Actor::system("test"), "audit.opened").subject(subject);
        let unit = Unit {
            entries: vec![draft; count],
            ..Unit::default()
        };
        store.commit(unit).await.unwrap();
    }
    let page = async |before, limit| {
        let subject = prefixed;
        let query = EntryQuery::OfSubject { subject, before };
        let found = store.entries(query, limit).await.map_err(|error| source(&error));
        found.map(|entries| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>())
    };
    assert_eq!(page(None, 100).await, Ok(vec![6, 5, 4, 3, 2, 1, 0]));
    assert_eq!(page(Some(5), 3).await, Ok(vec![4, 3, 2]));
    assert_eq!(page(Some(2), 3).await, Ok(vec![1, 0]));
    alter(&path, "UPDATE entries SET subject = zeroblob(38) WHERE seq = 3");
    assert!(page(None, 100).await.unwrap_err().contains("is missing"));
    assert!(verify(&store, |_| ()).await.is_err());
}
