//! Start and shutdown of the server.

mod check;
mod http_clients;
mod listener;
mod simulated;
mod store;

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use genesys_api::{Clock, Host, Hosts};
use genesys_http::server::{Server, TowerToHyperService};
use genesys_http::{Client, RateLimiter};
use guest_conversation::client::ConnectLimiter;
use guest_store::Store;
use guest_suite::direct::{Direct, DirectConfig, Organization};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use ws_transport::{AdmittedOrigin, Origin, OriginPolicy};

pub(crate) use self::http_clients::{HttpClients, genesys_tls};
use self::listener::{Listeners, public_host};
pub(crate) use self::listener::{admin_identity, identity};
use self::simulated::start_simulator;
use crate::admin::Admin;
use crate::api::{self, FILE_MEMORY, FaultLog, Parts};
use crate::audit_log::{own_name, record, record_configuration};
use crate::checkpoints::Audit;
use crate::config::{self, Channel, Config, ConfigError};
use crate::demo_page::{self, DemoPage};
use crate::health::{Health, Part};
use crate::input_file;
use crate::keys::Keys;
use crate::metrics::Requests;
use crate::relay::{Hub, Shutdown};
use crate::settings::{Current, ReloadError, Reloaded, Reloader, Settings};
use crate::simulator::Simulator;
use crate::spa::Spa;

pub(crate) use self::check::{check, check_pair, check_warnings, is_empty, warnings};
pub(crate) use self::store::open as open_store;
use self::store::{lost, open_or_stand_by};

/// Time to close connections after the drain. Guests who do not answer the close frame are dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    public: Host,
    /// The URL of the listener for operators, if there is one.
    admin: Option<Host>,
    audit: Audit,
    direct: Direct,
    health: Health,
    reloader: Arc<Reloader>,
    /// Longest time to complete requests when the gateway stops.
    drain: Duration,
    hub: Hub,
    simulator: Option<Simulator>,
    has_demo_page: bool,
    /// Whether other gateways may have the store.
    is_shared: bool,
    stop: watch::Sender<bool>,
    /// The listener for guests.
    serving: JoinSet<()>,
    stop_admin: watch::Sender<bool>,
    /// The listener for operators, and the background tasks.
    tasks: JoinSet<()>,
}

impl Gateway {
    /// Starts a gateway. It serves until [`Gateway::stop`]. With a store in PostgreSQL it stands by first, while another
    /// gateway has the store or the server cannot be reached.
    ///
    /// # Errors
    /// If a file cannot be read, the address is taken, or another process uses the store.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        check(&config)?;
        let (listeners, keys, store) = open(&config).await?;
        let (guests, admin) = (listeners.guests, listeners.admin);
        let address = guests.local_addr();
        let public = public_host(&config, address)?;
        for warning in warnings(&config, &public, clock.now().utc) {
            tracing::warn!("{warning}");
        }
        let simulator = match config.genesys.simulator {
            true => Some(start_simulator(&config, &public, &clock).await?),
            false => None,
        };
        let http_clients = HttpClients::new(&config, &clock)?;
        let organizations = organizations(&config, simulator.as_ref(), &http_clients);
        let has_demo_page = config.spa.as_ref().is_some_and(|spa| spa.demo_page);
        let of_pages = organizations.iter().find(|organization| {
            let channel = config.spa_channel();
            channel.is_some_and(|channel| organization.deployments.contains_key(channel))
        });
        let of_pages = of_pages.filter(|_| has_demo_page);
        let demo_page = of_pages.map(|organization| DemoPage::new(&public, &organization.hosts));
        let settings = Settings::new(&config, &keys, &public)?;

        let direct = open_direct(&config, store, &organizations).await?;
        record_start(&**direct.store(), &config, &keys, &clock).await?;
        let (stop, shutdown) = watch::channel(false);
        let shutdown = Shutdown(shutdown);
        let health = Health::new(direct.clone(), names(&organizations));
        let hub = Hub::new(direct.clone(), health.clone(), shutdown.clone());

        let pages = config.spa.as_ref().zip(config.spa_channel());
        let spa = pages.map(|(spa, channel)| Spa::new(spa, channel.clone(), &keys));
        let app = Arc::new(Parts {
            spa,
            direct: direct.clone(),
            hub: hub.clone(),
            current: Current::new(settings),
            sign_in_failures: std::sync::Mutex::default(),
            clock,
            dispatcher: http_clients.dispatcher.clone(),
            controller: config.controller.clone(),
            health: health.clone(),
            fault_log: FaultLog::default(),
            requests: Requests::default(),
            address_limit: guests.address_limit(),
            store_file: config.store.file().map(Path::to_owned),
            file_memory: Arc::new(Semaphore::new(FILE_MEMORY)),
            audit: config.audit.clone(),
            public: public.clone(),
            demo_page,
        });

