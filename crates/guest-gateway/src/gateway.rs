//! Start and shutdown of the server.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::Actor;
use genesys_api::{Clock, Host, Hosts};
use genesys_http::server::{Identity, Limits, Server, TowerToHyperService};
use genesys_http::{Client, Egress, Tls};
use guest_conversation::client::ConnectLimiter;
use guest_store::{SqliteStore, Store};
use guest_suite::direct::{Direct, DirectConfig};
use tokio::sync::watch;
use tokio::task::JoinSet;
use webhook::Dispatcher;
use ws_transport::{AdmittedOrigin, Origin, OriginPolicy};

use crate::api::{self, Clients, Parts};
use crate::audit_log::record;
use crate::config::{Config, ConfigError};
use crate::keys::Keys;
use crate::relay::{Hub, stopped};
use crate::simulator::Simulator;

/// Longest time to drain requests and sockets.
const DRAIN: Duration = Duration::from_secs(1);
/// Longest time of the shutdown. Guests who do not answer the close frame are dropped.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    public: Host,
    direct: Direct,
    hub: Hub,
    simulator: Option<Simulator>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Gateway {
    /// Starts a gateway. It serves until [`Gateway::stop`].
    ///
    /// # Errors
    /// If a file cannot be read, the address is taken, or another process has the store.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        if config.store.path.exists() && !config.store.keys.exists() {
            let path = config.store.path.display();
            return Err(StartError::new(
                format!("the key file {}", config.store.keys.display()),
                format!("it is missing, but the store {path} was written with it: restore it"),
            ));
        }
        let keys = Keys::open(&config.store.keys).map_err(|error| {
            StartError::new(format!("the key file {}", config.store.keys.display()), error)
        })?;
        let clients = clients(&config, &keys)?;
        let (hosts, simulator) = genesys(&config, &clock).await?;
        let tls = match &config.genesys.extra_ca {
            Some(path) => Tls::with_extra_ca(&read(path)?),
            None => Tls::system(),
        }
        .map_err(|error| StartError::new("the certificate authorities", error))?;
        let proxy = config.genesys.proxy()?;
        let http = Client::builder(tls.clone())
            .clock(clock.clone())
            .proxy(proxy)
            .build();
        let egress = Egress::PublicOnly {
            allow: config.webhooks.allow_networks.clone(),
        };
        let dispatcher = Dispatcher::new(Client::builder(tls).clock(clock.clone()).egress(egress));

        let store = open_store(&config, &keys).await?;
        let direct = DirectConfig {
            store,
            http,
            hosts,
            deployments: deployments(&config, simulator.as_ref()),
            policy: config.sessions.policy,
            access_token_lifetime: config.sessions.access_token_lifetime,
            idle_timeout: config.sessions.idle_timeout,
            retention: config.sessions.retention,
            limit: config.sessions.limit,
            limiter: ConnectLimiter::default(),
        };
        let direct = Direct::open(direct)
            .await
            .map_err(|error| StartError::new("the sessions of the store", error))?;
        record(&**direct.store(), own_name(), "audit.opened", clock.now().utc)
            .await
            .map_err(|error| StartError::new("the audit log", error))?;
        let (stop, stopping) = watch::channel(false);
        let hub = Hub::new(direct.clone(), stopping.clone());

        let server = bind(&config).await?;
        let address = server.local_addr();
        let public = public_host(&config, address)?;
        let routes = api::router(Arc::new(Parts {
            direct: direct.clone(),
            hub: hub.clone(),
            clients,
            clock,
            origins: config.sessions.allowed_origins,
            upstream_origin: config.genesys.origin.as_ref().map(own_origin),
            token_in_query: config.sessions.token_in_query,
            public: public.clone(),
        }));

        let mut tasks = JoinSet::new();
        tasks.spawn(server.serve(TowerToHyperService::new(routes), stopped(stopping.clone())));
        tasks.spawn({
            let direct = direct.clone();
            async move {
                tokio::select! {
                    () = direct.background_tasks(dispatcher) => {}
                    () = stopped(stopping) => {}
                }
            }
        });
        Ok(Self {
            address,
            public,
            direct,
            hub,
            simulator,
            stop,
            tasks,
        })
    }

    /// Returns the address of the listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the public base URL.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.public
    }

    /// Returns the base URL of the simulator, if the configuration starts one.
    #[must_use]
    pub fn simulator_url(&self) -> Option<String> {
        self.simulator.as_ref().map(Simulator::http_url)
    }

    /// Returns the store, for an export of the audit log.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        self.direct.store()
    }

    /// Returns the number of live conversations.
    #[must_use]
    pub fn conversations(&self) -> usize {
        self.hub.len()
    }

    /// Stops the gateway: refuses requests, closes the guests' sockets with code 1001, and signs the audit log. Takes less
    /// than two seconds and the time of the disk. Another process can open the store then.
    pub async fn stop(self) {
        let Self {
            direct,
            hub,
            simulator,
            stop,
            mut tasks,
            ..
        } = self;
        drop(hub);
        stop.send_replace(true);
        let ended = async {
            while tasks.join_next().await.is_some() {}
            // each request, socket and relay holds a receiver
            stop.closed().await;
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            tracing::warn!("shutdown timeout: tasks are still running");
        }
        let closed = record(
            &**direct.store(),
            own_name(),
            "audit.closed",
            direct.clock().now().utc,
        )
        .await;
        let signed = direct.store().checkpoint().await;
        if let Err(error) = closed.and(signed.map(drop)) {
            tracing::error!(%error, "cannot close and sign the audit log");
        }
        if let Some(simulator) = simulator {
            simulator.stop().await;
        }
    }
}

