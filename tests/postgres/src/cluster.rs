//! A server with its files.

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
        self.server = Some(Server::start(&self.account, &postgres, &self.folder));
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
