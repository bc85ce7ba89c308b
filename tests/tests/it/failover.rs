//! Gateways that share a store in PostgreSQL, behind a load balancer: one serves, another stands by.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use genesys_api::Clock;
use genesys_http::{Client, Tls};
use genesys_sim::Simulator;
use guest_suite::GuestSession;
use left_out::{Missing, leave_out};
use tempfile::TempDir;
use test_postgres::Cluster;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::guests::{answered, newcomer, page_origin};
use crate::operation::repetitions;
use crate::page::soon;
use crate::process::{Process, command};
use crate::world::{configuration, in_database, remote, simulator};

const HAPROXY: Missing = Missing {
    program: "/usr/sbin/haproxy",
    install: "apt-get install haproxy",
};

/// Starts HAProxy at this socket, with the configuration of the documentation and these servers.
fn balance(folder: &Path, listener: TcpListener, servers: [SocketAddr; 2]) -> io::Result<Child> {
    let config = include_str!("../../../deploy/haproxy.cfg")
        .replace(":443 ssl crt /etc/haproxy/guests.pem alpn http/1.1", "fd@0")
        .replace("10.0.0.1:8080", &servers[0].to_string())
        .replace("10.0.0.2:8080", &servers[1].to_string());
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config)?;
    let mut command = std::process::Command::new(HAPROXY.program);
    command
        .args(["-db", "-f"])
        .arg(file)
        .stdin(OwnedFd::from(listener));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// A free port of a loopback address that no other test uses.
fn reserved(address: &str) -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.local_addr().unwrap()
}

/// Writes the configuration of a gateway at this address, whose guests reach it at `public`.
fn write(
    folder: &TempDir,
    simulator: &Simulator,
    address: SocketAddr,
    public: SocketAddr,
    database: &str,
) -> PathBuf {
    let toml = in_database(&configuration(folder, simulator), database)
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("address", _)) => format!(
                "address = \"{address}\"\npublic_url = \"http://{public}\"\nrequests_per_minute = 1_000_000\n\
                 trusted_proxies = [\"127.0.0.0/8\"]\n"
            ),
            _ => format!("{line}\n"),
        })
        .collect::<String>();
    let path = folder.path().join(format!("{}.toml", address.ip()));
    std::fs::write(&path, toml).unwrap();
    path
}

fn serve(config: &Path) -> Process {
    let arguments = [
        "serve".as_ref(),
        "--json".as_ref(),
        "--config".as_ref(),
        config.as_os_str(),
    ];
    Process::start(command(arguments))
}

async fn is_ready(process: &mut Process) {
    assert_eq!(process.json().await["event"], "ready");
}

/// Each guest sends two messages. Returns how many have an unknown outcome.
fn talk(sessions: &mut Vec<GuestSession>, round: &str) -> JoinSet<(GuestSession, u64)> {
    let mut talks = JoinSet::new();
    for mut session in sessions.drain(..) {
        let texts = [format!("hello before {round}"), format!("again before {round}")];
        talks.spawn(async move {
            let mut unknown = 0;
            for text in texts {
                let id = session.send(&text).unwrap();
                unknown += u64::from(!answered(&mut session, id, &text).await);
            }
            (session, unknown)
        });
    }
    talks
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_continue_at_the_gateway_that_stood_by() {
    let name = "guests_continue_at_the_gateway_that_stood_by";
    let cluster = match Cluster::shared() {
        Ok(cluster) => cluster,
        Err(missing) => return leave_out(name, missing),
    };
    let simulator = simulator(genesys_sim::Rules {
        limits: genesys_sim::Limits::none(),
        ..Default::default()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let servers = [reserved("127.0.0.4"), reserved("127.0.0.5")];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let public = listener.local_addr().unwrap();
    let database = cluster.create_database();
    let configs = servers.map(|address| write(&folder, &simulator, address, public, &database));
    let (mut active, mut standby) = (serve(&configs[0]), None);
    is_ready(&mut active).await;
    let Ok(mut balancer) = balance(folder.path(), listener, servers) else {
        return leave_out(name, HAPROXY);
    };

    let (url, clock) = (format!("http://{public}"), Clock::system());
    let http = Client::builder(Tls::system().unwrap()).build();
    let mut sessions = Vec::new();
    for _ in 0..repetitions("GUEST_SUITE_GUESTS", 8) {
        let suite = remote(http.clone(), url.parse().unwrap());
        let mut session = suite.create(newcomer(&clock)).await.unwrap();
        soon(session.connect(page_origin())).await.unwrap();
        sessions.push(session);
    }
    let (mut sent, mut unknown) = (0, 0);
    for (round, signal) in ["TERM", "KILL", "STOP"].into_iter().enumerate() {
        let mut next = standby.take().unwrap_or_else(|| serve(&configs[(round + 1) % 2]));
        let mut talks = talk(&mut sessions, signal);
        active.signal(signal);
        is_ready(&mut next).await;
        if signal == "STOP" {
            active.signal("CONT");
        }
        let ended = active.ended().await;
        match signal {
            "TERM" => assert_eq!(ended.code, Some(0), "{}", ended.err),
            "KILL" => assert_eq!(ended.code, None),
            _ => {
                assert_eq!(ended.code, Some(1), "{}", ended.err);
                assert!(ended.error_line().contains("another gateway"), "{}", ended.err);
            }
        }
        active = next;
        standby = Some(serve(&configs[round % 2]));
        while let Some(talked) = talks.join_next().await {
            let (session, doubtful) = talked.unwrap();
            unknown += doubtful;
            sent += 2;
            sessions.push(session);
        }
    }
    let counters = simulator.counters();
    assert_eq!(counters.sessions, sessions.len() as u64);
    let arrived = counters.guest_messages;
    assert!(
        (sent - unknown..=sent).contains(&arrived),
        "{arrived} of {sent}, {unknown} unknown"
    );
    println!("{arrived} of {sent} messages arrived, {unknown} unknown");
    for mut session in sessions {
        session.end().await.unwrap();
    }
    let violations = simulator.violations();
    assert!(violations.is_empty(), "{violations:?}");
    assert_eq!(active.interrupt().await.code, Some(0));
    drop(standby);
    balancer.kill().unwrap();
    balancer.wait().unwrap();
    simulator.stop().await;
}
