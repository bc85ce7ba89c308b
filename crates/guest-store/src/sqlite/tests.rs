//! Tests of the SQLite store.

mod altered_rows;
mod erasure;
mod faults;
mod images;
mod log;
mod maintenance;
pub(in crate::sqlite) mod migration;
mod rekey;

use audit::{Actor, Draft, files};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use genesys_api::parse_rfc3339;

use audit::Signer;
use time::OffsetDateTime;

use super::*;
use crate::conformance::Fixture;
use crate::outbox::event_id;
use crate::{
    Change, EntryQuery, Event, Payload, SealKey, Session, SessionQuery, SessionSecrets, Store, TokenHash,
    Unit, Webhook, export,
};

pub(super) fn keys(seal: u8, seed: u8, name: &str) -> Keys {
    Keys {
        seal: SealKey::new(&[seal; 32]),
        signer: Signer::from_seed(name, &[seed; 32]).unwrap(),
    }
}

pub(super) fn open_store(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, keys(1, 2, "log"), Limits::default())
}

pub(super) fn open(path: &Path) -> Result<SqliteStore, StoreErrorKind> {
    open_store(path).map_err(|error| error.kind())
}

fn make(limits: Limits) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = SqliteStore::open(&path, keys(1, 2, "example.com/log"), limits).unwrap();
    Fixture::new(store, folder)
}

crate::conformance::conformance_tests!(make);

mod in_memory {
    use super::*;

    fn make(limits: Limits) -> Fixture {
        Fixture::new(
            SqliteStore::open(":memory:", Keys::ephemeral(), limits).unwrap(),
            (),
        )
    }

    crate::conformance::conformance_tests!(make);
}

pub(super) fn at() -> OffsetDateTime {
    parse_rfc3339("2026-11-22T12:30:00Z").unwrap()
}

/// A session, an entry and an event whose secrets are `canary`.
fn unit(canary: &str) -> Unit {
    let session = Session {
        id: "s-1".parse().unwrap(),
        owner: "o".to_owned(),
        guest: "g-1".parse().unwrap(),
        channel: "c".parse().unwrap(),
        created_at: at(),
        expires_at: at(),
        idle_deadline: at(),
        ended_at: None,
        access: TokenHash::of(canary),
        refresh: TokenHash::of(canary),
        previous_refresh: Some(TokenHash::of(canary)),
        generation: 0,
        version: 0,
        secrets: SessionSecrets {
            genesys_token: canary.into(),
            subject_key: [5; 32],
            refresh_token: Some(canary.into()),
        },
        document: canary.to_owned().into(),
    };
    Unit {
        change: Some(Change::CreateSession(session)),
        entries: entries(1),
        events: vec![Event {
            id: "e-1".to_owned(),
            owner: "o".to_owned(),
            session: "s-1".parse().unwrap(),
            sequence: 1,
            name: "created".to_owned(),
            at: at(),
        }],
        ..Unit::default()
    }
}

fn webhook(canary: &str) -> Unit {
    Unit {
        change: Some(Change::PutWebhook(Webhook {
            id: "w-1".parse().unwrap(),
            name: "crm".to_owned(),
            owner: "o".to_owned(),
            events: vec!["created".to_owned()],
            enabled: true,
            ordered: false,
            failing_since: None,
            failures: 0,
            rest_until: None,
            version: 0,
            secrets: canary.into(),
            document: canary.to_owned().into(),
        })),
        ..Unit::default()
    }
}

fn payload(session: &str, sequence: u64) -> Payload {
    Payload::Event {
        session: session.parse().unwrap(),
        name: "created".to_owned(),
        sequence,
    }
}

pub(super) fn entries(count: usize) -> Vec<Draft> {
    vec![Draft::new(at(), Actor::system("test"), "audit.opened"); count]
}

pub(super) fn log(count: usize) -> Unit {
    Unit {
        entries: entries(count),
        ..Unit::default()
    }
}

fn event(id: &str) -> Unit {
    let mut unit = unit("x");
    (unit.change, unit.entries) = (None, Vec::new());
    unit.events[0].id = id.to_owned();
    unit
}

async fn refused(store: &SqliteStore, unit: Unit) -> StoreErrorKind {
    store.commit(unit).await.unwrap_err().kind()
}

