//! A gateway in operation: readiness, logs, reload, and the messages to systemd.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use genesys_api::error_chain;
use genesys_http::{Client, Tls};
use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixDatagram};

use crate::api::{Api, Call, SESSIONS, path_of};
use crate::cli::{EXAMPLE_CHANNEL, EXAMPLE_CLIENT, Example, Serving};
use crate::guests::until;
use crate::page::{Page, soon};
use crate::process::{Process, command};
use crate::proxy::ClosedPort;
use crate::world::{ORIGIN, World};

/// Repetitions of a test, of which the environment may have more.
pub(crate) fn repetitions(variable: &str, default: u32) -> u32 {
    let set = std::env::var(variable).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn http() -> Client {
    Client::builder(Tls::system().unwrap()).build()
}

fn example_guest() -> Value {
    let mut guest = crate::api::guest();
    guest["channelConfigurationId"] = EXAMPLE_CHANNEL.into();
    guest
}

#[tokio::test]
async fn readiness_fails_while_genesys_is_unreachable() {
    let closed = ClosedPort::reserve();
    let address = closed.address();
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        let (before, rest) = toml.split_once("host = \"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        format!("{before}host = \"http://{address}\"{after}")
    })
    .await;
    let api = Api::without_token(world.http(), world.url(""));
    let ready = async || api.send(Call::get("/health/ready")).await;
    until(async || ready().await.text.contains("no connection to Genesys Cloud")).await;
    let answer = ready().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let fault = &answer.json()["notReady"][0];
    assert_eq!(fault["part"], "genesys");
    assert!(
        fault["since"].is_string() && !answer.text.contains(&address.to_string()),
        "{fault}"
    );
    assert_eq!(api.send(Call::get("/health/live")).await.status, StatusCode::OK);

    drop(closed);
    let _genesys = TcpListener::bind(address).await.unwrap();
    until(async || {
        world.clock.advance(Duration::from_secs(5));
        ready().await.status == StatusCode::OK
    })
    .await;
    world.gateway.stop().await;
    world.simulator.stop().await;
}

#[tokio::test]
async fn log_names_an_outage_of_genesys_once() {
    let closed = ClosedPort::reserve();
    let mut example = Example::new();
    let host = format!("host = \"http://{}\"", closed.address());
    example.change("simulator = true ", &host);
    example.change(
        "# deployment = \"…\"",
        "deployment = \"7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11\"",
    );
    let serving = example.serve().await;
    let api = Api::without_token(http(), serving.url.clone());
    until(async || {
        let answer = api.send(Call::get("/health/ready")).await;
        answer.text.contains("no connection to Genesys Cloud")
    })
    .await;
    let ended = serving.process.interrupt().await;
    let warnings: Vec<_> = ended.err.lines().filter(|line| line.contains(" WARN ")).collect();
    let outages = warnings
        .iter()
        .filter(|line| line.contains("not ready part=\"genesys\""));
    assert_eq!(outages.count(), 1, "{}", ended.err);
    assert!(ended.err.contains(&closed.address().to_string()), "{}", ended.err);
}

#[tokio::test]
async fn context_id_of_an_error_is_in_the_log_with_its_request() {
    let example = Example::new();
    let config = example.write();
    let arguments = ["serve", "--json", "--log-format", "json", "--config", &config];
    let serving = Example::serve_by(command(arguments)).await;
    let api = serving.api(Tls::system().unwrap()).await;
    let path = format!("{SESSIONS}/unknown");
    let refused = api.send(Call::get(&path).bearer(&api.token)).await;
    let id = refused.json()["contextId"].clone();
    let ended = serving.process.interrupt().await;
    let lines = ended
        .err
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.collect();
    let line = lines.iter().find(|line| line["id"] == id);
    let line = line.unwrap_or_else(|| panic!("{id}: {}", ended.err));
    assert_eq!(line["message"], "request");
    assert_eq!(line["client"], EXAMPLE_CLIENT.0);
    assert_eq!(line["network"], "127.0.0.0/24");
    assert_eq!(line["path"], format!("{SESSIONS}/{{id}}"));
    assert_eq!(line["status"], 404);
    assert!(line["milliseconds"].is_u64(), "{line}");
    for message in ["started", "stopping", "stopped"] {
        assert!(lines.iter().any(|line| line["message"] == message), "{message}");
    }
}

