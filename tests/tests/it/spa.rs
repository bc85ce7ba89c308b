//! `/spa`: sessions of pages without a backend.

pub(crate) mod assertion;
mod chat;
pub(crate) mod cross_site;
mod repetition;

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, path_of};
use crate::page::{Page, handshake, upgrade, upgrade_with};
use crate::sensitive::DIAGNOSIS;
use crate::world::{CLIENT, ORIGIN, World};

pub(crate) const CREATE: &str = "/spa/session";

/// The body of a creation.
pub(crate) fn consent() -> Value {
    json!({
        "guestAttributes": { "region": "EU", "diagnosis": DIAGNOSIS },
        "consent": { "marketing": true, "personalization": true, "analytics": true },
    })
}

/// A request with the headers of a script of the allowed page.
pub(crate) fn of_page(call: Call) -> Call {
    call.header("origin", ORIGIN).header("x-guest-sessions-csrf", "1")
}

/// An upgrade that offers a ticket, without an origin.
pub(crate) fn with_ticket(call: Call, ticket: &str) -> Call {
    call.header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header(
            "sec-websocket-protocol",
            &format!("guest-sessions.v1, ticket.{ticket}"),
        )
}

/// A browser with a session.
pub(crate) struct Visit {
    pub(crate) session: Value,
    /// Name and value of its cookie.
    pub(crate) cookie: String,
}

impl Visit {
    pub(crate) async fn create(api: &Api) -> Self {
        let answer = api.send(of_page(Call::post(CREATE).json(&consent()))).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        Self::of(&answer)
    }

    fn of(answer: &Answer) -> Self {
        let (cookie, attributes) = answer.header("set-cookie").split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Strict");
        assert!(cookie.starts_with("__Host-guest-session="));
        Self {
            session: answer.json(),
            cookie: cookie.to_owned(),
        }
    }

    /// A request of this browser from the allowed page.
    pub(crate) fn call(&self, call: Call) -> Call {
        of_page(call).header("cookie", &self.cookie)
    }

