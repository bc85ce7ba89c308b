//! A simulator and a gateway in front of it, on loopback, with one clock for both.

use genesys_api::{Clock, Host};
use genesys_auth::Credentials;
use genesys_http::{Client, Tls};
use genesys_sim::Simulator;
use guest_gateway::config::Config;
use guest_gateway::{Gateway, ReloadError, Reloaded};
use guest_suite::{GuestSessions, RemoteConfig};
use tempfile::TempDir;
use test_postgres::Cluster;

/// The API client with every scope.
pub(crate) const CLIENT: (&str, &str) = ("all-scopes", "secret-of-all-scopes");
/// An API client that may only read.
pub(crate) const READER: (&str, &str) = ("reader", "secret-of-reader");
/// Another API client with every scope, which does not own the first one's sessions.
pub(crate) const NEIGHBOR: (&str, &str) = ("neighbor", "secret-of-neighbor");
/// The channel.
pub(crate) const CHANNEL: &str = "web-channel";
/// The secret of assertions, which the app's backend has.
pub(crate) const ASSERTION_SECRET: &str = "secret-of-assertions-of-32-bytes";
/// The allowed page.
pub(crate) const ORIGIN: &str = "https://shop.example";

/// A simulator with these rules, without TLS.
pub(crate) async fn simulator(rules: genesys_sim::Rules) -> Simulator {
    let config = genesys_sim::Config {
        rules,
        ..genesys_sim::Config::plain()
    };
    Simulator::start(config).await.unwrap()
}

/// The running servers.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) gateway: Gateway,
    /// The time of all of them. It can be moved.
    pub(crate) clock: Clock,
    pub(crate) folder: TempDir,
    /// The gateway's configuration.
    pub(crate) toml: String,
}

impl World {
    /// Plain HTTP, an echoing agent, no limits but the default ones.
    pub(crate) async fn start() -> Self {
        Self::with(genesys_sim::Rules::default(), "").await
    }

    /// With these rules of the simulator, and these lines at the end of the configuration's `[sessions]`.
    pub(crate) async fn with(rules: genesys_sim::Rules, sessions: &str) -> Self {
        Self::configured(rules, |toml| {
            toml.replace("\n[webhooks]", &format!("\n{sessions}\n[webhooks]"))
        })
        .await
    }

    /// With these rules of the simulator, and the configuration that `change` returns. The store is a new database of
    /// PostgreSQL if the environment variable `GUEST_SUITE_STORE` is `postgres`.
    pub(crate) async fn configured(rules: genesys_sim::Rules, change: impl FnOnce(String) -> String) -> Self {
        if std::env::var("GUEST_SUITE_STORE").is_ok_and(|store| store == "postgres") {
            let database = Cluster::shared().unwrap().create_database();
            return Self::on_a_file(rules, |toml| change(in_database(&toml, &database))).await;
        }
        Self::on_a_file(rules, change).await
    }

    /// As [`Self::configured`], with the store in a file in any case.
    pub(crate) async fn on_a_file(rules: genesys_sim::Rules, change: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let simulator = simulator(rules).await;
        let clock = simulator.clock().clone();
        let toml = change(configuration(&folder, &simulator));
        let gateway = Gateway::start(read(&folder, &toml), clock.clone()).await.unwrap();
        Self {
            simulator,
            gateway,
            clock,
            folder,
            toml,
        }
    }

    /// Reloads this configuration.
    pub(crate) async fn reload(&self, toml: &str) -> Result<Reloaded, ReloadError> {
        read(&self.folder, toml);
        self.gateway.reload().await
    }