#[tokio::test]
async fn store_survives_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(webhook("x")).await.unwrap();
    store.commit(unit("x")).await.unwrap();
    store.commit(log(300)).await.unwrap();
    let leased = store
        .lease_deliveries(at(), Duration::from_secs(60), 1)
        .await
        .unwrap()
        .deliveries;
    let full = Limits {
        webhook_queue_rows: 1,
        ..Limits::default()
    };
    drop(store);

    // the counts at the start equal the counts while it ran
    let store = SqliteStore::open(&path, keys(1, 2, "log"), full).unwrap();
    assert_eq!(store.commit(event("e-2")).await.unwrap().overflowed, 1);
    let mut ended = unit("x");
    if let Some(Change::CreateSession(session)) = &mut ended.change {
        (session.id, session.ended_at) = ("s-2".parse().unwrap(), Some(at()));
    }
    ended.events.clear();
    store.commit(ended).await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!(
        (stats.live_sessions, stats.outbox_pending, stats.snapshots_pending),
        (1, 1, 1)
    );
    assert_eq!(stats.outbox_oldest, Some(at()));
    drop(store);
    let store = SqliteStore::open(&path, keys(1, 2, "log"), full).unwrap();
    assert_eq!(store.stats().await.unwrap(), stats);
    assert_eq!(store.commit(event("e-3")).await.unwrap().overflowed, 1);
    drop(store);

    let store = open(&path).unwrap();
    // no process holds the lease
    let again = store
        .lease_deliveries(at(), Duration::ZERO, 1)
        .await
        .unwrap()
        .deliveries;
    assert_eq!((&again[0].id, again[0].attempt), (&leased[0].id, 2));
    assert_eq!(store.commit(log(1)).await.unwrap().entries, 302..303);
    let exported = folder.path().join("audit.jsonl");
    export(&store, &exported).await.unwrap();
    let report = files::verify_file(&exported, store.verifier_key(), None).unwrap();
    assert_eq!((report.entries, report.covered), (303, 303));
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&exported.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn lock_excludes_second_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(log(1)).await.unwrap();
    assert_eq!(open(&path).unwrap_err(), StoreErrorKind::Locked);
    #[cfg(unix)]
    {
        let alias = folder.path().join("alias.db");
        std::os::unix::fs::symlink(&path, &alias).unwrap();
        assert_eq!(open(&alias).unwrap_err(), StoreErrorKind::Locked);
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        let link = folder.path().join("link.db");
        std::fs::hard_link(&path, &link).unwrap();
        assert_eq!(open(&link).unwrap_err(), StoreErrorKind::Linked);
        std::fs::remove_file(&link).unwrap();
        std::fs::rename(&path, &link).unwrap();
        assert_eq!(
            open(&link).unwrap_err(),
            StoreErrorKind::Locked,
            "it is the same file"
        );
        std::fs::rename(&link, &path).unwrap();
    }
    drop(store);
    assert!(open(&path).is_ok());
    assert_eq!(
        open(&folder.path().join("missing/guest.db")).unwrap_err(),
        StoreErrorKind::Unavailable
    );
}

#[tokio::test]
async fn store_opens_with_own_keys_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    drop(open(&path).unwrap());
    for keys in [keys(9, 2, "log"), keys(1, 9, "log"), keys(1, 2, "other")] {
        let error = SqliteStore::open(&path, keys, Limits::default()).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::WrongKey);
    }
    let raw = Connection::open(&path).unwrap();
    let (found, known) = (schema::VERSION + 1, schema::VERSION);
    raw.pragma_update(None, "user_version", found).unwrap();
    let newer = open(&path).unwrap_err();
    assert_eq!(newer, StoreErrorKind::NewerSchema { found, known });
    assert!(
        newer.to_string().contains("`guest-gateway store restore BACKUP"),
        "{newer}"
    );
    raw.pragma_update(None, "application_id", 0).unwrap();
    assert_eq!(
        open(&path).unwrap_err(),
        StoreErrorKind::Corrupt,
        "another program's file"
    );
    let path = folder.path().join("no.db");
    std::fs::write(&path, [b'x'; 5000]).unwrap();
    assert_eq!(open(&path).unwrap_err(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn files_hold_no_secret() {
    const CANARY: &str = "canary-7f3a9c-canary";
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("guest.db")).unwrap();
    store.commit(webhook(CANARY)).await.unwrap();
    store.commit(unit(CANARY)).await.unwrap();
    let leased = store
        .lease_deliveries(at(), Duration::ZERO, 1)
        .await
        .unwrap()
        .deliveries;
    assert_eq!(leased[0].payload, payload("s-1", 1));
    assert_eq!(search(folder.path(), CANARY), ["guest.db-wal"]);
    // a reader has the file open too, and cannot bring the log into it
    let query = SessionQuery::All(None);
    assert_eq!(store.sessions(query, 1).await.unwrap().len(), 1);
    drop(store);
    assert!(
        !folder.path().join("guest.db-wal").exists(),
        "a stopped store is one file"
    );
    assert_eq!(search(folder.path(), CANARY), ["guest.db"]);
}

/// Asserts that no file holds the canary, and returns the files that hold its hash.
fn search(folder: &Path, canary: &str) -> Vec<std::ffi::OsString> {
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = STANDARD.encode(canary);
    let hash = TokenHash::of(canary);
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        for canary in [canary, &hex, base64.trim_end_matches('=')] {
            assert!(!holds(canary.as_bytes()), "{canary} in {}", file.path().display());
        }
        if holds(hash.as_bytes()) {
            found.push(file.file_name());
        }
    }
    found
}

