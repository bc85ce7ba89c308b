//! Rejection input: each wrong request gets its typed error, and changes nothing.

mod bodies;
mod credentials;
mod frames;
mod limits;
mod methods;
mod oauth;
mod pages;
mod queries;
mod sessions;
mod upgrades;
mod webhooks;

use std::fmt::Write as _;
use std::time::Duration;

use guest_store::SessionQuery;
use http::StatusCode;
use serde_json::{Value, json};

use self::pages::Pages;
use crate::api::{Answer, Api, Call, SESSIONS, WEBHOOKS, guest, path_of};
use crate::world::{CLIENT, NEIGHBOR, READER, World};

/// A request that must be refused, with the expected response.
struct Rejection {
    what: String,
    call: Call,
    status: u16,
    code: &'static str,
    /// The fields that the answer's details must name.
    fields: Vec<String>,
    /// The error code of the details, where it matters.
    rule: Option<&'static str>,
    /// Headers that the answer must have.
    headers: Vec<(&'static str, String)>,
    /// Whether it is answered as an OAuth server answers.
    oauth: bool,
}

fn rejection(what: impl Into<String>, call: Call, status: u16, code: &'static str) -> Rejection {
    Rejection {
        what: what.into(),
        call,
        status,
        code,
        fields: Vec::new(),
        rule: None,
        headers: Vec::new(),
        oauth: false,
    }
}

/// A body with an invalid `field`, and the code of its detail.
fn malformed(what: impl Into<String>, call: Call, field: &str, detail: &'static str) -> Rejection {
    let code = if detail == "field.value" {
        "invalid.value"
    } else {
        "bad.request"
    };
    rejection(what, call, 400, code).at(field).rule(detail)
}

impl Rejection {
    fn at(mut self, field: &str) -> Self {
        self.fields.push(field.to_owned());
        self
    }

    fn rule(mut self, code: &'static str) -> Self {
        self.rule = Some(code);
        self
    }

    fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.push((header, value.to_owned()));
        self
    }

    fn in_oauth(mut self) -> Self {
        self.oauth = true;
        self
    }

    /// Differences of `answer` from the expected one.
    fn faults(&self, answer: &Answer) -> String {
        let mut faults = String::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                let _ = writeln!(faults, "  {what}");
            }
        };
        must(
            answer.status.as_u16() == self.status,
            &format!("the status is not {}", self.status),
        );
        for (name, value) in &self.headers {
            let found = answer.headers.get(*name).and_then(|found| found.to_str().ok());
            must(found == Some(value), &format!("the header {name} is not {value}"));
        }
        must(
            answer
                .headers
                .get("cache-control")
                .is_some_and(|value| value == "no-store"),
            "it may be cached",
        );
        if answer.status == StatusCode::UNAUTHORIZED {
            must(
                answer.headers.contains_key("www-authenticate"),
                "it names no way to authenticate",
            );
        }
        let id = answer.headers.get("inin-correlation-id");
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        must(!id.is_empty(), "it has no correlation id");
        let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let has_text = |name: &str| body[name].as_str().is_some_and(|text| text.len() > 10);
        if self.oauth {
            must(
                body["error"] == self.code,
                &format!("the error is not {}", self.code),
            );
            must(
                has_text("error_description"),
                "it has no description of the error",
            );
            return faults;
        }
        must(
            body["code"] == self.code,
            &format!("the code is not {}", self.code),
        );
        must(body["status"] == self.status, "the body's status is another one");
        must(body["contextId"] == id, "its contextId is not the correlation id");
        must(has_text("message"), "it has no description of the error");
        must(body["errors"] == json!([]), "it has no list of errors");
        let details = body["details"].as_array().cloned().unwrap_or_default();
        let named: Vec<&str> = details
            .iter()
            .filter_map(|detail| detail["fieldName"].as_str())
            .collect();
        must(
            named == self.fields,
            &format!("the fields {named:?} are named in place of {:?}", self.fields),
        );
        must(
            details.iter().all(|detail| {
                let code = detail["errorCode"].as_str();
                self.rule
                    .map_or(code.is_some_and(|code| !code.is_empty()), |rule| {
                        code == Some(rule)
                    })
            }),
            "a detail has not its error code",
        );
        faults
    }
}

/// The idempotency key of a rotation.
const KEY: &str = "a-key";

/// A gateway with state that bad requests could damage.
struct Fixture {
    world: World,
    api: Api,
    reader: Api,
    neighbor: Api,
    /// A token that the gateway issued more than an hour ago.
    expired: String,
    /// A session whose access token has expired.
    with_expired_token: Value,
    live: Value,
    /// The first refresh token of `live`, which was rotated with [`KEY`].
    used: String,
    ended: Value,
    /// Resources of another owner.
    foreign: Value,
    foreign_webhook: Value,
    webhook: Value,
    other_webhook: Value,
    pages: Pages,
}

