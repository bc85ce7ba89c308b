//! The listener for operators: its login, and what needs one.

use genesys_http::{Client, ClientIdentity, Stream, Tls, TlsSettings, Trust};
use guest_suite::audit::Entry;
use guest_suite::store::EntryQuery;
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::{Answer, Call};
use crate::guests::until;
use crate::mutual_tls::{Authority, issue, issuer};
use crate::page::soon;
use crate::world::World;

/// The token of operators.
pub(crate) const TOKEN: &str = "token-of-operators-0123456789";

/// A gateway with a listener for operators, whose table has these further lines. It makes two attempts of a delivery.
async fn world(further: &str) -> World {
    World::configured(genesys_sim::Rules::default(), |toml| {
        let toml = toml.replace("[webhooks]\n", "[webhooks]\nretries = [\"1s\"]\n");
        format!("{toml}\n[admin]\naddress = \"127.0.0.1:0\"\n{further}")
    })
    .await
}

pub(crate) async fn world_with_token() -> World {
    world(&format!("token = {TOKEN:?}\n")).await
}

pub(crate) async fn send(world: &World, call: Call) -> Answer {
    send_by(&world.http(), world, call).await
}

async fn send_by(http: &Client, world: &World, call: Call) -> Answer {
    let url = world.gateway.admin().unwrap();
    let mut parts = http::Request::builder()
        .method(call.request().method())
        .uri(format!("{url}{}", call.request().uri()))
        .body(call.request().body().clone())
        .unwrap();
    *parts.headers_mut() = call.request().headers().clone();
    let (head, body) = http.send(parts).await.unwrap().into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn login(token: &str) -> Call {
    Call::post("/login")
        .json(&json!({ "token": token }))
        .header("x-guest-sessions-csrf", "1")
}

/// The actions of the audit log with their actors.
async fn audited(world: &World) -> Vec<(String, String)> {
    let store = world.gateway.store();
    let entries = store.entries(EntryQuery::From(0), 1_000).await.unwrap();
    let entries = entries.iter().map(|entry| {
        let text = str::from_utf8(&entry.bytes).unwrap();
        assert!(!text.contains(TOKEN), "{text}");
        let entry = Entry::parse(&entry.bytes).unwrap().draft;
        (entry.action.into_owned(), entry.actor.id)
    });
    entries
        .filter(|(action, _)| action.starts_with("admin."))
        .collect()
}

#[tokio::test]
async fn admin_routes_need_the_token() {
    let world = world_with_token().await;
    for path in ["/metrics", "/health/live", "/health/ready"] {
        let refused = send(&world, Call::get(path)).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(refused.json()["code"], "authentication.required");
        let answer = send(&world, Call::get(path).bearer(TOKEN)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {}", answer.text);
    }
    let metrics = send(&world, Call::get("/metrics").bearer(TOKEN)).await;
    assert!(metrics.text.contains("# TYPE "), "{}", metrics.text);
    assert!(
        audited(&world).await.is_empty(),
        "reads of metrics are no personal data"
    );
    world.stop().await;
}

#[tokio::test]
async fn admin_token_guesses_are_limited_and_audited() {
    let world = world_with_token().await;
    // a failure is forgotten after 6 s of a busy machine
    let limited = async {
        loop {
            for guess in 0..12 {
                let call = Call::get("/metrics").bearer(&format!("guess-{guess}"));
                let refused = send(&world, call).await;
                assert!([401, 429].contains(&refused.status.as_u16()), "{}", refused.text);
            }
            let right = send(&world, login(TOKEN)).await;
            if right.status == StatusCode::TOO_MANY_REQUESTS {
                return right;
            }
        }
    };
    let limited = soon(limited).await;
    assert!(!limited.header("retry-after").is_empty());
    world.clock.advance(std::time::Duration::from_secs(60));
    let right = send(&world, login(TOKEN)).await;
    assert_eq!(right.status, StatusCode::NO_CONTENT, "{}", right.text);
    let audited = audited(&world).await;
    let expected = [("admin.refused", "guest-gateway"), ("admin.logged_in", "admin")];
    for (action, actor) in expected {
        assert!(
            audited.contains(&(action.to_owned(), actor.to_owned())),
            "{audited:?}"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn admin_session_of_a_browser_needs_the_csrf_header_for_changes() {
    let world = world_with_token().await;
    let without_header = Call::post("/login").json(&json!({ "token": TOKEN }));
    assert_eq!(send(&world, without_header).await.status, StatusCode::FORBIDDEN);
    let answer = send(&world, login(TOKEN)).await;
    let cookie = answer.header(SET_COOKIE.as_str()).to_owned();
    assert!(
        cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap();
    let with_session = |method, path| Call::new(method, path).header(COOKIE.as_str(), pair);
    let metrics = send(&world, with_session(Method::GET, "/metrics")).await;
    assert_eq!(metrics.status, StatusCode::OK);
    let page = send(&world, with_session(Method::GET, "/")).await;
    assert!(page.text.contains("Log out"), "{}", page.text);

    let logout = || with_session(Method::POST, "/logout");
    let forged = [
        logout(),
        with_session(Method::POST, "/dashboard/verify"),
        with_session(Method::POST, "/dashboard/webhooks/crm/replay"),
        logout()
            .header("x-guest-sessions-csrf", "1")
            .header("sec-fetch-site", "cross-site"),
        logout()
            .header("x-guest-sessions-csrf", "1")
            .header("sec-fetch-site", "same-site"),
    ];
    for call in forged {
        assert_eq!(send(&world, call).await.json()["code"], "csrf.refused");
    }
    let ended = send(&world, logout().header("x-guest-sessions-csrf", "1")).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT, "{}", ended.text);
    let after = send(&world, with_session(Method::GET, "/metrics")).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
    let actions = audited(&world).await;
    assert!(
        actions.iter().any(|(action, _)| action == "admin.logged_out"),
        "{actions:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn admin_listener_refuses_a_rebound_host_and_sends_strict_headers() {
    let world = world_with_token().await;
    let call = Call::get("/").header(HOST.as_str(), "evil.example");
    let refused = send(&world, call).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    let page = send(&world, Call::get("/")).await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.header("cross-origin-resource-policy"), "same-origin");
    assert_eq!(page.header("cache-control"), "no-store");
    let other = send(&world, Call::post("/metrics").bearer(TOKEN)).await;
    assert_eq!((other.status.as_u16(), other.header("allow")), (405, "GET,HEAD"));
    world.stop().await;
}

/// A gateway whose operators have certificates of this authority, which `ca.pem` in the folder names.
async fn world_with_certificates(authority: &Authority, folder: &TempDir) -> World {
    let (certificate, key) = issue(authority);
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let paths = [
        ("certificate", write("certificate.pem", &certificate)),
        ("key", write("key.pem", &key)),
        ("client_ca", write("ca.pem", &authority.pem())),
    ];
    let lines = paths.iter().map(|(name, path)| format!("{name} = {path:?}\n"));
    world(&lines.collect::<String>()).await
}

/// A client that trusts this authority, with a certificate.
fn client_of(authority: &Authority, identity: Option<(String, String)>) -> Client {
    let identity =
        identity.map(|(chain, key)| ClientIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap());
    let settings = TlsSettings {
        trust: Trust::Only(authority.pem().into_bytes()),
        identity,
        ..TlsSettings::default()
    };
    Client::builder(Tls::new(settings).unwrap()).build()
}

/// A connection on which a page watches the dashboard.
struct Watcher(Stream);

impl Watcher {
    async fn start(world: &World, http: &Client, headers: &str) -> Self {
        let host = world.gateway.admin().unwrap();
        let mut watcher = Self(http.connect(host).await.unwrap());
        watcher.request(world, "/dashboard/events", headers).await;
        watcher.until("data: ").await;
        watcher
    }

    async fn request(&mut self, world: &World, path: &str, headers: &str) {
        let url = world.gateway.admin().unwrap().to_string();
        let (_, host) = url.split_once("://").unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads until this text.
    async fn until(&mut self, text: &str) {
        soon(async {
            let mut read = Vec::new();
            while !read.ends_with(text.as_bytes()) {
                read.push(self.0.read_u8().await.unwrap());
            }
        })
        .await;
    }

    /// Reads the end of the stream.
    async fn end(&mut self) {
        self.until("\r\n0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn stream_ends_with_the_token_that_opened_it() {
    let world = world_with_token().await;
    let headers = format!("authorization: Bearer {TOKEN}\r\n");
    let mut watcher = Watcher::start(&world, &world.http(), &headers).await;
    world.reload(&world.toml).await.unwrap();
    watcher.until("data: ").await;
    let rotated = world.toml.replace(TOKEN, "another-token-of-operators-01");
    world.reload(&rotated).await.unwrap();
    watcher.end().await;
    world.stop().await;
}

#[tokio::test]
async fn certificate_of_a_removed_authority_is_no_login_on_an_open_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (issuer(), issuer());
    let world = world_with_certificates(&authority, &folder).await;
    let http = client_of(&authority, Some(issue(&authority)));
    let mut watcher = Watcher::start(&world, &http, "").await;
    let reload = async |authorities: &[String]| {
        std::fs::write(folder.path().join("ca.pem"), authorities.concat()).unwrap();
        world.reload(&world.toml).await.unwrap();
    };
    reload(&[other.pem(), authority.pem()]).await;
    watcher.until("data: ").await;
    reload(&[other.pem()]).await;
    watcher.end().await;
    watcher.request(&world, "/metrics", "").await;
    watcher.until("HTTP/1.1 401 ").await;
    drop(watcher);
    world.stop().await;
}

#[tokio::test]
async fn client_certificate_is_a_login() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (issuer(), issuer());
    let world = world_with_certificates(&authority, &folder).await;
    let client = |identity| client_of(&authority, identity);
    let call = Call::get("/metrics");
    let answer = send_by(&client(Some(issue(&authority))), &world, call.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let answer = send_by(&client(None), &world, call).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let url = world.gateway.admin().unwrap().uri("/metrics");
    let request = http::Request::get(url).body(bytes::Bytes::new()).unwrap();
    let untrusted = client(Some(issue(&other)));
    assert!(
        untrusted.send(request).await.is_err(),
        "another authority signed it"
    );
    world.stop().await;
}

#[tokio::test]
async fn readiness_names_the_drain_while_requests_of_guests_complete() {
    let world = world_with_token().await;
    let (http, guests) = (world.http(), world.gateway.address());
    let url = format!("{}/health/ready", world.gateway.admin().unwrap());
    let mut slow = TcpStream::connect(guests).await.unwrap();
    let head = "POST /oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                content-length: 1\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    // connections are accepted in order, so the slow request is in progress
    let live = http::Request::get(world.url("/health/live"));
    http.send(live.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    let World {
        gateway, simulator, ..
    } = world;
    let draining = async {
        until(async || {
            let request = http::Request::get(&url).header("authorization", format!("Bearer {TOKEN}"));
            let answer = http
                .send(request.body(bytes::Bytes::new()).unwrap())
                .await
                .unwrap();
            answer.status() == StatusCode::SERVICE_UNAVAILABLE
                && String::from_utf8_lossy(answer.body()).contains("\"draining\"")
        })
        .await;
        until(async || TcpStream::connect(guests).await.is_err()).await;
        slow.write_all(b"x").await.unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let ((), answer) = tokio::join!(gateway.stop(), draining);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    simulator.stop().await;
}
