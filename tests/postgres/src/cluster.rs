//! A server with its files.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use left_out::Missing;

use crate::account::Account;
use crate::binaries;
use crate::folder::Folder;
use crate::server::Server;

/// A PostgreSQL server with its own files. Dropping it kills the server and removes the files.
///
/// `fsync` is on, so that a committed change survives [`Cluster::kill`].
#[derive(Debug)]
pub struct Cluster {
    server: Option<Server>,
    databases: AtomicU32,
    binaries: PathBuf,
    account: Account,
    folder: Folder,
    /// The address on which it listens beside its socket.
    address: Option<IpAddr>,
}

impl Cluster {
    /// Creates a cluster and starts its server.
    ///
    /// # Errors
    ///
    /// The machine has no PostgreSQL. A test reports it with [`leave_out`](crate::leave_out).
    ///
    /// # Panics
    ///
    /// If the server does not start.
    pub fn start() -> Result<Self, Missing> {
        let binaries = binaries::find()?;
        let account = Account::unprivileged();
        let folder = Folder::create();
        account.own(folder.path());
        let mut initdb = account.command(&binaries.join("initdb"), folder.path());
        initdb.arg("-D").arg(folder.data()).args([
            "--auth=trust",
            "--no-sync",
            "--no-instructions",
            "--encoding=UTF8",
            "--no-locale",
            "--username=postgres",
        ]);
        run(&mut initdb);
        let mut cluster = Self {
            server: None,
            databases: AtomicU32::new(0),
            binaries,
            account,
            folder,
            address: None,
        };
        cluster.start_again();
        Ok(cluster)
    }

    /// The cluster that all tests of this process share. It ends with the process.
    ///
    /// # Errors
    ///
    /// As [`Cluster::start`].
    ///
    /// # Panics
    ///
    /// As [`Cluster::start`].
    pub fn shared() -> Result<&'static Self, Missing> {
        static SHARED: OnceLock<Result<Cluster, Missing>> = OnceLock::new();
        SHARED
            .get_or_init(Self::start)
            .as_ref()
            .map_err(|missing| *missing)
    }

    /// Creates an empty database, and returns its connection string.
    ///
    /// # Panics
    ///
    /// If the server does not run.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        // a copy of template1 would fail while a client is connected to that
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        self.query(&self.connection_string("postgres"), &create);
        self.connection_string(&name)
    }

    /// Runs one statement with `psql`, and returns its rows: a line for each, with `|` between its columns.
    ///
    /// # Panics
    ///
    /// If the statement fails or the server does not run.
    pub fn query(&self, connection_string: &str, statement: &str) -> String {
        let psql = self.binaries.join("psql");
        let mut psql = self.account.command(&psql, self.folder.path());
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        psql.args(["--dbname", connection_string, "--command", statement]);
        run(&mut psql).trim_end().to_owned()
    }

    /// Kills all processes of the server, as a crash would. Returns when they have ended.
    ///
    /// # Panics
    ///
    /// If the server does not run.
    pub fn kill(&mut self) {
        self.running().kill();
    }

    /// Disconnects all clients and shuts the server down with a checkpoint. Returns when its processes have ended.
    ///
    /// # Panics
    ///
    /// If the server does not run.
    pub fn stop_fast(&mut self) {
        self.running().stop_fast();
    }

    /// Starts the server after [`Cluster::kill`] or [`Cluster::stop_fast`]. Returns when it accepts connections.
    ///
    /// # Panics
    ///
    /// If the server runs or does not start.
    pub fn start_again(&mut self) {
        assert!(
            self.server.is_none(),
            "the server runs: call `kill` or `stop_fast` first"
        );
        let postgres = self.binaries.join("postgres");
        self.server = Some(Server::start(
            &self.account,
            &postgres,
            &self.folder,
            self.address,
        ));
    }

    /// Restarts the server, which then listens on port 5432 of a loopback address of its own too, for
    /// roles with a password. Returns the address.
    ///
    /// # Panics
    ///
    /// If the server does not run, or does not start.
    pub fn listen(&mut self) -> IpAddr {
        static LISTENING: AtomicU32 = AtomicU32::new(1);
        // a process id has 22 bits
        let number = LISTENING.fetch_add(1, Ordering::Relaxed) << 22 | std::process::id();
        let [_, network @ ..] = number.to_be_bytes();
        let address = IpAddr::from([127, network[0], network[1], network[2]]);
        self.address = Some(address);
        let rules = self.folder.data().join("pg_hba.conf");
        let passwordless = fs::read_to_string(&rules).expect("initdb has written the rules");
        // the first rule that matches is used
        let all = format!("host all all all scram-sha-256\n{passwordless}");
        fs::write(rules, all).expect("an own file is writable");
        self.stop_fast();
        self.start_again();
        address
    }

    /// Restarts the server, which then has TLS with this certificate and key, in PEM.
    ///
    /// # Panics
    ///
    /// As [`Cluster::listen`].
    pub fn use_tls(&mut self, certificate: &str, key: &str) {
        for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
            let file = self.folder.data().join(name);
            fs::write(&file, pem).expect("an own folder is writable");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("an own file has permissions");
            self.account.own(&file);
        }
        self.query(&self.connection_string("postgres"), "ALTER SYSTEM SET ssl = on");
        self.stop_fast();
        self.start_again();
    }

    fn running(&mut self) -> Server {
        self.server
            .take()
            .expect("the server does not run: call `start_again` first")
    }

    fn connection_string(&self, database: &str) -> String {
        let socket = self.folder.path().display();
        format!("host={socket} port=5432 user=postgres dbname={database}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }
}

/// Runs a command to its end, and returns its standard output.
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
