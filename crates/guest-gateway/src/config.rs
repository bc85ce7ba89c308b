//! The configuration: `gateway.toml`, the environment over it, and flags over both.

mod admin;
mod client;
mod genesys;
mod layers;
mod parse;
mod reload;
mod rules;
pub(crate) mod show;
mod spa;
mod store;
mod suggestion;

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use genesys_api::{ChannelId, DeploymentId, Host, rfc3339};
use guest_payload::Policy;
use guest_payload::iso27560::Controller;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use ws_transport::OriginPolicy;

pub(crate) use self::admin::Admin;
pub use self::client::Client;
pub(crate) use self::genesys::{Genesys, Organization};
use self::layers::{Layers, Origins};
use self::parse::{
    address, at_least_one, default_connections, default_limit, default_policy, default_session_requests,
    deployment, enabled, minutes, origins, policy,
};
pub(crate) use self::parse::{duration, hours, networks, parsed_option};
pub(crate) use self::spa::{Embedding, Spa};
pub use self::store::Store;
pub(crate) use self::store::{Place, Webhooks};
use crate::checkpoints::Audit;
use crate::{input_file, private_file};

/// The scope for reading sessions, audit trails and metrics.
pub(crate) const READ: &str = "webmessaging:guest";
/// The scope for changing sessions.
pub(crate) const WRITE: &str = "webmessaging:guest:write";
/// The scope for webhooks.
pub(crate) const WEBHOOKS: &str = "webhooks:readwrite";
/// The scope for the whole audit log, with the entries of all API clients.
pub(crate) const AUDIT: &str = "audit:read";
/// The scope for the data of a guest, with attribute values, and for its erasure.
pub(crate) const GUESTS: &str = "guests:manage";
const SCOPES: [&str; 5] = [READ, WRITE, WEBHOOKS, AUDIT, GUESTS];

/// The contents of `gateway.toml`. Every field but `client`, `channel` and `sessions.allowed_origins` has a default.
/// `gateway.example.toml` shows the defaults.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub(crate) listen: Listen,
    /// The files of the store.
    #[serde(default)]
    pub store: Store,
    #[serde(default)]
    pub(crate) genesys: Genesys,
    /// Several organizations by their names. They have the values of `genesys` as defaults, which has no hosts then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    organizations: BTreeMap<String, Genesys>,
    pub(crate) sessions: Sessions,
    #[serde(default)]
    pub(crate) webhooks: Webhooks,
    /// Copies of the audit log's checkpoints.
    #[serde(default)]
    pub(crate) audit: Audit,
    /// The controller of the guests' data, a part of each exported consent record.
    #[serde(default)]
    pub(crate) controller: Controller,
    /// The listener for operators, if there is one.
    pub(crate) admin: Option<Admin>,
    /// Sessions of pages without a backend of their own.
    pub(crate) spa: Option<Spa>,
    /// The API clients.
    pub client: Vec<Client>,
    /// The web messaging channels of the sessions.
    pub(crate) channel: Vec<Channel>,
    /// The values that are set by key, as in `listen.address`, for the audit log. Those of all `[[client]]` are one value,
    /// as are those of all `[[channel]]`.
    #[serde(skip)]
    pub(crate) values: BTreeMap<String, SecretString>,
    #[serde(skip)]
    origins: Origins,
    /// The flags over the file and the environment: the name of each, and its setting.
    #[serde(skip)]
    flags: Vec<(&'static str, SecretString)>,
}

/// `[listen]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    /// Address and port. Port 0 selects a free one.
    #[serde(deserialize_with = "address")]
    pub(crate) address: SocketAddr,
    /// PEM file of the certificate chain. Without it the gateway serves plain HTTP.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// The networks in which plain HTTP is served.
    pub(crate) plain_http: PlainHttp,
    /// The public base URL behind a reverse proxy. It is the base of every `websocketUrl`.
    #[serde(deserialize_with = "parsed_option", serialize_with = "show::text_option")]
    pub(crate) public_url: Option<Host>,
    /// Limit of open connections. Default: 16,384, or as many as the limit of open files allows.
    #[serde(deserialize_with = "at_least_one")]
    pub(crate) connections: u32,
    /// Limit of open connections of an address of IPv4, or of the first 64 bits of one of IPv6, but for trusted proxies.
    #[serde(deserialize_with = "at_least_one")]
    pub(crate) connections_per_address: u32,
    /// Longest time to complete requests when the gateway stops.
    #[serde(deserialize_with = "reload::drain", serialize_with = "show::span")]
    pub(crate) drain: Duration,
    /// Rate limit of an API client, in requests per minute, of which all may come at once.
    #[serde(deserialize_with = "at_least_one")]
    pub(crate) requests_per_minute: u32,
    /// Networks of reverse proxies, whose `X-Forwarded-For` has the address of the client.
    #[serde(deserialize_with = "networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            certificate: None,
            key: None,
            plain_http: PlainHttp::Loopback,
            public_url: None,
            connections: default_connections(),
            connections_per_address: 1_024,
            drain: Duration::from_secs(20),
            requests_per_minute: 3_000,
            // plain HTTP is served on loopback only, so a proxy of this machine is there
            trusted_proxies: vec![
                Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
                Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
            ],
        }
    }
}

