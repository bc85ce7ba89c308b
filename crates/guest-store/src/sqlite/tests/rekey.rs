//! Replacement of the seal key.

use super::*;
use crate::{CheckpointQuery, KeyedRequest, Resource, SharedToken};

fn new_key() -> SealKey {
    SealKey::new(&[7; 32])
}

fn rekey(path: &Path) -> Result<(), StoreErrorKind> {
    let rekeyed = Rekey::lock(path).and_then(|rekey| rekey.run(&keys(1, 2, "log"), &new_key()));
    rekeyed.map_err(|error| error.kind())
}

fn open_by(path: &Path, seal: u8) -> Result<SqliteStore, StoreErrorKind> {
    SqliteStore::open(path, keys(seal, 2, "log"), Limits::default()).map_err(|error| error.kind())
}

/// A session `s-2` of the guest of [`unit`].
fn same_guest() -> Unit {
    let mut unit = unit("x");
    if let Some(Change::CreateSession(session)) = &mut unit.change {
        session.id = "s-2".parse().unwrap();
    }
    unit.events[0].id = "e-2".to_owned();
    unit
}

#[tokio::test]
async fn every_value_is_under_the_new_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(webhook("x")).await.unwrap();
    store.commit(unit("x")).await.unwrap();
    store.commit(log(1_300)).await.unwrap();
    let pseudonym = Draft::new(at(), Actor::system("test"), "x").subject(
        SessionSecrets {
            genesys_token: "x".into(),
            subject_key: [5; 32],
            refresh_token: None,
        }
        .pseudonym(&"s-1".parse().unwrap()),
    );
    store.commit(pseudonym.into()).await.unwrap();
    let checkpoint = store.checkpoint().await.unwrap();
    let erased = Change::RemoveSession {
        id: "s-3".parse().unwrap(),
        at: at(),
    };
    let mut other = same_guest();
    if let Some(Change::CreateSession(session)) = &mut other.change {
        (session.id, session.guest) = ("s-3".parse().unwrap(), "g-3".parse().unwrap());
    }
    store.commit(other).await.unwrap();
    store.commit(erased.into()).await.unwrap();
    let key: genesys_api::IdempotencyKey = "a-key".parse().unwrap();
    let mut keyed = same_guest();
    if let Some(Change::CreateSession(session)) = &mut keyed.change {
        (session.id, session.guest) = ("s-4".parse().unwrap(), "g-4".parse().unwrap());
    }
    keyed.events.clear();
    keyed.request = Some(KeyedRequest {
        owner: "o".to_owned(),
        key: key.clone(),
        digest: [9; 32],
        at: at(),
    });
    store.commit(keyed).await.unwrap();
    let token = SharedToken {
        name: "a".to_owned(),
        version: 0,
        content: Some("t".into()),
        leased_until: None,
    };
    store.commit(token.into()).await.unwrap();
    assert_eq!(rekey(&path), Err(StoreErrorKind::Locked));
    drop(store);

    rekey(&path).unwrap();
    rekey(&path).expect("an interrupted command is repeated");
    assert_eq!(open_by(&path, 1).unwrap_err(), StoreErrorKind::WrongKey);
    assert_eq!(SqliteStore::check(&path, &keys(7, 2, "log")).unwrap(), [""; 0]);
    let store = open_by(&path, 7).unwrap();
    let session = store.session(&"s-1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (session.guest.as_str(), &session.document[..]),
        ("g-1", &b"x"[..])
    );
    assert!(
        store.shared_token("a").await.unwrap().is_none(),
        "it is requested again"
    );
    let request = store.request("o", &key).await.unwrap().unwrap();
    assert_eq!(request.digest, Some([9; 32]));
    assert!(
        matches!(&request.resource, Resource::Session(session) if session.id.as_str() == "s-4"),
        "{request:?}"
    );
    let in_use = refused(&store, same_guest()).await;
    assert_eq!(in_use, StoreErrorKind::Conflict(crate::Conflict::GuestInUse));
    let same_size = CheckpointQuery::From(checkpoint.size);
    assert_eq!(store.checkpoints(same_size, 1).await.unwrap(), [checkpoint]);
    let query = EntryQuery::OfSubject {
        subject: session.pseudonym(),
        before: None,
    };
    assert_eq!(store.entries(query, 10).await.unwrap().len(), 1);
    let leased = store
        .lease_deliveries(at(), Duration::ZERO, 10)
        .await
        .unwrap()
        .deliveries;
    assert_eq!(leased[0].payload, payload("s-1", 1));
    // the pending events are found by the session
    let erased = Change::RemoveSession {
        id: session.id,
        at: at(),
    };
    store.commit(erased.into()).await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.outbox_pending, stats.snapshots_pending), (0, 2));
    let raw = Connection::open(&path).unwrap();
    let changed = raw.execute("UPDATE entries SET mac = x''", []);
    assert!(changed.is_err(), "entries are guarded again");
}

#[tokio::test]
async fn altered_rows_are_refused_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(webhook("x")).await.unwrap();
    store.commit(unit("x")).await.unwrap();
    store.commit(log(3)).await.unwrap();
    drop(store);
    for (alter, restore) in [
        (
            "CREATE TEMP TABLE kept AS SELECT * FROM entries; DROP TRIGGER entries_no_update;
             UPDATE entries SET bytes = x'00' WHERE seq = 1;",
            "DROP TRIGGER entries_no_update; UPDATE entries SET bytes = (SELECT bytes FROM kept WHERE kept.seq = entries.seq);
             CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
             BEGIN SELECT raise(ABORT, 'entries are never changed'); END;",
        ),
        (
            "CREATE TEMP TABLE keys AS SELECT * FROM subjects; UPDATE subjects SET key = zeroblob(61);",
            "UPDATE subjects SET key = (SELECT key FROM keys)",
        ),
        (
            "CREATE TEMP TABLE hooks AS SELECT * FROM webhooks; UPDATE webhooks SET secrets = document;",
            "UPDATE webhooks SET secrets = (SELECT secrets FROM hooks)",
        ),
    ] {
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(alter).unwrap();
        if alter.contains("TRIGGER") {
            assert_eq!(rekey(&path), Err(StoreErrorKind::SchemaDiffers));
            raw.execute_batch("DROP TRIGGER entries_no_delete").unwrap();
            raw.execute_batch(schema::LOG_TRIGGERS).unwrap();
        }
        let locked = Rekey::lock(&path).unwrap();
        let verified = locked.verify(&keys(1, 2, "log")).map_err(|error| error.kind());
        assert_eq!(verified, Err(StoreErrorKind::Corrupt), "{alter}");
        drop(locked);
        assert_eq!(rekey(&path), Err(StoreErrorKind::Corrupt), "{alter}");
        raw.execute_batch(restore).unwrap();
        drop(raw);
        let store = open_by(&path, 1).expect("the old key still opens it");
        assert!(store.session(&"s-1".parse().unwrap()).await.unwrap().is_some());
    }
}
