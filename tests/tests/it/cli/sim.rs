//! `sim`: its options, and the commands for a running simulator.

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Ended, Process, command, run};

const DEPLOYMENT: &str = "b3c2a0de-1111-4222-8333-444455556666";

/// A simulator without TLS, and its ready line.
async fn plain(arguments: &[&str]) -> (Process, Value) {
    let fixed = ["sim", "--plain", "--listen", "127.0.0.1:0", "--json"];
    let mut sim = Process::start(command(fixed.iter().chain(arguments)));
    let ready = sim.json().await;
    (sim, ready)
}

/// A running simulator, as a target of commands.
struct Asked {
    sim: Process,
    at: String,
}

impl Asked {
    async fn start(arguments: &[&str]) -> Self {
        let (sim, ready) = plain(arguments).await;
        let at = ready["http"].as_str().unwrap().to_owned();
        Self { sim, at }
    }

    async fn ask(&self, arguments: &[&str]) -> Ended {
        run(["sim"].iter().chain(arguments).chain(&["--at", &self.at])).await
    }

    /// The JSON of a successful command.
    async fn output(&self, arguments: &[&str]) -> Value {
        let ended = self.ask(arguments).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}");
        serde_json::from_str(&ended.out).unwrap()
    }

    /// Error message of a failed command.
    async fn refused(&self, arguments: &[&str]) -> String {
        let ended = self.ask(arguments).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{arguments:?}");
        ended.error_line().to_owned()
    }
}

#[tokio::test]
async fn silent_port_is_reported() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let ended = run(["sim", "fault", "drop", "--at", &at]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    let line = ended.error_line();
    assert!(
        line.contains("within 3s") && line.contains("start a simulator"),
        "{line}"
    );
}

/// A guest who sends this text, and leaves.
async fn chat(at: &str, words: &str) -> String {
    let arguments = ["chat", "--sim", at, "--deployment", DEPLOYMENT];
    let mut command = command(arguments.iter().chain(&["--origin", "https://shop.example"]));
    let (reader, mut writer) = std::io::pipe().unwrap();
    command.stdin(reader);
    let process = Process::start(command);
    std::io::Write::write_all(&mut writer, words.as_bytes()).unwrap();
    drop(writer);
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    ended.out
}