/// The networks in which plain HTTP is served.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlainHttp {
    /// This machine only.
    Loopback,
    /// Any network: a reverse proxy, an ingress or a load balancer terminates TLS, and nobody else reaches the port.
    BehindProxy,
}

/// `[sessions]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sessions {
    /// Origins of the pages that may open a WebSocket.
    #[serde(deserialize_with = "origins", serialize_with = "show::origins")]
    pub(crate) allowed_origins: OriginPolicy,
    /// The consent policy: the id of one that ships, or the path of a file.
    #[serde(
        default = "default_policy",
        deserialize_with = "policy",
        serialize_with = "show::policy"
    )]
    pub(crate) policy: Arc<Policy>,
    /// Whether `?access_token=` is accepted.
    #[serde(default = "enabled")]
    pub(crate) token_in_query: bool,
    #[serde(
        default = "hours::<1>",
        deserialize_with = "duration",
        serialize_with = "show::span"
    )]
    pub(crate) access_token_lifetime: Duration,
    /// Time without a token rotation after which a session ends.
    #[serde(
        default = "hours::<24>",
        deserialize_with = "duration",
        serialize_with = "show::span"
    )]
    pub(crate) idle_timeout: Duration,
    /// Time after which a message of a guest fails that could not be sent to Genesys.
    #[serde(
        default = "minutes::<10>",
        deserialize_with = "duration",
        serialize_with = "show::span"
    )]
    pub(crate) queue_timeout: Duration,
    /// Time after which an ended session is erased.
    #[serde(
        default = "hours::<720>",
        deserialize_with = "duration",
        serialize_with = "show::span"
    )]
    pub(crate) retention: Duration,
    /// Rate limit of a session, in requests of its guest per minute, of which all may come at once.
    #[serde(default = "default_session_requests", deserialize_with = "at_least_one")]
    pub(crate) requests_per_minute: u32,
    /// Largest number of live sessions.
    #[serde(default = "default_limit", deserialize_with = "at_least_one")]
    pub(crate) limit: usize,
}

/// `[[channel]]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channel {
    /// The value of `channelConfigurationId`.
    pub(crate) id: ChannelId,
    /// The name of its organization, if there are several.
    pub(crate) organization: Option<String>,
    /// The messenger deployment of the channel. Default: the one of the simulator.
    #[serde(default, deserialize_with = "deployment")]
    pub(crate) deployment: Option<DeploymentId>,
}

