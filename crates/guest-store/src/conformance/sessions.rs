//! Sessions.

use std::collections::BTreeSet;

use genesys_api::SessionId;

use super::Make;
use super::samples::{at, bad_draft, refused, removal, session, stored, unit, whole};
use crate::{Change, Conflict, Limits, Session, SessionQuery, StoreErrorKind, TokenHash, Unit};

/// A session comes back as it was stored, with the next version.
pub(crate) async fn session_reads_back(make: Make) {
    let store = make(Limits::default());
    let mut sample = session("s-1", "o", "g-1");
    let committed = store
        .commit(unit(Change::CreateSession(sample.clone())))
        .await
        .expect("it is stored");
    assert_eq!(
        (committed.version, committed.entries, committed.deliveries),
        (Some(1), 0..0, 0)
    );
    sample.version = 1;
    let found = store.session(&sample.id).await.expect("readable").expect("there");
    assert_eq!(whole(&found), whole(&sample));

    sample.previous_refresh = Some(sample.refresh);
    sample.refresh = TokenHash::of("next");
    sample.generation = 1;
    sample.expires_at = at(1_800);
    sample.secrets.genesys_token = "ünïcode\0secret".into();
    sample.secrets.refresh_token = Some("a refresh token".into());
    sample.document = b"\xffany bytes".as_slice().into();
    let committed = store
        .commit(unit(Change::UpdateSession(sample.clone())))
        .await
        .expect("it is stored");
    sample.version = 2;
    assert_eq!(committed.version, Some(2));
    let found = store.session(&sample.id).await.expect("readable").expect("there");
    assert_eq!(whole(&found), whole(&sample));
    let shown = format!("{found:?}");
    for secret in ["ünïcode", "refresh token", "any bytes"] {
        assert!(!shown.contains(secret), "{shown}");
    }

    stored(&*store, removal("s-1")).await;
    assert!(store.session(&sample.id).await.expect("readable").is_none());
    assert_eq!(refused(&*store, removal("s-1")).await, StoreErrorKind::NotFound);
}

/// A write with a stale version is refused.
pub(crate) async fn stale_version_is_refused(make: Make) {
    let store = make(Limits::default());
    let new = session("s-1", "o", "g-1");
    let changed = StoreErrorKind::Conflict(Conflict::VersionChanged);
    let odd = Session {
        version: 1,
        ..new.clone()
    };
    assert_eq!(refused(&*store, unit(Change::CreateSession(odd))).await, changed);
    assert_eq!(
        refused(&*store, unit(Change::UpdateSession(new.clone()))).await,
        StoreErrorKind::NotFound
    );
    stored(&*store, unit(Change::CreateSession(new.clone()))).await;
    assert_eq!(
        refused(&*store, unit(Change::CreateSession(new.clone()))).await,
        StoreErrorKind::Conflict(Conflict::IdInUse)
    );
    for version in [0, 2, 7] {
        let stale = Session {
            version,
            ..new.clone()
        };
        assert_eq!(
            refused(&*store, unit(Change::UpdateSession(stale))).await,
            changed
        );
    }
    let right = Session {
        version: 1,
        ..new.clone()
    };
    stored(&*store, unit(Change::UpdateSession(right.clone()))).await;
    assert_eq!(
        refused(&*store, unit(Change::UpdateSession(right))).await,
        changed
    );
}

/// A guest has one session of an owner at a time.
pub(crate) async fn guest_has_one_live_session(make: Make) {
    let store = make(Limits::default());
    let in_use = StoreErrorKind::Conflict(Conflict::GuestInUse);
    let mut first = session("s-1", "o", "g");
    stored(&*store, unit(Change::CreateSession(first.clone()))).await;
    let second = session("s-2", "o", "g");
    assert_eq!(
        refused(&*store, unit(Change::CreateSession(second.clone()))).await,
        in_use
    );
    stored(&*store, unit(Change::CreateSession(session("s-3", "other", "g")))).await;
    stored(&*store, unit(Change::CreateSession(session("s-4", "o", "other")))).await;

    first.version = 1;
    first.ended_at = Some(at(60));
    stored(&*store, unit(Change::UpdateSession(first.clone()))).await;
    stored(&*store, unit(Change::CreateSession(second))).await;
    first.version = 2;
    first.ended_at = None;
    assert_eq!(refused(&*store, unit(Change::UpdateSession(first))).await, in_use);
    stored(&*store, removal("s-2")).await;
    stored(&*store, unit(Change::CreateSession(session("s-5", "o", "g")))).await;
}

