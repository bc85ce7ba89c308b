//! The rule for refresh tokens over a real gateway, row by row, with and without the key of the rotation.

use std::sync::Arc;
use std::time::Duration;

use guest_suite::store::{Change, EntryQuery, TokenHash};
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, SESSIONS, WEBHOOKS, guest, path_of};
use crate::crm::Crm;
use crate::guests::until;
use crate::page::{Page, soon, upgrade_with_token};
use crate::world::{CLIENT, World};

/// A session of a gateway.
struct Family {
    api: Api,
    session: Value,
}

impl Family {
    async fn of(world: &World) -> Self {
        let api = Api::of(world, CLIENT).await;
        let session = api.create(&guest()).await;
        Self { api, session }
    }

    async fn send(&self, tokens: &Value, key: Option<&str>) -> Answer {
        let body = json!({ "refreshToken": tokens["refreshToken"] });
        let call = Call::post(&path_of(&self.session, "/refresh")).json(&body);
        let call = match key {
            Some(key) => call.header("idempotency-key", key),
            None => call,
        };
        self.api.send(call.bearer(&self.api.token)).await
    }

    async fn refresh(&self, tokens: &Value, key: Option<&str>) -> Value {
        let answer = self.send(tokens, key).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    }

    /// A refusal with 409. Returns its code.
    async fn refusal(&self, tokens: &Value, key: Option<&str>) -> String {
        let answer = self.send(tokens, key).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
        answer.json()["code"].as_str().unwrap().to_owned()
    }

    /// Presents an access token at the socket. `None` if it was accepted.
    async fn open(&self, tokens: &Value) -> Option<u16> {
        let url = self.session["websocketUrl"].as_str().unwrap();
        let token = tokens["accessToken"].as_str().unwrap();
        match Page::open(upgrade_with_token(url, token)).await {
            Ok(_) => None,
            Err((status, _)) => Some(status),
        }
    }

    async fn state(&self) -> Value {
        self.api.ask(Call::get(&path_of(&self.session, ""))).await
    }

    async fn logged(&self, action: &str) -> Vec<Value> {
        let trail = self.api.ask(Call::get(&path_of(&self.session, "/audit"))).await;
        let mut entries = trail["entries"].as_array().unwrap().clone();
        entries.retain(|entry| entry["action"] == action);
        entries
    }

    async fn assert_revoked(&self) {
        assert_eq!(self.state().await["endReason"], "token_reuse");
        assert_eq!(self.logged("token.reuse_detected").await.len(), 1);
        assert_eq!(
            self.logged("session.ended").await[0]["detail"]["reason"],
            "token_reuse"
        );
    }
}

fn assert_same_pair(pair: &Value, expected: &Value) {
    for field in ["accessToken", "refreshToken", "expiresAt"] {
        assert_eq!(pair[field], expected[field], "{field}");
    }
}

#[tokio::test]
async fn repeated_rotation_brings_the_same_pair_until_it_is_used() {
    let world = World::start().await;
    let family = Family::of(&world).await;
    let first = family.session.clone();
    let second = family.refresh(&first, Some("\"k-1\"")).await;
    for key in ["\"k-1\"", "k-1"] {
        assert_same_pair(&family.refresh(&first, Some(key)).await, &second);
    }
    assert_eq!(family.open(&second).await, None);
    assert_eq!(family.refusal(&first, Some("k-1")).await, "refresh.token.used");
    // a duplicate that comes later still changes nothing
    let third = family.refresh(&second, Some("k-2")).await;
    assert_eq!(family.refusal(&first, Some("k-1")).await, "refresh.token.used");
    assert_same_pair(&family.refresh(&second, Some("k-2")).await, &third);
    assert_eq!(family.logged("token.rotated").await.len(), 2);
    assert_eq!(family.logged("token.reuse_detected").await.len(), 0);
    family.refresh(&third, None).await;
    world.stop().await;
}