        let (mut serving, mut tasks) = (JoinSet::new(), JoinSet::new());
        let (background, dispatcher) = (direct.clone(), http_clients.dispatcher.clone());
        let background = async move { background.background_tasks(dispatcher).await };
        tasks.spawn(shutdown.clone().stopping(background));
        tasks.spawn(shutdown.clone().stopping(health.clone().watch(organizations)));
        let (audit, drain) = (config.audit.clone(), config.listen.drain);
        let archive = http_clients.archive.clone();
        let publishing = audit.clone().publish(direct.store().clone(), archive);
        tasks.spawn(shutdown.clone().stopping(publishing));
        let is_shared = config.store.file().is_none();
        let reloader = Arc::new(Reloader {
            app: app.clone(),
            keys,
            identity: listeners.identity,
            http_clients,
            admin: admin
                .as_ref()
                .map(|admin| (admin.identity.clone(), admin.login.clone())),
            config: Mutex::new(config),
        });
        let admin_url = admin.as_ref().map(|admin| admin.url.clone());
        let (stop_admin, admin_shutdown) = watch::channel(false);
        if let Some(admin) = admin {
            let routes = Admin::new(admin.login, reloader.clone(), admin.url).router();
            tasks.spawn(serve(admin.server, routes, Shutdown(admin_shutdown)));
        }
        serving.spawn(serve(guests, api::router(app), shutdown));
        let admin = admin_url.as_ref().map(ToString::to_string);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), url = %public, admin, "started");
        Ok(Self {
            address,
            public,
            admin: admin_url,
            audit,
            health,
            reloader,
            drain,
            direct,
            hub,
            simulator,
            has_demo_page,
            is_shared,
            stop,
            serving,
            stop_admin,
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

    /// Returns the base URL of the listener for operators, if the configuration has one.
    #[must_use]
    pub fn admin(&self) -> Option<&Host> {
        self.admin.as_ref()
    }

    /// Returns the base URL of the simulator, if the configuration starts one.
    #[must_use]
    pub fn simulator_url(&self) -> Option<String> {
        Some(self.simulator.as_ref()?.host().to_string())
    }

    /// Returns the URL of the demo shop, if the configuration has it.
    #[must_use]
    pub fn demo_page_url(&self) -> Option<String> {
        self.has_demo_page
            .then(|| format!("{}{}", self.public, demo_page::PATH))
    }

    /// Returns the store, for an export of the audit log.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        self.direct.store()
    }

    /// Resolves when the store in PostgreSQL is another gateway's, or may be. Drop this one at once then: it could keep
    /// connections for guests whose other gateway opens them again.
    pub async fn store_lost(&self) {
        match self.is_shared {
            true => lost(&**self.store()).await,
            false => std::future::pending().await,
        }
    }

    /// The parts of the API, for an export.
    #[cfg(feature = "otlp")]
    pub(crate) fn app(&self) -> &api::App {
        &self.reloader.app
    }

    /// Longest time to complete requests when the gateway stops.
    #[cfg(feature = "otlp")]
    pub(crate) fn drain(&self) -> Duration {
        self.drain
    }

    /// Returns the number of live conversations.
    #[must_use]
    pub fn conversations(&self) -> usize {
        self.hub.len()
    }

    /// Reads the configuration and its files again, and applies it as a whole or not at all. Open connections continue.
    ///
    /// # Errors
    /// If it was not read from a file, is invalid, or changes a value that needs a restart. The old one stays in force.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.reloader.reload().await
    }

    /// Stops the gateway: accepts no more connections of guests, completes requests within `drain` of `[listen]`, sends
    /// `session.moved` to the guests' sockets and closes them with code 1001. The listener for operators serves until then, and
    /// its readiness names the drain. At last the audit log is signed. Another process can open the store then.
    pub async fn stop(self) {
        let Self {
            audit,
            direct,
            health,
            reloader,
            drain,
            hub,
            simulator,
            stop,
            mut serving,
            stop_admin,
            mut tasks,
            ..
        } = self;
        tracing::info!(?drain, "stopping");
        health.set(Part::Draining, Some("the gateway stops".to_owned()));
        drop((hub, reloader));
        stop.send_replace(true);
        let ended = async {
            while serving.join_next().await.is_some() {}
            stop_admin.send_replace(true);
            while tasks.join_next().await.is_some() {}
            // each request, socket and relay holds a receiver
            stop.closed().await;
        };
        if tokio::time::timeout(drain + 3 * CLOSE_TIMEOUT, ended)
            .await
            .is_err()
        {
            tracing::warn!("shutdown timeout: tasks are still running");
        }
        if let Err(error) = direct.audit_log().log_counted().await {
            tracing::error!(%error, "cannot log counted refusals");
        }
        let (store, now) = (direct.store(), direct.clock().now().utc);
        let closed = record(&**store, own_name(), "audit.closed", now).await;
        match closed.and(store.checkpoint().await) {
            Ok(checkpoint) => {
                audit.append(&checkpoint.note).await;
            }
            Err(error) => tracing::error!(%error, "cannot close and sign the audit log"),
        }
        if let Some(simulator) = simulator {
            simulator.stop().await;
        }
        tracing::info!("stopped");
    }
}