    pub(crate) async fn ticket(&self, api: &Api) -> String {
        let answer = api.send(self.call(Call::post("/spa/session/ticket"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["ticket"].as_str().unwrap().to_owned()
    }

    /// Opens a socket by a new ticket.
    pub(crate) async fn open(&self, api: &Api) -> Page {
        let url = self.session["websocketUrl"].as_str().unwrap();
        let offered = format!("guest-sessions.v1, ticket.{}", self.ticket(api).await);
        let mut page = Page::open(upgrade_with(url, "sec-websocket-protocol", &offered))
            .await
            .unwrap();
        let created_at = &self.session["createdAt"];
        let handshake =
            json!({ "type": "handshake", "guestSessionId": self.session["id"], "timestamp": created_at });
        page.send_frame(&handshake).await;
        page.until("handshake.accepted").await;
        page
    }

    async fn fetch(&self, api: &Api) -> Answer {
        api.send(self.call(Call::get("/spa/session"))).await
    }
}

async fn world_with(spa: &str) -> (World, Api) {
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        toml.replace("\n[spa]\n", &format!("\n[spa]\n{spa}\n"))
    })
    .await;
    let api = Api::of(&world, CLIENT).await;
    (world, api)
}

#[tokio::test]
async fn page_without_a_backend_goes_from_consent_to_the_end() {
    let (world, api) = world_with("").await;
    let visit = Visit::create(&api).await;
    for name in ["accessToken", "refreshToken", "guestId"] {
        assert!(visit.session[name].is_null(), "{name}");
    }
    let mut page = visit.open(&api).await;
    page.message("hello").await;
    let reply = page.until("message").await;
    page.leave().await;

    // after a reload
    let fetched = visit.fetch(&api).await;
    assert_eq!(fetched.json()["id"], visit.session["id"]);
    assert_eq!(fetched.json()["state"], "answered");
    let history = api
        .send(visit.call(Call::get(&path_of(&visit.session, "/messages"))))
        .await;
    assert_eq!(history.json()["messages"][0]["id"], reply["id"]);
    let change = |body| Call::new(Method::PATCH, "/spa/session/consent").json(&body);
    let signal = visit.call(change(json!({}))).header("sec-gpc", "1");
    let signaled = api.send(signal).await.json();
    assert_eq!(signaled["consent"]["gpc"], true, "{signaled}");
    let changed = api
        .send(visit.call(change(json!({ "analytics": false }))))
        .await
        .json();
    assert_eq!(changed["consent"]["purposes"]["analytics"]["on"], false);
    assert_eq!(changed["consent"]["gpc"], true);

    let mut page = visit.open(&api).await;
    let ended = api
        .send(visit.call(Call::new(Method::DELETE, "/spa/session")))
        .await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert!(ended.header("set-cookie").ends_with("; Max-Age=0"));
    page.until("session.ended").await;
    assert_eq!(visit.fetch(&api).await.json()["code"], "session.gone");

    let audit = Call::get(&path_of(&visit.session, "/audit"));
    let trail = api.ask(audit).await;
    let acts = |action: &str| action.starts_with("session.") || action.starts_with("consent.");
    let entries = trail["entries"].as_array().unwrap().iter();
    let by: Vec<_> = entries
        .filter(|entry| acts(entry["action"].as_str().unwrap()))
        .map(|entry| {
            (
                entry["action"].as_str().unwrap(),
                entry["actor"]["type"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        "session.ended",
        "consent.withdrawn",
        "consent.withdrawn",
        "session.created",
    ];
    assert_eq!(by, expected.map(|action| (action, "guest")));
    world.stop().await;
}

#[tokio::test]
async fn ticket_extends_the_session_to_the_idle_timeout_and_at_most_to_its_lifetime() {
    let (world, api) = world_with("lifetime = \"30h\"").await;
    let visit = Visit::create(&api).await;
    let state = async || {
        world
            .gateway
            .store()
            .sessions(guest_store::SessionQuery::All(None), 1)
            .await
            .unwrap()
    };
    let version = async || state().await[0].version;
    let first = version().await;
    visit.ticket(&api).await;
    assert_eq!(version().await, first, "it was created just now");
    for (hours, extensions) in [(20, 1), (9, 0)] {
        world.clock.advance(Duration::from_secs(hours * 3_600));
        visit.fetch(&api).await;
        let before = version().await;
        visit.ticket(&api).await;
        assert_eq!(
            version().await,
            before + extensions,
            "a ticket extends it, at most to its lifetime"
        );
        visit.ticket(&api).await;
        assert_eq!(version().await, before + extensions, "at most once a minute");
    }
    world.clock.advance(Duration::from_secs(3_599));
    assert_eq!(visit.fetch(&api).await.status, StatusCode::OK);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(visit.fetch(&api).await.json()["code"], "session.gone");
    world.stop().await;
}

#[tokio::test]
async fn open_socket_of_a_page_extends_its_session() {
    let (world, api) = world_with("lifetime = \"26h\"").await;
    let visit = Visit::create(&api).await;
    let mut page = visit.open(&api).await;
    for _ in 0..25 {
        world.clock.advance(Duration::from_secs(3_600));
        page.message("still here").await;
        page.delivery("sent").await;
    }
    world.clock.advance(Duration::from_secs(3_600));
    assert!(page.closed().await.is_some());
    assert_eq!(visit.fetch(&api).await.json()["code"], "session.gone");
    world.stop().await;
}

#[tokio::test]
async fn requests_and_sessions_of_an_address_are_limited() {
    let (world, api) = world_with("sessions_per_minute = 2\nrequests_per_minute = 5").await;
    let create = || of_page(Call::post(CREATE).json(&consent()));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(api.send(create()).await.status.as_u16());
    }
    let limited = api.send(create().header("x-forwarded-for", "192.0.2.1")).await;
    statuses.push(limited.status.as_u16());
    for _ in 0..3 {
        let answer = api.send(of_page(Call::get("/spa/session"))).await;
        statuses.push(answer.status.as_u16());
    }
    // a proxy on loopback names another address, which has limits of its own
    assert_eq!(statuses, [201, 201, 429, 201, 401, 401, 429]);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(api.send(create()).await.status, StatusCode::CREATED);
    world.stop().await;
}

#[tokio::test]
async fn requests_of_a_session_are_limited_by_themselves() {
    let world = World::with(genesys_sim::Rules::default(), "requests_per_minute = 3").await;
    let api = Api::of(&world, CLIENT).await;
    let visit = Visit::create(&api).await;
    let fetch = || visit.call(Call::get("/spa/session"));
    let forged = of_page(Call::get("/spa/session")).header("cookie", &format!("{}A", visit.cookie));
    for _ in 0..5 {
        assert_eq!(api.send(forged.clone()).await.status, StatusCode::UNAUTHORIZED);
    }
    let status = async |call: Call| api.send(call).await.status.as_u16();
    let history = visit.call(Call::get(&path_of(&visit.session, "/messages")));
    assert_eq!([status(fetch()).await, status(history.clone()).await], [200, 200]);
    let ticket = visit.ticket(&api).await;
    for call in [
        fetch(),
        history,
        visit.call(Call::post("/spa/session/ticket")),
        with_ticket(Call::get(&path_of(&visit.session, "/socket")), &ticket).header("origin", ORIGIN),
    ] {
        let limited = api.send(call).await;
        assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS, "{}", limited.text);
        assert!(
            limited.json()["message"]
                .as_str()
                .unwrap()
                .contains("this session")
        );
        let wait: u64 = limited.header("retry-after").parse().unwrap();
        assert!((1..=20).contains(&wait), "{wait}");
    }

    // neither another browser nor a guest with an access token is affected, and each has a limit of its own
    let other = Visit::create(&api).await;
    assert_eq!(status(other.call(Call::get("/spa/session"))).await, 200);
    let session = api.create(&crate::api::guest()).await;
    let token = session["accessToken"].as_str().unwrap();
    let delete = || Call::new(Method::DELETE, &path_of(&session, "/attachments/none")).bearer(token);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(status(delete()).await);
    }
    assert_eq!(statuses, [404, 404, 404, 429]);

    // so are sockets, whose token is in the handshake frame
    let session = api.create(&crate::api::guest()).await;
    let url = session["websocketUrl"].as_str().unwrap();
    for is_limited in [false, false, false, true] {
        let mut page = Page::open(upgrade(url)).await.unwrap();
        page.send_frame(&handshake(&session)).await;
        if is_limited {
            assert_eq!(page.closed().await, Some(1013));
        } else {
            page.until("handshake.accepted").await;
            page.leave().await;
        }
    }

    // a reload keeps the counts, and another limit begins anew
    world
        .reload(&world.toml.replace("[spa]\n", "[spa]\nanonymous = false\n"))
        .await
        .unwrap();
    assert_eq!(status(delete()).await, 429);
    let raised = world
        .toml
        .replace("requests_per_minute = 3", "requests_per_minute = 4");
    world.reload(&raised).await.unwrap();
    assert_eq!(status(delete()).await, 404);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(status(fetch()).await, 200);
    world.stop().await;
}

#[tokio::test]
async fn allowed_pages_only_may_read_the_answers() {
    let (world, api) = world_with("").await;
    let preflight = |origin: &str| {
        Call::new(Method::OPTIONS, "/spa/session")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,x-guest-sessions-csrf",
            )
    };
    let allowed = api.send(preflight(ORIGIN)).await;
    assert_eq!(allowed.status, StatusCode::NO_CONTENT);
    for (name, value) in [
        ("access-control-allow-origin", ORIGIN),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, POST, DELETE"),
        (
            "access-control-allow-headers",
            "content-type, idempotency-key, x-guest-sessions-csrf",
        ),
        ("vary", "origin"),
    ] {
        assert_eq!(allowed.header(name), value);
    }
    let refused = api.send(preflight("https://evil.example")).await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(refused.headers.get("access-control-allow-origin").is_none());
    let answer = api.send(of_page(Call::get("/spa/session"))).await;
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-site");
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
    let other = Call::get("/spa/session").header("origin", "https://evil.example");
    let answer = api.send(other).await;
    assert!(answer.headers.get("access-control-allow-origin").is_none());
    world.stop().await;
}