/// A unit that was refused after its change leaves the guest as it was.
pub(crate) async fn refused_unit_changes_no_live_guest(make: Make) {
    let store = make(Limits::default());
    let in_use = StoreErrorKind::Conflict(Conflict::GuestInUse);
    let bad = |change| Unit {
        entries: vec![bad_draft()],
        ..unit(change)
    };
    let mut held = session("s-1", "o", "g");
    refused(&*store, bad(Change::CreateSession(held.clone()))).await;
    stored(&*store, unit(Change::CreateSession(held.clone()))).await;
    held.version = 1;
    let ended = Session {
        ended_at: Some(at(60)),
        ..held.clone()
    };
    let moved = Session {
        guest: "other".parse().expect("a valid id"),
        ..held.clone()
    };
    for change in [ended, moved] {
        refused(&*store, bad(Change::UpdateSession(change))).await;
    }
    let second = session("s-2", "o", "g");
    assert_eq!(
        refused(&*store, unit(Change::CreateSession(second))).await,
        in_use
    );
    stored(&*store, unit(Change::CreateSession(session("s-3", "o", "other")))).await;
    stored(&*store, unit(Change::UpdateSession(held))).await;
}

/// Queries find what they ask for, page by page.
pub(crate) async fn session_queries_return_matching_pages(make: Make) {
    let store = make(Limits::default());
    for number in 0..6 {
        let mut new = session(ordered_id(number).as_str(), "o", &format!("g-{number}"));
        new.idle_deadline = at(100 - number);
        new.ended_at = (number % 2 == 0).then_some(at(50 - number));
        stored(&*store, unit(Change::CreateSession(new))).await;
    }
    let all = |after: Option<i64>| SessionQuery::All(after.map(ordered_id));
    let live = |after: Option<i64>| SessionQuery::Live(after.map(ordered_id));
    for (query, limit, expected) in [
        (all(None), 10, &[0, 1, 2, 3, 4, 5][..]),
        (all(None), 2, &[0, 1]),
        (all(Some(1)), 2, &[2, 3]),
        (all(Some(5)), 2, &[]),
        (all(None), 0, &[]),
        (live(None), 10, &[1, 3, 5]),
        (live(Some(1)), 1, &[3]),
        (SessionQuery::EndedBefore(at(48)), 10, &[4, 2]),
        (SessionQuery::EndedBefore(at(45)), 10, &[]),
    ] {
        let text = format!("{query:?}");
        let found = store.sessions(query, limit).await.expect("readable");
        let found: Vec<_> = found.iter().map(|session| session.id.clone()).collect();
        let expected: Vec<_> = expected.iter().copied().map(ordered_id).collect();
        assert_eq!(found, expected, "{text}");
    }
}

/// Sessions of any ids are all found, page by page.
pub(crate) async fn session_pages_cover_ids_without_a_time(make: Make) {
    let store = make(Limits::default());
    for number in 0..7 {
        let new = session(&format!("s-{number}"), "o", &format!("g-{number}"));
        stored(&*store, unit(Change::CreateSession(new))).await;
    }
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let page = store
            .sessions(SessionQuery::All(after), 3)
            .await
            .expect("readable");
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        found.extend(page.into_iter().map(|session| session.id));
    }
    assert_eq!(found.len(), 7);
}

/// A UUID of version 7, of a time that grows with `number`.
fn ordered_id(number: i64) -> SessionId {
    let id = format!("{number:08x}-0000-7000-8000-000000000000");
    id.parse().expect("a valid id")
}

/// All sessions of a guest are found by page, of one owner or of all.
pub(crate) async fn sessions_of_a_guest_are_found(make: Make) {
    let store = make(Limits::default());
    for (id, owner, guest) in [
        ("s-1", "o", "g"),
        ("s-2", "o", "g"),
        ("s-3", "o", "other"),
        ("s-4", "p", "g"),
    ] {
        let mut ended = session(id, owner, guest);
        ended.ended_at = Some(at(0));
        stored(&*store, unit(Change::CreateSession(ended))).await;
    }
    stored(&*store, unit(Change::CreateSession(session("s-5", "o", "g")))).await;
    let find = async |guest: &str, owner: Option<&str>, limit| {
        let mut found = BTreeSet::new();
        let mut after = None;
        loop {
            let query = SessionQuery::OfGuest {
                guest: guest.parse().expect("a valid id"),
                owner: owner.map(str::to_owned),
                after: after.take(),
            };
            let page = store.sessions(query, limit).await.expect("readable");
            found.extend(page.iter().map(|session| session.id.to_string()));
            match page.last() {
                Some(last) => after = Some(last.id.clone()),
                None => return found.into_iter().collect::<Vec<_>>(),
            }
        }
    };
    for limit in [1, 2, 100] {
        assert_eq!(find("g", Some("o"), limit).await, ["s-1", "s-2", "s-5"]);
        assert_eq!(find("g", None, limit).await, ["s-1", "s-2", "s-4", "s-5"]);
    }
    assert_eq!(find("g", Some("p"), 100).await, ["s-4"]);
    assert_eq!(find("g", Some("q"), 100).await, [""; 0]);
    assert_eq!(find("nobody", None, 100).await, [""; 0]);
}