#[tokio::test]
async fn requests_of_a_guest_are_logged_with_the_session_also_above_its_limit() {
    let mut example = Example::new();
    example.change(
        "queue_timeout = \"10m\"",
        "requests_per_minute = 1\nqueue_timeout = \"10m\"",
    );
    let config = example.write();
    let arguments = ["serve", "--json", "--log-format", "json", "--config", &config];
    let serving = Example::serve_by(command(arguments)).await;
    let api = serving.api(Tls::system().unwrap()).await;
    let session = api.create(&example_guest()).await;
    let token = session["accessToken"].as_str().unwrap();
    let call = Call::new(Method::DELETE, &path_of(&session, "/attachments/none")).bearer(token);
    for status in [404, 429] {
        assert_eq!(api.send(call.clone()).await.status, status);
    }
    let ended = serving.process.interrupt().await;
    let lines = ended.err.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.filter(|line| line["method"] == "DELETE").collect();
    assert_eq!(lines.len(), 2, "{}", ended.err);
    assert_eq!(
        (&lines[0]["status"], &lines[1]["status"]),
        (&json!(404), &json!(429))
    );
    assert!(lines[0]["pseudonym"].is_string(), "{}", lines[0]);
    assert_eq!(lines[0]["pseudonym"], lines[1]["pseudonym"]);
}

/// Reloads a served example by its admin listener.
async fn reload(serving: &Serving) -> (StatusCode, Value) {
    let url = serving.ready["admin"].as_str().unwrap();
    let request = http::Request::post(format!("{url}/reload"))
        .header("authorization", "Bearer your_admin_token_of_20_bytes_or_more")
        .body(bytes::Bytes::new())
        .unwrap();
    let (head, body) = http().send(request).await.unwrap().into_parts();
    (head.status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn hangup_reloads_clients_and_keeps_sockets_open() {
    let mut example = Example::new();
    example.change("\"https://www.yourdomain.com\"", &format!("{ORIGIN:?}"));
    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    let session = api.create(&example_guest()).await;
    let mut page = Page::of(&session).await;

    example.change(EXAMPLE_CLIENT.1, "another_secret_of_the_client");
    example.write();
    serving.process.signal("HUP");
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret=another_secret_of_the_client",
        EXAMPLE_CLIENT.0
    );
    until(async || {
        let answer = api.send(Call::post("/oauth/token").form(&form)).await;
        answer.status == StatusCode::OK
    })
    .await;
    page.message("hello").await;
    page.until("message").await;
    assert_eq!(
        api.ask(Call::get(&path_of(&session, ""))).await["id"],
        session["id"]
    );

    // an invalid file, and a setting that needs a restart, change nothing
    example.change("retention = \"30d\"", "retention = \"31d\"");
    example.write();
    let (status, answer) = reload(&serving).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let text = answer["message"].as_str().unwrap();
    assert!(text.contains("sessions.retention needs a restart"), "{text}");
    example.change("retention = \"31d\"", "retention = \"a while\"");
    example.write();
    let (_, answer) = reload(&serving).await;
    let text = answer["message"].as_str().unwrap();
    assert!(text.contains("gateway.toml") && text.contains("line "), "{text}");
    example.change("retention = \"a while\"", "retention = \"30d\"");
    example.change("# requests_per_minute = 3000 ", "requests_per_minute = 2999 ");
    example.write();
    let (status, answer) = reload(&serving).await;
    assert_eq!(
        (status, &answer["changed"]),
        (StatusCode::OK, &json!(["listen.requests_per_minute"]))
    );
    page.message("hello again").await;
    page.until("message").await;
    let ended = serving.process.interrupt().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("configuration reloaded"), "{}", ended.err);
}