#[tokio::test]
async fn sealed_value_moved_to_another_row_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(unit("x")).await.unwrap();
    let raw = Connection::open(&path).unwrap();
    raw.execute(
        "UPDATE subjects SET key = (SELECT value FROM meta WHERE name = 'seal')",
        [],
    )
    .unwrap();
    let error = store.session(&"s-1".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn unreadable_rows_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.db");
    let store = open(&path).unwrap();
    store.commit(webhook("x")).await.unwrap();
    for number in 1..=3 {
        let mut unit = unit("x");
        if let Some(Change::CreateSession(session)) = &mut unit.change {
            session.id = format!("s-{number}").parse().unwrap();
            session.guest = format!("g-{number}").parse().unwrap();
        }
        unit.events[0].id = format!("e-{number}");
        unit.events[0].session = format!("s-{number}").parse().unwrap();
        store.commit(unit).await.unwrap();
    }
    let raw = Connection::open(&path).unwrap();
    raw.execute("UPDATE sessions SET personal = x'' WHERE slot < 3", [])
        .unwrap();
    for number in 1..=2 {
        let error = store.session(&format!("s-{number}").parse().unwrap()).await;
        assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Corrupt);
    }
    for query in [SessionQuery::All(None), SessionQuery::Live(None)] {
        let found = store.sessions(query, 1).await.unwrap();
        assert_eq!(found.len(), 1, "the page is full");
        assert_eq!(found[0].id.as_str(), "s-3");
    }
    let of_guest = SessionQuery::OfGuest {
        guest: "g-1".parse().unwrap(),
        owner: None,
        after: None,
    };
    let error = store.sessions(of_guest, 1).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreadable { rows: 1 });

    let leased = store
        .lease_deliveries(at(), Duration::from_secs(60), 1)
        .await
        .unwrap()
        .deliveries;
    assert_eq!(leased[0].id, event_id("w-1", "e-3"), "the first that can be read");
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.outbox_pending, stats.snapshots_pending), (1, 2));

    raw.execute("UPDATE webhooks SET secrets = x''", []).unwrap();
    assert!(store.webhooks().await.unwrap().is_empty());
    let later = at() + Duration::from_secs(60);
    assert!(
        store
            .lease_deliveries(later, Duration::ZERO, 1)
            .await
            .unwrap()
            .deliveries
            .is_empty()
    );
    let stats = store.stats().await.unwrap();
    assert_eq!(
        (stats.outbox_pending, stats.snapshots_pending),
        (1, 2),
        "it was switched off"
    );
    let anew = Unit {
        change: Some(Change::RemoveWebhook("w-1".parse().unwrap())),
        ..Unit::default()
    };
    store.commit(anew).await.unwrap();
    store.commit(webhook("x")).await.unwrap();
    assert_eq!(store.webhooks().await.unwrap().len(), 1);
    let recounted = store.stats().await.unwrap();
    drop((store, raw));
    assert_eq!(open(&path).unwrap().stats().await.unwrap(), recounted);
}

#[tokio::test]
async fn dropped_commit_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("guest.db")).unwrap();
    {
        let commit = store.commit(log(1));
        tokio::pin!(commit);
        let waker = std::task::Waker::noop();
        let _ = commit.as_mut().poll(&mut std::task::Context::from_waker(waker));
    }
    assert_eq!(store.commit(log(1)).await.unwrap().entries, 1..2);
}
