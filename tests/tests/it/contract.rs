//! The contract's document compared with a gateway: every operation, status and field is in both.

mod conflicts;
mod faults;
mod files;
mod fixture;
mod frames;
mod pages;
mod sensitive;
mod sign_in;
mod webhooks;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use self::conflicts::conflict;
use self::faults::{destroy, slow};
use self::fixture::{Fixture, token_form, webhook, with_upgrade};
use crate::api::{Answer, Api, Call, QUERY, SESSIONS, WEBHOOKS, guest, path_of};
use crate::conversation::history::{chatty_world, messages};
use crate::document::DOCUMENT;
use crate::guests::until;
use crate::page::{Page, upgrade};
use crate::proxy::ClosedPort;
use crate::sensitive::child_session;
use crate::spa::cross_site;
use crate::world::{CLIENT, ORIGIN, World};

/// The fixtures in which every status can be provoked.
struct Fixtures {
    healthy: Fixture,
    /// Its API client has used up its requests.
    rate_limited: Fixture,
    /// Its pages are of another site. The second one has a store that fails.
    cross_site: [Fixture; 2],
    /// It has no `[spa]`.
    without_spa: Fixture,
    /// Its store fails. What to ask of it was made ready before.
    broken: (Fixture, HashMap<String, Call>),
}

impl Fixtures {
    async fn start() -> Self {
        let rate_limited = World::configured(genesys_sim::Rules::default(), |toml| {
            toml.replacen("[listen]\n", "[listen]\nrequests_per_minute = 1\n", 1)
                .replacen("[spa]\n", "[spa]\nrequests_per_minute = 1\n", 1)
        })
        .await;
        let api = Api::of(&rate_limited, CLIENT).await;
        // uses up the requests of pages
        api.send(Call::get("/spa/session")).await;
        let broken = Fixture::start().await;
        let mut ready = HashMap::new();
        for (operation, status) in DOCUMENT.answers() {
            if status == 503 && operation != "resumeBrowserSession" {
                ready.insert(operation.clone(), broken.call(&operation).await);
            }
        }
        destroy(&broken.world);
        let cross_site = [Fixture::cross_site().await, Fixture::cross_site().await];
        ready.insert(
            "resumeBrowserSession".to_owned(),
            cross_site[1].page("resumeBrowserSession").await,
        );
        destroy(&cross_site[1].world);
        Self {
            healthy: Fixture::start().await,
            rate_limited: Fixture {
                world: rate_limited,
                api,
            },
            cross_site,
            without_spa: Fixture::without_spa().await,
            broken: (broken, ready),
        }
    }