#[tokio::test]
async fn browser_uploads_files_and_reads_the_history_by_its_cookie() {
    let (world, api) = world_with("").await;
    let (visit, other) = (Visit::create(&api).await, Visit::create(&api).await);
    let file = genesys_api::entropy::uuid().to_string();
    let mut page = visit.open(&api).await;
    let upload = |session: &Value| {
        let path = path_of(session, &format!("/attachments/{file}"));
        Call::new(Method::PUT, &path)
            .header("content-disposition", "attachment; filename*=UTF-8''a.png")
            .body("image/png", vec![7; 1_000])
    };
    let with_cookie = |call: Call| call.header("cookie", &visit.cookie);
    for (call, status, code) in [
        (with_cookie(upload(&visit.session)), 403, "origin.not.allowed"),
        (
            with_cookie(upload(&visit.session)).header("origin", ORIGIN),
            403,
            "csrf.refused",
        ),
        (
            visit
                .call(upload(&visit.session))
                .header("sec-fetch-site", "cross-site"),
            403,
            "csrf.refused",
        ),
        (visit.call(upload(&other.session)), 401, "bad.credentials"),
        (of_page(upload(&visit.session)), 401, "authentication.required"),
    ] {
        let answer = api.send(call).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (status, &json!(code))
        );
    }
    let uploaded = api.send(visit.call(upload(&visit.session))).await;
    assert_eq!(uploaded.status, StatusCode::NO_CONTENT, "{}", uploaded.text);
    page.message_with(&json!({ "text": "look", "attachments": [file] }))
        .await;
    page.delivery("sent").await;
    let link = Call::get(&path_of(&visit.session, &format!("/attachments/{file}")));
    let link = api.send(visit.call(link)).await.json();
    assert!(link["url"].as_str().unwrap().contains("/download/"), "{link}");
    let history = visit.call(Call::get(&path_of(&visit.session, "/messages")));
    let history = api.send(history).await.json();
    let is_shown = |message: &Value| message["text"] == "look";
    assert!(history["messages"].as_array().unwrap().iter().any(is_shown));
    api.send(visit.call(Call::new(Method::DELETE, "/spa/session")))
        .await;
    let ended = api.send(visit.call(upload(&visit.session))).await;
    assert_eq!(ended.json()["code"], "session.ended");
    world.stop().await;
}

