//! Runs each example as a program.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use genesys_http::{Client, Tls};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use webhook::{MessageId, Secret, sign};

/// The built example. Cargo builds the examples of a package before its tests.
fn program(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder: PathBuf = test.ancestors().nth(2).unwrap().join("examples");
    let mut command = Command::new(folder.join(name));
    command.stdin(Stdio::null());
    command
}

fn output(name: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = program(name).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[test]
fn audit_log_finds_altered_entry() {
    let output = output("audit_log");
    assert!(output.starts_with("2 entries verified\n"), "{output}");
    assert_eq!(output.lines().count(), 2, "{output}");
}

#[test]
fn token_window_shares_one_refresh() {
    let output = output("token_window_oauth");
    assert!(!output.contains("access-2"), "a printed secret: {output}");
}

#[test]
fn ws_transport_survives_cut_connection() {
    let output = output("ws_echo");
    assert!(output.contains("Reconnecting"), "{output}");
    assert!(
        output.ends_with("received: message 3\nreceived: message 2\nreceived: message 1\n"),
        "{output}"
    );
}

#[test]
fn direct_backend_gets_an_answer() {
    let output = output("direct_backend");
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].starts_with("SIMULATED"), "{output}");
    assert_eq!(
        lines[1..],
        ["You said: Is the blue one in stock?", "drop-off: Some(0.0)"]
    );
}