#[tokio::test]
async fn sim_command_runs_a_script_and_faults() {
    let folder = tempdir().unwrap();
    let script = folder.path().join("rex.yaml");
    let rules = "name: rex\nnickname: Rex\nrules:\n  - on: otherwise\n    do: [{say: \"Woof, {text}!\"}]\n";
    std::fs::write(&script, rules).unwrap();
    let sim = Asked::start(&[
        "--agent",
        script.to_str().unwrap(),
        "--fault",
        "duplicate:always",
        "--no-limits",
        "--allowed-domain",
        "shop.example",
        "--deployment",
        DEPLOYMENT,
        "--session-duration",
        "30m",
    ])
    .await;
    let transcript = chat(&sim.at, "hello\n/wait\n").await;
    assert_eq!(
        transcript.matches("Rex: Woof, hello!").count(),
        1,
        "a frame that comes twice is shown once:\n{transcript}"
    );
    let state = sim.output(&["state"]).await;
    assert_eq!(state["counters"]["guestMessages"], 1);
    assert!(
        state["counters"]["faults"]["duplicate"].as_u64() >= Some(3),
        "{state}"
    );
    assert_eq!(
        sim.output(&["complaints"]).await,
        json!({"complaints": [], "dropped": 0})
    );
    assert_eq!(state["counters"]["alive"], 1);
    sim.output(&["advance", "30m"]).await;
    let state = sim.output(&["state"]).await;
    assert_eq!(
        (&state["counters"]["alive"], &state["counters"]["expired"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(sim.sim.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn sim_command_repeats_for_the_same_seed() {
    let mut output = Vec::new();
    for _ in 0..2 {
        let (sim, ready) = plain(&["--seed", "7"]).await;
        assert_eq!(ready["seed"], format!("{:0>64}", "7"));
        output.push(["client_id", "client_secret", "deployment_id"].map(|name| ready[name].clone()));
        assert_eq!(sim.interrupt().await.code, Some(0));
    }
    assert_eq!(output[0], output[1]);
}

#[tokio::test]
async fn sim_commands_inject_faults_and_list_violations() {
    let sim = Asked::start(&[]).await;
    assert_eq!(
        sim.output(&["fault", "rest:503:/oauth:x2"]).await,
        json!({"id": 1})
    );
    let one = [
        "fault",
        "drop:abrupt@3",
        "--session",
        "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11",
    ];
    assert_eq!(sim.output(&one).await, json!({"id": 2}));
    for (arguments, why) in [
        (
            vec!["fault", "explode"],
            r#"invalid fault "explode": use one of clock, delay"#,
        ),
        (
            vec!["fault", "refuse-handshake", "--session", "x"],
            "leave the session out",
        ),
        (
            vec!["advance", "soon"],
            "invalid time \"soon\": use a whole number",
        ),
        (vec!["advance", "9999999d"], "the year 9000"),
    ] {
        let sent = sim.refused(&arguments).await;
        assert!(
            sent.contains("the simulator refused the command with 400") && sent.contains(why),
            "{sent}"
        );
    }
    let http = genesys_http::Client::builder(genesys_http::Tls::system().unwrap()).build();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let request = http::Request::post(format!("{}/oauth/token?tea=1", sim.at)).body(bytes::Bytes::new());
        statuses.push(http.send(request.unwrap()).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [503, 503, 400]);
    let request = http::Request::get(format!("{}/teapot", sim.at)).body(bytes::Bytes::new());
    assert_eq!(http.send(request.unwrap()).await.unwrap().status(), 404);
    let violations = sim.output(&["complaints"]).await;
    assert!(violations.to_string().contains("GET /teapot"), "{violations}");
    let state = sim.output(&["state"]).await;
    assert_eq!(state["counters"]["faults"]["rest"], 2, "{state}");
    assert_eq!(sim.sim.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn sim_commands_need_the_ca_with_tls() {
    let folder = tempdir().unwrap();
    let [ca, other] = ["ca.pem", "other.pem"].map(|name| folder.path().join(name).display().to_string());
    let mut sim = Process::start(command(["sim", "--listen", "127.0.0.1:0", "--json", "--ca", &ca]));
    let ready = sim.json().await;
    let at = ready["http"].as_str().unwrap();
    let state = run(["sim", "state", "--at", at, "--ca", &ca]).await;
    assert_eq!(state.code, Some(0), "{}", state.err);
    let mut second = Process::start(command([
        "sim",
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--ca",
        &other,
    ]));
    second.json().await;
    let refused = run(["sim", "state", "--at", at, "--ca", &other]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    assert!(refused.error_line().contains("certificate"), "{}", refused.err);
    assert_eq!(second.interrupt().await.code, Some(0));
    assert_eq!(sim.interrupt().await.code, Some(0));
    let gone = run(["sim", "state", "--at", at, "--ca", &ca]).await;
    assert_eq!(gone.code, Some(1));
    assert!(
        gone.error_line()
            .contains("start a simulator with guest-gateway sim"),
        "{}",
        gone.error_line()
    );
}

#[tokio::test]
async fn sim_fault_help_lists_the_faults() {
    let ended = run(["sim", "fault", "--help"]).await;
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.out.contains(genesys_sim::Fault::GRAMMAR.trim_end()),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn sim_command_takes_a_uuid_as_deployment() {
    let ended = run(["sim", "--deployment", "x"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert!(
        ended.err.contains("invalid deployment: use a UUID"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn sim_command_finds_out_whether_the_simulator_uses_tls() {
    let folder = tempdir().unwrap();
    let ca = folder.path().join("ca.pem").display().to_string();
    let (plain, ready) = plain(&[]).await;
    let mut secure = Process::start(command(["sim", "--listen", "127.0.0.1:0", "--json", "--ca", &ca]));
    for ready in [ready, secure.json().await] {
        let (_, at) = ready["http"].as_str().unwrap().split_once("://").unwrap();
        let state = run(["sim", "state", "--at", at, "--ca", &ca]).await;
        assert_eq!(state.code, Some(0), "{at}: {}", state.err);
    }
    for process in [plain, secure] {
        assert_eq!(process.interrupt().await.code, Some(0));
    }
    let gone = run(["sim", "state", "--at", "127.0.0.1:1"]).await;
    assert_eq!(gone.code, Some(1));
    let line = gone.error_line();
    assert!(
        line.contains("start a simulator with guest-gateway sim"),
        "{line}"
    );
}

#[tokio::test]
async fn sim_command_names_the_line_of_a_script_error() {
    let folder = tempdir().unwrap();
    let script = folder.path().join("ann.yaml");
    std::fs::write(
        &script,
        "name: ann\nrules:\n  - on: connect\n    do: [{shout: hi}]\n",
    )
    .unwrap();
    let ended = run(["sim", "--agent", script.to_str().unwrap()]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert!(ended.err.contains("ann.yaml, line 4, column"), "{}", ended.err);
    assert!(ended.err.contains("shout"), "{}", ended.err);
}