    /// The answer of an operation with this status; nothing if it is not known how to come by it.
    async fn provoke(&self, operation: &str, status: u16) -> Option<Answer> {
        let healthy = &self.healthy;
        let (_, template, value) = DOCUMENT.operation(operation);
        if pages::has(operation, status) {
            return self.page(operation, status).await;
        }
        healthy.delete_webhooks().await;
        let call = healthy.call(operation).await;
        let path = call.path();
        let unknown = match operation {
            "fetchAuditCheckpoint" => format!("{template}?size=999999"),
            "fetchAuditConsistency" => format!("{template}?old=999999"),
            "fetchAuditProof" => format!("{template}?entry=999999"),
            "listDeliveries" => format!("{}?state=dead", template.replace("{id}", "unknown")),
            _ => template
                .replace("{id}", "unknown")
                .replace("{deliveryId}", "unknown"),
        };
        Some(match (operation, status) {
            ("openSocket", 101) => {
                Page::ask(upgrade(&healthy.world.gateway.host().websocket_url(path)))
                    .await
                    .0
            }
            ("checkHealth", 503) => {
                let (broken, ready) = &self.broken;
                broken.api.send(ready[operation].clone()).await
            }
            ("openSocket", _) => self.socket(status, &call).await?,
            ("fetchMessages", 200..400 | 401..) => self.messages(status, call).await?,
            ("uploadAttachment", _) | ("deleteAttachment" | "fetchAttachment", 200..400 | 401..) => {
                self.files(operation, status, call).await?
            }
            (_, 400) if value["requestBody"].is_null() => {
                let known = call.path().to_owned();
                healthy.send(call.with_path(&format!("{known}?novelty=1"))).await
            }
            ("signIn" | "signOut", 409 | 422) => self.sign_in(status, call).await,
            ("fetchToken", 200 | 413 | 415 | 429 | 400 | 401 | 408) | ("checkHealth", _) => {
                self.open_to_all(operation, status, call).await?
            }
            (_, 200 | 304) if value["security"] == json!([]) => {
                self.open_to_all(operation, status, call).await?
            }
            ("replayDeliveries", 400) => {
                healthy
                    .send(call.with_body("application/json", "{\"novelty\": 1}"))
                    .await
            }
            ("registerWebhook", 200) => {
                healthy.send(call.clone()).await;
                healthy.send(call).await
            }
            (_, 200 | 201 | 204) => healthy.send(call).await,
            (_, 400) => healthy.send(call.with_body("application/json", "{}")).await,
            (_, 401) => healthy.api.send(call).await,
            (_, 403) => {
                healthy
                    .api
                    .send(call.bearer(&token_without_scope(&healthy.api, value).await))
                    .await
            }
            ("fetchGuest" | "eraseGuest", 404) => {
                healthy.send(call.json(&json!({ "guestId": "unknown" }))).await
            }
            (_, 404) => healthy.send(call.with_path(&unknown)).await,
            (_, 408) => slow(&healthy.world, call.bearer(&healthy.api.token)).await,
            (_, 409) => conflict(healthy, operation, call).await?,
            (_, 413) => {
                healthy
                    .send(call.with_body("application/json", " ".repeat(65_537)))
                    .await
            }
            (_, 415) => healthy.send(call.with_body("text/plain", "{}")).await,
            ("createSession", 422) => {
                let mut refused = guest();
                refused["consent"]["marketing"] = false.into();
                healthy
                    .send(call.with_body("application/json", refused.to_string()))
                    .await
            }
            ("registerWebhook", 422) => {
                let keyed = call.header("idempotency-key", "a-key");
                healthy.send(keyed.clone()).await;
                let other = webhook("another").to_string();
                healthy.send(keyed.with_body("application/json", other)).await
            }
            (_, 429) => {
                // on a slow machine a minute has passed
                self.rate_limited.send(call.clone()).await;
                self.rate_limited.send(call).await
            }
            (_, 503) => {
                let (broken, ready) = &self.broken;
                broken.send(ready[operation].clone()).await
            }
            _ => return None,
        })
    }

    /// Operations without a token.
    async fn open_to_all(&self, operation: &str, status: u16, call: Call) -> Option<Answer> {
        const FORM: &str = "application/x-www-form-urlencoded";
        let api = &self.healthy.api;
        Some(match (operation, status) {
            (_, 200) => api.send(call).await,
            (_, 304) => {
                let tag = api.send(call.clone()).await.header("etag").to_owned();
                api.send(call.header("if-none-match", &tag)).await
            }
            (_, 400) => {
                api.send(call.with_body(FORM, token_form("&scope=everything")))
                    .await
            }
            (_, 401) => {
                api.send(call.with_body(FORM, "grant_type=client_credentials"))
                    .await
            }
            (_, 408) => slow(&self.healthy.world, call).await,
            (_, 413) => api.send(call.with_body(FORM, "x".repeat(65_537))).await,
            (_, 415) => api.send(call.with_body("text/plain", "")).await,
            (_, 429) => {
                self.rate_limited.api.send(call.clone()).await;
                self.rate_limited.api.send(call).await
            }
            _ => return None,
        })
    }

    async fn socket(&self, status: u16, call: &Call) -> Option<Answer> {
        let api = &self.healthy.api;
        let plain = Call::get(call.path());
        let other = |path: &str| with_upgrade(Call::get(path), "invalid").header("origin", ORIGIN);
        Some(match status {
            400 => {
                let short = plain
                    .header("connection", "Upgrade")
                    .header("upgrade", "websocket");
                let short = short
                    .header("sec-websocket-version", "13")
                    .header("origin", ORIGIN);
                api.send(short).await
            }
            401 => api.send(other(call.path())).await,
            403 => api.send(with_upgrade(plain, "invalid")).await,
            404 => api.send(other(&format!("{SESSIONS}/unknown/socket"))).await,
            409 => {
                let session = call.path().trim_end_matches("/socket");
                self.healthy.send(Call::new(Method::DELETE, session)).await;
                api.send(call.clone()).await
            }
            426 => api.send(plain.header("origin", ORIGIN)).await,
            429 => self.limited_socket().await,
            503 => {
                let (broken, ready) = &self.broken;
                broken.api.send(ready["openSocket"].clone()).await
            }
            _ => return None,
        })
    }

