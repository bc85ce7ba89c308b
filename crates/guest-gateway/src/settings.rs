//! The settings of a running gateway that a reload changes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use genesys_api::{Host, error_chain};
use genesys_http::server::Identity;
use guest_store::StoreError;
use ipnet::IpNet;
use serde::Serialize;
use tokio::sync::Mutex;
use ws_transport::OriginPolicy;

use crate::admin::Login;
use crate::api::{App, Clients, SessionLimiter};
use crate::audit_log::record_configuration;
use crate::config::{Config, ConfigError};
use crate::gateway::{HttpClients, StartError, admin_identity, allowed_origins, identity, warnings};
use crate::keys::Keys;
use crate::spa::PageRules;

/// The keys of the configuration that a reload changes. All others need a restart.
const RELOADED: [&str; 27] = [
    "admin.certificate",
    "admin.client_ca",
    "admin.key",
    "admin.token",
    "admin.token_env",
    "admin.token_file",
    "client",
    "genesys.client_certificate",
    "genesys.client_key",
    "genesys.extra_ca",
    "genesys.min_tls_version",
    "genesys.proxy",
    "listen.certificate",
    "listen.connections_per_address",
    "listen.key",
    "listen.requests_per_minute",
    "listen.trusted_proxies",
    "sessions.allowed_origins",
    "sessions.limit",
    "sessions.policy",
    "sessions.requests_per_minute",
    "sessions.token_in_query",
    "spa.anonymous",
    "spa.assertion_key",
    "spa.lifetime",
    "spa.requests_per_minute",
    "spa.sessions_per_minute",
];

/// Whether a reload changes the value of a key, which each organization has as `[genesys]` does.
fn is_reloaded(key: &str) -> bool {
    let of_organization = key
        .strip_prefix("organizations.")
        .and_then(|path| path.rsplit_once('.'));
    match of_organization {
        Some((_, key)) => RELOADED.contains(&&*format!("genesys.{key}")),
        None => RELOADED.contains(&key),
    }
}

/// The settings that a reload replaces as a whole.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) clients: Clients,
    pub(crate) origins: OriginPolicy,
    pub(crate) token_in_query: bool,
    /// Reverse proxies whose `X-Forwarded-For` has the address of the client.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// The rules of pages without a backend, if they are configured.
    pub(crate) pages: Option<Arc<PageRules>>,
    /// The requests of each session.
    pub(crate) session_requests: SessionLimiter,
}

impl Settings {
    /// # Errors
    /// If the secret of a client, or a key of assertions, cannot be read.
    pub(crate) fn new(config: &Config, keys: &Keys, public: &Host) -> Result<Self, StartError> {
        Ok(Self {
            clients: Clients::new(&config.client, keys, config.listen.requests_per_minute)?,
            origins: allowed_origins(config, public)?,
            token_in_query: config.sessions.token_in_query,
            trusted_proxies: config.listen.trusted_proxies.clone(),
            pages: config
                .spa
                .as_ref()
                .map(|spa| PageRules::new(spa, public).map(Arc::new))
                .transpose()?,
            session_requests: SessionLimiter::new(config.sessions.requests_per_minute, config.sessions.limit),
        })
    }

    /// Continues the limits of the settings before a reload.
    fn continue_from(&mut self, before: &Self) {
        self.clients.continue_limits(&before.clients);
        self.session_requests.continue_from(&before.session_requests);
        if let Some((pages, before)) = self
            .pages
            .as_mut()
            .and_then(Arc::get_mut)
            .zip(before.pages.as_ref())
        {
            pages.continue_from(before);
        }
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
    pub(crate) http_clients: HttpClients,
    pub(crate) admin: Option<(Option<Identity>, Arc<Login>)>,
    /// The configuration in force.
    pub(crate) config: Mutex<Config>,
}

impl Reloader {
    /// Reads the configuration and its files again, and applies it as a whole or not at all. Open connections continue.
    ///
    /// # Errors
    /// If it is invalid, if a changed value needs a restart, or the store's.
    pub(crate) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let reloaded = self.apply().await;
        match &reloaded {
            Ok(Reloaded {
                changed,
                reevaluating,
                warnings,
            }) => {
                tracing::info!(?changed, reevaluating, "configuration reloaded");
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            }
            Err(error) => tracing::error!(%error, "the configuration in force stays"),
        }
        reloaded
    }

