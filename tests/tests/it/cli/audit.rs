//! `audit export`, `audit key`, `audit verify`.

use std::path::Path;
use std::process::Command;

use audit::{Log, Signer};
use http::Method;

use super::{Example, root};
use crate::api::{Call, path_of};
use crate::process::{Ended, run};
use left_out::{Missing, leave_out};

/// A configuration whose gateway has created and ended a session, and is stopped.
async fn used(example: &Example) {
    let serving = example.serve().await;
    let session = serving.session().await;
    let api = serving.api(genesys_http::Tls::system().unwrap()).await;
    let path = path_of(&session, "");
    api.ask(Call::new(Method::DELETE, &path)).await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

async fn export(example: &Example, name: &str) -> Ended {
    let out = example.path(name).display().to_string();
    run(["audit", "export", "--config", &example.write(), "--out", &out]).await
}

async fn verify(file: &Path, key: &str, against: Option<&Path>) -> Ended {
    let mut arguments = vec!["audit", "verify", file.to_str().unwrap(), "--key", key];
    if let Some(path) = against {
        arguments.extend(["--against", path.to_str().unwrap()]);
    }
    run(arguments).await
}

/// Number of entries in the export's message.
fn entries(exported: &Ended) -> u64 {
    let (count, _) = exported.out.split_once(" entries exported to ").unwrap();
    count.parse().unwrap()
}

#[tokio::test]
async fn audit_log_is_exported_and_verified_offline_and_detects_changes() {
    let example = Example::new();
    used(&example).await;
    let first = export(&example, "first.jsonl").await;
    assert_eq!(first.code, Some(0), "{}", first.err);
    let fewer = entries(&first);
    used(&example).await;
    let exported = export(&example, "audit.jsonl").await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let all = entries(&exported);
    let again = export(&example, "audit.jsonl").await;
    assert_eq!(
        (again.code, again.error_line().contains("it exists")),
        (Some(2), true),
        "{}",
        again.err
    );
    assert!(2 <= fewer && fewer + 2 <= all, "{fewer}, then {all}");
    let key = run(["audit", "key", "--config", &example.write()]).await;
    assert_eq!(key.code, Some(0), "{}", key.err);
    let key = key.out.trim();

    // an auditor has the export, the key, and a checkpoint that was kept elsewhere
    let (file, kept) = (example.path("audit.jsonl"), example.path("kept"));
    let (_, note) = exported.out.split_once("another machine:\n\n").unwrap();
    std::fs::write(&kept, note).unwrap();
    std::fs::remove_file(example.path("guest-gateway.db")).unwrap();
    let copied = example.path("copied");
    std::fs::write(&copied, format!("\n{}", note.trim_end())).unwrap();
    let (_, earlier) = first.out.split_once("another machine:\n\n").unwrap();
    let joined = example.path("joined");
    std::fs::write(&joined, format!("\u{feff}{note}{earlier}").replace('\n', "\r\n")).unwrap();
    for against in [
        None,
        Some(kept.as_path()),
        Some(copied.as_path()),
        Some(joined.as_path()),
    ] {
        let verified = verify(&file, key, against).await;
        assert_eq!(verified.code, Some(0), "{}", verified.err);
        assert!(
            verified.out.starts_with(&format!("{all} entries verified")),
            "{}",
            verified.out
        );
    }

    tampered(&example, key).await;
    // the entries after the first export are cut off: only the kept checkpoint reveals it
    let cut = example.path("first.jsonl");
    assert_eq!(verify(&cut, key, None).await.code, Some(0));
    let missed = verify(&cut, key, Some(&kept)).await;
    assert_eq!(missed.code, Some(1), "{}", missed.err);
    assert!(
        missed.err.contains(&format!("{fewer}")) && missed.err.contains(&format!("{all}")),
        "{}",
        missed.err
    );
}

async fn tampered(example: &Example, key: &str) {
    let text = std::fs::read_to_string(example.path("audit.jsonl")).unwrap();
    let entry = text
        .lines()
        .position(|line| line.contains("session.ended"))
        .unwrap();
    let before = text.lines().take(entry);
    let named = format!(
        "entry {}",
        before.filter(|line| line.starts_with("{\"leaf\"")).count()
    );
    let copy = example.path("copy.jsonl");
    let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    lines[entry] = lines[entry].replace("session.ended", "session.endet");
    for (what, altered) in [
        ("one letter", lines.concat()),
        ("an entry left out", {
            let mut fewer = lines.clone();
            fewer.remove(entry);
            fewer.concat()
        }),
        (
            "an end in the middle of a line",
            text[..text.len() - 40].to_owned(),
        ),
        ("no file", String::new()),
        ("the last checkpoint left out", {
            let (rest, _checkpoint) = text.trim_end().rsplit_once('\n').unwrap();
            format!("{rest}\n")
        }),
    ] {
        std::fs::write(&copy, altered).unwrap();
        let found = verify(&copy, key, None).await;
        assert_eq!(found.code, Some(1), "{what}: {}", found.out);
        assert!(
            found.error_line().contains("copy.jsonl"),
            "{what}: {}",
            found.error_line()
        );
        if what.contains("middle of a line") {
            assert!(
                found.err.contains("cut before its end") && !found.err.contains("altered"),
                "{}",
                found.err
            );
        }
        if what == "one letter" {
            assert!(
                found.err.contains(&named),
                "{what}: {} names not {named}",
                found.err
            );
        }
    }
    std::fs::write(&copy, format!("{text}\n\r\n")).unwrap();
    assert_eq!(verify(&copy, key, None).await.code, Some(0));
    let folder = verify(example.folder.path(), key, None).await;
    assert!(
        folder.error_line().contains("it is a directory"),
        "{}",
        folder.err
    );
    // without its first line and its checkpoints, as an export with --since
    let entries = text.lines().filter(|line| line.starts_with("{\"leaf\""));
    for since in [0, 1] {
        let part = entries.clone().skip(since).map(|line| format!("{line}\n"));
        std::fs::write(&copy, part.collect::<String>()).unwrap();
        let partial = verify(&copy, key, None).await;
        assert_eq!(partial.code, Some(2), "{}", partial.err);
        assert!(
            partial.error_line().contains("partial export (--since)"),
            "{}",
            partial.err
        );
    }
    std::fs::write(&copy, "id;name\n1;x\n").unwrap();
    let found = verify(&copy, key, None).await;
    assert_eq!(found.code, Some(2), "{}", found.out);
    let why = found.err;
    assert!(
        why.contains("not an audit log") && !why.contains("altered"),
        "{why}"
    );
    let other = "guest-gateway/audit+00000000+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let foreign = verify(&example.path("audit.jsonl"), other, None).await;
    assert_ne!(foreign.code, Some(0), "{}", foreign.out);
}

#[tokio::test]
async fn second_implementation_in_python_verifies_export_and_refuses_altered_one() {
    let python = Command::new("python3").arg("--version").output();
    if python.is_err() {
        return leave_out(
            "second_implementation_in_python_verifies_export_and_refuses_altered_one",
            Missing {
                program: "python3",
                install: "apt-get install python3",
            },
        );
    }
    let example = Example::new();
    used(&example).await;
    let exported = export(&example, "audit.jsonl").await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let key = run(["audit", "key", "--config", &example.write()]).await.out;
    let script = root().join("crates/audit/verify_log.py");
    let verify_with = |key: &str, file: &Path| {
        let verified = Command::new("python3")
            .arg(&script)
            .arg(key)
            .arg(file)
            .output()
            .unwrap();
        let [out, err] = [verified.stdout, verified.stderr].map(|text| String::from_utf8(text).unwrap());
        (verified.status.code(), out + &err)
    };
    let verify = |file: &Path| verify_with(key.trim(), file);
    let (file, copy) = (example.path("audit.jsonl"), example.path("copy.jsonl"));
    let expected = format!("{} entries verified\n", entries(&exported));
    assert_eq!(verify(&file), (Some(0), expected.clone()));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&copy, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
    assert_eq!(verify(&copy), (Some(0), expected));

    let seq = text.lines().filter(|line| line.starts_with("{\"leaf\""));
    let seq = seq.take_while(|line| !line.contains("session.ended")).count();
    let (without_checkpoint, _) = text.trim_end().rsplit_once('\n').unwrap();
    for (altered, named) in [
        (
            text.replacen("session.ended", "session.endet", 1),
            format!("entry {seq} was altered"),
        ),
        (
            text.replace("\\n\\n— ", "\\n\\n— x"),
            "the checkpoint is not signed by this key".to_owned(),
        ),
        (
            without_checkpoint.to_owned(),
            "the end of the log is missing".to_owned(),
        ),
        (String::new(), "the end of the log is missing".to_owned()),
    ] {
        std::fs::write(&copy, altered).unwrap();
        let (code, message) = verify(&copy);
        assert_eq!(code, Some(1), "{message}");
        assert!(message.contains(&named), "{message}");
    }

    let log = Log::new(Signer::from_seed("example.com/empty", &[7; 32]).unwrap());
    std::fs::write(&copy, log.checkpoint()).unwrap();
    let verified = verify_with(&log.verifier_key().to_string(), &copy);
    assert_eq!(verified, (Some(0), "0 entries verified\n".to_owned()));
}

#[tokio::test]
async fn audit_export_refuses_a_log_in_use() {
    let example = Example::new();
    let serving = example.serve().await;
    let refused = export(&example, "audit.jsonl").await;
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(
        refused.error_line().contains("stop that process first"),
        "{}",
        refused.error_line()
    );
    assert!(
        refused.error_line().contains("guest-gateway.db"),
        "{}",
        refused.error_line()
    );
    assert!(!example.path("audit.jsonl").exists());
    // the key is public, and can be exported at any time
    let key = run(["audit", "key", "--config", &example.write()]).await;
    assert_eq!(key.code, Some(0), "{}", key.err);
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn audit_export_needs_a_store() {
    let example = Example::new();
    let refused = export(&example, "audit.jsonl").await;
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(
        refused.error_line().contains("guest-gateway.keys"),
        "{}",
        refused.error_line()
    );
    used(&example).await;
    std::fs::remove_file(example.path("guest-gateway.db")).unwrap();
    let refused = export(&example, "audit.jsonl").await;
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(
        refused.error_line().contains("guest-gateway.db"),
        "{}",
        refused.error_line()
    );
    assert!(
        !example.path("guest-gateway.db").exists(),
        "an empty store was made"
    );
    let missing = verify(&example.path("nothing.jsonl"), KEY, None).await;
    assert_eq!(missing.code, Some(2), "{}", missing.err);
}

/// Some key, in the right form.
const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
