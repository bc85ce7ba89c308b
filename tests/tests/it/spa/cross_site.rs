//! `embedding = "cross-site"`: an access token and a resume handle in place of the cookie.

use std::time::Duration;

use guest_store::{EntryQuery, SessionQuery};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{CREATE, consent, of_page, world_with};
use crate::api::{Answer, Api, Call, path_of};
use crate::page::{Page, upgrade_with};
use crate::world::{ORIGIN, World};

/// Another allowed origin.
pub(super) const SECOND_ORIGIN: &str = "https://second.example";
const RESUME: &str = "/spa/session/resume";

pub(crate) async fn world() -> (World, Api) {
    let (world, api) = world_with("embedding = \"cross-site\"").await;
    (world, api)
}

pub(super) async fn world_with_two_origins() -> (World, Api) {
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        let two = format!("allowed_origins = [{ORIGIN:?}, {SECOND_ORIGIN:?}]");
        toml.replace(&format!("allowed_origins = [{ORIGIN:?}]"), &two)
            .replace("\n[spa]\n", "\n[spa]\nembedding = \"cross-site\"\n")
    })
    .await;
    let api = Api::of(&world, crate::world::CLIENT).await;
    (world, api)
}

pub(crate) async fn create(api: &Api) -> Value {
    let create = of_page(Call::post(CREATE).json(&consent()));
    let answer = api.send(create.header("sec-fetch-site", "cross-site")).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert!(answer.headers.get("set-cookie").is_none());
    answer.json()
}

pub(crate) fn resume(session: &Value) -> Call {
    let body = json!({ "resumeHandle": session["resumeHandle"] });
    of_page(Call::post(RESUME).json(&body))
}

pub(crate) fn with_token(call: Call, session: &Value) -> Call {
    of_page(call).bearer(session["accessToken"].as_str().unwrap())
}