/// Opens the listeners, the key file and the store.
async fn open(config: &Config) -> Result<(Listeners, Keys, Arc<dyn Store>), StartError> {
    if config.store.file().is_none() {
        // first, so that a load balancer sends nothing to a gateway that stands by
        let (keys, store) = open_or_stand_by(config).await?;
        return Ok((Listeners::bind(config).await?, keys, store));
    }
    // first, so that an address in use leaves no key file and no store
    let listeners = Listeners::bind(config).await?;
    let (keys, store) = open_or_stand_by(config).await?;
    Ok((listeners, keys, store))
}

/// Opens direct mode on the store.
async fn open_direct(
    config: &Config,
    store: Arc<dyn Store>,
    organizations: &[Organization],
) -> Result<Direct, StartError> {
    let (organization, further) = organizations.split_first().expect("a configuration has one");
    let opened = Direct::open(DirectConfig {
        store,
        organization: organization.clone(),
        further: further.to_vec(),
        rules: config.rules(),
        access_token_lifetime: config.sessions.access_token_lifetime,
        idle_timeout: config.sessions.idle_timeout,
        queue_timeout: config.sessions.queue_timeout,
        retention: config.sessions.retention,
    })
    .await;
    opened.map_err(StartError::to("load the sessions of the store"))
}

/// The organizations of Genesys Cloud, of which each has an HTTP client of its own.
fn organizations(
    config: &Config,
    simulator: Option<&Simulator>,
    http_clients: &HttpClients,
) -> Vec<Organization> {
    let organization = |(configured, http): (config::Organization<'_>, &Client)| {
        let genesys = configured.genesys;
        let hosts = genesys
            .hosts()
            .or(simulator.map(|simulator| Hosts::single(simulator.host())));
        let channels = config.channel.iter().filter(|channel| configured.has(channel));
        let deployment = |channel: &Channel| {
            let simulated = simulator.map(Simulator::deployment_id);
            let deployment = channel.deployment.as_ref().or(simulated)?;
            Some((channel.id.clone(), deployment.clone()))
        };
        Organization {
            name: configured.name.to_owned(),
            http: http.clone().with_rate_limiter(RateLimiter::of_organization()),
            hosts: hosts.expect("an organization without hosts has the simulator"),
            origin: genesys.origin.as_ref().map(own_origin),
            deployments: channels.filter_map(deployment).collect(),
            connections_per_minute: genesys
                .connections_per_minute
                .unwrap_or(ConnectLimiter::PER_MINUTE),
        }
    };
    let configured = config.organizations().into_iter();
    configured
        .zip(&http_clients.organizations)
        .map(organization)
        .collect()
}

fn names(organizations: &[Organization]) -> Vec<String> {
    let names = organizations.iter().map(|organization| &organization.name);
    names.cloned().collect()
}

/// Serves these routes until shutdown begins.
async fn serve(server: Server, routes: Router, shutdown: Shutdown) {
    let routes = TowerToHyperService::new(routes);
    server
        .serve(routes, async move { shutdown.requested().await })
        .await;
}

/// The allowed origins, with that of this gateway if it serves a page.
pub(crate) fn allowed_origins(config: &Config, public: &Host) -> Result<OriginPolicy, StartError> {
    let allowed = &config.sessions.allowed_origins;
    if !config.spa.as_ref().is_some_and(|spa| spa.demo_page) {
        return Ok(allowed.clone());
    }
    let entries = allowed.origins().iter().map(Origin::to_string);
    let origins = OriginPolicy::new(entries.chain([public.to_string()]));
    origins.map_err(StartError::to("allow the origin of the demo shop"))
}

async fn record_start(
    store: &dyn Store,
    config: &Config,
    keys: &Keys,
    clock: &Clock,
) -> Result<(), StartError> {
    let key = keys.for_fingerprints();
    let recorded = async {
        record(store, own_name(), "audit.opened", clock.now().utc).await?;
        record_configuration(store, &config.values, &key, clock.now().utc).await
    };
    recorded.await.map_err(StartError::to("write to the audit log"))
}

/// The configured origin of connections to Genesys.
fn own_origin(origin: &Origin) -> AdmittedOrigin {
    let policy = OriginPolicy::new([origin.to_string()]).expect("an origin is a valid entry");
    policy.admit_own(origin).expect("the policy allows this origin")
}

fn open_keys(config: &Config) -> Result<Keys, StartError> {
    check_pair(config)?;
    let keys = &config.store.keys;
    Keys::open(keys).map_err(StartError::to(read_action("the key file", keys)))
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    input_file::read(path).map_err(StartError::to(read_action("the file", path)))
}

fn read_action(kind: &str, path: &Path) -> String {
    format!("read {kind} {} (check its path and permissions)", path.display())
}

/// A gateway that cannot start. The message names the action that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct StartError {
    action: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl StartError {
    /// Returns a constructor for errors of this action.
    fn to<E: Into<Box<dyn StdError + Send + Sync>>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        |source| Self {
            action,
            source: source.into(),
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::to("apply the configuration")(error)
    }
}
