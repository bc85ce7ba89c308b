//! `Idempotency-Key` on the requests that create: sessions and webhooks.

use std::collections::BTreeSet;
use std::time::Duration;

use genesys_api::IdempotencyKey;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, ERASURES, SESSIONS, WEBHOOKS, guest, path_of};
use crate::document::DOCUMENT;
use crate::guests::{newcomer, page_origin, talk, until};
use crate::page::{Page, soon, upgrade_with_token};
use crate::proxy::{Loss, Proxy};
use crate::world::{CLIENT, NEIGHBOR, World};

const KEY: &str = "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"";

#[test]
fn schema_of_the_key_accepts_what_is_parsed() {
    let schema = json!({ "$ref": "#/components/parameters/IdempotencyKey/schema" });
    let long = |length| "k".repeat(length);
    let values = [
        KEY,
        "a-b+c:d<e=f[~]",
        r#""a \"b\" \\ c""#,
        "",
        "\"\"",
        "\"",
        "a\"",
        "\"a\"b\"",
        "a b",
        "a,b",
        "a;b",
        "a\\b",
        "é",
        "\"é\"",
    ];
    for value in values
        .map(str::to_owned)
        .into_iter()
        .chain([long(255), long(256)])
    {
        let header = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let is_parsed = IdempotencyKey::parse_header(&header).is_ok();
        assert_eq!(DOCUMENT.accepts(&schema, &json!(value)), is_parsed, "{value}");
    }
}

async fn post(api: &Api, path: &str, body: &Value, key: &str) -> Answer {
    let call = Call::post(path).json(body).header("idempotency-key", key);
    api.send(call.bearer(&api.token)).await
}

fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), code)
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A guest whose second session would be refused.
fn named() -> Value {
    let mut body = guest();
    body["guestId"] = "guest-7".into();
    body
}

fn webhook() -> Value {
    json!({
        "name": "crm",
        "uri": "https://crm.example/hook",
        "enabled": false,
        "eventFilters": [{ "predicate": { "type": "event", "values": ["webmessaging.guestsession.created"] } }],
    })
}

fn without_rest(mut session: Value) -> Value {
    for field in ["expiresIn", "refreshExpiresIn"] {
        session.as_object_mut().unwrap().remove(field).unwrap();
    }
    session
}

#[tokio::test]
async fn repeated_creation_brings_the_same_session_until_its_tokens_are_used() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let body = named();
    let first = post(&api, SESSIONS, &body, KEY).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let session = first.json();
    for key in [KEY, KEY.trim_matches('"')] {
        let again = post(&api, SESSIONS, &body, key).await;
        assert_eq!(again.status, StatusCode::CREATED);
        // the rest of the lifetime is shorter
        let again = without_rest(again.json());
        assert_eq!(again, without_rest(session.clone()));
    }
    let world = world.restart().await;
    let api = Api::of(&world, CLIENT).await;
    let again = post(&api, SESSIONS, &body, KEY).await.json();
    for field in ["id", "accessToken", "refreshToken", "expiresAt"] {
        assert_eq!(again[field], session[field], "{field}");
    }

    let mut other = body.clone();
    other["guestAttributes"]["source"] = "app".into();
    let reused = refusal(422, "idempotency.key.reused");
    assert_eq!(code(&post(&api, SESSIONS, &other, KEY).await), reused);
    let with_signal = Call::post(SESSIONS)
        .json(&body)
        .header("idempotency-key", KEY)
        .header("sec-gpc", "1");
    assert_eq!(code(&api.send(with_signal.bearer(&api.token)).await), reused);
    assert_eq!(code(&post(&api, WEBHOOKS, &webhook(), KEY).await), reused);
    let neighbor = Api::of(&world, NEIGHBOR).await;
    let theirs = post(&neighbor, SESSIONS, &body, KEY).await;
    assert_ne!(theirs.json()["id"], session["id"]);
    let in_use = refusal(409, "guest.id.in.use");
    assert_eq!(code(&post(&api, SESSIONS, &body, "another").await), in_use);

    let url = again["websocketUrl"].as_str().unwrap();
    let token = again["accessToken"].as_str().unwrap();
    Page::open(upgrade_with_token(url, token)).await.unwrap();
    let spent = refusal(409, "idempotency.key.spent");
    assert_eq!(code(&post(&api, SESSIONS, &body, KEY).await), spent);
    world.stop().await;
}

