//! The settings of a running gateway that a reload changes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use genesys_api::{Host, error_chain};
use genesys_http::server::Identity;
use ipnet::IpNet;
use tokio::sync::Mutex;
use ws_transport::OriginPolicy;

use crate::admin::Login;
use crate::api::{App, Clients};
use crate::audit_log::record_configuration;
use crate::config::{Config, ConfigError};
use crate::gateway::{StartError, admin_identity, allowed_origins, identity};
use crate::keys::Keys;

/// The keys of the configuration that a reload changes. All others need a restart.
const RELOADED: [&str; 15] = [
    "admin.certificate",
    "admin.client_ca",
    "admin.key",
    "admin.token",
    "admin.token_env",
    "admin.token_file",
    "client",
    "listen.certificate",
    "listen.connections_per_address",
    "listen.key",
    "listen.requests_per_minute",
    "listen.trusted_proxies",
    "sessions.allowed_origins",
    "sessions.limit",
    "sessions.token_in_query",
];

/// The settings that a reload replaces as a whole.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) clients: Clients,
    pub(crate) origins: OriginPolicy,
    pub(crate) token_in_query: bool,
    /// Reverse proxies whose `X-Forwarded-For` has the address of the client.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl Settings {
    /// # Errors
    /// If the secret of a client cannot be read.
    pub(crate) fn new(config: &Config, keys: &Keys, public: &Host) -> Result<Self, StartError> {
        Ok(Self {
            clients: Clients::new(&config.client, keys, config.listen.requests_per_minute)?,
            origins: allowed_origins(config, public)?,
            token_in_query: config.sessions.token_in_query,
            trusted_proxies: config.listen.trusted_proxies.clone(),
        })
    }
}

/// The settings in force.
#[derive(Debug)]
pub(crate) struct Current(RwLock<Arc<Settings>>);

impl Current {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(RwLock::new(Arc::new(settings)))
    }

    pub(crate) fn get(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, settings: Settings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}

/// Reloads the configuration of a running gateway.
#[derive(Debug)]
pub(crate) struct Reloader {
    pub(crate) app: App,
    pub(crate) keys: Keys,
    pub(crate) identity: Option<Identity>,
    pub(crate) admin: Option<(Option<Identity>, Arc<Login>)>,
    /// The configuration in force.
    pub(crate) config: Mutex<Config>,
}

impl Reloader {
    /// Reads the configuration and its files again, and applies it as a whole or not at all. Open connections continue.
    /// Returns the keys that changed.
    ///
    /// # Errors
    /// If it is invalid, if a changed value needs a restart, or the store's.
    pub(crate) async fn reload(&self) -> Result<BTreeSet<String>, ReloadError> {
        let reloaded = self.apply().await;
        match &reloaded {
            Ok(changed) => tracing::info!(?changed, "configuration reloaded"),
            Err(error) => tracing::error!(%error, "the configuration in force stays"),
        }
        reloaded
    }

    async fn apply(&self) -> Result<BTreeSet<String>, ReloadError> {
        let mut running = self.config.lock().await;
        let config = running.reread()?;
        config.check_environment()?;
        let changed = running.changed(&config);
        let fixed: Vec<_> = changed
            .iter()
            .filter(|key| !RELOADED.contains(&key.as_str()))
            .cloned()
            .collect();
        if !fixed.is_empty() {
            return Err(ReloadError(format!(
                "a change of {} needs a restart of the gateway: nothing was applied",
                fixed.join(", ")
            )));
        }
        let app = &self.app;
        let mut settings = Settings::new(&config, &self.keys, &app.public)?;
        settings.clients.continue_limits(&app.settings().clients);
        let mut identities = vec![(self.identity.as_ref(), identity(&config)?, "[listen]")];
        let mut token = None;
        if let (Some((running, login)), Some(admin)) = (&self.admin, &config.admin) {
            identities.push((running.as_ref(), admin_identity(admin)?, "[admin]"));
            token = Some((login, admin.token()?));
        }
        for (running, new, table) in &identities {
            if running.is_some() != new.is_some() {
                return Err(ReloadError(format!(
                    "TLS of {table} can only be switched by a restart of the gateway: nothing was applied"
                )));
            }
        }
        let (direct, now) = (&app.direct, app.clock.now().utc);
        let key = self.keys.for_fingerprints();
        let recorded = record_configuration(&**direct.store(), &config.values, &key, now).await;
        recorded.map_err(|error| ReloadError(error_chain(&error)))?;
        for (running, new, _) in identities {
            if let (Some(running), Some(new)) = (running, new) {
                running.replace(&new);
            }
        }
        if let Some((login, token)) = token {
            login.set_token(token);
        }
        direct.set_limit(config.sessions.limit);
        direct.set_memberships(config.memberships());
        let listen = &config.listen;
        app.address_limit
            .replace(listen.connections_per_address, listen.trusted_proxies.clone());
        app.current.replace(settings);
        *running = config;
        Ok(changed)
    }
}

/// A configuration that was not reloaded. The message names the reason.
#[derive(Debug)]
pub struct ReloadError(String);

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot reload the configuration: {}", self.0)
    }
}

impl std::error::Error for ReloadError {}

impl From<ConfigError> for ReloadError {
    fn from(error: ConfigError) -> Self {
        Self(error.to_string())
    }
}

impl From<StartError> for ReloadError {
    fn from(error: StartError) -> Self {
        Self(error_chain(&error))
    }
}