    async fn messages(&self, status: u16, call: Call) -> Option<Answer> {
        let api = &self.healthy.api;
        Some(match status {
            200 => api.send(call).await,
            401 => api.send(Call::get(call.path())).await,
            403 => api.send(call.header("origin", "https://elsewhere.example")).await,
            404 => {
                api.send(call.with_path(&format!("{SESSIONS}/unknown/messages")))
                    .await
            }
            409 => {
                let session = call.path().trim_end_matches("/messages").to_owned();
                self.healthy.send(Call::new(Method::DELETE, &session)).await;
                api.send(call).await
            }
            503 => {
                let (broken, ready) = &self.broken;
                broken.api.send(ready["fetchMessages"].clone()).await
            }
            _ => return None,
        })
    }
}

/// A token of `api`'s client with all scopes but those that the operation requires.
async fn token_without_scope(api: &Api, operation: &Value) -> String {
    let asked = &operation["security"][0]["oauth"];
    let others: Vec<&str> = [
        "webmessaging:guest",
        "webmessaging:guest:write",
        "webhooks:readwrite",
        "audit:read",
        "guests:manage",
    ]
    .into_iter()
    .filter(|scope| !asked.as_array().unwrap().contains(&json!(scope)))
    .collect();
    let form = token_form(&format!("&scope={}", others.join("+")));
    let answer = api.send(Call::post("/oauth/token").form(&form)).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn operations_answer_with_every_documented_status_and_field() {
    let fixtures = Fixtures::start().await;
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    full_answers(&fixtures.healthy, &mut seen).await;
    DOCUMENT.seen("checkHealth", 200, &health_with_warnings().await, &mut seen);
    DOCUMENT.seen("fetchMessages", 200, &long_history().await, &mut seen);
    DOCUMENT.seen("createSession", 201, &child_session().await, &mut seen);
    let created = cross_site::create(&fixtures.cross_site[0].api).await;
    DOCUMENT.seen("createBrowserSession", 201, &created, &mut seen);
    for (operation, status) in DOCUMENT.answers() {
        match fixtures.provoke(&operation, status).await {
            Some(answer) if answer.status == status => {
                if let Ok(body) = serde_json::from_str(&answer.text) {
                    DOCUMENT.seen(&operation, status, &body, &mut seen);
                }
            }
            Some(answer) => missing.push(format!(
                "{operation} {status}: it is {} {}",
                answer.status, answer.text
            )),
            None => missing.push(format!("{operation} {status}: it is not known how to provoke it")),
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let unseen: Vec<String> = DOCUMENT.properties().difference(&seen).cloned().collect();
    assert!(unseen.is_empty(), "no answer has these fields: {unseen:#?}");
    fixtures.healthy.world.stop().await;
}

#[tokio::test]
async fn opt_out_signal_is_read_from_the_header_and_the_body() {
    let fixture = Fixture::start().await;
    let signed = |call: Call, header: bool| match header {
        true => call.header("sec-gpc", "1"),
        false => call,
    };
    for (header, field, change, expected) in [
        (false, false, json!({ "analytics": true }), false),
        (true, false, json!({}), true),
        (false, true, json!({ "gpc": true }), true),
        (true, true, json!({ "analytics": true, "gpc": true }), true),
    ] {
        let mut body = guest();
        body["consent"]["gpc"] = field.into();
        let created = fixture
            .api
            .ask(signed(Call::post(SESSIONS).json(&body), header))
            .await;
        let marketing = &created["consent"]["purposes"]["marketing"]["on"];
        assert_eq!(
            (&created["consent"]["gpc"], marketing),
            (&json!(expected), &json!(!expected))
        );
        let plain = fixture.api.create(&guest()).await;
        let call = Call::new(Method::PATCH, &path_of(&plain, "/consent")).json(&change);
        let changed = fixture.api.ask(signed(call, header)).await;
        assert_eq!(changed["consent"]["gpc"], expected, "{header} {field}: {changed}");
    }
    fixture.world.stop().await;
}

/// Answers with the fields that only a session with a past has.
async fn full_answers(fixture: &Fixture, seen: &mut BTreeSet<String>) {
    let session = fixture.session().await;
    let mut page = Page::of(&session).await;
    page.message("hello").await;
    page.until("message").await;
    page.leave().await;
    let id = session["id"].as_str().unwrap();
    fixture
        .send(Call::new(Method::DELETE, &format!("{SESSIONS}/{id}")))
        .await;
    for (operation, rest) in [
        ("fetchSession", format!("/{id}")),
        ("fetchMetrics", "/metrics".to_owned()),
        ("fetchAuditTrail", format!("/{id}/audit?limit=1")),
    ] {
        let answer = fixture.send(Call::get(&format!("{SESSIONS}{rest}"))).await;
        DOCUMENT.seen(operation, 200, &answer.json(), seen);
    }
    webhooks::full_answers(fixture, seen).await;
    // a page and one session more
    let waits = fixture.webhook().await;
    let mut body = guest();
    body["guestId"] = session["guestId"].clone();
    for _ in 0..100 {
        let again = fixture.api.create(&body).await;
        fixture
            .send(Call::new(Method::DELETE, &path_of(&again, "")))
            .await;
    }
    let of_guest = json!({ "guestId": session["guestId"] });
    let answer = fixture.send(Call::post(QUERY).json(&of_guest)).await;
    DOCUMENT.seen("fetchGuest", 200, &answer.json(), seen);
    let waiting = format!(
        "{WEBHOOKS}/{}/deliveries?state=waiting",
        waits["id"].as_str().unwrap()
    );
    let answer = fixture.send(Call::get(&waiting)).await.json();
    DOCUMENT.seen("listDeliveries", 200, &answer, seen);
    let next = format!("{waiting}&after={}", answer["next"].as_str().unwrap());
    let rest = fixture.send(Call::get(&next)).await.json();
    assert!(
        rest["deliveries"]
            .as_array()
            .is_some_and(|rest| !rest.contains(&answer["deliveries"][0]))
    );
}

/// The first page of a history that has several, with content.
async fn long_history() -> Value {
    let world = chatty_world().await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let mut page = Page::of(&session).await;
    page.message("flood").await;
    while page.until("message").await["text"] != "54" {}
    page.message("offer").await;
    page.until("message").await;
    let answer = api.send(messages(&session, "")).await.json();
    world.stop().await;
    answer
}

/// The health of a gateway whose checkpoints cannot be sent.
async fn health_with_warnings() -> Value {
    let closed = ClosedPort::reserve();
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        format!("audit.checkpoint_url = \"http://{}/\"\n{toml}", closed.address())
    })
    .await;
    let api = Api::of(&world, CLIENT).await;
    let health = async || api.send(Call::get("/health/ready")).await.json();
    until(async || {
        world.clock.advance(Duration::from_secs(60));
        health().await["warnings"].is_array()
    })
    .await;
    let health = health().await;
    world.stop().await;
    health
}

#[tokio::test]
async fn paths_have_only_the_documented_methods() {
    let fixture = Fixture::start().await;
    for (template, methods) in DOCUMENT.methods() {
        let path = template.replace("{id}", "x");
        let answer = fixture.send(Call::new(Method::OPTIONS, &path)).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed: BTreeSet<String> = answer.header("allow").split(", ").map(str::to_owned).collect();
        assert_eq!(allowed, methods, "{path}");
    }
    fixture.world.stop().await;
}

#[tokio::test]
async fn contract_document_is_served_with_an_etag() {
    let fixture = Fixture::start().await;
    for (path, file, media) in [
        (
            "/openapi.json",
            "openapi.json",
            "application/vnd.oai.openapi+json;version=3.1",
        ),
        (
            "/frames.schema.json",
            "frames.schema.json",
            "application/schema+json",
        ),
        (
            "/events.schema.json",
            "events.schema.json",
            "application/schema+json",
        ),
    ] {
        let answer = fixture.api.send(Call::get(path)).await;
        assert_eq!(answer.header("content-type"), media);
        assert_eq!(answer.header("cache-control"), "public, max-age=86400");
        let mut spec: Value = serde_json::from_str(
            &std::fs::read_to_string(format!(
                "{}/../spec/guest-sessions/{file}",
                env!("CARGO_MANIFEST_DIR")
            ))
            .unwrap(),
        )
        .unwrap();
        let served = answer.json();
        // the lists of codes are filled in
        for pointer in [
            "/components/schemas/ErrorCode",
            "/$defs/RefusalCode",
            "/$defs/FailureCode",
        ] {
            if let Some(codes) = spec.pointer_mut(pointer) {
                codes["enum"] = served.pointer(pointer).unwrap()["enum"].clone();
            }
        }
        assert_eq!(served, spec);
        let tag = answer.header("etag").to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let call = Call::get(path).header("if-none-match", &known);
            let again = fixture.api.send(call).await;
            assert_eq!(
                (again.status, again.text.as_str()),
                (StatusCode::NOT_MODIFIED, "")
            );
            assert_eq!(again.header("etag"), tag);
        }
    }
    fixture.world.stop().await;
}