#[tokio::test]
async fn creation_repeated_after_the_end_of_its_access_token_brings_tokens_with_a_new_lifetime() {
    let lifetimes = "access_token_lifetime = \"1h\"\nidle_timeout = \"90m\"\n";
    let world = World::with(genesys_sim::Rules::default(), lifetimes).await;
    let api = Api::of(&world, CLIENT).await;
    let session = post(&api, SESSIONS, &named(), KEY).await.json();
    let lifetimes = |session: &Value| [session["expiresIn"].clone(), session["refreshExpiresIn"].clone()];
    assert_eq!(lifetimes(&session), [3_600, 5_400]);
    world.clock.advance(Duration::from_secs(3_660));
    let api = Api::of(&world, CLIENT).await;
    let again = post(&api, SESSIONS, &named(), KEY).await.json();
    for field in ["id", "accessToken", "refreshToken", "createdAt"] {
        assert_eq!(again[field], session[field], "{field}");
    }
    assert_eq!(lifetimes(&again), [3_600, 5_400]);
    let trail = api.ask(Call::get(&path_of(&session, "/audit"))).await;
    let replayed = |entry: &&Value| entry["action"] == "token.replayed";
    let entry = trail["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(replayed)
        .unwrap();
    assert_eq!(entry["detail"]["expiresAt"], again["expiresAt"]);

    // past the first idle deadline
    world.clock.advance(Duration::from_secs(2_000));
    let url = again["websocketUrl"].as_str().unwrap();
    let token = again["accessToken"].as_str().unwrap();
    Page::open(upgrade_with_token(url, token)).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn malformed_key_creates_nothing() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    for key in ["", "\"\"", "\"half", "a, b", &"k".repeat(256)] {
        let refused = post(&api, SESSIONS, &guest(), key).await;
        assert_eq!(code(&refused), refusal(400, "invalid.value"), "{key}");
        assert_eq!(refused.json()["details"][0]["fieldName"], "Idempotency-Key");
    }
    let metrics = api.ask(Call::get(&format!("{SESSIONS}/metrics"))).await;
    assert_eq!(metrics["sessions"], 0);
    // a refused request uses no key up
    let mut refused = guest();
    refused["consent"]["marketing"] = false.into();
    let denied = refusal(422, "consent.required");
    assert_eq!(code(&post(&api, SESSIONS, &refused, KEY).await), denied);
    let created = post(&api, SESSIONS, &guest(), KEY).await;
    assert_eq!(created.status, StatusCode::CREATED);
    world.stop().await;
}

#[tokio::test]
async fn concurrent_duplicates_create_one_session() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let body = guest();
    let sending = (0..20).map(|_| post(&api, SESSIONS, &body, KEY));
    let mut ids = BTreeSet::new();
    for answer in soon(futures_util::future::join_all(sending)).await {
        match answer.status {
            StatusCode::CREATED => {
                ids.insert(answer.json()["id"].as_str().unwrap().to_owned());
            }
            _ => assert_eq!(code(&answer), refusal(409, "idempotency.key.in.progress")),
        }
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let metrics = api.ask(Call::get(&format!("{SESSIONS}/metrics"))).await;
    assert_eq!(metrics["sessions"], 1);
    world.stop().await;
}

#[tokio::test]
async fn key_is_kept_for_a_day_and_of_an_erased_session_without_a_link() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let body = named();
    post(&api, SESSIONS, &body, KEY).await;
    post(&api, ERASURES, &json!({ "guestId": "guest-7" }), KEY).await;
    let store = world.gateway.store().clone();
    let key = KEY.trim_matches('"').parse().unwrap();
    let stored = store.request(CLIENT.0, &key).await.unwrap().unwrap();
    assert_eq!(stored.digest, None);
    let spent = refusal(409, "idempotency.key.spent");
    assert_eq!(code(&post(&api, SESSIONS, &body, KEY).await), spent);

    world.clock.advance(Duration::from_secs(86_400));
    until(async || {
        world.clock.advance(Duration::from_secs(15));
        store.request(CLIENT.0, &key).await.unwrap().is_none()
    })
    .await;
    drop(store);
    let api = Api::of(&world, CLIENT).await;
    let created = post(&api, SESSIONS, &body, KEY).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    world.stop().await;
}

#[tokio::test]
async fn repeated_registration_brings_the_secret_until_the_webhook_is_changed() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let first = post(&api, WEBHOOKS, &webhook(), KEY).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let registered = first.json();
    let again = post(&api, WEBHOOKS, &webhook(), KEY).await;
    assert_eq!(
        (again.status, again.json()),
        (StatusCode::CREATED, registered.clone())
    );
    assert!(registered["secret"].is_string(), "{registered}");
    // without the key the webhook exists
    let known = api.ask(Call::post(WEBHOOKS).json(&webhook())).await;
    assert_eq!((&known["id"], known.get("secret")), (&registered["id"], None));
    let mut other = webhook();
    other["uri"] = "https://crm.example/other".into();
    let reused = refusal(422, "idempotency.key.reused");
    assert_eq!(code(&post(&api, WEBHOOKS, &other, KEY).await), reused);

    let path = format!("{WEBHOOKS}/{}", registered["id"].as_str().unwrap());
    api.ask(Call::new(Method::PUT, &path).json(&other)).await;
    let changed = post(&api, WEBHOOKS, &webhook(), KEY).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(changed.json().get("secret"), None);
    api.ask(Call::new(Method::DELETE, &path)).await;
    let spent = refusal(409, "idempotency.key.spent");
    assert_eq!(code(&post(&api, WEBHOOKS, &webhook(), KEY).await), spent);
    world.stop().await;
}

#[tokio::test]
async fn creation_whose_reply_was_lost_is_repeated_by_the_suite() {
    let proxy = Proxy::start().await;
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        toml.replace("[store]", &format!("public_url = \"{}\"\n[store]", proxy.url()))
    })
    .await;
    proxy.set_target(world.gateway.address());
    let suite = world.suite();
    // the access token is fetched before
    suite.metrics().await.unwrap();
    proxy.lose(Loss::Reply, "POST /api/v2/webmessaging/guest-sessions");
    let guest = guest_suite::NewGuest {
        guest: Some("guest-7".parse().unwrap()),
        ..newcomer(&world.clock)
    };
    let mut session = soon(suite.create(guest)).await.unwrap();
    assert!(proxy.has_lost());
    soon(session.connect(page_origin())).await.unwrap();
    talk(&mut session, "hello").await;
    let metrics = suite.metrics().await.unwrap();
    assert_eq!(metrics.sessions, 1);
    world.stop().await;
}

#[tokio::test]
async fn ended_session_is_not_created_again() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let session = post(&api, SESSIONS, &named(), KEY).await.json();
    api.ask(Call::new(Method::DELETE, &path_of(&session, ""))).await;
    let spent = refusal(409, "idempotency.key.spent");
    assert_eq!(code(&post(&api, SESSIONS, &named(), KEY).await), spent);
    world.stop().await;
}
