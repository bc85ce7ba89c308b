//! `receive`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use genesys_api::Clock;
use genesys_http::{Client, Tls};
use guest_suite::webhook::{MessageId, Secret, sign};
use http::Request;
use tempfile::TempDir;

use crate::process::{Process, command, run};

/// A receiver with the keys of a file.
struct Receiver {
    process: Process,
    url: String,
    http: Client,
    _folder: TempDir,
}

/// A file with this text, which its owner may access.
fn secret_file(folder: &Path, text: &str) -> String {
    let path = folder.join("secret");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

impl Receiver {
    async fn start(keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = secret_file(folder.path(), keys);
        let arguments = ["receive", "--listen", "127.0.0.1:0", "--secret-file", &file];
        let mut process = Process::start(command(arguments));
        let line = process.line().await;
        let url = line
            .strip_prefix("Receiving at ")
            .unwrap()
            .split(". ")
            .next()
            .unwrap();
        Self {
            url: url.to_owned(),
            process,
            http: Client::builder(Tls::system().unwrap()).build(),
            _folder: folder,
        }
    }

    /// Sends a delivery. Returns the status and the printed lines up to an empty one.
    async fn send(&mut self, id: &MessageId, secret: &Secret, body: &'static str) -> (u16, Vec<String>) {
        let mut request = Request::post(format!("{}hook?key=s3cret", self.url))
            .body(body.into())
            .unwrap();
        let now = Clock::system().now().utc;
        request
            .headers_mut()
            .extend(sign(secret, &[], id, now, body.as_bytes()));
        let status = self.http.send(request).await.unwrap().status().as_u16();
        let mut lines = Vec::new();
        loop {
            let line = self.process.line().await;
            if line.is_empty() {
                return (status, lines);
            }
            lines.push(line);
        }
    }
}

#[tokio::test]
async fn receive_prints_valid_deliveries_and_reasons_of_refused_ones() {
    let [secret, old, other] = [1, 2, 3].map(|n| Secret::generate([n; 32]));
    let mut receiver = Receiver::start(&format!("{}\n{}\n", secret.expose(), old.expose())).await;
    let id = |n| MessageId::generate([n; 16]);
    let body = "{\"type\":\"webmessaging.guestsession.created\",\"data\":{\"text\":\"a\u{9b}31m\"}}";

    let (status, lines) = receiver.send(&id(1), &secret, body).await;
    assert_eq!(status, 204);
    let head = format!(" {} at /hook, valid signature", id(1));
    assert!(lines[0].ends_with(&head), "{lines:?}");
    let json = [
        "  {",
        "    \"data\": {",
        "      \"text\": \"a 31m\"",
        "    },",
        "    \"type\": \"webmessaging.guestsession.created\"",
        "  }",
    ];
    assert_eq!(lines[1..], json);

    let (status, lines) = receiver.send(&id(1), &secret, body).await;
    assert_eq!((status, lines.len()), (200, 1));
    assert!(lines[0].contains("repeated delivery"), "{lines:?}");
    let (status, lines) = receiver.send(&id(2), &old, "\u{1b}[2J").await;
    assert_eq!((status, lines[1].as_str()), (204, "  not JSON:  [2J"));
    let (status, lines) = receiver.send(&id(3), &other, body).await;
    assert_eq!((status, lines.len()), (401, 1));
    let reason = " refused, 69 bytes: invalid signature: check that the key is this endpoint's";
    assert!(lines[0].contains(reason), "{lines:?}");

    let large = Bytes::from(vec![b' '; 256 * 1024 + 1]);
    let request = Request::post(&receiver.url).body(large).unwrap();
    assert_eq!(receiver.http.send(request).await.unwrap().status(), 413);
    let line = receiver.process.line().await;
    assert!(line.contains("refused: the body has more than 256 KiB"), "{line}");

    let arguments = fs::read(format!("/proc/{}/cmdline", receiver.process.id())).unwrap();
    let ended = receiver.process.interrupt().await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let output = format!(
        "{}{}{}",
        ended.out,
        ended.err,
        String::from_utf8(arguments).unwrap()
    );
    for hidden in [secret.expose(), old.expose()] {
        assert!(!output.contains(&hidden["whsec_".len()..]), "{output}");
    }
}

#[tokio::test]
async fn receive_verifies_by_public_key_of_an_argument() {
    let secret = Secret::generate_private([1; 32]);
    let public = secret.public_key().unwrap().to_string();
    let arguments = ["receive", "--listen", "127.0.0.1:0", "--secret", &public];
    let mut process = Process::start(command(arguments));
    assert!(process.line().await.starts_with("Receiving at http://127.0.0.1:"));
    let ended = process.interrupt().await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn receive_refuses_a_missing_or_invalid_secret_without_printing_it() {
    let folder = tempfile::tempdir().unwrap();
    let listen = ["receive", "--listen", "127.0.0.1:0"];
    let file = secret_file(folder.path(), "whsec_hunter2\n");
    let invalid = "invalid webhook secret: not whsec_ or whsk_ followed by padded standard base64";
    let open = folder.path().join("open").display().to_string();
    fs::write(&open, Secret::generate([1; 32]).expose()).unwrap();
    let missing = folder.path().join("missing").display().to_string();
    for (arguments, message) in [
        (&[][..], "cannot verify without a secret: give --secret-file FILE"),
        (&["--secret", "whsec_hunter2"], invalid),
        (&["--secret-file", &file], invalid),
        (&["--secret-file", &open], "chmod 600"),
        (&["--secret-file", &missing], "cannot read the secret"),
    ] {
        let ended = run(listen.iter().chain(arguments)).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(ended.error_line().contains(message), "{}", ended.err);
        assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    }
}
