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

use crate::guests::{answered, newcomer, page_origin, until};
use crate::operation::repetitions;
use crate::page::soon;
use crate::process::{Process, command, run};
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
    let database = format!("{database} application_name={}", address.ip());
    let toml = in_database(&configuration(folder, simulator), &database)
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

/// A failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    /// The gateway that serves is stopped, as for an upgrade.
    Stopped,
    Killed,
    /// The gateway that serves runs no more, and continues later.
    Frozen,
    DatabaseKilled,
    DatabaseRestarted,
}

use Failure::{DatabaseKilled, DatabaseRestarted, Frozen, Killed, Stopped};

const FAILURES: [Failure; 5] = [Stopped, Killed, Frozen, DatabaseKilled, DatabaseRestarted];

/// Two gateways, of which one serves.
struct Pair {
    cluster: Cluster,
    database: String,
    servers: [SocketAddr; 2],
    configs: [PathBuf; 2],
    serving: usize,
    active: Process,
    standby: Process,
}

impl Pair {
    /// Causes a failure, and returns when a gateway serves.
    async fn fail(&mut self, failure: Failure) {
        match failure {
            Stopped => self.active.signal("TERM"),
            Killed => self.active.signal("KILL"),
            Frozen => self.active.signal("STOP"),
            DatabaseKilled => self.cluster.kill(),
            DatabaseRestarted => self.cluster.stop_fast(),
        }
        if matches!(failure, DatabaseKilled | DatabaseRestarted) {
            self.cluster.start_again();
            // either may get the store
            until(async || self.owner().is_some()).await;
            if self.owner() == Some(self.serving) {
                return;
            }
        }
        is_ready(&mut self.standby).await;
        if failure == Frozen {
            self.active.signal("CONT");
        }
        let next = serve(&self.configs[self.serving]);
        self.serving = 1 - self.serving;
        let ended = std::mem::replace(&mut self.active, std::mem::replace(&mut self.standby, next));
        let ended = ended.ended().await;
        let expected = match failure {
            Stopped => Some(0),
            Killed => None,
            _ => Some(1),
        };
        assert_eq!(ended.code, expected, "{failure:?}: {}", ended.err);
    }

    /// The gateway that has the store.
    fn owner(&self) -> Option<usize> {
        let statement = "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
                         WHERE locktype = 'advisory'";
        let address = self.cluster.query(&self.database, statement);
        self.servers
            .iter()
            .position(|server| server.ip().to_string() == address.trim())
    }
}

/// Each guest sends two messages. Returns how many have an unknown outcome.
fn talk(sessions: &mut Vec<GuestSession>, round: usize) -> JoinSet<(GuestSession, u64)> {
    let mut talks = JoinSet::new();
    for mut session in sessions.drain(..) {
        let texts = [
            format!("hello in round {round}"),
            format!("again in round {round}"),
        ];
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
async fn guests_continue_after_each_failure() {
    let name = "guests_continue_after_each_failure";
    let cluster = match Cluster::start() {
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
    let mut active = serve(&configs[0]);
    is_ready(&mut active).await;
    let Ok(mut balancer) = balance(folder.path(), listener, servers) else {
        return leave_out(name, HAPROXY);
    };
    let standby = serve(&configs[1]);
    let mut pair = Pair {
        cluster,
        database,
        servers,
        configs,
        serving: 0,
        active,
        standby,
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
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let further = repetitions("GUEST_SUITE_FAILOVERS", 0);
    let further = (0..further).map(|_| FAILURES[random.usize(..FAILURES.len())]);
    for (round, failure) in FAILURES.into_iter().chain(further).enumerate() {
        let mut talks = talk(&mut sessions, round);
        pair.fail(failure).await;
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
    drop(pair.standby);
    assert_eq!(pair.active.interrupt().await.code, Some(0));
    let (config, export) = (
        pair.configs[0].display().to_string(),
        folder.path().join("audit.jsonl"),
    );
    let export = export.display().to_string();
    let key = run(["audit", "key", "--config", &config]).await.out;
    let exported = run(["audit", "export", "--out", &export, "--config", &config]).await;
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let verified = run(["audit", "verify", &export, "--key", key.trim()]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    balancer.kill().unwrap();
    balancer.wait().unwrap();
    simulator.stop().await;
}
