//! The pages of a session's audit trail.

use std::time::Duration;

use guest_suite::api::rfc3339;
use guest_suite::audit::{Actor, Draft};
use guest_suite::store::Unit;
use guest_suite::{AuditQuery, GuestSession};
use serde_json::{Value, json};

use crate::api::{Api, Call, guest, path_of};
use crate::guests::newcomer;
use crate::world::{CLIENT, World};

fn texts(page: &Value, name: &str) -> Vec<String> {
    let entries = page["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry[name].to_string()).collect()
}

#[tokio::test]
async fn audit_trail_is_read_page_by_page_newest_first() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    for granted in [false, true, false] {
        let change = json!({ "analytics": granted });
        api.ask(Call::new(http::Method::PATCH, &path_of(&session, "/consent")).json(&change))
            .await;
    }
    let page = async |query: &str| {
        api.ask(Call::get(&path_of(&session, &format!("/audit{query}"))))
            .await
    };

    let first = page("?limit=2").await;
    assert_eq!(
        texts(&first, "action"),
        [r#""audit.read""#, r#""consent.withdrawn""#]
    );
    let next = page(&format!("?limit=2&before={}", first["next"])).await;
    assert_eq!(texts(&next, "action").len(), 2);
    assert!(next["next"].is_u64(), "{next}");
    // the reads of later pages are newer than the first page
    let last = page(&format!("?limit=1&before={}", next["next"])).await;
    assert_eq!(texts(&last, "action"), [r#""session.created""#]);
    assert_eq!(last.get("next"), None);

    let all = page("").await;
    let actions = texts(&all, "action");
    assert_eq!(
        actions
            .iter()
            .filter(|action| *action == r#""audit.read""#)
            .count(),
        4
    );
    let paged: Vec<String> = [&first, &next, &last]
        .iter()
        .flat_map(|page| texts(page, "seq"))
        .collect();
    assert_eq!(texts(&all, "seq")[3..], paged);
    assert_eq!(page("?before=0").await, json!({ "entries": [] }));
    world.stop().await;
}

#[tokio::test]
async fn audit_trail_leaves_out_entries_before_a_time() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    world.clock.advance(Duration::from_secs(60));
    let since = rfc3339(world.clock.now().utc);
    let page = async |query: String| {
        api.ask(Call::get(&path_of(&session, &format!("/audit?{query}"))))
            .await
    };
    for reads in 1..=2 {
        let recent = page(format!("since={since}")).await;
        assert_eq!(texts(&recent, "action"), vec![r#""audit.read""#; reads]);
        assert_eq!(recent.get("next"), None);
    }
    let newest = page(format!("since={since}&limit=1")).await;
    let rest = page(format!("since={since}&before={}", newest["next"])).await;
    assert_eq!(texts(&rest, "action"), [r#""audit.read""#; 2]);
    assert_eq!(
        texts(&page("since=2000-01-01T00:00:00Z".to_owned()).await, "action").len(),
        6
    );
    world.stop().await;
}

/// Reads all pages, and returns the sequence numbers of the entries.
async fn all(session: &GuestSession) -> Vec<u64> {
    let mut query = AuditQuery {
        limit: AuditQuery::MAX_LIMIT,
        ..AuditQuery::default()
    };
    let mut found = Vec::new();
    loop {
        let page = session.audit_trail(query).await.unwrap();
        found.extend(page.entries.iter().map(|entry| entry.seq));
        query.before = page.next;
        if page.next.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn audit_trail_has_no_limit_of_entries() {
    let world = World::start().await;
    let session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    let store = world.gateway.store();
    let subject = store.session(session.id()).await.unwrap().unwrap().pseudonym();
    let entry = Draft::new(world.clock.now().utc, Actor::system("test"), "test.entry").subject(subject);
    for _ in 0..11 {
        let entries = vec![entry.clone(); 1_000];
        store
            .commit(Unit {
                entries,
                ..Unit::default()
            })
            .await
            .unwrap();
    }
    let found = all(&session).await;
    assert_eq!(found.len(), 11_002, "with the creation and the first read");
    assert!(found.is_sorted_by(|newer, older| newer > older));
    world.stop().await;
}