#[tokio::test]
async fn pair_whose_reply_was_lost_longer_than_its_lifetime_is_issued_again() {
    let world = World::start().await;
    let mut family = Family::of(&world).await;
    let second = family.refresh(&family.session, Some("k-1")).await;
    world.clock.advance(Duration::from_secs(3_660));
    family.api = Api::of(&world, CLIENT).await;
    let again = family.refresh(&family.session, Some("k-1")).await;
    assert_eq!(again["refreshToken"], second["refreshToken"]);
    assert_eq!(
        (&again["expiresIn"], &again["refreshExpiresIn"]),
        (&json!(3_600), &json!(86_400))
    );
    assert!(
        again["expiresAt"].as_str() > second["expiresAt"].as_str(),
        "{again}"
    );
    assert_eq!(family.open(&again).await, None);
    world.stop().await;
}

#[tokio::test]
async fn previous_token_without_the_key_replaces_an_unused_pair() {
    let world = World::start().await;
    let family = Family::of(&world).await;
    let first = family.session.clone();
    let unused = family.refresh(&first, None).await;
    let second = family.refresh(&first, None).await;
    assert_ne!(unused["refreshToken"], second["refreshToken"]);
    assert_eq!(family.logged("token.replaced").await.len(), 1);
    assert_eq!(family.open(&second).await, None);
    let third = family.refresh(&second, Some("k-2")).await;

    // the client never received the replaced pair
    assert_eq!(family.refusal(&unused, Some("k-3")).await, "refresh.token.reused");
    family.assert_revoked().await;
    assert_eq!(family.refusal(&third, None).await, "session.ended");
    world.stop().await;
}

#[tokio::test]
async fn access_token_of_a_replaced_pair_revokes_the_family() {
    let world = World::start().await;
    let family = Family::of(&world).await;
    let first = family.session.clone();
    let unused = family.refresh(&first, Some("k-1")).await;
    let second = family.refresh(&first, Some("k-2")).await;
    assert_eq!(family.open(&unused).await, Some(401));
    family.assert_revoked().await;
    assert_eq!(family.open(&second).await, Some(409));
    world.stop().await;
}

