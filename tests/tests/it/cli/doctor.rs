//! `doctor`: passed and failed checks, with their corrections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use genesys_http::server::{Limits, Server};
use genesys_sim::Rules;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::net::TcpListener;

use super::Example;
use crate::process::{Ended, Process, command, program, run};
use crate::proxy::ClosedPort;
use crate::world::{CLIENT, World};

/// Fewer connections than the open files of any machine.
fn small(toml: String) -> String {
    toml.replacen("[listen]\n", "[listen]\nconnections = 100\n", 1)
}

/// Writes a configuration that its owner alone may read.
fn write(path: &Path, toml: &str) -> String {
    std::fs::write(path, toml).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// The report of `--json`, and the kinds of the failed checks.
fn report(ended: &Ended) -> (Value, Vec<String>) {
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let failed = checks(&report, false);
    assert_eq!(report["ok"], failed.is_empty(), "{report}");
    (report, failed)
}

/// The kinds of the checks that passed or failed. A failed one has a correction.
fn checks(report: &Value, passed: bool) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let checks = checks.filter(|check| check["ok"] == passed);
    checks
        .map(|check| {
            assert_eq!(check["fix"].is_string(), !passed, "{check}");
            check["check"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn checks_of_a_gateway_at_a_simulator_pass() {
    let world = World::on_a_file(Rules::default(), small).await;
    let config = write(&world.folder.path().join("gateway.toml"), &world.toml);
    let secret = world.simulator.client_secret.expose_secret();
    for is_client_given in [false, true] {
        let mut doctor = command(["doctor", "--json", "--config", &config]);
        if is_client_given {
            doctor
                .env("GENESYS_CLIENT_ID", &world.simulator.client_id)
                .env("GENESYS_CLIENT_SECRET", secret);
        }
        let ended = Process::start(doctor).ended().await;
        assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
        let (report, _) = report(&ended);
        let mut passed = checks(&report, true);
        passed.dedup();
        let mut expected = vec![
            "configuration",
            "client",
            "dns",
            "connection",
            "login",
            "clock",
            "genesys client",
            "roles",
            "deployment",
            "origin",
            "limit",
            "secret file",
            "disk",
            "key file",
            "store",
        ];
        if !is_client_given {
            expected.retain(|name| !["genesys client", "roles"].contains(name));
        }
        assert_eq!(passed, expected);
        assert!(!ended.out.contains(CLIENT.1) && !ended.out.contains(secret));
    }
    let ended = run(["doctor", "--config", &config]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(
        ended.out.lines().all(|line| line.starts_with('✓')),
        "{}",
        ended.out
    );
    world.stop().await;
}

#[tokio::test]
async fn dead_and_silent_hosts_are_reported() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dead, world) = (ClosedPort::reserve(), World::start().await);
    let genesys = format!(
        "host = \"http://{}\"\nmessaging = \"http://{}\"\n",
        silent.local_addr().unwrap(),
        dead.address(),
    );
    let host = format!("host = \"{}\"\n", world.simulator.host());
    let config = small(world.toml.replace(&host, &genesys));
    let config = write(&world.folder.path().join("gateway.toml"), &config);
    let ended = run(["doctor", "--json", "--config", &config]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    let (report, mut failed) = report(&ended);
    // hosts are in the order of their ports
    failed.sort_unstable();
    assert_eq!(failed, ["clock", "connection", "deployment", "login"], "{report}");
    world.stop().await;
}

/// The failed checks of a configuration with this host, as text.
async fn failed_checks(world: &World, genesys: &str) -> String {
    let host = format!("host = \"{}\"\n", world.simulator.host());
    let config = small(world.toml.replace(&host, genesys));
    let config = write(&world.folder.path().join("gateway.toml"), &config);
    let ended = run(["doctor", "--config", &config]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    let lines = ended.out.lines().skip_while(|line| !line.starts_with('✗'));
    lines.take(2).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn failing_login_host_is_no_wrong_region() {
    let world = World::start().await;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(loopback, None, Limits::default()).await.unwrap();
    let address = server.local_addr();
    let service = service_fn(async |_: Request<Incoming>| {
        let mut answer = Response::new(Empty::<Bytes>::new());
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, Infallible>(answer)
    });
    let serving = tokio::spawn(server.serve(service, std::future::pending()));
    let genesys = format!(
        "host = \"{}\"\nlogin = \"http://{address}\"\n",
        world.simulator.host()
    );
    let failed = failed_checks(&world, &genesys).await;
    let expected = format!("✗ login: http://{address}: fails with status 503\n  fix: try again later");
    assert!(failed.starts_with(&expected), "{failed}");
    serving.abort();
    world.stop().await;
}

#[tokio::test]
async fn port_without_tls_is_no_missing_authority() {
    let world = World::start().await;
    let secure = world.simulator.host().to_string().replace("http://", "https://");
    let failed = failed_checks(&world, &format!("host = \"{secure}\"\n")).await;
    assert!(failed.contains("it does not use TLS"), "{failed}");
    assert!(
        failed.contains("fix: correct the port in [genesys], or write http://"),
        "{failed}"
    );
    world.stop().await;
}

/// A command with these limits of open files: the present one, and the largest one.
fn limited(soft: u32, hard: u32, arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$@\""),
        "sh",
    ]);
    command.arg(program()).args(arguments);
    command
}

#[tokio::test]
async fn low_limit_of_open_files_is_raised_and_only_then_judged() {
    let mut example = Example::new();
    example.change("[listen]\n", "[listen]\nconnections = 100\n");
    let config = example.write();
    for (hard, expected) in [
        (2_000, "✓ limit: open files: 256, which `serve` raises to 2000"),
        (
            300,
            "✗ limit: open files: 300 at most, and 456 are needed for 100 connections\n  fix: set `LimitNOFILE=456`",
        ),
    ] {
        let doctor = limited(256, hard, &["doctor", "--config", &config]);
        let ended = Process::start(doctor).ended().await;
        assert!(ended.out.contains(expected), "{}", ended.out);
    }
    let serve = limited(256, 2_000, &["serve", "--json", "--config", &config]);
    let serving = Example::serve_by(serve).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", serving.process.id())).unwrap();
    let open = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let open: Vec<_> = open.split_whitespace().collect();
    assert_eq!(open[3..5], ["2000", "2000"], "{limits}");
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    // too few for the connections
    for arguments in [["config", "check"].as_slice(), &["serve"]] {
        let command = limited(256, 300, &[arguments, &["--config", &config]].concat());
        let ended = Process::start(command).ended().await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        let line = example.text[..example.text.find("connections = 100").unwrap()]
            .matches('\n')
            .count()
            + 1;
        let expected = format!("line {line}: invalid [listen] `connections` 100: needs 456 open files");
        assert!(ended.err.contains(&expected), "{}", ended.err);
    }
    // the default is what the limit allows
    example.change("connections = 100\n", "");
    let show = limited(256, 300, &["config", "show", "--config", &example.write()]);
    let ended = Process::start(show).ended().await;
    assert!(ended.out.contains("\nconnections = 22 "), "{}", ended.out);
}

#[tokio::test]
async fn wrong_origin_deployment_and_client_are_reported() {
    let rules = Rules {
        allowed_domains: Some(vec!["other.example".to_owned()]),
        ..Rules::default()
    };
    let world = World::configured(rules, small).await;
    let path = world.folder.path().join("gateway.toml");
    let config = write(&path, &world.toml);
    let mut doctor = command(["doctor", "--json", "--config", &config]);
    doctor
        .env("GENESYS_CLIENT_ID", &world.simulator.client_id)
        .env("GENESYS_CLIENT_SECRET", "canary");
    let ended = Process::start(doctor).ended().await;
    let (report_of_origin, failed) = report(&ended);
    assert_eq!(failed, ["genesys client", "origin"], "{report_of_origin}");
    assert!(!ended.out.contains("canary"));

    let unknown = "8a3f14c4-0000-4000-8000-000000000000";
    let toml = world
        .toml
        .replace(&world.simulator.deployment_id().to_string(), unknown);
    let ended = run(["doctor", "--json", "--config", &write(&path, &toml)]).await;
    let (report, failed) = report(&ended);
    assert_eq!(failed, ["deployment"], "{report}");
    world.stop().await;
}

#[tokio::test]
async fn files_that_others_can_read_are_reported() {
    let example = Example::new();
    let serving = example.serve().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let (config, keys) = (example.path("gateway.toml"), example.path("guest-gateway.keys"));
    for path in [&config, &keys] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let ended = run(["doctor", "--config", config.to_str().unwrap()]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    for path in [&config, &keys] {
        let fix = format!("chmod 600 {}", path.display());
        assert!(ended.out.contains(&fix), "{}", ended.out);
    }
    std::fs::remove_file(&keys).unwrap();
    let ended = run(["doctor", "--json", "--config", config.to_str().unwrap()]).await;
    let (report, failed) = report(&ended);
    assert!(failed.contains(&"store".to_owned()), "{report}");
}

#[tokio::test]
async fn invalid_configuration_is_the_only_check() {
    let mut example = Example::new();
    example.change("[sessions]", "[session]");
    let ended = run(["doctor", "--json", "--config", &example.write()]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.out);
    let (report, failed) = report(&ended);
    assert_eq!(failed, ["configuration"], "{report}");
    assert_eq!(report["checks"].as_array().unwrap().len(), 1);
}