fn own_name() -> Actor {
    Actor::system("guest-gateway")
}

/// The configured origin of connections to Genesys.
fn own_origin(origin: &Origin) -> AdmittedOrigin {
    let policy = OriginPolicy::new([origin.to_string()]).expect("an origin is a valid entry");
    policy.admit_own(origin).expect("the policy allows this origin")
}

fn clients(config: &Config, keys: &Keys) -> Result<Clients, StartError> {
    let mut clients = Vec::with_capacity(config.client.len());
    for client in &config.client {
        clients.push((client.id.clone(), client.secret()?, client.scopes.clone()));
    }
    Ok(Clients::new(
        clients,
        &keys.tokens,
        config.listen.requests_per_minute,
    ))
}

async fn genesys(config: &Config, clock: &Clock) -> Result<(Hosts, Option<Simulator>), StartError> {
    if let Some(hosts) = config.hosts() {
        return Ok((hosts, None));
    }
    let simulator = simulator(clock)
        .await
        .map_err(|error| StartError::new("the simulator of Genesys Cloud", error))?;
    Ok((Hosts::single(simulator.host()), Some(simulator)))
}

#[cfg(feature = "sim")]
async fn simulator(clock: &Clock) -> Result<Simulator, genesys_sim::StartError> {
    let config = genesys_sim::Config {
        clock: clock.clone(),
        ..genesys_sim::Config::plain()
    };
    Simulator::start(config).await
}

#[cfg(not(feature = "sim"))]
#[expect(
    clippy::unused_async,
    reason = "a simulator takes time to start where there is one"
)]
async fn simulator(_: &Clock) -> Result<Simulator, &'static str> {
    Err(crate::simulator::NOT_BUILT_IN)
}

fn deployments(
    config: &Config,
    simulator: Option<&Simulator>,
) -> BTreeMap<genesys_api::ChannelId, genesys_api::DeploymentId> {
    let of_simulator = simulator.map(Simulator::deployment_id);
    let channels = config.channel.iter();
    channels
        .filter_map(|channel| {
            Some((
                channel.id.clone(),
                channel.deployment.as_ref().or(of_simulator)?.clone(),
            ))
        })
        .collect()
}

async fn open_store(config: &Config, keys: &Keys) -> Result<Arc<dyn Store>, StartError> {
    let (path, keys) = (config.store.path.clone(), keys.for_store());
    let shown = path.display().to_string();
    let opened =
        tokio::task::spawn_blocking(move || SqliteStore::open(&path, keys, guest_store::Limits::default()))
            .await;
    match opened {
        Ok(Ok(store)) => Ok(Arc::new(store)),
        Ok(Err(error)) => Err(StartError::new(format!("the store {shown}"), error)),
        Err(gone) => std::panic::resume_unwind(gone.into_panic()),
    }
}

async fn bind(config: &Config) -> Result<Server, StartError> {
    let listen = &config.listen;
    let identity = match (&listen.certificate, &listen.key) {
        (Some(certificate), Some(key)) => Some(
            Identity::from_pem(&read(certificate)?, &read(key)?)
                .map_err(|error| StartError::new("certificate and key of [listen]", error))?,
        ),
        _ => None,
    };
    let limits = Limits {
        connections: listen.connections,
        drain: DRAIN,
        ..Limits::default()
    };
    Server::bind(listen.address, identity, limits)
        .await
        .map_err(|error| StartError::new(format!("the address {}", listen.address), error))
}

fn public_host(config: &Config, address: SocketAddr) -> Result<Host, StartError> {
    if let Some(public) = &config.listen.public_url {
        return Ok(public.clone());
    }
    let scheme = if config.listen.certificate.is_some() {
        "https"
    } else {
        "http"
    };
    let own = format!("{scheme}://{address}");
    own.parse().map_err(|error| {
        StartError::new(
            "public_url of [listen], which is required for this address",
            error,
        )
    })
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|error| StartError::new(path.display().to_string(), error))
}

/// A gateway that cannot start. The message gives the obstacle.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl StartError {
    fn new(what: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            what: what.into(),
            source: source.into(),
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::new("the configuration", error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start with {}", self.what)
    }
}

impl StdError for StartError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
