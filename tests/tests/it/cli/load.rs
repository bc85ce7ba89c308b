//! Simulated guests of a running gateway.

use genesys_http::Tls;
use serde_json::Value;

use super::running::signed_in;
use super::{EXAMPLE_CHANNEL, Example, Serving};
use crate::api::{Api, Call, SESSIONS};
use crate::page::soon;
use crate::process::{Ended, Process, command, run};

fn load(serving: &Serving, channel: &str, arguments: &[&str]) -> Process {
    let target = ["load", "--url", &serving.url, "--channel", channel];
    let page = ["--origin", "https://yourdomain.com", "--json"];
    Process::start(signed_in(&[&target[..], &page, arguments].concat()))
}

fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {} {}", ended.out, ended.err))
}

async fn metrics(api: &Api) -> Value {
    api.ask(Call::get(&format!("{SESSIONS}/metrics"))).await
}

#[tokio::test]
async fn load_reports_every_operation_of_its_guests() {
    let example = Example::new();
    let serving = example.serve().await;
    let arguments = [
        "--sessions",
        "12",
        "--rate",
        "15",
        "--think",
        "400ms",
        "--for",
        "2s",
    ];
    let ended = load(&serving, EXAMPLE_CHANNEL, &arguments).ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let report = report(&ended);
    let sessions = serde_json::json!({ "requested": 12, "created": 12, "liveAtMost": 12, "ended": 12 });
    assert_eq!(
        (&report["sessions"], &report["interrupted"]),
        (&sessions, &false.into())
    );
    assert_eq!(report["errors"], serde_json::json!([]));
    let latencies = report["latencies"].as_array().unwrap();
    let count = |operation: &str| {
        let found = latencies.iter().find(|latency| latency["operation"] == operation);
        let found = found.unwrap_or_else(|| panic!("no {operation} in {report}"));
        assert!(found["p50Ms"].as_f64() <= found["maxMs"].as_f64(), "{found}");
        found["count"].as_u64().unwrap()
    };
    assert_eq!([count("create"), count("connect"), count("end")], [12, 12, 12]);
    assert!(count("deliver") >= 12, "{report}");
    assert!(count("reply") >= 12, "{report}");
    assert!(report["saturation"]["messagesPerSecond"].as_f64() > Some(0.0));
    let metrics = metrics(&serving.api(Tls::system().unwrap()).await).await;
    assert_eq!(
        (&metrics["sessions"], &metrics["ended"]),
        (&12.into(), &12.into())
    );
}

#[tokio::test]
async fn interrupted_load_ends_its_sessions_and_reports() {
    let example = Example::new();
    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    let running = load(&serving, EXAMPLE_CHANNEL, &["--sessions", "1000", "--rate", "5"]);
    soon(async { while metrics(&api).await["stages"][2]["reached"].as_u64() < Some(2) {} }).await;
    let ended = running.interrupt().await;
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    let report = report(&ended);
    assert_eq!(report["interrupted"], true);
    assert!(report["sessions"]["created"].as_u64() >= Some(2), "{report}");
    assert_eq!(report["sessions"]["ended"], report["sessions"]["created"]);
    assert_eq!(metrics(&api).await["open"], 0);
}

#[tokio::test]
async fn load_ends_its_sessions_if_it_is_interrupted_while_they_leave() {
    let example = Example::new();
    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    let arguments = ["--sessions", "60", "--rate", "15", "--for", "1s"];
    let running = load(&serving, EXAMPLE_CHANNEL, &arguments);
    soon(async { while metrics(&api).await["ended"].as_u64() < Some(2) {} }).await;
    let ended = running.interrupt().await;
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    let report = report(&ended);
    assert_eq!(
        (&report["interrupted"], &report["sessions"]["ended"]),
        (&true.into(), &60.into()),
        "{report}"
    );
}

#[tokio::test]
async fn load_counts_failures_by_their_codes() {
    let example = Example::new();
    let serving = example.serve().await;
    let arguments = ["--sessions", "3", "--rate", "15", "--for", "0s"];
    let ended = load(&serving, "unknown-channel", &arguments).ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(
        ended.err.contains("3 operations of guests failed"),
        "{}",
        ended.err
    );
    let report = report(&ended);
    let errors = &report["errors"];
    assert_eq!(errors.as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        (&errors[0]["operation"], &errors[0]["reason"], &errors[0]["count"]),
        (&"create".into(), &"invalid.value".into(), &3.into())
    );
    let mut wrong = command(["load", "--url", &serving.url, "--channel", EXAMPLE_CHANNEL]);
    wrong.args(["--origin", "https://yourdomain.com", "--sessions", "3"]);
    wrong.envs([
        ("GUEST_GATEWAY_CLIENT_ID", "nobody"),
        ("GUEST_GATEWAY_CLIENT_SECRET", "none"),
    ]);
    let ended = Process::start(wrong).ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(
        ended.err.contains("it refused the client id or the secret"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn load_refuses_what_a_deployment_does_not_take() {
    let target = [
        "load",
        "--url",
        "http://127.0.0.1:1",
        "--channel",
        "c",
        "--origin",
        "https://a.example",
    ];
    for (arguments, hint) in [
        (
            ["--sessions", "10", "--rate", "16"],
            "use 0.01 to 15 guests a second",
        ),
        (
            ["--sessions", "10", "--rate", "NaN"],
            "use 0.01 to 15 guests a second",
        ),
        (["--sessions", "10", "--think", "1ms"], "use 100ms to 1h"),
        (["--sessions", "10", "--for", "2d"], "use at most 24h"),
        (["--sessions", "0", "--rate", "1"], "1..=100000"),
    ] {
        let ended = run([&target[..], &arguments].concat()).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(hint), "{arguments:?}: {}", ended.err);
    }
}
