//! Runs each example as a program.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use bytes::Bytes;
use genesys_http::{Client, Tls};
use http::{Request, StatusCode};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
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
    url: String,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = lines.by_ref().map(Result::unwrap);
        let url = printed.find(|line| line.starts_with("http://")).unwrap();
        // reads on, so that the pipe never fills
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
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
        sign(&secret, &[], &id, OffsetDateTime::now_utc(), body).insert_into(request.headers_mut());
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

/// A backend, and the HTTP client that stands for its page.
struct Backend {
    server: Server,
    client: Client,
}

impl Backend {
    fn start(policy: &str) -> Self {
        Self {
            server: Server::start(program("axum_backend").env("CONSENT_POLICY", policy)),
            client: Client::builder(Tls::system().unwrap()).build(),
        }
    }

    async fn post(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::post(format!("{}{path}", self.server.url))
            .header("content-type", "application/json")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap();
        let response = self.client.send(request).await.unwrap();
        let body = serde_json::from_slice(response.body()).unwrap_or_default();
        (response.status(), body)
    }

    /// The events of a session: the data of its stream.
    async fn events(&self, id: &str) -> impl AsyncFnMut() -> String + use<> {
        let address = self.server.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /sessions/{id}/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut lines = tokio::io::BufReader::new(stream).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "HTTP/1.1 200 OK");
        async move || loop {
            let line = lines.next_line().await.unwrap().expect("an open stream");
            if let Some(data) = line.strip_prefix("data: ") {
                return data.to_owned();
            }
        }
    }
}

const DENIED: &str = r#"{"jurisdiction": "EU", "consent": {"analytics": "granted", "marketing": "denied"}}"#;

#[tokio::test]
async fn axum_backend_accepts_denied_marketing_and_converses() {
    let backend = Backend::start("purpose-scoped");
    let (status, session) = backend.post("/sessions", DENIED).await;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let id = session["id"].as_str().unwrap();
    let mut next_event = backend.events(id).await;
    for n in 0..10 {
        let (status, _) = backend
            .post(&format!("/sessions/{id}/messages"), &format!("message {n}"))
            .await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }
    let (mut queued, mut answers) = (0, Vec::new());
    while answers.len() < 10 {
        let event = next_event().await;
        queued += usize::from(event.starts_with("queued "));
        assert!(
            !event.starts_with("refused") && !event.contains("Failed"),
            "{event}"
        );
        answers.extend(event.strip_prefix("message ").map(str::to_owned));
    }
    assert_eq!(queued, 10);
    let expected: Vec<String> = (0..10).map(|n| format!("You said: message {n}")).collect();
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn axum_backend_passes_on_the_refusal_of_the_policy() {
    let backend = Backend::start("tutorial-strict");
    let (status, problem) = backend.post("/sessions", r#"{"jurisdiction": "EU"}"#).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem["details"].to_string().contains("marketing"), "{problem}");
    let (status, problem) = backend.post("/sessions", r#"{"jurisdiction": "Atlantis"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
}