#[tokio::test]
async fn page_of_another_site_resumes_by_its_handle() {
    let (world, api) = world().await;
    let created = create(&api).await;
    assert!(created["refreshToken"].is_null());
    let ticket = api
        .send(with_token(Call::post("/spa/session/ticket"), &created))
        .await
        .json();
    let offered = format!("guest-sessions.v1, ticket.{}", ticket["ticket"].as_str().unwrap());
    let url = created["websocketUrl"].as_str().unwrap();
    let mut page = Page::open(upgrade_with(url, "sec-websocket-protocol", &offered))
        .await
        .unwrap();
    let handshake =
        json!({ "type": "handshake", "guestSessionId": created["id"], "timestamp": created["createdAt"] });
    page.send_frame(&handshake).await;
    page.until("handshake.accepted").await;
    page.message("hello").await;
    page.until("message").await;
    page.leave().await;

    world.clock.advance(Duration::from_secs(900));
    let fetch = |session: &Value| with_token(Call::get("/spa/session"), session);
    assert_eq!(
        api.send(fetch(&created)).await.json()["code"],
        "credentials.expired"
    );
    let resumed = api.send(resume(&created)).await;
    assert_eq!(resumed.status, StatusCode::OK, "{}", resumed.text);
    let resumed = resumed.json();
    assert!(resumed["resumeHandle"].is_null(), "it stays the same");
    assert_eq!(api.send(fetch(&resumed)).await.json()["id"], created["id"]);
    let history = with_token(Call::get(&path_of(&resumed, "/messages")), &resumed);
    assert_eq!(
        api.send(history).await.json()["messages"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let end = with_token(Call::new(Method::DELETE, "/spa/session"), &resumed);
    assert_eq!(api.send(end).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.send(fetch(&resumed)).await.json()["code"], "session.gone");
    assert_eq!(api.send(resume(&created)).await.json()["code"], "session.gone");
    world.stop().await;
}

#[tokio::test]
async fn answers_are_shared_without_credentials() {
    let (world, api) = world().await;
    let preflight = Call::new(Method::OPTIONS, CREATE)
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST");
    let answer = api.send(preflight).await;
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "authorization, content-type, idempotency-key, x-guest-sessions-csrf"
    );
    assert!(answer.headers.get("access-control-allow-credentials").is_none());
    let settings = api
        .send(Call::get("/spa/settings").header("origin", ORIGIN))
        .await;
    assert_eq!(
        settings.json(),
        json!({ "embedding": "cross-site", "anonymous": true })
    );
    world.stop().await;
}

/// The state that no refusal changes, and the actions that were audited.
async fn state(world: &World) -> (Vec<String>, Vec<Value>) {
    let store = world.gateway.store();
    let sessions = store.sessions(SessionQuery::All(None), 1_000).await.unwrap();
    let sessions = sessions
        .iter()
        .map(|session| format!("{session:?} {:?}", session.document));
    let entries = store.entries(EntryQuery::From(0), 1_000).await.unwrap();
    let actions = entries.iter().map(|entry| {
        let entry: Value = serde_json::from_slice(&entry.bytes).unwrap();
        entry["action"].clone()
    });
    let is_change = |action: &Value| action != "page.refused" && action != "auth.failed";
    (sessions.collect(), actions.filter(is_change).collect())
}

/// A refused request: its description, its status and its code.
type Row = (&'static str, Call, u16, &'static str);

/// Handles that are presented by others, or altered.
fn handles(own: &Value, other: &Value) -> Vec<Row> {
    let handle = own["resumeHandle"].as_str().unwrap();
    let (id, secret) = handle.rsplit_once('.').unwrap();
    let other_id = other["id"].as_str().unwrap();
    let at = |origin: &str, handle: &str| {
        let call = Call::post(RESUME).json(&json!({ "resumeHandle": handle }));
        call.header("x-guest-sessions-csrf", "1").header("origin", origin)
    };
    let without_header = Call::post(RESUME).json(&json!({ "resumeHandle": handle }));
    let refused = |what, handle: &str| (what, at(ORIGIN, handle), 401, "bad.credentials");
    let wrong_origin = |what, origin| (what, at(origin, handle), 403, "origin.not.allowed");
    vec![
        (
            "a handle at another allowed origin",
            at(SECOND_ORIGIN, handle),
            401,
            "bad.credentials",
        ),
        wrong_origin(
            "a handle at an origin that is not allowed",
            "https://evil.example",
        ),
        wrong_origin("a handle at the origin null", "null"),
        refused("no handle", ""),
        refused("a handle without its secret", id),
        refused("a shorter handle", &handle[..handle.len() - 2]),
        refused("a handle of another session", &format!("{other_id}.{secret}")),
        refused(
            "an access token as a handle",
            own["accessToken"].as_str().unwrap(),
        ),
        (
            "a handle without the header",
            without_header.header("origin", ORIGIN),
            403,
            "csrf.refused",
        ),
        (
            "a handle as text",
            at(ORIGIN, handle).with_body("text/plain", "{}"),
            415,
            "unsupported.media.type",
        ),
    ]
}

/// Access tokens that are presented by others, or altered.
fn access_tokens(own: &Value, other: &Value, api: &Api) -> Vec<Row> {
    let (token, handle) = (
        own["accessToken"].as_str().unwrap(),
        own["resumeHandle"].as_str().unwrap(),
    );
    let (claims, tag) = token.split_once('.').unwrap();
    let other_claims = other["accessToken"].as_str().unwrap().split_once('.').unwrap().0;
    let mut rows = Vec::new();
    for call in [
        Call::get("/spa/session"),
        Call::post("/spa/session/ticket"),
        Call::new(Method::DELETE, "/spa/session"),
        Call::new(Method::PATCH, "/spa/session/consent").json(&json!({ "analytics": false })),
    ] {
        let bearer = |what, token: &str| (what, of_page(call.clone()).bearer(token), 401, "bad.credentials");
        let without = |what, call: Call| (what, of_page(call), 401, "session.required");
        let elsewhere = call.clone().bearer(token).header("origin", SECOND_ORIGIN);
        let cookie = format!("__Host-guest-session={handle}");
        rows.extend([
            (
                "an access token at another allowed origin",
                elsewhere.header("x-guest-sessions-csrf", "1"),
                401,
                "bad.credentials",
            ),
            bearer("a handle as an access token", handle),
            bearer("the token of an API client", &api.token),
            bearer(
                "an access token with other claims",
                &format!("{other_claims}.{tag}"),
            ),
            bearer("an access token without its MAC", &format!("{claims}.")),
            without("no access token", call.clone()),
            without("a cookie with the handle", call.header("cookie", &cookie)),
        ]);
    }
    rows
}

#[tokio::test]
async fn stolen_credentials_of_a_page_are_refused_and_change_nothing() {
    let (world, api) = world_with_two_origins().await;
    let (own, other) = (create(&api).await, create(&api).await);
    let mut rows = handles(&own, &other);
    rows.extend(access_tokens(&own, &other, &api));
    // a page's token opens nothing of the API
    let session = Call::get(&path_of(&own, "")).bearer(own["accessToken"].as_str().unwrap());
    rows.push(("the token of a page at the API", session, 401, "bad.credentials"));
    let before = state(&world).await;
    for (what, call, status, code) in rows {
        let answer: Answer = api.send(call).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (status, &json!(code)),
            "{what}"
        );
        assert_eq!(state(&world).await, before, "{what}");
    }
    assert_eq!(api.send(resume(&own)).await.status, StatusCode::OK);
    world.stop().await;
}