/// The configuration without `[spa]`.
pub(crate) fn without_spa(toml: String) -> String {
    let (before, spa) = toml.split_once("[spa]").unwrap();
    before.to_owned() + &spa[spa.find("[[client]]").unwrap()..]
}

#[tokio::test]
async fn gateway_without_spa_has_no_such_routes() {
    let world = World::configured(genesys_sim::Rules::default(), without_spa).await;
    let api = Api::of(&world, CLIENT).await;
    let create = of_page(Call::post(CREATE).json(&consent()));
    assert_eq!(api.send(create).await.json()["code"], "not.found");
    world.stop().await;
}

#[tokio::test]
async fn component_is_served_to_pages_of_all_origins() {
    let (world, api) = world_with("").await;
    let answer = api
        .send(Call::get("/guest-chat.js").header("origin", "https://any.example"))
        .await;
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("cache-control", "public, max-age=3600"),
        ("content-type", "text/javascript"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), value);
    }
    assert!(answer.headers.get("access-control-allow-credentials").is_none());
    assert!(answer.text.contains("customElements.define(\"guest-chat\""));
    let known = answer.header("etag").to_owned();
    let again = api
        .send(Call::get("/guest-chat.js").header("if-none-match", &known))
        .await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert_eq!(again.header("access-control-allow-origin"), "*");
    world.stop().await;
}

#[tokio::test]
async fn strict_transport_security_needs_a_public_url_with_tls() {
    let behind_proxy = "plain_http = \"behind-proxy\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    for (address, public_url, more, expected) in [
        ("127.0.0.1", "https://chat.example", "", Some("max-age=31536000")),
        ("127.0.0.1", "http://127.0.0.1:8080", "", None),
        (
            "0.0.0.0",
            "https://chat.example",
            behind_proxy,
            Some("max-age=31536000"),
        ),
    ] {
        let world = World::configured(genesys_sim::Rules::default(), |toml| {
            let listen = format!("[listen]\npublic_url = \"{public_url}\"\n{more}");
            toml.replace("[listen]\n", &listen)
                .replace("127.0.0.1:0", &format!("{address}:0"))
        })
        .await;
        let base = format!("http://127.0.0.1:{}", world.gateway.address().port());
        let api = Api::without_token(world.http(), base);
        for (status, call) in [
            (StatusCode::OK, Call::get("/guest-chat.js")),
            (StatusCode::UNAUTHORIZED, Call::get("/spa/session")),
            (StatusCode::NOT_FOUND, Call::get("/unknown")),
            (StatusCode::METHOD_NOT_ALLOWED, Call::post("/openapi.json")),
        ] {
            let answer = api.send(call).await;
            let found = answer.headers.get("strict-transport-security");
            let found = found.map(|found| found.to_str().unwrap());
            assert_eq!((answer.status, found), (status, expected), "{public_url}");
        }
        world.stop().await;
    }
}
