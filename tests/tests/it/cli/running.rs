//! Commands with `--url`, about a running gateway.

use audit::proof::{ConsistencyProof, InclusionProof};
use audit::{Tree, VerifierKey, leaf_hash};
use tokio::process::Command;

use super::{EXAMPLE_CLIENT, Example, Serving};
use crate::process::{Ended, Process, command, run};

/// A command with the credentials of the example's API client.
pub(super) fn signed_in(arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    let (id, secret) = EXAMPLE_CLIENT;
    command
        .env("GUEST_GATEWAY_CLIENT_ID", id)
        .env("GUEST_GATEWAY_CLIENT_SECRET", secret);
    command
}

pub(super) async fn ask(serving: &Serving, arguments: &[&str]) -> Ended {
    let arguments = [arguments, &["--url", &serving.url]].concat();
    Process::start(signed_in(&arguments)).ended().await
}

/// The example, whose API client may read the whole log.
fn auditor() -> Example {
    let mut example = Example::new();
    let scopes = "\"webhooks:readwrite\"]";
    example.change(scopes, "\"webhooks:readwrite\", \"audit:read\"]");
    example
}

async fn key(example: &Example) -> String {
    let key = run(["audit", "key", "--config", &example.write()]).await;
    key.out.trim().to_owned()
}

/// The bytes of the entries of an export.
fn entries(export: &str) -> Vec<&str> {
    let entries = export.lines().filter_map(|line| line.split_once("\"entry\":"));
    entries
        .map(|(_, entry)| entry.strip_suffix('}').unwrap())
        .collect()
}

