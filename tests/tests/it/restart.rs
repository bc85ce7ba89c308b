//! Restarts of a gateway, and starts that are refused.

use std::error::Error as _;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use genesys_api::Clock;
use genesys_http::{Client, Tls};
use guest_gateway::config::Config;
use guest_gateway::{Gateway, StartError};
use guest_store::{StoreError, StoreErrorKind};
use guest_suite::audit::files::verify_file;
use guest_suite::conversation::{ConnectionEvent, Event};
use guest_suite::metrics::Snapshot;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::api::{Api, SESSIONS, guest};
use crate::conversation::world_at;
use crate::crm::{Crm, subscription};
use crate::genesys::Genesys;
use crate::guests::{answered, newcomer, next, page_origin, talk, until};
use crate::operation::{Load, repetitions};
use crate::page::{Page, Received, handshake, soon, upgrade};
use crate::process::{Process, command, program};
use crate::proxy::ClosedPort;
use crate::world::{CLIENT, World, configuration, remote, simulator};

fn counts(snapshot: &Snapshot) -> (u64, u64, u64, Vec<u64>) {
    let reached = snapshot.stages.iter().map(|stage| stage.reached).collect();
    (snapshot.sessions, snapshot.open, snapshot.ended, reached)
}

/// Exports and verifies the gateway's audit log. Returns the number of its entries.
async fn verified(world: &World, name: &str) -> u64 {
    let path = world.folder.path().join(name);
    let store = &**world.gateway.store();
    store.checkpoint().await.unwrap();
    guest_store::export(store, &path).await.unwrap();
    verify_file(&path, store.verifier_key(), None).unwrap().entries
}

#[tokio::test]
async fn conversation_continues_after_a_gateway_restart() {
    let world = World::start().await;
    let suite = world.suite();
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    talk(&mut session, "one").await;
    suite
        .create(newcomer(&world.clock))
        .await
        .unwrap()
        .end()
        .await
        .unwrap();
    let before = suite.metrics().await.unwrap();
    let entries = verified(&world, "before.jsonl").await;

    let world = world.restart().await;
    loop {
        match next(&mut session).await {
            Event::Connection(ConnectionEvent::Restored(restored)) => {
                break assert!(!restored.new_session, "to Genesys it is the same one");
            }
            Event::Connection(ConnectionEvent::Reconnecting { .. }) => {}
            other => panic!("expected a reconnect, received {other:?}"),
        }
    }
    talk(&mut session, "two").await;
    session.tokens().refresh_now().await.unwrap();
    let after = suite.metrics().await.unwrap();
    assert_eq!(counts(&after), counts(&before), "the funnel survives");
    assert_eq!(before.durations.unwrap().count, after.durations.unwrap().count);
    let counters = world.simulator.counters();
    assert_eq!((counters.sessions, counters.guest_messages), (1, 2));
    assert!(verified(&world, "after.jsonl").await > entries);
    session.end().await.unwrap();
    world.stop().await;
}

/// The program with this listening socket, as systemd starts it.
fn activated(listener: &TcpListener, config: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    command
        .args(["-c", script, "sh"])
        .arg(program())
        .args(["serve", "--json", "--config"])
        .arg(config)
        .env_remove("RUST_LOG")
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
    command
}

