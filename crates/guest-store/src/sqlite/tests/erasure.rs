//! Erasure on the level of files.

use std::collections::HashMap;

use secrecy::ExposeSecret as _;

use super::*;
use crate::{Pace, Settled, Settlement};

/// A session whose ids, keys and attributes occur nowhere else. Its document has `size` bytes more.
fn guest(number: usize, size: usize) -> Session {
    let mut session = Session::new(
        "o",
        format!("{number:08}-guest-canary").parse().unwrap(),
        "c".parse().unwrap(),
        at(),
    );
    session.document = format!("{number:07}-attribute-canary{}", "x".repeat(size)).into();
    session
}

/// Bytes that identify a guest, or link entries to one.
fn traces(session: &Session, number: usize) -> Vec<Vec<u8>> {
    vec![
        session.id.as_str().into(),
        session.guest.as_str().into(),
        format!("{number:07}-attribute-canary").into(),
        session.secrets.genesys_token.expose_secret().into(),
        session.secrets.subject_key.into(),
        STANDARD.encode(session.secrets.subject_key).into(),
    ]
}

/// Hashes that the store key gives of the ids of a guest, and of the events about the guest.
fn keyed(session: &Session) -> Vec<Vec<u8>> {
    let seal = SealKey::new(&[1; 32]);
    vec![
        seal.session_key(&session.id).into(),
        seal.guest_hash("o", &session.guest).into(),
        event_id("w-1", session.id.as_str()).into(),
    ]
}

/// Asserts that no file of the store holds any of these. Each has at least 8 bytes.
fn assert_absent(folder: &Path, traces: &[Vec<u8>]) {
    let by_start: HashMap<&[u8], &Vec<u8>> = traces.iter().map(|trace| (&trace[..8], trace)).collect();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for (at, start) in bytes.windows(8).enumerate() {
            if let Some(trace) = by_start.get(start) {
                let text = String::from_utf8_lossy(trace);
                assert!(!bytes[at..].starts_with(trace), "{text} in {}", path.display());
            }
        }
    }
}

fn removal(session: &Session) -> Change {
    Change::RemoveSession {
        id: session.id.clone(),
        at: at(),
    }
}

async fn update(store: &SqliteStore, session: &mut Session) {
    let committed = store.commit(Change::UpdateSession(session.clone()).into()).await;
    session.version = committed.unwrap().version.unwrap();
}

/// The subject keys as they are stored, which the store key opens.
async fn sealed_keys(store: &SqliteStore) -> Vec<Vec<u8>> {
    let sealed = store.threads.write(|transaction| {
        let sql = "SELECT key FROM subjects WHERE free = 0";
        transaction.prepared.rows(sql, (), |row| row.get::<Vec<u8>>(0))
    });
    sealed.await.unwrap()
}

#[tokio::test]
async fn erased_guests_leave_no_trace_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(webhook("x")).await.unwrap();
    let mut sessions: Vec<_> = (0..200).map(|number| guest(number, number * 7 % 900)).collect();
    for session in &mut sessions {
        let unit = Unit {
            change: Some(Change::CreateSession(session.clone())),
            entries: vec![Draft::new(at(), Actor::system("test"), "x").subject(session.pseudonym())],
            events: vec![Event {
                id: session.id.as_str().to_owned(),
                owner: "o".to_owned(),
                session: session.id.clone(),
                sequence: 1,
                name: "created".to_owned(),
                at: at(),
            }],
            ..Unit::default()
        };
        session.version = store.commit(unit).await.unwrap().version.unwrap();
    }
    for (number, session) in sessions.iter_mut().enumerate() {
        session.document = guest(number, number * 13 % 1_500).document;
        update(&store, session).await;
        session.ended_at = Some(at());
        update(&store, session).await;
    }
    let sealed = sealed_keys(&store).await;
    assert_eq!(sealed.len(), 200);

    // every other one first, so that rows beside them stay
    let (odd, even): (Vec<_>, Vec<_>) = sessions
        .iter()
        .enumerate()
        .partition(|(number, _)| number % 2 == 1);
    for (_, session) in &odd {
        store.commit(removal(session).into()).await.unwrap();
    }
    let erased: Vec<_> = odd
        .iter()
        .flat_map(|(number, session)| traces(session, *number))
        .collect();
    assert_absent(folder.path(), &erased);
    for (_, session) in &even {
        let kept = store.session(&session.id).await.unwrap().unwrap();
        assert_eq!(kept.document, session.document);
        store.commit(removal(session).into()).await.unwrap();
    }
    let mut all: Vec<_> = sessions
        .iter()
        .enumerate()
        .flat_map(|(number, session)| traces(session, number))
        .collect();
    // nor a key that the seal key would open
    all.extend(sealed);
    assert_absent(folder.path(), &all);
    // nor what the holder of the store key could compute, or open: each webhook has the id of the session no longer
    all.extend(sessions.iter().flat_map(keyed));
    all.extend(sealed_keys(&store).await);
    let mut erasures = 0;
    loop {
        let leased = store.lease_deliveries(at(), Duration::from_secs(60), 1_000).await;
        let leased = leased.unwrap().deliveries;
        if leased.is_empty() {
            break;
        }
        for delivery in leased {
            assert!(matches!(delivery.payload, Payload::Erased { .. }), "{delivery:?}");
            let settlement = Settlement {
                pace: Pace::Same,
                delivery: delivery.id,
                fence: delivery.fence,
                at: at(),
                settled: Settled::Delivered,
                rest_until: None,
                disable_webhook: false,
                attempt: None,
            };
            store.commit(Change::Settle(settlement).into()).await.unwrap();
            erasures += 1;
        }
    }
    assert_eq!(erasures, 200);
    assert_absent(folder.path(), &all);
    drop(store);
    assert_absent(folder.path(), &all);
    let store = open(&path).unwrap();
    assert_eq!(store.stats().await.unwrap().audit_entries, 200);
}

#[tokio::test]
async fn slots_of_erased_subjects_are_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    for round in 0..3 {
        let sessions: Vec<_> = (0..10).map(|number| guest(round * 10 + number, 0)).collect();
        for session in &sessions {
            store
                .commit(Change::CreateSession(session.clone()).into())
                .await
                .unwrap();
        }
        for session in &sessions {
            store.commit(removal(session).into()).await.unwrap();
        }
    }
    let raw = Connection::open(&path).unwrap();
    let slots: i64 = raw
        .query_row("SELECT count(*) FROM subjects", [], |row| row.get(0))
        .unwrap();
    assert_eq!(slots, 10);
}

#[tokio::test]
async fn log_is_truncated_after_an_erasure_once_readers_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let wal = folder.path().join("guest.db-wal");
    let store = open(&path).unwrap();
    let session = guest(1, 0);
    store
        .commit(Change::CreateSession(session.clone()).into())
        .await
        .unwrap();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("BEGIN; SELECT * FROM sessions;").unwrap();
    store.commit(removal(&session).into()).await.unwrap();
    assert!(wal.metadata().unwrap().len() > 0, "the reader needs it");
    raw.execute_batch("COMMIT").unwrap();
    store.stats().await.unwrap();
    assert_eq!(wal.metadata().unwrap().len(), 0);
    assert_absent(folder.path(), &traces(&session, 1));
}
