//! Runs each example as a program.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use bytes::Bytes;
use genesys_http::{Client, Tls};
use http::{Request, StatusCode};
use time::OffsetDateTime;
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

/// A server that prints its address first.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.next().unwrap().unwrap();
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
