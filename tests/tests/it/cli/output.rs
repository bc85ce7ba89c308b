//! Output for scripts: `--json`.

use std::fs::File;
use std::process::Stdio;

use serde_json::{Map, Value};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::Example;
use crate::process::{Process, command, run};

fn keys(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .map(Map::keys)
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn demo_reports_thirteen_verified_steps_as_one_object() {
    let ended = run(["demo", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(keys(&report), ["ok", "steps"]);
    assert_eq!(report["ok"], true);
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 13);
    for step in steps {
        assert_eq!(keys(step), ["detail", "ms", "name", "ok"]);
        assert_eq!(step["ok"], true, "{step}");
        assert!(step["ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{step}");
        for text in ["name", "detail"] {
            assert!(step[text].as_str().is_some_and(|text| text.len() > 4), "{step}");
        }
    }
    assert_eq!(ended.err, "", "no log line on success");
}

#[tokio::test]
async fn demo_prints_each_step_on_a_line() {
    let ended = run(["demo"]).await;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    let ticked = ended.out.lines().filter(|line| line.starts_with('✓')).count();
    assert_eq!(ticked, 13, "{}", ended.out);
    assert!(!ended.out.contains(['✗', '\x1b']), "{}", ended.out);
}

#[tokio::test]
async fn simulator_prints_its_urls_and_ids() {
    let mut sim = Process::start(command(["sim", "--plain", "--listen", "127.0.0.1:0", "--json"]));
    let line = sim.line().await;
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["event"], "ready");
    let http = ready["http"].as_str().unwrap();
    let port: u16 = http.strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
    assert_ne!(port, 0);
    let text = |name: &str| ready[name].as_str().filter(|text| text.len() > 8).unwrap();
    let (deployment, id, secret) = (text("deployment_id"), text("client_id"), text("client_secret"));
    let seed = text("seed");
    // scripts depend on the exact shape
    assert_eq!(
        line,
        format!(
            r#"{{"event":"ready","http":"http://127.0.0.1:{port}","websocket":"ws://127.0.0.1:{port}/v1","deployment_id":"{deployment}","client_id":"{id}","client_secret":"{secret}","ca":null,"seed":"{seed}"}}"#
        )
    );
    let ended = sim.interrupt().await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn simulator_with_tls_prints_the_path_of_its_ca() {
    let folder = tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let mut arguments = command(["sim", "--listen", "127.0.0.1:0", "--json", "--ca"]);
    let mut sim = Process::start({
        arguments.arg(&ca);
        arguments
    });
    let ready = sim.json().await;
    assert_eq!(ready["ca"].as_str(), ca.to_str());
    assert!(
        std::fs::read_to_string(&ca)
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE")
    );
    assert!(ready["http"].as_str().unwrap().starts_with("https://127.0.0.1:"));
    assert!(
        ready["websocket"]
            .as_str()
            .unwrap()
            .starts_with("wss://127.0.0.1:")
    );
    assert_eq!(sim.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn gateway_prints_its_url_and_that_genesys_is_simulated() {
    let example = Example::new();
    let serving = example.serve().await;
    assert_eq!(keys(&serving.ready), ["admin", "event", "http", "simulator"]);
    assert!(
        serving.ready["simulator"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    let ended = serving.process.interrupt().await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));

    let mut output = Process::start(command(["serve", "--config", &example.write()]));
    assert!(output.line().await.contains("http://127.0.0.1:"));
    assert!(output.line().await.contains("SIMULATED"));
    assert_eq!(output.interrupt().await.code, Some(0));
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[tokio::test]
async fn command_fails_if_its_output_cannot_be_written() {
    let mut list = command(["policy", "list"]);
    let list = list.stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = list.wait_with_output().await.unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert!(err.contains("cannot write to stdout: No space left"), "{err}");
}

#[tokio::test]
async fn gateway_serves_although_its_log_cannot_be_written() {
    let example = Example::new();
    let mut serve = command(["serve", "--json", "--config", &example.write()]);
    serve.stdout(Stdio::piped()).stderr(full()).kill_on_drop(true);
    let mut serve = serve.spawn().unwrap();
    let mut out = BufReader::new(serve.stdout.take().unwrap()).lines();
    let ready: Value = serde_json::from_str(&out.next_line().await.unwrap().unwrap()).unwrap();
    let address = ready["http"].as_str().unwrap().strip_prefix("http://").unwrap();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