#[tokio::test]
async fn previous_token_after_use_of_its_successor_revokes_the_family() {
    let world = World::start().await;
    for key in [None, Some("k-2")] {
        let family = Family::of(&world).await;
        let first = family.session.clone();
        let second = family.refresh(&first, Some("k-1")).await;
        let mut rotated = first.clone();
        rotated["accessToken"] = second["accessToken"].clone();
        let mut page = Page::of(&rotated).await;
        assert_eq!(family.refusal(&first, key).await, "refresh.token.reused");
        assert_eq!(page.until("session.ended").await["reason"], "token_reuse");
        family.assert_revoked().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn refresh_token_of_any_age_is_recognized_over_restarts() {
    let mut world = World::start().await;
    let family = Family::of(&world).await;
    let (id, first) = (family.session["id"].clone(), family.session.clone());
    let mut tokens = first.clone();
    for _ in 0..10 {
        tokens = family.refresh(&tokens, None).await;
    }
    world = world.restart().await;
    let api = Api::of(&world, CLIENT).await;
    let family = Family {
        api,
        session: json!({ "id": id }),
    };
    assert_eq!(family.refusal(&first, Some("k-1")).await, "refresh.token.reused");
    family.assert_revoked().await;
    world.stop().await;
}

#[tokio::test]
async fn unknown_token_revokes_nothing() {
    let world = World::start().await;
    let family = Family::of(&world).await;
    let other = family.api.create(&guest()).await;
    let access = json!({ "refreshToken": family.session["accessToken"] });
    let mut altered = family.session["refreshToken"].as_str().unwrap().to_owned();
    altered.replace_range(20..21, if &altered[20..21] == "A" { "B" } else { "A" });
    for tokens in [&other, &access, &json!({ "refreshToken": altered })] {
        let answer = family.send(tokens, Some("k-1")).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (StatusCode::BAD_REQUEST, Some("invalid.value")),
        );
    }
    for key in ["", "\"", "a b", "a, b"] {
        let answer = family.send(&family.session, Some(key)).await;
        assert_eq!(
            answer.json()["details"][0]["fieldName"],
            "Idempotency-Key",
            "{key}"
        );
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(family.open(&other).await, Some(401));
    family.refresh(&family.session, None).await;
    world.stop().await;
}

#[tokio::test]
async fn webhook_gets_the_end_of_a_revoked_session() {
    let world = World::start().await;
    let crm = Crm::start(&world.clock).await;
    let family = Family::of(&world).await;
    let hook = json!({
        "name": "crm",
        "uri": crm.subscription("/hook").target.as_str(),
        "eventFilters": [{ "predicate": { "type": "event", "values": ["webmessaging.guestsession.ended"] } }],
    });
    family.api.ask(Call::post(WEBHOOKS).json(&hook)).await;
    let second = family.refresh(&family.session, Some("k-1")).await;
    family.refresh(&second, Some("k-2")).await;
    assert_eq!(
        family.refusal(&family.session, None).await,
        "refresh.token.reused"
    );
    let event = crm.received(1).await.remove(0);
    assert_eq!(event.body()["data"]["endReason"], "token_reuse");
    world.stop().await;
}

#[tokio::test]
async fn concurrent_rotations_with_one_key_bring_one_pair() {
    let world = World::start().await;
    let family = Family::of(&world).await;
    let sending = (0..20).map(|_| family.refresh(&family.session, Some("k-1")));
    let pairs = soon(futures_util::future::join_all(sending)).await;
    for pair in &pairs {
        assert_same_pair(pair, &pairs[0]);
    }
    assert_eq!(family.logged("token.rotated").await.len(), 1);
    assert_eq!(
        family.logged("token.replayed").await.len(),
        1,
        "the first, at once"
    );
    // the others are one entry when the minute is over
    until(async || {
        world.clock.advance(Duration::from_secs(15));
        family.logged("token.replayed").await.len() == 2
    })
    .await;
    let counted = &family.logged("token.replayed").await[0];
    assert_eq!(counted["detail"]["count"], 18, "{counted}");
    family.refresh(&pairs[0], Some("k-2")).await;
    world.stop().await;
}

#[tokio::test]
async fn repeated_refresh_tokens_are_counted_when_the_gateway_stops() {
    let world = World::start().await;
    let family = Family::of(&world).await;
    let second = family.refresh(&family.session, Some("k-1")).await;
    family.refresh(&second, Some("k-2")).await;
    for _ in 0..150 {
        let code = family.refusal(&family.session, Some("k-1")).await;
        assert_eq!(code, "refresh.token.used");
    }
    let store = Arc::clone(world.gateway.store());
    world.stop().await;
    let entries = store.entries(EntryQuery::From(0), 1_000).await.unwrap();
    let entries = entries
        .iter()
        .map(|entry| serde_json::from_slice(&entry.bytes).unwrap());
    let mut refused: Vec<Value> = entries.collect();
    refused.retain(|entry| entry["action"] == "token.refused");
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(refused[0]["detail"].get("count"), None);
    assert_eq!(refused[1]["detail"]["count"], 149);
    assert_eq!(refused[0]["subject"], refused[1]["subject"]);
}

#[tokio::test]
async fn session_of_an_earlier_version_is_refreshed_and_its_tokens_work_once() {
    let world = World::start().await;
    let family = Family::of(&world).await;
    let store = Arc::clone(world.gateway.store());
    let id = family.session["id"].as_str().unwrap().parse().unwrap();
    // its tokens are random and only their hashes are stored
    let mut row = store.session(&id).await.unwrap().unwrap();
    let mut document: Value = serde_json::from_slice(&row.document).unwrap();
    document.as_object_mut().unwrap().remove("tokens").unwrap();
    row.document = document.to_string().into();
    row.access = TokenHash::of("old-access");
    row.refresh = TokenHash::of("old-refresh");
    row.previous_refresh = Some(TokenHash::of("older-refresh"));
    store.commit(Change::UpdateSession(row).into()).await.unwrap();

    let old = json!({ "accessToken": "old-access", "refreshToken": "old-refresh" });
    assert_eq!(family.open(&old).await, None);
    let second = family.refresh(&old, Some("k-1")).await;
    assert_same_pair(&family.refresh(&old, Some("k-1")).await, &second);
    let third = family.refresh(&second, Some("k-2")).await;
    assert_eq!(family.open(&third).await, None);
    let answer = family
        .send(&json!({ "refreshToken": "older-refresh" }), None)
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "it is no longer known");
    assert_eq!(family.refusal(&second, None).await, "refresh.token.reused");
    let path = format!("{SESSIONS}/{}", family.session["id"].as_str().unwrap());
    assert_eq!(family.api.ask(Call::get(&path)).await["endReason"], "token_reuse");
    drop(store);
    world.stop().await;
}