    async fn apply(&self) -> Result<Reloaded, ReloadError> {
        let mut running = self.config.lock().await;
        let config = running.reread()?;
        config.check_environment()?;
        let changed = running.changed(&config);
        let fixed: Vec<_> = changed.iter().filter(|key| !is_reloaded(key)).cloned().collect();
        if !fixed.is_empty() {
            return Err(ReloadError::Invalid(format!(
                "a change of {} needs a restart of the gateway: nothing was applied",
                fixed.join(", ")
            )));
        }
        let app = &self.app;
        let mut settings = Settings::new(&config, &self.keys, &app.public)?;
        settings.continue_from(&app.settings());
        let http_clients = HttpClients::new(&config, &app.clock)?;
        let mut identities = vec![(self.identity.as_ref(), identity(&config)?, "[listen]")];
        let mut token = None;
        if let (Some((running, login)), Some(admin)) = (&self.admin, &config.admin) {
            identities.push((running.as_ref(), admin_identity(admin)?, "[admin]"));
            token = Some((login, admin.token()?));
        }
        for (running, new, table) in &identities {
            if running.is_some() != new.is_some() {
                return Err(ReloadError::Invalid(format!(
                    "TLS of {table} can only be switched by a restart of the gateway: nothing was applied"
                )));
            }
        }
        let (direct, now) = (&app.direct, app.clock.now().utc);
        let key = self.keys.for_fingerprints();
        let recorded = record_configuration(&**direct.store(), &config.values, &key, now).await;
        recorded.map_err(ReloadError::Store)?;
        for (running, new, _) in identities {
            if let (Some(running), Some(new)) = (running, new) {
                running.replace(&new);
            }
        }
        self.http_clients.replace(&http_clients);
        if let Some((login, token)) = token {
            login.set_token(token);
        }
        let mut warnings = warnings(&config, &app.public, now);
        let (limit, open) = (config.sessions.limit, direct.counters().open());
        if changed.contains("sessions.limit") && usize::try_from(open).is_ok_and(|open| open > limit) {
            warnings.push(format!(
                "{open} sessions are live, more than `limit` {limit} of [sessions]: they go on, and new ones are refused until \
                 fewer are live"
            ));
        }
        let listen = &config.listen;
        let limit = listen.connections_per_address;
        let above = app.address_limit.replace(limit, listen.trusted_proxies.clone());
        if changed.contains("listen.connections_per_address") && above > 0 {
            warnings.push(format!(
                "{above} addresses have more open connections than `connections_per_address` {limit} of [listen]: these stay \
                 open, and new ones are refused"
            ));
        }
        let has_policy = config.sessions.policy != running.sessions.policy;
        direct.set_rules(config.rules());
        app.current.replace(settings);
        *running = config;
        Ok(Reloaded {
            changed,
            reevaluating: has_policy.then_some(open),
            warnings,
        })
    }
}

/// The outcome of a reload.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reloaded {
    /// The keys that changed.
    pub changed: BTreeSet<String>,
    /// After a change of the policy, the number of live sessions. Those whose decision it changes are re-evaluated in the
    /// background.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reevaluating: Option<u64>,
    /// Remarks for the operator, such as an old secret to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The reason why a configuration was not reloaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReloadError {
    /// The configuration is invalid, or it changes a value that needs a restart.
    Invalid(String),
    /// The audit log did not record it. A later attempt may succeed.
    Store(StoreError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot reload the configuration: ")?;
        match self {
            Self::Invalid(reason) => f.write_str(reason),
            Self::Store(error) => f.write_str(&error_chain(error)),
        }
    }
}

impl std::error::Error for ReloadError {}

impl From<ConfigError> for ReloadError {
    fn from(error: ConfigError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<StartError> for ReloadError {
    fn from(error: StartError) -> Self {
        Self::Invalid(error_chain(&error))
    }
}