#[tokio::test]
async fn audit_export_of_a_running_gateway_is_the_log_of_the_stopped_one() {
    let example = auditor();
    let serving = example.serve().await;
    serving.session().await;
    let path = |name: &str| example.path(name).display().to_string();
    let (whole, later) = (path("whole.jsonl"), path("later.jsonl"));
    let exported = ask(&serving, &["audit", "export", "--out", &whole]).await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    assert!(exported.out.contains("Keep this checkpoint"), "{}", exported.out);
    let key = key(&example).await;
    let verified = run(["audit", "verify", &whole, "--key", &key]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    // the verifier in Python; another test reports a missing python3
    let script = super::root().join("crates/audit/verify_log.py");
    let python = Command::new("python3")
        .arg(script)
        .args([&key, &whole])
        .output()
        .await;
    assert!(python.is_err() || python.is_ok_and(|python| python.status.success()));

    for (partial, arguments) in [
        ("since.jsonl", ["--since", "2000-01-01T00:00:00Z"]),
        ("entries.csv", ["--csv", "--since=2000-01-01T00:00:00Z"]),
    ] {
        let partial = path(partial);
        let exported = ask(
            &serving,
            &[&["audit", "export", "--out", &partial], &arguments[..]].concat(),
        )
        .await;
        assert_eq!(exported.code, Some(0), "{}", exported.err);
        assert!(
            exported.out.contains("cannot be verified as a whole"),
            "{}",
            exported.out
        );
        let verified = run(["audit", "verify", &partial, "--key", &key]).await;
        assert_ne!(verified.code, Some(0), "{}", verified.out);
    }
    let csv = std::fs::read_to_string(path("entries.csv")).unwrap();
    assert!(
        csv.starts_with("seq,time,action,") && csv.contains("\"session.created\",\"ok\",\"client\""),
        "{csv}"
    );

    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let config = example.write();
    let exported = run(["audit", "export", "--config", &config, "--out", &later]).await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let [whole, later] = [whole, later].map(|file| std::fs::read_to_string(file).unwrap());
    assert!(
        later.starts_with(&whole),
        "the same bytes, and the entries that followed"
    );
}

#[tokio::test]
async fn audit_prove_prints_proofs_of_a_running_and_a_stopped_gateway() {
    let example = auditor();
    let serving = example.serve().await;
    serving.session().await;
    let running = [
        ask(&serving, &["audit", "prove", "1"]).await,
        ask(&serving, &["audit", "prove", "--old", "2"]).await,
    ];
    let denied = ask(&serving, &["audit", "prove", "99"]).await;
    assert_eq!(denied.code, Some(1), "{}", denied.err);
    assert!(denied.error_line().contains("invalid entry 99"), "{}", denied.err);
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let config = example.write();
    let stopped = [
        run(["audit", "prove", "1", "--config", &config]).await,
        run(["audit", "prove", "--old", "2", "--config", &config]).await,
    ];
    let file = example.path("log.jsonl").display().to_string();
    assert_eq!(
        run(["audit", "export", "--config", &config, "--out", &file])
            .await
            .code,
        Some(0)
    );
    let log = std::fs::read_to_string(&file).unwrap();
    let key: VerifierKey = key(&example).await.parse().unwrap();
    let root = entries(&log)[..2]
        .iter()
        .map(|entry| leaf_hash(entry.as_bytes()))
        .collect::<Tree>()
        .root();
    for [inclusion, consistency] in [running, stopped] {
        assert_eq!(
            (inclusion.code, consistency.code),
            (Some(0), Some(0)),
            "{}",
            inclusion.err
        );
        let proof: InclusionProof = inclusion.out.parse().unwrap();
        proof.check(entries(&log)[1].as_bytes(), &key).unwrap();
        let proof: ConsistencyProof = consistency.out.parse().unwrap();
        proof.check(root, &key).unwrap();
    }
}

#[tokio::test]
async fn audit_tail_ends_when_its_reader_has_gone() {
    let serving = auditor().serve().await;
    let mut tail = Process::start(signed_in(&[
        "audit",
        "tail",
        "--lines",
        "1",
        "--url",
        &serving.url,
    ]));
    tail.line().await;
    // no entry follows
    assert_eq!(tail.without_reader().await, (Some(0), String::new()));
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn audit_tail_follows_a_running_gateway() {
    let example = auditor();
    let serving = example.serve().await;
    let mut tail = Process::start(signed_in(&[
        "audit",
        "tail",
        "--lines",
        "1",
        "--url",
        &serving.url,
    ]));
    let read = tail.line().await;
    assert!(read.contains(" audit.log_read ok by client "), "{read}");
    serving.session().await;
    while !tail.line().await.contains(" session.created ok by client ") {}
    assert_eq!(tail.interrupt().await.code, Some(0));
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let config = example.write();
    let ended = run([
        "audit",
        "tail",
        "--config",
        &config,
        "--since",
        "2000-01-01T00:00:00Z",
    ])
    .await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(
        ended.out.contains(" audit.opened ") && ended.out.contains(" audit.closed "),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn checkpoints_are_appended_to_a_file_that_verifies_a_later_export() {
    let mut example = auditor();
    let (kept, log) = (
        example.path("kept"),
        example.path("log.jsonl").display().to_string(),
    );
    example.text = format!(
        "audit.checkpoint_file = {:?}\n{}",
        kept.display().to_string(),
        example.text
    );
    let serving = example.serve().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let serving = example.serve().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let notes = std::fs::read_to_string(&kept).unwrap();
    assert!(notes.matches("guest-gateway/audit\n").count() >= 2, "{notes}");
    let config = example.write();
    assert_eq!(
        run(["audit", "export", "--config", &config, "--out", &log])
            .await
            .code,
        Some(0)
    );
    let key = key(&example).await;
    let kept = kept.display().to_string();
    let verified = run(["audit", "verify", &log, "--key", &key, "--against", &kept]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.err);
}

#[tokio::test]
async fn consent_export_of_a_running_gateway_has_the_records_of_the_stopped_one() {
    let example = auditor();
    let serving = example.serve().await;
    let session = serving.session().await;
    serving.session().await;
    let path = |name: &str| example.path(name).display().to_string();
    let files = [path("running"), path("stopped"), path("receipt")];
    let exported = ask(&serving, &["consent", "export", "--out", &files[0]]).await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    assert!(
        exported.out.starts_with("2 records exported to "),
        "{}",
        exported.out
    );
    let only = [
        "consent",
        "export",
        "--receipts",
        "--session",
        session["id"].as_str().unwrap(),
    ];
    let exported = ask(&serving, &[&only[..], &["--out", &files[2]]].concat()).await;
    assert!(
        exported.out.starts_with("1 receipt exported to "),
        "{}",
        exported.err
    );
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let config = example.write();
    let exported = run(["consent", "export", "--config", &config, "--out", &files[1]]).await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let [running, stopped, receipt] = files.map(|file| std::fs::read_to_string(file).unwrap());
    assert_eq!(running, stopped);
    assert!(receipt.contains("\"receipt_id\""), "{receipt}");
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
    let first = |line: &str| line.split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(created.contains(by) && first(created) < first(read), "{created}");
    assert!(read.contains(" audit.read ok by client "), "{read}");
    let unknown = ask(&serving, &["audit", "show", "nobody"]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.err);
    assert!(unknown.error_line().contains("not.found"), "{}", unknown.err);

    let ended = serving.process.interrupt().await;
    assert_eq!(ended.code, Some(0));
    // the log of the requests has no ids
    assert!(ended.err.contains("guest-sessions/{"), "{}", ended.err);
    assert!(!ended.err.contains(id), "{}", ended.err);
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
    let serving = Example::new().serve().await;
    let mut command = signed_in(&["audit", "show", "s", "--url", &serving.url]);
    command.env("GUEST_GATEWAY_CLIENT_SECRET", "another");
    let wrong = Process::start(command).ended().await;
    assert_eq!(wrong.code, Some(1), "{}", wrong.err);
    let error = wrong.error_line();
    assert!(
        error.contains("GUEST_GATEWAY_CLIENT_SECRET") && !error.contains("region"),
        "{error}"
    );
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let unreachable = Process::start(signed_in(&url)).ended().await;
    assert_eq!(unreachable.code, Some(1), "{}", unreachable.err);
    assert!(
        unreachable.error_line().contains("127.0.0.1:1"),
        "{}",
        unreachable.err
    );
}

#[tokio::test]
async fn guest_is_shown_exported_and_erased_of_a_running_and_a_stopped_gateway() {
    let mut example = Example::new();
    example.change(
        "\"webhooks:readwrite\"]",
        "\"webhooks:readwrite\", \"guests:manage\"]",
    );
    example.change("\"tutorial-strict\"", "\"purpose-scoped\"");
    let serving = example.serve().await;
    let (running, kept) = (serving.session().await, serving.session().await);
    let guest = running["guestId"].as_str().unwrap();
    let id = running["id"].as_str().unwrap();
    let shown = ask(&serving, &["guest", "show", "--guest", guest]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(
        shown.out.starts_with(&format!("session {id} created ")),
        "{}",
        shown.out
    );
    assert!(shown.out.contains(" session.created (entry 3) "), "{}", shown.out);
    let erased = ask(&serving, &["guest", "erase", "--guest", guest]).await;
    assert_eq!(erased.code, Some(0), "{}", erased.err);
    assert!(
        erased
            .out
            .starts_with(&format!("session {id} erased: audit entry ")),
        "{}",
        erased.out
    );
    let (_, key) = erased.err.split_once("Key of this erasure: ").unwrap();
    let key = key.split('.').next().unwrap();
    let again = ask(&serving, &["guest", "erase", "--guest", guest, "--key", key]).await;
    let entry = erased
        .out
        .split(" erased: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let expected = format!("session of an earlier request erased: {entry}\n");
    assert!(again.out.starts_with(&expected), "{} {}", again.out, again.err);
    assert_eq!(again.err, "", "a key that was given is not printed");
    let unknown = ask(&serving, &["guest", "erase", "--guest", guest]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.err);
    let error = unknown.error_line();
    assert!(error.contains("cannot find the guest"), "{error}");
    assert!(
        !unknown.err.contains("repeat"),
        "nothing was erased: {}",
        unknown.err
    );

    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let config = example.write();
    let guest = kept["guestId"].as_str().unwrap();
    let of_stopped =
        async |arguments: &[&str]| run([arguments, &["--guest", guest, "--config", &config]].concat()).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("guest.json");
    let export = ["guest", "export", "--out", out.to_str().unwrap()];
    let exported = of_stopped(&export).await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(
        (&report["guestId"], &report["sessions"][0]["id"]),
        (&kept["guestId"], &kept["id"])
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&out.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let taken = of_stopped(&export).await;
    assert_eq!(taken.code, Some(2), "{}", taken.err);
    let short = of_stopped(&["guest", "erase", "--key", "x"]).await;
    assert_eq!(short.code, Some(2), "{}", short.err);
    assert!(short.err.contains("shorter than 22 characters"), "{}", short.err);
    let erased = of_stopped(&["guest", "erase"]).await;
    assert_eq!(erased.code, Some(0), "{}", erased.err);
    assert!(erased.out.contains("Keep this checkpoint"), "{}", erased.out);
    let unknown = of_stopped(&["guest", "show"]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.err);
    assert!(
        unknown.error_line().contains("cannot find the guest"),
        "{}",
        unknown.err
    );
    let checked = run(["store", "check", "--config", &config]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    let log = example.path("log.jsonl").display().to_string();
    let exported = run(["audit", "export", "--config", &config, "--out", &log]).await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(
        !log.contains("consent.reevaluated"),
        "the policy did not change: {log}"
    );
}
