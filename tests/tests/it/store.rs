//! The gateway's store under load, at its limits, and at its deadlines.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use guest_store::SessionQuery;
use http::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::api::{Api, Call, SESSIONS, guest};
use crate::guests::{newcomer, until};
use crate::world::{CLIENT, World};
use left_out::{Missing, leave_out};

#[tokio::test(flavor = "multi_thread")]
async fn parallel_consent_changes_of_one_session_all_succeed() {
    let world = World::start().await;
    let api = Arc::new(Api::of(&world, CLIENT).await);
    let session = api.create(&guest()).await;
    let path = format!("{SESSIONS}/{}/consent", session["id"].as_str().unwrap());
    for round in 0..10 {
        let mut changes = JoinSet::new();
        for number in 0..8 {
            let call = Call::new(Method::PATCH, &path)
                .json(&json!({ "analytics": number % 2 == 0, "marketing": round % 2 == 0 }))
                .bearer(&api.token);
            let api = Arc::clone(&api);
            changes.spawn(async move { api.send(call).await });
        }
        while let Some(answer) = changes.join_next().await {
            let answer = answer.unwrap();
            let is_typed = answer.status == StatusCode::OK || answer.status == StatusCode::CONFLICT;
            assert!(is_typed, "{} {}", answer.status, answer.text);
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn session_past_its_idle_timeout_is_shown_as_expired_at_once() {
    let world = World::start().await;
    let api = Api::of(&world, CLIENT).await;
    let session = api.create(&guest()).await;
    let path = format!("{SESSIONS}/{}", session["id"].as_str().unwrap());
    let before = api.ask(Call::get(&path)).await;
    assert_eq!(before["state"], "created");
    // the background task runs later
    world.clock.advance(Duration::from_secs(86_400));
    let api = Api::of(&world, CLIENT).await;
    let shown = api.ask(Call::get(&path)).await;
    assert_eq!(shown["state"], "ended", "{shown}");
    assert_eq!(shown["endReason"], "expired");
    let store = Arc::clone(world.gateway.store());
    until(async || store.stats().await.unwrap().live_sessions == 0).await;
    assert_eq!(
        api.ask(Call::get(&path)).await,
        shown,
        "the stored end is the shown one"
    );
    world.stop().await;
}

#[tokio::test]
async fn funnel_survives_erasure_and_restart() {
    let world = World::start().await;
    let suite = world.suite();
    for _ in 0..3 {
        let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
        session.end().await.unwrap();
    }
    let before = suite.metrics().await.unwrap();
    assert_eq!((before.sessions, before.ended), (3, 3));
    world.clock.advance(Duration::from_secs(31 * 86_400));
    let store = Arc::clone(world.gateway.store());
    until(async || {
        let all = store.sessions(SessionQuery::All(None), 10).await.unwrap();
        all.is_empty()
    })
    .await;
    drop(store);
    let world = world.restart().await;
    let after = world.suite().metrics().await.unwrap();
    assert_eq!((after.stages, after.ended_by), (before.stages, before.ended_by));
    assert_eq!((after.durations, after.open), (before.durations, before.open));
    world.stop().await;
}

/// A file system in memory with a few megabytes.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` if this process may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(folder))
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut filler = std::fs::File::create(self.0.path().join("filler")).unwrap();
        for size in [4_096, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn gateway_recovers_from_a_full_disk_without_a_restart() {
    let Some(disk) = SmallDisk::mount() else {
        return leave_out(
            "gateway_recovers_from_a_full_disk_without_a_restart",
            Missing {
                program: "the right to mount a tmpfs",
                install: "run as root",
            },
        );
    };
    let path = disk.0.path().join("gateway.db");
    let world = World::on_a_file(genesys_sim::Rules::default(), |toml| {
        let line = toml
            .lines()
            .find(|line| line.starts_with("path = "))
            .unwrap()
            .to_owned();
        toml.replace(&line, &format!("path = {path:?}"))
    })
    .await;
    let api = Api::of(&world, CLIENT).await;
    api.create(&guest()).await;
    for _ in 0..3 {
        disk.fill();
        // the log has room for a few
        let refused = loop {
            let answer = api
                .send(Call::post(SESSIONS).json(&guest()).bearer(&api.token))
                .await;
            if answer.status != StatusCode::CREATED {
                break answer;
            }
        };
        assert_eq!(
            refused.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            refused.text
        );
        assert_eq!(refused.json()["code"], "service.unavailable");
        assert!(refused.text.contains("the disk is full"), "{}", refused.text);
        let health = api.send(Call::get("/health/ready")).await;
        assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(health.text.contains("the disk is full"), "{}", health.text);
        disk.free();
        assert_eq!(api.send(Call::get("/health/ready")).await.status, StatusCode::OK);
        api.create(&guest()).await;
    }
    world.stop().await;
}
