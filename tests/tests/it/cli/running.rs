//! Commands with `--url`, about a running gateway.

use tokio::process::Command;

use super::{EXAMPLE_CLIENT, Example, Serving};
use crate::process::{Ended, Process, command, run};

/// A command with the credentials of the example's API client.
fn signed_in(arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    let (id, secret) = EXAMPLE_CLIENT;
    command
        .env("GUEST_GATEWAY_CLIENT_ID", id)
        .env("GUEST_GATEWAY_CLIENT_SECRET", secret);
    command
}

async fn ask(serving: &Serving, arguments: &[&str]) -> Ended {
    let arguments = [arguments, &["--url", &serving.url]].concat();
    Process::start(signed_in(&arguments)).ended().await
}

#[tokio::test]
async fn audit_show_lists_entries_of_a_session_of_a_running_and_a_stopped_gateway() {
    let example = Example::new();
    let serving = example.serve().await;
    let session = serving.session().await;
    let id = session["id"].as_str().unwrap();
    let shown = ask(&serving, &["audit", "show", id]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let [created, read] = shown.out.lines().collect::<Vec<_>>()[..] else {
        panic!("{}", shown.out);
    };
    let by = "Z session.created ok by client your_service_account_client_id ";
    assert!(created.starts_with("3 2") && created.contains(by), "{created}");
    assert!(
        read.starts_with("5 2") && read.contains(" audit.read ok by client "),
        "{read}"
    );
    let unknown = ask(&serving, &["audit", "show", "nobody"]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.err);
    assert!(unknown.error_line().contains("not.found"), "{}", unknown.err);

    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let config = example.write();
    let stopped = run(["audit", "show", id, "--config", &config]).await;
    assert_eq!(
        (stopped.code, stopped.out),
        (Some(0), shown.out),
        "{}",
        stopped.err
    );
    let unknown = run(["audit", "show", "nobody", "--config", &config]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.err);
    assert!(
        unknown.error_line().contains("cannot show nobody"),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn credentials_of_a_running_gateway_come_from_the_environment() {
    let url = ["audit", "show", "s", "--url", "http://127.0.0.1:1"];
    let refused = run(url).await;
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(
        refused.error_line().contains("GUEST_GATEWAY_CLIENT_ID"),
        "{}",
        refused.err
    );
    let unreachable = Process::start(signed_in(&url)).ended().await;
    assert_eq!(unreachable.code, Some(1), "{}", unreachable.err);
    assert!(
        unreachable.error_line().contains("127.0.0.1:1"),
        "{}",
        unreachable.err
    );
}