#[tokio::test]
async fn reload_with_a_full_store_is_refused_as_unavailable() {
    let mut example = Example::new();
    example.change("[store]\n", "[store]\nmax_size = \"1MiB\"\n");
    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    let create = Call::post(SESSIONS).json(&example_guest()).bearer(&api.token);
    while api.send(create.clone()).await.status == StatusCode::CREATED {}
    // a reload needs less space than a session
    let (status, answer) = loop {
        match reload(&serving).await {
            (StatusCode::OK, _) => {}
            refused => break refused,
        }
    };
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["code"], "service.unavailable");
    let ended = serving.process.interrupt().await;
    assert!(
        ended.err.contains("the configuration in force stays"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn reload_keeps_settings_of_the_environment_and_of_flags() {
    let mut example = Example::new();
    let config = example.write();
    let flag = "listen.requests_per_minute=2998";
    let mut serve = command(["serve", "--json", "--config", &config, "--set", flag]);
    serve.env("GUEST_GATEWAY__SESSIONS__LIMIT", "77");
    let serving = Example::serve_by(serve).await;
    let changed = async || {
        let (status, answer) = reload(&serving).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["changed"].clone()
    };
    for setting in ["requests_per_minute = 3000 ", "limit = 100000 "] {
        assert_eq!(changed().await, json!([]));
        example.change(&format!("# {setting}"), setting);
        example.write();
    }
    assert_eq!(changed().await, json!([]));
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn reload_changes_the_limit_of_connections_of_an_address() {
    let mut example = Example::new();
    let proxies = "trusted_proxies = [\"127.0.0.0/8\", \"::1/128\"] ";
    example.change(
        "# connections_per_address = 1024 ",
        "connections_per_address = 1 ",
    );
    example.change(&format!("# {proxies}"), "trusted_proxies = [] ");
    let serving = example.serve().await;
    let connect = async || {
        TcpStream::connect(serving.url.trim_start_matches("http://"))
            .await
            .unwrap()
    };
    let _idle = connect().await;
    let status = async || {
        let (mut stream, mut answer) = (connect().await, String::new());
        let request = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_whitespace().nth(1).map(str::to_owned)
    };
    assert_eq!(status().await.as_deref(), Some("429"));
    // the limit alone, then a proxy
    for (old, new, key) in [
        (
            "connections_per_address = 1 ",
            "connections_per_address = 2 ",
            "connections_per_address",
        ),
        (
            "connections_per_address = 2 ",
            "connections_per_address = 1 ",
            "connections_per_address",
        ),
        ("trusted_proxies = [] ", proxies, "trusted_proxies"),
    ] {
        example.change(old, new);
        example.write();
        let (reloaded, answer) = reload(&serving).await;
        let changed = json!([format!("listen.{key}")]);
        assert_eq!((reloaded, &answer["changed"]), (StatusCode::OK, &changed));
        let expected = if new.ends_with("= 1 ") { "429" } else { "200" };
        until(async || status().await.as_deref() == Some(expected)).await;
    }
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

/// Requests of several tasks until it is stopped. Each must succeed.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    tasks: tokio::task::JoinSet<()>,
}

impl Load {
    /// Sends this `GET`. With `refusable`, a connection may be refused.
    pub(crate) fn start(url: &str, token: &str, path: &str, refusable: bool) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let api = Api::without_token(http(), url.to_owned());
            let call = Call::get(path).bearer(token);
            let (stop, sent) = (stop.clone(), sent.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match api.try_send(call.clone()).await {
                        Ok(answer) => {
                            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => assert!(refusable && is_refused(&error), "{}", error_chain(&error)),
                    }
                }
            });
        }
        Self { stop, sent, tasks }
    }

    /// Waits until some more requests have succeeded.
    pub(crate) async fn progress(&self) {
        let before = self.sent.load(Ordering::Relaxed);
        until(async || self.sent.load(Ordering::Relaxed) > before + 4).await;
    }

    /// Returns the number of requests that succeeded.
    pub(crate) async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.sent.load(Ordering::Relaxed)
    }
}

