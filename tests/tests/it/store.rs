//! The gateway's store under load, at its limits, and at its deadlines.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::api::{Api, Call, SESSIONS, guest};
use crate::world::{CLIENT, World};

#[tokio::test(flavor = "multi_thread")]
async fn parallel_consent_changes_of_one_session_all_succeed() {
    let world = World::start().await;
    let api = Arc::new(Api::of(&world, CLIENT).await);
    let session = api.create(&guest()).await;
    let path = format!("{SESSIONS}/{}/consent", session["id"].as_str().unwrap());
    for round in 0..10 {
        let mut changes = JoinSet::new();
        for number in 0..8 {
            let call = Call::new(Method::PATCH, &path)
                .json(&json!({ "analytics": number % 2 == 0, "marketing": round % 2 == 0 }))
                .bearer(&api.token);
            let api = Arc::clone(&api);
            changes.spawn(async move { api.send(call).await });
        }
        while let Some(answer) = changes.join_next().await {
            let answer = answer.unwrap();
            let is_typed = answer.status == StatusCode::OK || answer.status == StatusCode::CONFLICT;
            assert!(is_typed, "{} {}", answer.status, answer.text);
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn session_past_its_idle_timeout_is_shown_as_expired_at_once() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let path = format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
    let before = api.ask(Call::get(&path)).await;
    assert_eq!(before["state"], "created");
    // the background task runs later
    world.clock.advance(Duration::from_secs(86_400));
    let api = Api::of(&world, CLIENT).await;
    let shown = api.ask(Call::get(&path)).await;
    assert_eq!(shown["state"], "ended", "{shown}");
    assert_eq!(shown["endReason"], "expired");
    let store = Arc::clone(world.gateway.store());
    crate::guests::until(async || store.stats().await.unwrap().live_sessions == 0).await;
    assert_eq!(
        api.ask(Call::get(&path)).await,
        shown,
        "the stored end is the shown one"
    );
    world.stop().await;
}
