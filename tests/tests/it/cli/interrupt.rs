//! Ctrl-C ends every command cleanly.
//!
//! The duration is printed and not asserted: a timed test fails on a busy machine.

use std::path::PathBuf;

use serde_json::Value;

use super::Example;
use crate::demo_page::fetch;
use crate::page::{Page, handshake, soon, upgrade, upgrade_with};
use crate::process::{Ended, Process, command};

fn assert_clean_exit(what: &str, ended: &Ended) {
    println!("{what} ended {} ms after the interrupt", ended.took.as_millis());
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.err);
}

#[tokio::test]
async fn simulator_exits_on_interrupt() {
    for plain in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = command(["sim", "--listen", "127.0.0.1:0", "--json"]);
        arguments.current_dir(folder.path());
        if plain {
            arguments.arg("--plain");
        }
        let mut sim = Process::start(arguments);
        let ready = sim.json().await;
        // a guest that does not answer the close
        let mut guest = None;
        if plain {
            let url = format!(
                "{}?deploymentId={}",
                ready["websocket"].as_str().unwrap(),
                ready["deployment_id"].as_str().unwrap()
            );
            guest = Some(Page::open(upgrade(&url)).await.unwrap());
        }
        assert_clean_exit(&format!("sim, plain: {plain},"), &sim.interrupt().await);
        if let Some(mut guest) = guest {
            assert_eq!(guest.closed().await, Some(1001));
        }
    }
}

#[tokio::test]
async fn gateway_exits_on_interrupt_during_a_conversation_and_signs_its_log() {
    let example = Example::new();
    // a suspended page does not answer the close, and must not delay the gateway
    for (signal, asleep) in [("INT", false), ("TERM", true)] {
        let serving = example.serve().await;
        let session = serving.session().await;
        let mut page = page_of(&session).await;
        page.message("hello").await;
        page.until("message").await;
        // one more without a handshake, and one idle connection
        let request = request(&session);
        let mut waiting = Page::open(request).await.unwrap();
        let address = serving.url.trim_start_matches("http://");
        let _silent = tokio::net::TcpStream::connect(address).await.unwrap();

        serving.process.signal(signal);
        let ended = soon(serving.process.ended());
        let closes = async { tokio::join!(answer_close(&mut page), answer_close(&mut waiting)) };
        let (ended, closes) = if asleep {
            (ended.await, closes.await)
        } else {
            tokio::join!(ended, closes)
        };
        assert_eq!(closes, (Some(1001), Some(1001)));
        assert_clean_exit(&format!("serve, by SIG{signal}, asleep: {asleep},"), &ended);
        assert!(!ended.err.contains("ERROR"), "{}", ended.err);
    }
}

/// Receives the close, and answers it.
async fn answer_close(page: &mut Page) -> Option<u16> {
    let code = page.closed().await;
    // the answer goes out with the next read
    page.closed().await;
    code
}

fn request(session: &Value) -> http::Request<()> {
    let url = session["websocketUrl"].as_str().unwrap();
    upgrade_with(url, "origin", "https://yourdomain.com")
}

async fn page_of(session: &Value) -> Page {
    let mut page = Page::open(request(session)).await.unwrap();
    page.send_frame(&handshake(session)).await;
    page.until("handshake.accepted").await;
    page
}

#[tokio::test]
async fn demo_with_kept_servers_exits_and_removes_its_files() {
    let mut demo = Process::start(command(["demo", "--keep"]));
    let mut output = String::new();
    while !output.contains("until Ctrl-C") {
        output.push_str(&demo.line().await);
        output.push('\n');
    }
    assert_eq!(output.matches('✓').count(), 13, "{output}");
    let ca = output
        .lines()
        .find_map(|line| line.strip_prefix("CA"))
        .map(|path| PathBuf::from(path.trim()));
    let ca = ca.expect("the CA's path is printed");
    assert!(ca.exists());
    printed_commands_work(&output).await;
    let shop = output
        .lines()
        .find_map(|line| line.strip_prefix("Open the demo shop in a browser: "));
    let shop = fetch(shop.expect("the shop's address is printed")).await;
    assert!(shop.contains("Harbor Tea"), "{shop}");
    assert_clean_exit("demo --keep", &demo.interrupt().await);
    assert!(
        !ca.parent().unwrap().exists(),
        "its temporary folder is still there"
    );
}

/// Runs the printed `curl` lines, if the machine has curl.
async fn printed_commands_work(output: &str) {
    let lines: Vec<&str> = output
        .lines()
        .skip_while(|line| !line.starts_with("TOKEN="))
        .take_while(|line| !line.starts_with("Open "))
        .collect();
    assert!(lines.len() >= 4, "{output}");
    let script = lines
        .join("\n")
        .replace("curl ", "curl --fail --silent --show-error ");
    let shell = |script: &str| {
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-ec", script]).kill_on_drop(true);
        shell
    };
    if !shell("curl --version >/dev/null 2>&1")
        .status()
        .await
        .unwrap()
        .success()
    {
        println!("there is no curl here: the lines are not tried");
        return;
    }
    let tried = soon(shell(&script).output()).await.unwrap();
    let out = String::from_utf8_lossy(&tried.stdout);
    assert!(
        tried.status.success(),
        "{script}\n{out}\n{}",
        String::from_utf8_lossy(&tried.stderr)
    );
    for answer in ["\"dropOff\"", "\"websocketUrl\"", "\"utc\""] {
        assert!(out.contains(answer), "{answer} is not in {out}");
    }
}

#[tokio::test]
async fn interrupted_demo_exits_with_failure() {
    let mut demo = Process::start(command(["demo"]));
    let first = demo.line().await;
    let ended = demo.interrupt().await;
    println!("demo ended {} ms after the interrupt", ended.took.as_millis());
    let ticked = (first + &ended.out).matches('✓').count();
    // it may have ended before the signal
    let expected = if ticked == 13 { 0 } else { 130 };
    assert_eq!(ended.code, Some(expected), "{ticked} steps, {}", ended.err);
}