    /// Stops the gateway, and starts it again at the same address and on the same store.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(async {}).await
    }

    /// As [`Self::restart`], with `meanwhile` done while no gateway runs.
    pub(crate) async fn restart_after(self, meanwhile: impl Future<Output = ()>) -> Self {
        let Self {
            simulator,
            gateway,
            clock,
            folder,
            toml,
        } = self;
        let toml = toml.replace("\"127.0.0.1:0\"", &format!("\"{}\"", gateway.address()));
        gateway.stop().await;
        meanwhile.await;
        let gateway = Gateway::start(read(&folder, &toml), clock.clone()).await.unwrap();
        Self {
            simulator,
            gateway,
            clock,
            folder,
            toml,
        }
    }

    /// Whether the store is in PostgreSQL.
    pub(crate) fn is_in_postgres(&self) -> bool {
        self.database().is_some()
    }

    /// Executes a statement in the database of the store.
    pub(crate) fn execute(&self, statement: &str) {
        let database: String = serde_json::from_str(self.database().unwrap()).unwrap();
        Cluster::shared().unwrap().query(&database, statement);
    }

    fn database(&self) -> Option<&str> {
        let mut lines = self.toml.lines();
        lines.find_map(|line| line.strip_prefix("postgres = "))
    }

    /// The gateway's address as the start of a URL.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.host())
    }

    /// An HTTP client with the clock of this world.
    pub(crate) fn http(&self) -> Client {
        Client::builder(Tls::system().unwrap())
            .clock(self.clock.clone())
            .build()
    }

    /// The suite as a remote client with every scope.
    pub(crate) fn suite(&self) -> GuestSessions {
        remote(self.http(), self.gateway.host().clone())
    }

    /// Stops everything, and checks that the simulator recorded no violation.
    pub(crate) async fn stop(self) {
        let violations = self.simulator.violations();
        assert!(
            violations.is_empty(),
            "violations of the contract: {violations:?}"
        );
        self.gateway.stop().await;
        self.simulator.stop().await;
    }
}

/// The suite as a remote client of a gateway, with every scope.
pub(crate) fn remote(http: Client, host: Host) -> GuestSessions {
    let (id, secret) = CLIENT;
    GuestSessions::remote(RemoteConfig {
        http,
        host,
        credentials: Credentials::new(id.parse().unwrap(), secret.into()).unwrap(),
    })
}

/// Writes a configuration, and reads its file.
fn read(folder: &TempDir, toml: &str) -> Config {
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, toml).unwrap();
    Config::read(&path).unwrap()
}

/// A configuration whose store is in this database.
pub(crate) fn in_database(toml: &str, database: &str) -> String {
    let line = toml.lines().find(|line| line.starts_with("path = "));
    toml.replace(line.unwrap(), &format!("postgres = {database:?}"))
}

/// The configuration of a gateway in front of a simulator.
pub(crate) fn configuration(folder: &TempDir, simulator: &Simulator) -> String {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let every_scope = "\"webmessaging:guest\", \"webmessaging:guest:write\", \"webhooks:readwrite\", \"audit:read\", \"guests:manage\"";
    let client = |(id, secret): (&str, &str), scopes: &str| {
        format!("[[client]]\nid = {id:?}\nsecret = {secret:?}\nscopes = [{scopes}]\n")
    };
    format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n\
         [store]\npath = {store:?}\nkeys = {keys:?}\n\
         [genesys]\nhost = \"{simulator}\"\n\
         [sessions]\nallowed_origins = [{ORIGIN:?}]\n\
         [webhooks]\nallow_networks = [\"127.0.0.0/8\"]\n\
         [spa]\nclient = {pages:?}\n\
         [[spa.assertion_key]]\nid = \"tests\"\nsecret = {ASSERTION_SECRET:?}\n\
         {all}{reader}{neighbor}\
         [[channel]]\nid = {CHANNEL:?}\ndeployment = \"{deployment}\"\n",
        store = path("gateway.db"),
        keys = path("gateway.keys"),
        simulator = simulator.host(),
        pages = CLIENT.0,
        all = client(CLIENT, every_scope),
        neighbor = client(NEIGHBOR, every_scope),
        reader = client(READER, "\"webmessaging:guest\""),
        deployment = simulator.deployment_id(),
    )
}
