//! `store`: backup, restore, check, vacuum, move; and a gateway whose disk fails.

use std::os::unix::fs::PermissionsExt as _;

use genesys_http::Tls;
use http::StatusCode;
use tokio::process::Command;

use super::{EXAMPLE_CHANNEL, Example};
use crate::api::{Call, SESSIONS, guest};
use crate::guests::until;
use crate::process::{Ended, program, run};
use left_out::{Missing, leave_out};
use test_postgres::Cluster;

async fn store(example: &Example, arguments: &[&str]) -> Ended {
    let config = example.write();
    let mut all = vec!["store"];
    all.extend(arguments);
    all.extend(["--config", &config]);
    run(all).await
}

fn succeeded(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[tokio::test]
async fn backup_of_a_running_gateway_is_restored() {
    let example = Example::new();
    let backup = example.path("backup.db").display().to_string();
    let serving = example.serve().await;
    let kept = serving.session().await;
    succeeded(&store(&example, &["backup", &backup]).await);
    succeeded(&store(&example, &["check"]).await);
    let later = serving.session().await;
    let locked = store(&example, &["restore", &backup, "--force"]).await;
    assert_eq!(locked.code, Some(2));
    assert!(
        locked.error_line().contains("in use by another process"),
        "{}",
        locked.error_line()
    );
    assert_eq!(serving.process.interrupt().await.code, Some(0));

    let mode = std::fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = store(&example, &["backup", &backup]).await;
    assert_eq!(again.code, Some(2));
    assert!(again.error_line().contains("it exists"), "{}", again.error_line());
    let refused = store(&example, &["restore", &backup]).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.error_line().contains("--force"),
        "{}",
        refused.error_line()
    );
    let damaged = example.path("damaged.db");
    std::fs::write(&damaged, [b'x'; 10_000]).unwrap();
    let refused = store(&example, &["restore", &damaged.display().to_string(), "--force"]).await;
    assert_eq!(refused.code, Some(2));
    let restored = store(&example, &["restore", &backup, "--force"]).await;
    succeeded(&restored);
    succeeded(&store(&example, &["vacuum"]).await);
    succeeded(&store(&example, &["check"]).await);

    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    for (session, status) in [(&kept, 200), (&later, 404)] {
        let path = format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
        let answer = api.send(Call::get(&path).bearer(&api.token)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn restore_fills_an_empty_folder() {
    let example = Example::new();
    let backup = example.path("backup.db").display().to_string();
    let serving = example.serve().await;
    serving.session().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    succeeded(&store(&example, &["backup", &backup]).await);
    std::fs::remove_file(example.path("guest-gateway.db")).unwrap();
    let missing = store(&example, &["check"]).await;
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.error_line().contains("no such file"),
        "{}",
        missing.error_line()
    );
    succeeded(&store(&example, &["restore", &backup]).await);
    succeeded(&store(&example, &["check"]).await);
}

#[tokio::test]
async fn rekeyed_store_serves_its_sessions() {
    let example = Example::new();
    let serving = example.serve().await;
    let id = serving.session().await["id"].as_str().unwrap().to_owned();
    let locked = store(&example, &["rekey"]).await;
    assert_eq!(locked.code, Some(2));
    assert!(locked.error_line().contains("in use"), "{}", locked.error_line());
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let key_file = example.path("guest-gateway.keys");
    let old = std::fs::read_to_string(&key_file).unwrap();
    succeeded(&store(&example, &["rekey"]).await);

    let new = std::fs::read_to_string(&key_file).unwrap();
    let changed: Vec<_> = old
        .lines()
        .zip(new.lines())
        .filter(|(old, new)| old != new)
        .collect();
    assert!(
        matches!(changed[..], [(old, _)] if old.starts_with("seal ")),
        "one key changed"
    );
    let mode = std::fs::metadata(&key_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    succeeded(&store(&example, &["check"]).await);
    // interrupted after the store was written and before the old key was removed
    let seal = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("seal "))
            .unwrap()
            .to_owned()
    };
    let interrupted = new.replace(&seal(&new), &format!("{}\nnext-{}", seal(&old), seal(&new)));
    std::fs::write(&key_file, interrupted).unwrap();
    succeeded(&store(&example, &["check"]).await);
    let refused = store(&example, &["vacuum"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.err.contains("guest-gateway store rekey"),
        "{}",
        refused.err
    );
    succeeded(&store(&example, &["rekey"]).await);
    assert_eq!(std::fs::read_to_string(&key_file).unwrap(), new);

    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    api.ask(Call::get(&format!("{SESSIONS}/{id}"))).await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn refused_rekey_leaves_the_key_file() {
    let example = Example::new();
    let serving = example.serve().await;
    serving.session().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let key_file = example.path("guest-gateway.keys");
    let keys = std::fs::read_to_string(&key_file).unwrap();
    let backup = example.path("backup.db").display().to_string();
    succeeded(&store(&example, &["backup", &backup]).await);
    let raw = rusqlite::Connection::open(example.path("guest-gateway.db")).unwrap();
    raw.execute_batch("UPDATE sessions SET personal = x'00'").unwrap();
    drop(raw);
    // the second one is of a run that was interrupted before the store was written
    let interrupted = format!("{keys}next-seal {}=\n", "A".repeat(43));
    for text in [&keys, &interrupted] {
        std::fs::write(&key_file, text).unwrap();
        assert_eq!(store(&example, &["check"]).await.code, Some(1));
        let refused = store(&example, &["rekey"]).await;
        assert_eq!(refused.code, Some(2));
        assert!(refused.error_line().contains("cannot be read"), "{}", refused.err);
        assert_eq!(std::fs::read_to_string(&key_file).unwrap(), keys);
    }
    std::fs::write(&key_file, &interrupted).unwrap();
    succeeded(&store(&example, &["restore", &backup, "--force"]).await);
    succeeded(&store(&example, &["rekey"]).await);
    let serving = example.serve().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

/// The first failed `fsync` ends the acceptance of changes: a second one may succeed and lose data.
#[tokio::test]
async fn failed_sync_refuses_changes_until_a_restart() {
    let version = Command::new("strace").arg("--version").output().await;
    if version.is_err() {
        let missing = Missing {
            program: "strace",
            install: "apt-get install strace",
        };
        return leave_out("failed_sync_refuses_changes_until_a_restart", missing);
    }
    let example = Example::new();
    let mut traced = Command::new("strace");
    // the tracer is no parent of the gateway, which gets the signals
    traced.args(["-D", "-f", "-qq", "-o"]).arg(example.path("trace"));
    traced.args(["-e", "trace=fsync,fdatasync"]);
    // one failure in each thread: what comes after it would succeed
    traced.args(["-e", "inject=fsync,fdatasync:error=EIO:when=20"]);
    traced.arg(program());
    traced.args(["serve", "--json", "--config", &example.write()]);
    let serving = Example::serve_by(traced).await;
    let api = serving.api(Tls::system().unwrap()).await;
    let mut body = guest();
    body["channelConfigurationId"] = EXAMPLE_CHANNEL.into();
    let create = Call::post(SESSIONS).json(&body).bearer(&api.token);
    let mut stored = Vec::new();
    loop {
        let answer = api.send(create.clone()).await;
        if answer.status != StatusCode::CREATED {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
            break;
        }
        stored.push(answer.json()["id"].as_str().unwrap().to_owned());
        assert!(stored.len() < 100, "no failure was injected");
    }
    for _ in 0..3 {
        let answer = api.send(create.clone()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    }
    // killed, so that the next start recovers from the write-ahead log what a refused change may have left there
    serving.process.signal("KILL");
    serving.process.ended().await;

    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    for id in &stored {
        api.ask(Call::get(&format!("{SESSIONS}/{id}"))).await;
    }
    let refused = rusqlite::Connection::open(example.path("guest-gateway.db")).unwrap();
    let count = refused.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, isize>(0));
    assert_eq!(
        count.unwrap().unsigned_abs(),
        stored.len(),
        "a refused session is not stored"
    );
    api.create(&body).await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
}

#[tokio::test]
async fn gateway_with_keys_and_without_store_starts_after_store_create_only() {
    let example = Example::new();
    let serving = example.serve().await;
    serving.session().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let refused = store(&example, &["create"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.error_line().contains("it has contents"),
        "{}",
        refused.err
    );
    let path = example.path("guest-gateway.db");
    for empty in [false, true] {
        std::fs::remove_file(&path).unwrap();
        if empty {
            std::fs::write(&path, "").unwrap();
        }
        let config = example.write();
        let refused = run(["serve", "--config", &config]).await;
        assert_eq!(refused.code, Some(2), "{}", refused.err);
        assert!(
            refused.err.contains("guest-gateway store create"),
            "{}",
            refused.err
        );
        succeeded(&store(&example, &["create"]).await);
        let serving = example.serve().await;
        serving.session().await;
        assert_eq!(serving.process.interrupt().await.code, Some(0));
    }
}

#[tokio::test]
async fn commands_that_change_or_export_the_store_are_logged() {
    let example = Example::new();
    let serving = example.serve().await;
    serving.session().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let (backup, export, config) = (
        example.path("backup.db").display().to_string(),
        example.path("audit.jsonl").display().to_string(),
        example.write(),
    );
    let logged = async || {
        let tail = run(["audit", "tail", "--config", &config]).await;
        succeeded(&tail);
        assert_eq!(tail.err, "");
        tail.out
    };
    succeeded(&store(&example, &["backup", &backup]).await);
    succeeded(&store(&example, &["restore", &backup, "--force"]).await);
    succeeded(&store(&example, &["vacuum"]).await);
    succeeded(&store(&example, &["rekey"]).await);
    succeeded(&run(["audit", "export", "--out", &export, "--config", &config]).await);
    let lines = logged().await;
    let mut rest = &*lines;
    for action in [
        "store.restored",
        "store.vacuumed",
        "store.rekeyed",
        "audit.exported",
    ] {
        let line = format!(" {action} ok by operator ");
        rest = rest
            .split_once(&line)
            .unwrap_or_else(|| panic!("no {line}: {lines}"))
            .1;
    }
    std::fs::remove_file(example.path("guest-gateway.db")).unwrap();
    succeeded(&store(&example, &["create"]).await);
    let lines = logged().await;
    assert!(lines.contains(" store.created ok by operator "), "{lines}");
}

/// The signal of a file at its largest size would end the process.
#[tokio::test]
async fn file_at_its_largest_size_refuses_changes_until_the_limit_is_raised() {
    let example = Example::new();
    let mut limited = Command::new("sh");
    // in blocks of 512 or 1,024 bytes, by the shell
    limited.args(["-c", "ulimit -S -f 2048 && exec \"$@\"", "sh"]);
    limited.arg(program());
    limited.args(["serve", "--json", "--config", &example.write()]);
    let serving = Example::serve_by(limited).await;
    let api = serving.api(Tls::system().unwrap()).await;
    let mut body = guest();
    body["channelConfigurationId"] = EXAMPLE_CHANNEL.into();
    let create = Call::post(SESSIONS).json(&body).bearer(&api.token);
    let mut created = 0;
    loop {
        let answer = api.send(create.clone()).await;
        if answer.status != StatusCode::CREATED {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
            break;
        }
        created += 1;
        assert!(created < 2_000, "the limit is not reached");
    }
    let answer = api.send(create.clone()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    for _ in 0..50 {
        let answer = api.send(create.clone()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    }
    let health = api.send(Call::get("/health/ready")).await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE, "{}", health.text);
    let pid = serving.process.id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited"])
        .status()
        .await;
    if !raised.is_ok_and(|raised| raised.success()) {
        let missing = Missing {
            program: "prlimit",
            install: "apt-get install util-linux",
        };
        return leave_out(
            "file_at_its_largest_size_refuses_changes_until_the_limit_is_raised",
            missing,
        );
    }
    until(async || api.send(create.clone()).await.status == StatusCode::CREATED).await;
    assert_eq!(api.send(Call::get("/health/ready")).await.status, StatusCode::OK);
    let ended = serving.process.interrupt().await;
    assert_eq!(ended.code, Some(0));
    let of_level = |level| ended.err.lines().filter(|line| line.contains(level)).count();
    let logged = (of_level(" WARN "), of_level(" ERROR "));
    assert!(
        (1..10).contains(&logged.0) && (1..10).contains(&logged.1),
        "{}",
        ended.err
    );
    succeeded(&store(&example, &["check"]).await);
}

#[tokio::test]
async fn moved_store_continues_in_postgres() {
    let cluster = match Cluster::shared() {
        Ok(cluster) => cluster,
        Err(missing) => return leave_out("moved_store_continues_in_postgres", missing),
    };
    let mut example = Example::new();
    let path = |name: &str| example.path(name).display().to_string();
    let (before, after, moved) = (
        path("before.jsonl"),
        path("after.jsonl"),
        path("guest-gateway.db.moved"),
    );
    let serving = example.serve().await;
    let session = serving.session().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let config = example.write();
    let key = run(["audit", "key", "--config", &config]).await.out;
    succeeded(&run(["audit", "export", "--out", &before, "--config", &config]).await);
    let database = cluster.create_database();
    succeeded(&store(&example, &["move", "--to", &database]).await);
    assert!(std::path::Path::new(&moved).exists());
    let again = store(&example, &["move", "--to", &database]).await;
    assert_eq!(again.code, Some(2));
    assert!(
        again.error_line().contains("no such file"),
        "{}",
        again.error_line()
    );
    std::fs::copy(&moved, example.path("guest-gateway.db")).unwrap();
    let again = store(&example, &["move", "--to", &database]).await;
    assert!(
        again.error_line().contains("has a store"),
        "{}",
        again.error_line()
    );

    let file = format!("path = {:?}", example.path("guest-gateway.db"));
    example.change(&file, &format!("postgres = {database:?}"));
    let serving = example.serve().await;
    let api = serving.api(Tls::system().unwrap()).await;
    let path = format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
    let answer = api.send(Call::get(&path).bearer(&api.token)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    serving.session().await;
    assert_eq!(serving.process.interrupt().await.code, Some(0));
    let config = example.write();
    succeeded(&run(["audit", "export", "--out", &after, "--config", &config]).await);
    succeeded(&run(["audit", "verify", &after, "--key", key.trim()]).await);
    let [before, after] = [before, after].map(|file| std::fs::read_to_string(file).unwrap());
    assert!(after.starts_with(&before), "the same log, and what followed");
    assert!(after.contains("store.moved"));
    let refused = store(&example, &["check"]).await;
    assert!(
        refused.error_line().contains("pg_dump"),
        "{}",
        refused.error_line()
    );
}