/// Whether nothing listens at the address.
fn is_refused(error: &genesys_http::Error) -> bool {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    let mut refusals = sources.filter_map(|error| error.downcast_ref::<std::io::Error>());
    refusals.any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_drop_no_connection_and_fail_no_request() {
    let mut example = Example::new();
    example.change("\"https://www.yourdomain.com\"", &format!("{ORIGIN:?}"));
    example.change("# requests_per_minute = 3000 ", "requests_per_minute = 1000000 ");
    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    let session = api.create(&example_guest()).await;
    let mut page = Page::of(&session).await;
    let load = Load::start(&serving.url, &api.token, &path_of(&session, ""), false);
    for round in 1..=repetitions("GUEST_SUITE_RELOADS", 20) {
        let (status, answer) = reload(&serving).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        // a page that reads nothing answers no ping
        if round % 20 == 0 {
            page.message("hello").await;
            page.until("message").await;
        }
    }
    load.progress().await;
    load.stop().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn second_signal_stops_a_drain_at_once() {
    let example = Example::new();
    let serving = example.serve().await;
    let address = serving.url.trim_start_matches("http://").to_owned();
    // without its body the request is in progress for the whole drain
    let mut slow = TcpStream::connect(&address).await.unwrap();
    let head = "POST /oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    serving.process.signal("TERM");
    until(async || TcpStream::connect(&address).await.is_err()).await;
    serving.process.signal("TERM");
    let ended = serving.process.ended().await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.error_line().contains("stopped by a second signal"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn signal_during_the_start_ends_it() {
    let example = Example::new();
    let config = example.write();
    assert_eq!(example.serve().await.process.interrupt().await.code, Some(0));
    let store = std::fs::read_dir(example.folder.path()).unwrap();
    let mut files = store.map(|file| file.unwrap().path());
    let path = files
        .find(|path| path.extension().is_some_and(|name| name == "db"))
        .unwrap();
    // the start waits for this transaction
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let process = Process::start(command(["serve", "--config", &config]));
    let descriptors = format!("/proc/{}/fd", process.id());
    until(async || {
        let open = std::fs::read_dir(&descriptors).into_iter().flatten().flatten();
        open.filter_map(|file| file.path().read_link().ok())
            .any(|file| file == path)
    })
    .await;
    process.signal("TERM");
    let ended = process.ended().await;
    let is_named = ended
        .error_line()
        .contains("stopped by a signal before the start");
    assert_eq!((ended.code, is_named), (Some(1), true), "{}", ended.err);
}

#[tokio::test]
async fn systemd_is_notified_of_the_start_and_the_stop() {
    let example = Example::new();
    let path = example.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut serve = command(["serve", "--json", "--config", &example.write()]);
    serve.env("NOTIFY_SOCKET", &path);
    let serving = Example::serve_by(serve).await;
    let state = async || {
        let mut state = [0; 64];
        let length = soon(socket.recv(&mut state)).await.unwrap();
        String::from_utf8(state[..length].to_vec()).unwrap()
    };
    assert_eq!(state().await, "READY=1");
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    assert_eq!(state().await, "STOPPING=1");
}

#[tokio::test]
async fn reload_replaces_the_certificate_of_later_connections() {
    let mut example = Example::new();
    for name in ["certificate", "key"] {
        let path = example.path(name).display().to_string();
        let extension = if name == "key" { "key" } else { "pem" };
        let setting = format!("# {name} = \"gateway.{extension}\"");
        example.change(&setting, &format!("{name} = {path:?}"));
    }
    let install = |pki: &genesys_sim::Pki| {
        std::fs::write(example.path("certificate"), &pki.cert_pem).unwrap();
        std::fs::write(example.path("key"), pki.key_pem.expose_secret()).unwrap();
        Client::builder(Tls::only_ca(pki.ca_pem.as_bytes()).unwrap()).build()
    };
    let pki = || genesys_sim::throwaway_ca(&genesys_sim::LOOPBACK).unwrap();
    let before = install(&pki());
    let serving = example.serve().await;
    let host = serving.url.parse().unwrap();
    let mut open = before.connect(&host).await.unwrap();
    let after = install(&pki());
    assert!(after.connect(&host).await.is_err());
    assert_eq!(reload(&serving).await.0, StatusCode::OK);
    assert!(after.connect(&host).await.is_ok());
    assert!(before.connect(&host).await.is_err());
    let request = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    open.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}
