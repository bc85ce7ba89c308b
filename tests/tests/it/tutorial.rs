//! The founding tutorial's Python, unchanged, against a gateway with the example configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use genesys_http::Tls;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::api::{Api, Call, SESSIONS, WEBHOOKS};
use crate::cli::{Example, Serving, root};
use crate::page::soon;
use left_out::{Missing, leave_out, target};

/// The one line that a person changes.
const BASE_URL: &str = "GENESYS_BASE_URL = ";

/// A Python with the tutorial's packages. Without one it is installed below `target/`, as far as the machine has
/// `python3` and reaches a registry.
pub(crate) fn python() -> Result<&'static Path, Missing> {
    static PYTHON: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        if let Some(named) = std::env::var_os("GUEST_SUITE_PYTHON") {
            let named = PathBuf::from(named);
            assert!(
                has_packages(&named),
                "{} of GUEST_SUITE_PYTHON cannot import httpx and websockets",
                named.display()
            );
            return Ok(named);
        }
        let own = target().join("tutorial-venv");
        let inside = own.join("bin/python");
        let found = [PathBuf::from("python3"), inside.clone()]
            .into_iter()
            .find(|python| has_packages(python));
        found.map_or_else(|| install(&own).map(|()| inside), Ok)
    });
    python.as_deref().map_err(|missing| *missing)
}

fn has_packages(python: &Path) -> bool {
    succeeds(Command::new(python).args(["-c", "import httpx, websockets"]))
}

/// Makes a virtual environment with the packages that the gate uses.
fn install(folder: &Path) -> Result<(), Missing> {
    let packages = packages_of_the_gate();
    if !succeeds(Command::new("python3").args(["-m", "venv"]).arg(folder)) {
        return Err(Missing {
            program: "python3 with venv",
            install: "apt-get install python3 python3-venv",
        });
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let mut pip_install = Command::new(folder.join("bin/python"));
    if !succeeds(pip_install.args(pip).args(packages.split_whitespace())) {
        return Err(Missing {
            program: "httpx and websockets in python3",
            install: "pip install httpx websockets",
        });
    }
    Ok(())
}

fn packages_of_the_gate() -> String {
    let gate = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let (_, list) = gate.split_once("python_packages=(").unwrap();
    let (packages, _) = list.split_once(')').unwrap();
    packages.to_owned()
}

pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// The script with the base URL of a gateway, and nothing else changed.
fn script(base: &str) -> String {
    let original = std::fs::read_to_string(root().join("tests/tutorial/tutorial.py")).unwrap();
    let line = format!("{BASE_URL}{base:?}");
    let changed: Vec<&str> = original
        .lines()
        .map(|old| if old.starts_with(BASE_URL) { &line } else { old })
        .collect();
    let differing = original.lines().zip(&changed).filter(|(old, new)| old != *new);
    assert_eq!(differing.count(), 1);
    changed.join("\n")
}

/// Runs the script to its end, and returns its output.
async fn run(python: &Path, serving: &Serving, folder: &Path, ca: Option<&Path>) -> String {
    let path = folder.join("tutorial.py");
    std::fs::write(&path, script(&serving.url)).unwrap();
    let mut command = tokio::process::Command::new(python);
    command.arg(&path).stdin(Stdio::null()).kill_on_drop(true);
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    if let Some(ca) = ca {
        command.env("SSL_CERT_FILE", ca);
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), command.output());
    let ended = ended.await.expect("the script ends by itself").unwrap();
    let (out, err) = (
        String::from_utf8(ended.stdout).unwrap(),
        String::from_utf8(ended.stderr).unwrap(),
    );
    assert!(ended.status.success(), "{out}\n{err}");
    assert_eq!(err, "", "{out}");
    out
}

/// The script's output after `start`.
fn output<'a>(out: &'a str, start: &str) -> &'a str {
    let mut lines = out.lines().filter_map(|line| line.strip_prefix(start));
    let line = lines.next();
    line.unwrap_or_else(|| panic!("{start:?} is not in what the script printed:\n{out}"))
}