impl Fixture {
    async fn start() -> Self {
        let world = World::start().await;
        let api = Api::of(&world, CLIENT).await;
        let (expired, with_expired_token) = (api.token.clone(), api.create(&guest()).await);
        world.clock.advance(Duration::from_secs(3_601));
        let api = Api::of(&world, CLIENT).await;
        let neighbor = Api::of(&world, NEIGHBOR).await;

        let mut live = guest();
        live["guestId"] = "guest-1".into();
        let mut live = api.create(&live).await;
        let used = live["refreshToken"].as_str().unwrap().to_owned();
        for key in [KEY, "another-key"] {
            let body = json!({ "refreshToken": live["refreshToken"] });
            let refresh = Call::post(&path_of(&live, "/refresh")).json(&body);
            let rotated = api.ask(refresh.header("idempotency-key", key)).await;
            for name in ["accessToken", "refreshToken", "expiresAt"] {
                live[name] = rotated[name].clone();
            }
        }
        let ended = api.create(&guest()).await;
        api.ask(Call::new(http::Method::DELETE, &path_of(&ended, "")))
            .await;
        Self {
            expired,
            with_expired_token,
            used,
            foreign: neighbor.create(&guest()).await,
            foreign_webhook: neighbor.ask(Call::post(WEBHOOKS).json(&webhook("theirs"))).await,
            webhook: api.ask(Call::post(WEBHOOKS).json(&webhook("crm"))).await,
            other_webhook: api.ask(Call::post(WEBHOOKS).json(&webhook("bi"))).await,
            reader: Api::of(&world, READER).await,
            live,
            ended,
            pages: Pages::visit(&world, &api).await,
            api,
            neighbor,
            world,
        }
    }

    /// All state that a bad request must not change.
    async fn state(&self) -> State {
        let store = self.world.gateway.store();
        let sessions = store.sessions(SessionQuery::All(None), 1_000).await.unwrap();
        let webhooks = store.webhooks().await.unwrap();
        let mut metrics = self.api.ask(Call::get(&format!("{SESSIONS}/metrics"))).await;
        // they change with the time
        for name in ["windows", "tutorialAvgDurationSeconds"] {
            metrics.as_object_mut().unwrap().remove(name).unwrap();
        }
        State {
            sessions: sessions
                .iter()
                .map(|session| format!("{session:?} {:?}", session.document))
                .collect(),
            webhooks: webhooks
                .iter()
                .map(|webhook| format!("{webhook:?} {:?}", webhook.document))
                .collect(),
            metrics,
            deliveries: store.stats().await.unwrap().outbox_pending,
            upstream: format!("{:?}", self.world.simulator.counters()),
        }
    }

    /// The names of the audit entries from number `from` on.
    async fn audited(&self, from: u64) -> Vec<String> {
        let entries = self
            .world
            .gateway
            .store()
            .entries(guest_store::EntryQuery::From(from), 1_000)
            .await
            .unwrap();
        let action = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
        entries
            .iter()
            .map(|entry| action(&entry.bytes)["action"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn audit_entries(&self) -> u64 {
        self.world.gateway.store().stats().await.unwrap().audit_entries
    }
}

#[derive(Debug, PartialEq)]
struct State {
    sessions: Vec<String>,
    webhooks: Vec<String>,
    metrics: Value,
    deliveries: u64,
    upstream: String,
}

/// Actions that are refused and audited.
const REFUSALS: [&str; 6] = [
    "auth.failed",
    "page.refused",
    "session.denied",
    "token.refused",
    "token.reuse_detected",
    "ws.refused",
];

/// A webhook that is registered and never called.
fn webhook(name: &str) -> Value {
    json!({
        "name": name,
        "uri": "https://crm.example/hook",
        "enabled": false,
        "eventFilters": [{ "predicate": { "type": "event", "values": ["webmessaging.guestsession.created"] } }],
    })
}

/// `body` with another value at `pointer`. `Null` removes the field.
fn changed(body: &Value, pointer: &str, value: Value) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    if value.is_null() {
        parent.as_object_mut().unwrap().remove(name);
    } else if let Some(list) = parent.as_array_mut() {
        list[name.parse::<usize>().unwrap()] = value;
    } else {
        parent[name] = value;
    }
    body
}

#[tokio::test]
async fn invalid_requests_get_their_typed_error_and_change_nothing() {
    let fixture = Fixture::start().await;
    let rows = [
        oauth::rows(),
        credentials::rows(&fixture),
        bodies::rows(&fixture),
        sessions::rows(&fixture),
        webhooks::rows(&fixture),
        upgrades::rows(&fixture),
        methods::rows(&fixture),
        queries::rows(&fixture),
        pages::rows(&fixture),
    ];
    assert!(rows[8].len() >= 100, "{} rows of pages", rows[8].len());
    let rows: Vec<Rejection> = rows.into_iter().flatten().collect();
    let of_pages = rows.iter().filter(|row| row.what.starts_with("page: "));
    assert!(of_pages.count() >= 300, "rows of pages are missing");

    let before = fixture.state().await;
    let mut failures = String::new();
    for row in &rows {
        let logged = fixture.audit_entries().await;
        let answer = fixture.api.send(row.call.clone()).await;
        let mut faults = row.faults(&answer);
        for action in fixture.audited(logged).await {
            if !REFUSALS.contains(&action.as_str()) {
                let _ = writeln!(faults, "  {action} was logged");
            }
        }
        if !faults.is_empty() {
            let _ = writeln!(
                failures,
                "{}: {} {}\n{faults}",
                row.what, answer.status, answer.text
            );
        }
    }
    assert!(
        failures.is_empty(),
        "of {} invalid requests:\n{failures}",
        rows.len()
    );
    assert_eq!(fixture.state().await, before);
    // valid requests still work
    fixture.api.ask(Call::get(&path_of(&fixture.live, ""))).await;
    fixture.pages.still_work(&fixture.api).await;
    fixture
        .neighbor
        .ask(Call::get(&path_of(&fixture.foreign, "")))
        .await;
    fixture.world.stop().await;
}