/// A server that prints its address as its last line.
struct Server {
    child: Child,
    /// Its first line.
    banner: String,
    url: String,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = lines.by_ref().map(Result::unwrap).peekable();
        let banner = printed.peek().unwrap().clone();
        let url = printed.find(|line| line.starts_with("http://")).unwrap();
        // reads on, so that the pipe never fills
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, banner, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the receiver compares with the system's clock"
)]
async fn receiver_verifies_deliveries(name: &str) {
    let secret = Secret::generate([7; 32]);
    let server = Server::start(program(name).env("WEBHOOK_SECRET", secret.expose()));
    let client = Client::builder(Tls::system().unwrap()).build();
    let id: MessageId = "msg_1".parse().unwrap();
    let body = br#"{"type":"webmessaging.guestsession.created"}"#;
    for (sent, expected) in [
        (&body[..], StatusCode::NO_CONTENT),
        // the same id again, as after a lost answer
        (&body[..], StatusCode::NO_CONTENT),
        (&body[1..], StatusCode::UNAUTHORIZED),
    ] {
        let mut request = Request::post(&server.url)
            .body(Bytes::copy_from_slice(sent))
            .unwrap();
        let signature = sign(&secret, &[], &id, OffsetDateTime::now_utc(), body);
        request.headers_mut().extend(signature);
        assert_eq!(client.send(request).await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn axum_receiver_verifies_deliveries() {
    receiver_verifies_deliveries("webhook_axum").await;
}

#[tokio::test]
async fn hyper_receiver_verifies_deliveries() {
    receiver_verifies_deliveries("webhook_hyper").await;
}

#[test]
fn sender_delivers_its_event_to_a_receiver() {
    let secret = Secret::generate([7; 32]);
    let receiver = Server::start(program("webhook_axum").env("WEBHOOK_SECRET", secret.expose()));
    let mut sender = program("webhook_sender");
    sender.env("WEBHOOK_SECRET", secret.expose());
    let Output {
        status,
        stdout,
        stderr,
    } = sender.env("WEBHOOK_TARGET", &receiver.url).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(String::from_utf8(stdout).unwrap(), "Delivered\n");
}

/// A backend, and the HTTP client of its user.
struct Backend {
    server: Server,
    client: Client,
}

impl Backend {
    fn start(policy: &str) -> Self {
        let mut program = program("axum_backend");
        program.env("CONSENT_POLICY", policy).env("LISTEN", "127.0.0.1:0");
        let backend = Self {
            server: Server::start(&mut program),
            client: Client::builder(Tls::system().unwrap()).build(),
        };
        assert!(backend.server.banner.starts_with("SIMULATED"));
        backend
    }

    async fn call(&self, url: &str, body: &str) -> (StatusCode, Bytes) {
        let request = match body {
            "" => Request::get(url),
            _ => Request::post(url),
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let response = self.client.send(request.body(body).unwrap()).await.unwrap();
        (response.status(), response.into_body())
    }

    async fn create(&self, body: &str) -> (StatusCode, Value) {
        let (status, body) = self.call(&format!("{}/sessions", self.server.url), body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Creates a session of a guest with this choice about marketing, and opens its WebSocket.
    async fn chat(&self, marketing: &str) -> Chat {
        let consent = json!({ "analytics": "granted", "marketing": marketing });
        let body = json!({ "jurisdiction": "EU", "consent": consent }).to_string();
        let (status, session) = self.create(&body).await;
        assert_eq!(status, StatusCode::CREATED, "{session}");
        let address = self.server.url.replace("http", "ws");
        let url = format!("{address}/sessions/{}", session["id"].as_str().unwrap());
        Chat(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    /// Calls the control interface of the simulator in the backend, whose address the banner ends with.
    async fn simulator(&self, path: &str, body: &str) -> Value {
        let url = self.server.banner.rsplit(' ').next().unwrap();
        let (status, body) = self.call(&format!("{url}/sim/{path}"), body).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).unwrap()
    }
}

/// The WebSocket of a page.
struct Chat(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Chat {
    async fn send(&mut self, text: &str) {
        self.0.send(text.into()).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let frame = self.0.next().await.unwrap().unwrap();
        serde_json::from_str(frame.to_text().unwrap()).unwrap()
    }

    /// The states and texts up to the reply to `text`.
    async fn until_reply(&mut self, text: &str) -> Vec<String> {
        let reply = format!("You said: {text}");
        let mut seen = Vec::new();
        while seen.last() != Some(&reply) {
            let frame = self.next().await;
            let shown = frame["state"].as_str().or(frame["text"].as_str());
            seen.push(shown.unwrap_or_else(|| panic!("{frame}")).to_owned());
        }
        seen
    }
}

#[tokio::test]
async fn axum_backend_sends_marketing_attributes_with_consent_only() {
    for (marketing, expected) in [
        ("denied", json!([{ "region": "EU", "source": "web" }])),
        (
            "granted",
            json!([{ "marketing.campaign": "spring", "region": "EU", "source": "web" }]),
        ),
    ] {
        let backend = Backend::start("purpose-scoped");
        let mut chat = backend.chat(marketing).await;
        chat.send("hi").await;
        assert_eq!(chat.until_reply("hi").await, ["queued", "sent", "You said: hi"]);
        let state = backend.simulator("state", "").await;
        assert_eq!(state["attributes"], expected);
    }
}

#[tokio::test]
async fn axum_backend_survives_lost_socket_to_genesys() {
    let backend = Backend::start("purpose-scoped");
    let mut chat = backend.chat("denied").await;
    backend.simulator("faults", r#"{"fault":"drop:abrupt"}"#).await;
    for text in ["one", "two", "three"] {
        chat.send(text).await;
    }
    let seen = chat.until_reply("three").await;
    let position = |state: &str| seen.iter().position(|seen| seen == state);
    assert!(
        position("reconnecting").is_some() && position("reconnecting") < position("restored"),
        "{seen:?}"
    );
    assert_eq!(seen.iter().filter(|seen| *seen == "sent").count(), 3, "{seen:?}");
    let texts: Vec<&String> = seen.iter().filter(|seen| seen.starts_with("You said")).collect();
    assert_eq!(texts, ["You said: one", "You said: two", "You said: three"]);
}

#[tokio::test]
async fn axum_backend_paces_ten_messages() {
    let backend = Backend::start("purpose-scoped");
    let mut chat = backend.chat("denied").await;
    for n in 0..10 {
        chat.send(&format!("message {n}")).await;
    }
    let seen = chat.until_reply("message 9").await;
    let count = |state: &str| seen.iter().filter(|seen| *seen == state).count();
    // those above the limit of Genesys wait, and are reported again when they are sent
    let sending = count("sending");
    assert!((1..=10).contains(&sending), "{seen:?}");
    assert_eq!(
        (count("queued"), count("sent"), seen.len() - sending),
        (10, 10, 30),
        "{seen:?}"
    );
    let state = backend.simulator("state", "").await;
    assert_eq!(state["counters"]["rateLimited"], 0);
}

#[tokio::test]
async fn axum_backend_names_purpose_and_rule_of_a_refusal() {
    let backend = Backend::start("tutorial-strict");
    let (status, problem) = backend.create(r#"{"jurisdiction":"EU"}"#).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert_eq!(
        (&problem["code"], &problem["status"]),
        (&json!("consent.required"), &json!(422))
    );
    assert_eq!(
        problem["details"][0],
        json!({
            "errorCode": "tutorial-strict/EU/marketing",
            "fieldName": "consent.marketing",
            "link": "/rules/tutorial-strict/EU/marketing",
        })
    );
    let link = problem["details"][0]["link"].as_str().unwrap();
    let (status, text) = backend.call(&format!("{}{link}", backend.server.url), "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.starts_with(b"tutorial-strict/EU/marketing: "), "{text:?}");
    let (status, problem) = backend.create(r#"{"jurisdiction":"Atlantis"}"#).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::BAD_REQUEST, &json!("bad.request"))
    );
}