/// Checks the output of the script line by line against the state of the gateway.
async fn verify(out: &str, serving: &Serving, api: &Api) {
    let webhook = output(out, "CRM Sync Webhook configured: ");
    let session = output(out, "Session created: ");
    let socket = output(out, "WebSocket URL: ");
    let expires = output(out, "Access Token expires at: ");
    assert_eq!(
        output(out, "WebSocket handshake successful. "),
        "Conversation channel open."
    );
    let (_, closing) = out.split_once("Session metrics: ").unwrap();
    let (figures, audit) = closing.split_once("Audit log entries: ").unwrap();
    let figures: Value = serde_json::from_str(figures).unwrap();
    assert_eq!(figures["drop_off_rate"], 0.0);
    let (count, entry) = audit.split_once('\n').unwrap();
    let entry: Value = serde_json::from_str(entry).unwrap();
    assert_eq!((count, &entry["session_id"]), ("1", &session.into()));

    let registered = api.ask(Call::get(&format!("{WEBHOOKS}/{webhook}"))).await;
    assert_eq!(registered["name"], "GuestSessionCRMSync");
    let known = soon(configured(api, session)).await;
    assert_eq!(known["expiresAt"], expires);
    assert_eq!(known["consent"]["jurisdiction"], "EU");
    let url = serving.url.replacen("http", "ws", 1);
    assert_eq!(socket, format!("{url}{SESSIONS}/{session}/socket"));
}

/// Waits for Genesys, since the script exits without that.
async fn configured(api: &Api, session: &str) -> Value {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    loop {
        again.tick().await;
        let known = api.ask(Call::get(&format!("{SESSIONS}/{session}"))).await;
        if known["state"] == "configured" {
            return known;
        }
        assert!(
            matches!(known["state"].as_str(), Some("created" | "connected")),
            "{known}"
        );
    }
}

#[tokio::test]
async fn tutorial_script_runs_twice() {
    let python = match python() {
        Ok(python) => python,
        Err(missing) => return leave_out("the tutorial's Python", missing),
    };
    let example = Example::new();
    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    for _ in 0..2 {
        let out = run(python, &serving, example.folder.path(), None).await;
        verify(&out, &serving, &api).await;
    }
    // registering the webhook again changed nothing
    let webhooks = api.ask(Call::get(WEBHOOKS)).await;
    assert_eq!(
        webhooks["entities"].as_array().map(Vec::len),
        Some(1),
        "{webhooks}"
    );
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn tutorial_script_runs_over_tls_with_a_ca_from_the_environment() {
    let python = match python() {
        Ok(python) => python,
        Err(missing) => return leave_out("the tutorial's Python over TLS", missing),
    };
    let pki = genesys_sim::throwaway_ca(&genesys_sim::LOOPBACK).unwrap();
    let mut example = Example::new();
    let [ca, certificate, key] = ["ca.pem", "gateway.pem", "gateway.key"].map(|name| example.path(name));
    std::fs::write(&ca, &pki.ca_pem).unwrap();
    std::fs::write(&certificate, &pki.cert_pem).unwrap();
    std::fs::write(&key, pki.key_pem.expose_secret()).unwrap();
    let path = |path: &Path| format!("{:?}", path.display().to_string());
    example.change(
        "# certificate = \"gateway.pem\"",
        &format!("certificate = {}", path(&certificate)),
    );
    example.change("# key = \"gateway.key\"", &format!("key = {}", path(&key)));
    let serving = example.serve().await;
    assert!(serving.url.starts_with("https://127.0.0.1:"));
    let api = serving.api(Tls::only_ca(pki.ca_pem.as_bytes()).unwrap()).await;
    let out = run(python, &serving, example.folder.path(), Some(&ca)).await;
    verify(&out, &serving, &api).await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}