/// Restarts the program while guests talk, with their replies on the way, and a client sends requests. No message is lost or
/// doubled. No request fails, or with a socket of the program's own none but those whose connection is refused.
async fn restart_under_load(is_activated: bool) {
    let guests = repetitions("GUEST_SUITE_GUESTS", 8);
    let rounds = repetitions("GUEST_SUITE_RESTARTS", 3);
    let rules = genesys_sim::Rules {
        limits: genesys_sim::Limits::none(),
        ..Default::default()
    };
    let simulator = simulator(rules).await;
    let folder = tempfile::tempdir().unwrap();
    // no other test takes a port of this address meanwhile
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.3:0".parse().unwrap()).unwrap();
    // the backlog of systemd; that of the standard library would have all guests retry the connection
    let listener = socket.listen(4_096).unwrap().into_std().unwrap();
    let address = listener.local_addr().unwrap();
    let listener = is_activated.then_some(listener);
    let toml = configuration(&folder, &simulator)
        .replace("127.0.0.1:0", &address.to_string())
        .replace("[listen]\n", "[listen]\nrequests_per_minute = 1_000_000\n")
        .replace("[genesys]\n", "[genesys]\nconnections_per_minute = 1_000_000\n");
    let config = folder.path().join("gateway.toml");
    std::fs::write(&config, toml).unwrap();
    let start = async || {
        let command = match &listener {
            Some(listener) => activated(listener, &config),
            None => command([
                "serve".as_ref(),
                "--json".as_ref(),
                "--config".as_ref(),
                config.as_os_str(),
            ]),
        };
        let mut process = Process::start(command);
        assert_eq!(process.json().await["event"], "ready");
        process
    };
    let stop = async |process: Process| {
        process.signal("TERM");
        let ended = process.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    };
    let mut process = start().await;
    let (url, clock) = (format!("http://{address}"), Clock::system());
    let http = Client::builder(Tls::system().unwrap()).build();
    let mut sessions = Vec::new();
    for _ in 0..guests {
        // one suite would open 915 connections a minute
        let suite = remote(http.clone(), url.parse().unwrap());
        let mut session = suite.create(newcomer(&clock)).await.unwrap();
        soon(session.connect(page_origin())).await.unwrap();
        sessions.push(session);
    }
    let api = Api::at(http, url.clone(), CLIENT).await;
    let path = format!("{SESSIONS}/{}", sessions[0].id());
    let load = Load::start(&url, &api.token, &path, !is_activated);
    // Genesys may acknowledge a message too late for the stop of the gateway
    let mut unknown = 0;
    for round in 0..rounds {
        load.progress().await;
        let mut talks = JoinSet::new();
        for mut session in sessions.drain(..) {
            talks.spawn(async move {
                let mut doubtful = 0;
                for text in [
                    format!("hello in round {round}"),
                    format!("again in round {round}"),
                ] {
                    let id = session.send(&text).unwrap();
                    doubtful += u64::from(!answered(&mut session, id, &text).await);
                }
                (session, doubtful)
            });
        }
        stop(process).await;
        process = start().await;
        for (session, doubtful) in talks.join_all().await {
            unknown += doubtful;
            sessions.push(session);
        }
    }
    load.progress().await;
    let requests = load.stop().await;
    let sent = u64::from(guests) * u64::from(rounds) * 2;
    let counters = simulator.counters();
    assert_eq!(counters.sessions, u64::from(guests));
    let arrived = counters.guest_messages;
    assert!(
        (sent - unknown..=sent).contains(&arrived),
        "{arrived} of {sent}, {unknown} unknown"
    );
    println!(
        "{rounds} restarts, {arrived} of {sent} messages arrived, {unknown} unknown, {requests} requests"
    );
    for mut session in sessions {
        session.end().await.unwrap();
    }
    stop(process).await;
    let violations = simulator.violations();
    assert!(violations.is_empty(), "{violations:?}");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_lose_no_message_and_refuse_connections_at_most() {
    restart_under_load(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_with_socket_activation_lose_no_message_and_fail_no_request() {
    restart_under_load(true).await;
}

#[tokio::test]
async fn page_resumes_after_a_restart_and_a_gap_is_reported_to_one_that_missed_a_message() {
    let world = World::start().await;
    let session = Api::of(&world, CLIENT).await.create(&guest()).await;
    let mut page = Page::of(&session).await;
    page.message("hello").await;
    let first = page.until("message").await;
    page.message("hello again").await;
    let last = page.until("message").await;
    let epoch = page.epoch.clone();
    let url = session["websocketUrl"].as_str().unwrap();
    let mut silent = Page::open(upgrade(url)).await.unwrap();
    let moved = async {
        page.until("session.moved").await;
        page.closed().await
    };
    let (world, closed, silent_closed) = tokio::join!(world.restart(), moved, silent.closed());
    assert_eq!((closed, silent_closed), (Some(1001), Some(1001)));

    let resume = async |received: &Value| {
        let mut page = Page::open(upgrade(url)).await.unwrap();
        let mut handshake = handshake(&session);
        handshake["epoch"] = epoch.clone();
        handshake["lastSequence"] = received["sequence"].as_u64().unwrap_or(0).into();
        if received["id"].is_string() {
            handshake["lastMessageId"] = received["id"].clone();
        }
        page.send_frame(&handshake).await;
        let Received::Frame(accepted) = page.receive().await else {
            panic!("the socket closed");
        };
        assert_eq!(
            (&accepted["type"], &accepted["newSession"]),
            (&json!("handshake.accepted"), &json!(false))
        );
        assert_ne!(accepted["epoch"], epoch, "no number comes twice");
        page
    };
    let mut pages = [
        resume(&last).await,
        resume(&first).await,
        resume(&json!({})).await,
    ];
    // what a page missed before is reported once, before the next message
    let gaps = [
        None,
        Some(json!({ "type": "replay.incomplete", "readFrom": first["id"] })),
        Some(json!({ "type": "replay.incomplete" })),
    ];
    pages[0].message("one more").await;
    for (page, expected) in pages.iter_mut().zip(gaps) {
        let mut gap = None;
        let message = loop {
            match page.receive().await {
                Received::Frame(frame) if frame["type"] == "message" => break frame,
                Received::Frame(mut frame) if frame["type"] == "replay.incomplete" => {
                    frame.as_object_mut().unwrap().remove("message");
                    assert_eq!(gap.replace(frame), None);
                }
                Received::Frame(_) => {}
                Received::Closed(code) => panic!("the socket closed with {code:?}"),
            }
        };
        assert_eq!(gap, expected);
        assert_eq!(
            message["text"], "You said: one more",
            "a received event is not sent again"
        );
    }
    drop(pages);
    world.stop().await;
}

#[tokio::test]
async fn gateway_restarts_while_a_genesys_socket_stays_open() {
    let genesys = Genesys::start().await;
    let world = world_at(&genesys).await;
    let session = Api::of(&world, CLIENT).await.create(&guest()).await;
    let (page, upstream) = tokio::join!(Page::of(&session), genesys.configured());
    page.leave().await;
    // its socket is open, and nothing reads from it
    let world = world.restart().await;
    drop(upstream);
    let (page, _line) = tokio::join!(Page::of(&session), genesys.configured());
    drop(page);
    world.stop().await;
}

#[tokio::test]
async fn webhook_deliveries_resume_after_a_restart() {
    let world = World::start().await;
    let closed = ClosedPort::reserve();
    let address = closed.address();
    let suite = world.suite();
    let secret = suite
        .ensure_webhook(&subscription(address, "/sync"))
        .await
        .unwrap()
        .unwrap();
    let mut session = suite.create(newcomer(&world.clock)).await.unwrap();
    session.end().await.unwrap();
    let pending = world.gateway.store().stats().await.unwrap().outbox_pending;
    assert_eq!(pending, 2);

    let world = world.restart().await;
    assert_eq!(
        world.gateway.store().stats().await.unwrap().outbox_pending,
        pending
    );
    drop(closed);
    let crm = Crm::at(address, &world.clock).await;
    // the next attempt of a failed one is due; no lease of the stopped gateway is waited for
    world.clock.advance(Duration::from_secs(6));
    let received = crm.received(2).await;
    for delivery in &received {
        delivery.verify(&secret);
        assert_eq!(delivery.body()["data"]["id"], session.id().as_str());
    }
    assert_ne!(received[0].id(), received[1].id());
    until(async || world.gateway.store().stats().await.unwrap().outbox_pending == 0).await;
    world.stop().await;
}

/// Error of a gateway that does not start with this configuration.
async fn refused(toml: &str) -> StartError {
    let config = Config::parse(toml).unwrap();
    match soon(Gateway::start(config, Clock::system())).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

fn store_error(error: &StartError) -> StoreErrorKind {
    let source = error.source().unwrap();
    source
        .downcast_ref::<StoreError>()
        .unwrap_or_else(|| panic!("{source}"))
        .kind()
}

#[tokio::test]
async fn second_gateway_on_the_same_store_does_not_start() {
    let world = World::on_a_file(genesys_sim::Rules::default(), |toml| toml).await;
    let error = refused(&world.toml).await;
    assert_eq!(store_error(&error), StoreErrorKind::Locked);
    assert!(error.to_string().contains("gateway.db"), "{error}");
    // the first one is not affected
    let mut session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    session.end().await.unwrap();
    world.stop().await;
}

/// Writes a key file that only its owner can read.
fn write_keys(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn store_does_not_open_with_other_keys() {
    let world = World::on_a_file(genesys_sim::Rules::default(), |toml| toml).await;
    world.suite().create(newcomer(&world.clock)).await.unwrap();
    let (toml, keys) = (world.toml.clone(), world.folder.path().join("gateway.keys"));
    let original = std::fs::read_to_string(&keys).unwrap();
    let World {
        simulator,
        gateway,
        folder,
        clock,
        ..
    } = world;
    gateway.stop().await;

    std::fs::remove_file(&keys).unwrap();
    let error = refused(&toml).await;
    assert!(error.source().unwrap().to_string().contains("missing"), "{error}");
    assert!(!keys.exists(), "no new keys are made for an old store");
    for name in ["seal ", "sign "] {
        let line = original.lines().find(|line| line.starts_with(name)).unwrap();
        let (key, first) = (&line[name.len() + 1..], &line[name.len()..=name.len()]);
        let other = format!("{name}{}{key}", if first == "A" { "B" } else { "A" });
        write_keys(&keys, &original.replace(line, &other));
        assert_eq!(
            store_error(&refused(&toml).await),
            StoreErrorKind::WrongKey,
            "{name}"
        );
    }
    for damaged in ["", "seal AAAA\n", &original[..original.len() / 2]] {
        write_keys(&keys, damaged);
        let error = refused(&toml).await;
        assert!(error.source().unwrap().to_string().contains("damaged"), "{error}");
        let kept = std::fs::read_to_string(&keys).unwrap();
        assert_eq!(kept, damaged, "a damaged key file is never written over");
    }

    write_keys(&keys, &original);
    std::fs::set_permissions(&keys, Permissions::from_mode(0o644)).unwrap();
    let error = refused(&toml).await;
    let source = error.source().unwrap().to_string();
    assert!(
        source.contains(&format!("`chmod 600 {}`", keys.display())),
        "{source}"
    );
    write_keys(&keys, &original);
    let gateway = Gateway::start(Config::parse(&toml).unwrap(), clock)
        .await
        .unwrap();
    assert_eq!(gateway.store().stats().await.unwrap().live_sessions, 1);
    gateway.stop().await;
    simulator.stop().await;
    drop(folder);
}
