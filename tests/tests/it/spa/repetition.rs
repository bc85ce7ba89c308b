//! The creation of a session whose answer was lost.

use http::StatusCode;
use serde_json::{Value, json};

use super::assertion::Claims;
use super::cross_site::{SECOND_ORIGIN, world_with_two_origins};
use super::{CREATE, Visit, consent, of_page, world_with};
use crate::api::{Call, SESSIONS, guest};

const KEY: &str = "6f1c2a34-5f1e-4a5e-9a55-0d2f6d0c7d11";

fn create(key: &str, body: &Value) -> Call {
    of_page(Call::post(CREATE).json(body)).header("idempotency-key", &format!("{key:?}"))
}

#[tokio::test]
async fn repeated_creation_of_a_page_brings_its_session_until_a_conversation_is_opened() {
    let (world, api) = world_with("").await;
    let mut body = consent();
    body["assertion"] = Claims::of(&world, "guest-7").sign().into();
    let created = api.send(create(KEY, &body)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    // its assertion is used
    let repeated = api.send(create(KEY, &body)).await;
    assert_eq!(repeated.status, StatusCode::CREATED, "{}", repeated.text);
    assert_eq!(repeated.json()["id"], created.json()["id"]);
    assert_eq!(repeated.header("set-cookie"), created.header("set-cookie"));

    // another request, a key that others may choose, and the key of an API client
    let mut other = body.clone();
    other["consent"]["marketing"] = json!(false);
    let refused = api.send(create(KEY, &other)).await;
    assert_eq!(refused.json()["code"], "idempotency.key.reused");
    let refused = api.send(create("guest-of-the-shop", &consent())).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    assert!(refused.text.contains("shorter than 22"), "{}", refused.text);
    let of_client = Call::post(SESSIONS).bearer(&api.token).json(&guest());
    let of_client = api.send(of_client.header("idempotency-key", KEY)).await;
    assert_eq!(of_client.status, StatusCode::CREATED, "{}", of_client.text);

    let visit = Visit::of(&repeated);
    let page = visit.open(&api).await;
    let spent = api.send(create(KEY, &body)).await;
    assert_eq!(
        (spent.status, &spent.json()["code"]),
        (StatusCode::CONFLICT, &json!("idempotency.key.spent"))
    );
    drop(page);
    world.stop().await;
}

#[tokio::test]
async fn repeated_creation_from_another_origin_gets_no_session() {
    let (world, api) = world_with_two_origins().await;
    let created = api.send(create(KEY, &consent())).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let repeated = api.send(create(KEY, &consent())).await.json();
    assert_eq!(repeated["id"], created.json()["id"]);
    assert_eq!(repeated["resumeHandle"], created.json()["resumeHandle"]);
    let elsewhere = Call::post(CREATE).json(&consent());
    let elsewhere = elsewhere
        .header("origin", SECOND_ORIGIN)
        .header("x-guest-sessions-csrf", "1")
        .header("idempotency-key", KEY);
    let refused = api.send(elsewhere).await;
    assert_eq!(refused.json()["code"], "idempotency.key.reused");
    world.stop().await;
}