impl Config {
    /// Reads a configuration file, with the variables `GUEST_GATEWAY__SECTION__KEY` of the environment over it.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or a value is invalid. The error names file and line, or the variable, and
    /// the correction.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_with(path, Vec::new())
    }

    /// [`Self::read`], with flags over both: the name of each, and its setting such as `listen.address=127.0.0.1:80`.
    pub(crate) fn read_with(
        path: &Path,
        flags: Vec<(&'static str, SecretString)>,
    ) -> Result<Self, ConfigError> {
        let text = input_file::read_text(path).map_err(|source| ConfigError::unread(path, &source))?;
        let mut layers = Layers::new(&text, Some(path.to_owned()));
        layers.add_environment()?;
        for (name, setting) in &flags {
            layers.add_flag(name, setting.expose_secret())?;
        }
        let config = Self::from_layers(layers)?;
        Ok(Self { flags, ..config })
    }

    /// Parses the text of a configuration. The environment has no effect on it.
    ///
    /// # Errors
    /// See [`Config::read`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::from_layers(Layers::new(text, None))
    }

    fn from_layers(layers: Layers) -> Result<Self, ConfigError> {
        let (mut config, table, origins): (Self, _, _) = layers.parse()?;
        // a policy changes by its file
        let policy = table
            .get("sessions")
            .and_then(|sessions| sessions.get("policy")?.as_str());
        let policy = policy.filter(|policy| policy.ends_with(".toml"));
        let policy =
            policy.and_then(|path| Some(format!("{path}\n{}", input_file::read_text(path.as_ref()).ok()?)));
        config.values = values(table);
        let policy = policy.map(|policy| ("sessions.policy".to_owned(), policy.into()));
        config.values.extend(policy);
        config.origins = origins;
        rules::check(&config).map_err(|conflict| config.error(&conflict.path, conflict.what))?;
        Ok(config)
    }

    /// An error about the value at a path such as `client.0.id`, with its place.
    pub(crate) fn error(&self, path: &str, what: impl fmt::Display) -> ConfigError {
        self.origins.error(path, what)
    }

    /// Checks that the files and environment variables of the configuration exist.
    pub(crate) fn check_environment(&self) -> Result<(), ConfigError> {
        for (position, client) in self.client.iter().enumerate() {
            let secrets = client.secret().and_then(|_| client.old_secret());
            secrets.map_err(|error| self.error(&format!("client.{position}"), error))?;
        }
        let keys = self.spa.as_ref().map(Spa::assertion_keys).transpose();
        keys.map_err(|error| self.error("spa.assertion_key", error))?;
        let token = self.admin.as_ref().map(Admin::token).transpose();
        token.map_err(|error| self.error("admin", error))?;
        self.check_files()
    }

    /// Checks that the other files of the configuration exist, and the proxy.
    pub(crate) fn check_files(&self) -> Result<(), ConfigError> {
        let exists = |key: &str, path: &Path| {
            let found = std::fs::metadata(path);
            let found = found.map_err(|source| self.error(key, ConfigError::unread(path, &source)));
            found.map(drop)
        };
        for organization in self.organizations() {
            let proxy = organization.genesys.proxy();
            proxy.map_err(|error| self.error(&organization.path("proxy"), error))?;
            for (key, path) in organization.files() {
                exists(&key, path)?;
            }
        }
        let listen = [
            ("listen.certificate", &self.listen.certificate),
            ("listen.key", &self.listen.key),
        ];
        let admin = self.admin.iter().flat_map(Admin::files);
        for (key, path) in listen.into_iter().chain(admin) {
            path.as_ref().map_or(Ok(()), |path| exists(key, path))?;
        }
        self.check_checkpoint_file()
    }

    /// Returns the files that hold secrets, but for the key file of the store: this configuration if it does, those of
    /// `secret_file`, and the keys of the certificates.
    pub(crate) fn secret_files(&self) -> impl Iterator<Item = &Path> {
        let pages = || self.spa.iter().flat_map(|spa| &spa.assertion_key);
        let has_secret = self.client.iter().any(Client::is_inline)
            || self.store.postgres.is_some()
            || pages().any(|key| key.secret.is_some())
            || self.admin.as_ref().is_some_and(|admin| admin.token.is_some())
            || self
                .organizations()
                .iter()
                .any(|organization| organization.genesys.has_password());
        let own = self.origins.file().into_iter().filter(move |_| has_secret);
        let clients = self.client.iter().flat_map(Client::secret_files);
        let pages = pages().filter_map(|key| key.secret_file.as_ref());
        let client_keys = self.organizations().into_iter();
        let client_keys = client_keys.filter_map(|organization| organization.genesys.client_key.as_ref());
        let keys = self
            .listen
            .key
            .iter()
            .chain(client_keys)
            .chain(&self.store.postgres_file);
        let admin = self
            .admin
            .iter()
            .flat_map(|admin| [&admin.key, &admin.token_file]);
        own.chain(clients)
            .chain(pages)
            .chain(keys)
            .chain(admin.flatten())
            .map(PathBuf::as_path)
    }

    /// Returns a warning for each of the [`secret_files`](Self::secret_files) that others can access. They are not refused,
    /// as the key file of the store is: other programs and version control create them.
    pub(crate) fn exposed_secrets(&self) -> impl Iterator<Item = String> {
        let checked = self.secret_files().map(private_file::check);
        checked
            .filter_map(Result::err)
            .filter(|error| error.kind() == ErrorKind::PermissionDenied)
            .map(|error| error.to_string())
    }

    /// Returns a warning for each old secret that is no longer valid.
    pub(crate) fn ended_secrets(&self, now: OffsetDateTime) -> impl Iterator<Item = String> {
        let ended = self.client.iter().zip(0..);
        ended.filter_map(move |(client, position)| {
            let (id, until) = (client.id.as_str(), client.ended_secret(now)?);
            let what = format!(
                "`old_secret` of [[client]] {id} ended at {}, remove it",
                rfc3339(until)
            );
            Some(self.error(&format!("client.{position}.old_secret"), what).0)
        })
    }

    /// Returns a warning if each client is a trusted proxy.
    pub(crate) fn unlimited_trust(&self) -> Option<String> {
        let mut networks = self.listen.trusted_proxies.iter();
        let all = networks.find(|network| network.prefix_len() == 0)?;
        let what = format!(
            "`trusted_proxies` of [listen] has {all}: clients choose the address that limits and logs name, and have no limit of \
             connections; give the networks of the proxies alone"
        );
        Some(self.error("listen.trusted_proxies", what).0)
    }

    /// Checks that checkpoints can be appended to the file of `[audit]`.
    pub(crate) fn check_checkpoint_file(&self) -> Result<(), ConfigError> {
        let checked = self.audit.check_file(&self.store);
        checked.map_err(|what| self.error("audit.checkpoint_file", what))
    }
}

/// An invalid configuration. The message gives the line and the reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn unread(path: &Path, source: &std::io::Error) -> Self {
        Self(format!("cannot read {}: {source}", path.display()))
    }
}

/// Returns the values of a file by their keys.
fn values(file: toml::Table) -> BTreeMap<String, SecretString> {
    let mut values = BTreeMap::new();
    let mut insert = |key, value: &toml::Value| {
        let text = serde_json::to_string(value).expect("a value of TOML has text keys");
        values.insert(key, text.into());
    };
    for (section, value) in file {
        match value {
            toml::Value::Table(table) => table
                .iter()
                .for_each(|(key, value)| insert(format!("{section}.{key}"), value)),
            value => insert(section, &value),
        }
    }
    values
}
