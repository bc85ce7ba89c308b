//! Failing requests that hold a secret.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{GRANTED, GUESS, MESSAGE, Seen, text};
use crate::api::{Api, Call, SESSIONS, guest};
use crate::page::{Page, handshake, upgrade, upgrade_with};
use crate::world::{CLIENT, World};

/// Errors of every kind, with a secret in each request.
pub(super) async fn provoke(world: &World, api: &Api, session: &Value, seen: &mut Seen) {
    let (token, refresh) = (text(&session["accessToken"]), text(&session["refreshToken"]));
    let path = format!("{SESSIONS}/{}", text(&session["id"]));
    let bad_json = |secret: &str| format!("{{\"refreshToken\": \"{secret}\"");
    let grant = "grant_type=client_credentials";
    let (id, secret) = CLIENT;
    let calls = [
        Call::post("/oauth/token").form(&format!("{grant}&client_id={id}&client_secret={GUESS}")),
        Call::post("/oauth/token").form(&format!("{grant}&client_id={GUESS}&client_secret={secret}")),
        Call::post("/oauth/token").form(&format!(
            "{grant}&client_id={id}&client_secret={secret}&scope={secret}"
        )),
        Call::post("/oauth/token").form(&format!("{grant}&{secret}=1")),
        Call::post("/oauth/token").json(&json!({ "client_secret": secret })),
        Call::post("/oauth/token")
            .form(grant)
            .header("authorization", &format!("Basic {secret}")),
        Call::get(&path).bearer(GUESS),
        Call::get(&path).bearer(token),
        Call::get(&path).bearer(&format!("{}x", api.token)),
        Call::get(&path).header("authorization", &api.token),
        Call::get(&format!("{path}?access_token={}", api.token)),
        Call::post(&format!("{path}/refresh"))
            .bearer(&api.token)
            .body("application/json", bad_json(refresh)),
        Call::post(&format!("{path}/refresh"))
            .bearer(&api.token)
            .json(&json!({ "refreshToken": [refresh] })),
        Call::post(&format!("{path}/refresh"))
            .bearer(&api.token)
            .json(&json!(refresh)),
        Call::post(&format!("{path}/refresh"))
            .bearer(&api.token)
            .json(&json!({ "refreshToken": token })),
        Call::post(&format!("{path}/refresh"))
            .bearer(&api.token)
            .json(&json!({ "refreshToken": GUESS })),
        Call::post(&format!("{path}/refresh"))
            .bearer(&api.token)
            .body("text/plain", refresh),
        Call::post(&format!("{path}/refresh"))
            .bearer(&api.token)
            .body("application/json", refresh.repeat(2_000)),
        Call::get(&format!("{path}/socket?access_token={token}")),
        Call::post(&format!("{path}/socket?access_token={token}")),
        Call::get(&format!("/missing?access_token={token}")),
        create(&api.token, "/guestId", &json!(GUESS)),
        create(&api.token, "/guestAttributes/note", &json!([GRANTED])),
        create(&api.token, "/guestAttributes/note", &json!(GRANTED.repeat(100))),
        create(&api.token, "/consent/consentTimestamp", &json!(GUESS)),
        create(&api.token, "/consent/marketing", &json!(GUESS)),
        create(&api.token, "/consent/personalization", &json!(false)),
    ];
    for call in calls {
        let what = format!("the answer to {call:?}");
        let answer = api.send(call).await;
        assert!(answer.status.is_client_error(), "{what}: {answer:?}");
        seen.answer("a refusal", &answer);
    }
    refused_upgrades(session, seen).await;
    refused_frames(session, seen).await;
    world.clock.advance(Duration::from_secs(3_601));
    let late = api.send(Call::get(&path).bearer(&api.token)).await;
    assert_eq!(late.status, 401, "{late:?}");
    seen.answer("an expired API token", &late);
    let expired = format!("{}?access_token={token}", text(&session["websocketUrl"]));
    let (status, body) = Page::open(upgrade(&expired)).await.err().unwrap();
    assert_eq!(status, 401, "{body}");
    seen.keep("an expired access token", body);
    let api = Api::of(world, CLIENT).await;
    api.ask(Call::new(Method::DELETE, &path)).await;
}

fn create(token: &str, pointer: &str, value: &Value) -> Call {
    let mut body = guest();
    body["guestAttributes"]["note"] = GRANTED.into();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value.clone();
    Call::post(SESSIONS).json(&body).bearer(token)
}

async fn refused_upgrades(session: &Value, seen: &mut Seen) {
    let (url, token) = (text(&session["websocketUrl"]), text(&session["accessToken"]));
    let other = url.replace(text(&session["id"]), "00000000-0000-4000-8000-000000000000");
    let mut requests = vec![
        upgrade(&format!("{url}?access_token={token}x")),
        upgrade(&format!("{url}?access_token={}", text(&session["refreshToken"]))),
        upgrade(&format!("{other}?access_token={token}")),
    ];
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", GUESS),
        ("sec-websocket-version", "8"),
        ("sec-websocket-key", "short"),
    ] {
        requests.push(upgrade_with(&format!("{url}?access_token={token}"), name, value));
    }
    for request in requests {
        let (status, body) = Page::open(request).await.err().expect("a refusal");
        assert!((400..500).contains(&status), "{status} {body}");
        seen.keep("a refused upgrade", body);
    }
}

async fn refused_frames(session: &Value, seen: &mut Seen) {
    let url = text(&session["websocketUrl"]);
    let mut handshakes = vec![json!({ "type": "message", "id": GUESS, "text": MESSAGE })];
    for (field, value) in [
        ("guestSessionId", json!("another")),
        ("accessToken", json!(GUESS)),
        ("accessToken", session["refreshToken"].clone()),
        ("accessToken", json!([session["accessToken"]])),
        ("more", session["accessToken"].clone()),
        ("type", session["accessToken"].clone()),
    ] {
        let mut frame = handshake(session);
        frame[field] = value;
        handshakes.push(frame);
    }
    for frame in handshakes {
        let mut page = Page::open(upgrade(url)).await.unwrap();
        page.send_unchecked(&frame).await;
        seen.keep("an error frame", page.until("error").await.to_string());
    }
    let mut page = Page::of(session).await;
    for frame in [
        json!({ "type": "message", "text": MESSAGE }),
        json!({ "type": MESSAGE }),
        json!({ "type": "ping", "id": [MESSAGE] }),
    ] {
        page.send_unchecked(&frame).await;
        seen.keep("an error frame", page.until("error").await.to_string());
    }
    let id = genesys_api::entropy::uuid().to_string();
    page.send_unchecked(&json!({ "type": "message", "id": id, "text": MESSAGE.repeat(120) }))
        .await;
    seen.keep("a failed message", page.delivery("failed").await.to_string());
}
