//! `chat` in a script: lines in, one line for each event out.

mod content;
mod failures;

use std::io::{PipeWriter, Write as _};

use serde_json::Value;

use crate::process::{Ended, Process, command, run};

/// A chat whose input is still open.
fn chat(arguments: &[&str]) -> (Process, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = command(["chat"].iter().chain(arguments));
    command.stdin(reader);
    (Process::start(command), writer)
}

/// Writes a whole script, and waits for the end.
async fn script(arguments: &[&str], lines: &str) -> Ended {
    let (process, mut input) = chat(arguments);
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    process.ended().await
}

/// Reads up to this line.
async fn until(process: &mut Process, line: &str) {
    while process.line().await != line {}
}

/// Whether the lines occur in this order, others between them.
fn in_order(transcript: &str, lines: &[&str]) {
    let mut all = transcript.lines();
    for line in lines {
        assert!(
            all.any(|it| it == *line),
            "{line:?} is not in its place:\n{transcript}"
        );
    }
}

/// A simulator as a process of its own, with its address and deployment.
async fn simulator(arguments: &[&str]) -> (Process, String, String) {
    let mut sim = Process::start(command(
        ["sim", "--listen", "127.0.0.1:0", "--json"]
            .iter()
            .chain(arguments),
    ));
    let ready: Value = sim.json().await;
    let text = |name: &str| ready[name].as_str().unwrap().to_owned();
    (sim, text("http"), text("deployment_id"))
}

#[tokio::test]
async fn chat_with_piped_input_prints_deliveries_and_replies_then_exits() {
    let ended = script(&["--sim"], "hi\n/wait\n\n/dance\n//slash\n/wait\n日本語\n/wait").await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    let banner = ended.out.lines().next().unwrap();
    assert!(banner.starts_with("* SIMULATED Genesys Cloud"), "{banner}");
    assert!(banner.contains("http://127.0.0.1:"), "{banner}");
    for (sent, line) in [("hi", "> hi"), ("/slash", "> //slash"), ("日本語", "> 日本語")] {
        in_order(
            &ended.out,
            &[line, &format!("✓ {sent}"), &format!("Ann: You said: {sent}")],
        );
    }
    in_order(&ended.out, &["> hi", "> /dance", "> //slash", "> 日本語"]);
    in_order(
        &ended.out,
        &[
            "* connected: a new conversation",
            "✓ hi",
            "Ann is typing …",
            "Ann: You said: hi",
        ],
    );
    assert_eq!(
        ended.out.matches("! unknown command /dance").count(),
        1,
        "{}",
        ended.out
    );
    assert_eq!(ended.out.lines().last(), Some("* you have left the conversation"));
    assert!(!ended.out.contains('\x1b'), "{}", ended.out);
}

#[tokio::test]
async fn chat_connects_to_a_running_simulator_plain_or_with_its_ca() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem").display().to_string();
    for (how, trust) in [(vec!["--plain"], vec![]), (vec!["--ca", &ca], vec!["--ca", &ca])] {
        let (sim, url, deployment) = simulator(&how).await;
        let mut arguments = vec!["--sim", &url, "--deployment", &deployment, "--wait", "0s"];
        arguments.extend(trust);
        let (mut guest, mut input) = chat(&arguments);
        assert!(guest.line().await.contains(&url));
        writeln!(input, "hello").unwrap();
        until(&mut guest, "Ann: You said: hello").await;
        drop(input);
        let ended = guest.ended().await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert_eq!(sim.interrupt().await.code, Some(0));
    }
}

#[tokio::test]
async fn chat_removes_control_characters() {
    let (mut guest, mut input) = chat(&["--sim", "--wait", "0s"]);
    writeln!(input, "a\x1b]0;owned\x07\u{202e}b").unwrap();
    until(&mut guest, r"Ann: You said: a\u{1b}]0;owned\u{7}\u{202e}b").await;
    drop(input);
    assert_eq!(guest.ended().await.code, Some(0));
}

#[tokio::test]
async fn chat_starts_a_new_conversation_after_the_agent_leaves() {
    let (mut guest, mut input) = chat(&["--sim", "--wait", "0s"]);
    writeln!(input, "//disconnect").unwrap();
    let left = "* the other side has left: the conversation is read-only, /new starts another one";
    until(&mut guest, left).await;
    writeln!(input, "too late\n/new").unwrap();
    until(
        &mut guest,
        "✗ too late (not delivered: cannot send: the conversation is read-only; start a new one)",
    )
    .await;
    until(&mut guest, "* connected: a new conversation").await;
    writeln!(input, "again\n/clear").unwrap();
    until(&mut guest, "✓ again").await;
    until(&mut guest, "* the conversation was cleared").await;
    drop(input);
    let ended = guest.ended().await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.error_line(), "guest-gateway: a message was not delivered");
}

#[tokio::test]
async fn chat_exits_on_ctrl_c_with_open_input() {
    let (mut guest, _input) = chat(&["--sim"]);
    until(&mut guest, "* connected: a new conversation").await;
    let ended = guest.interrupt().await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn chat_error_suggests_a_remedy_for_a_refused_guest() {
    const NONE: &str = "00000000-0000-4000-8000-000000000000";
    let (sim, url, deployment) = simulator(&["--plain"]).await;
    for (arguments, output) in [
        (
            vec!["--sim", &*url, "--deployment", NONE],
            "no active deployment 00000000-",
        ),
        (
            vec![
                "--domain",
                "mypurecloud.ie",
                "--deployment",
                NONE,
                "--cdn-host",
                &*url,
            ],
            "no active deployment 00000000-",
        ),
    ] {
        let ended = run([&["chat"], &*arguments].concat()).await;
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{}", ended.err);
        assert!(ended.error_line().contains(output), "{}", ended.err);
    }
    let other = ["chat", "--domain", "example.com", "--deployment", &deployment];
    let hosts = [
        "--cdn-host",
        &url,
        "--api-host",
        &url,
        "--messaging-host",
        &url,
        "--wait",
        "0s",
    ];
    let ended = run(other.iter().chain(&hosts)).await;
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{}", ended.out);
    assert!(ended.out.starts_with("* Genesys Cloud: "), "{}", ended.out);
    assert_eq!(sim.interrupt().await.code, Some(0));
}
