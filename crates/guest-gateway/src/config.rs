//! The configuration file.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use genesys_api::{ChannelId, DeploymentId, Host, Hosts, Region};
use genesys_auth::{ClientId, Scopes};
use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use ws_transport::{Origin, OriginPolicy};

/// Everything that `gateway.toml` can say. Every field but `client`, `channel` and `sessions.allowed_origins` has a
/// default, which `gateway.example.toml` shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the gateway listens.
    #[serde(default)]
    pub listen: Listen,
    /// Where it keeps its state.
    #[serde(default)]
    pub store: Store,
    /// Where Genesys Cloud is.
    #[serde(default)]
    pub genesys: Genesys,
    /// How guest sessions behave.
    pub sessions: Sessions,
    /// How webhooks are delivered.
    #[serde(default)]
    pub webhooks: Webhooks,
    /// The API clients that may call it.
    pub client: Vec<Client>,
    /// The web messaging channels that sessions may be created for.
    pub channel: Vec<Channel>,
}

/// `[listen]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// PEM file of the certificate chain. Without it the gateway speaks plain HTTP, on loopback only.
    pub certificate: Option<PathBuf>,
    /// PEM file of the private key.
    pub key: Option<PathBuf>,
    /// How clients reach it, if a proxy stands before it: the base of every `websocketUrl`.
    #[serde(deserialize_with = "parsed_option")]
    pub public_url: Option<Host>,
    /// Connections at once.
    pub connections: u32,
    /// Requests a minute of one API client.
    pub requests_per_minute: usize,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            certificate: None,
            key: None,
            public_url: None,
            connections: 16_384,
            requests_per_minute: 3_000,
        }
    }
}

/// `[store]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The SQLite file.
    pub path: PathBuf,
    /// The file of the keys that seal secrets and sign the audit log; made on the first start, for its owner only.
    /// Keep it apart from backups of the store.
    pub keys: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: "guest-gateway.db".into(),
            keys: "guest-gateway.keys".into(),
        }
    }
}

/// `[genesys]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Genesys {
    /// Start the simulator in this process and use it.
    pub simulator: bool,
    /// A region's AWS name or base domain.
    #[serde(deserialize_with = "parsed_option")]
    pub region: Option<Region>,
    /// One host for every service, as a simulator in another process has it.
    #[serde(deserialize_with = "parsed_option")]
    pub host: Option<Host>,
    /// The origin that the gateway shows to Genesys; it must be allowed by the deployment.
    #[serde(deserialize_with = "parsed_option")]
    pub origin: Option<Origin>,
    /// PEM file of a further CA to trust.
    pub extra_ca: Option<PathBuf>,
}

/// `[sessions]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Origins of the pages that may open a guest's WebSocket.
    #[serde(deserialize_with = "origins")]
    pub allowed_origins: OriginPolicy,
    /// The consent policy.
    #[serde(default = "tutorial_strict")]
    pub policy: String,
    /// Whether `?access_token=` is accepted beside the safer ways.
    #[serde(default = "yes")]
    pub token_in_query: bool,
    /// How long an access token lives.
    #[serde(default = "one_hour", deserialize_with = "duration")]
    pub access_token_lifetime: Duration,
    /// How long a session lives without its tokens being rotated.
    #[serde(default = "one_day", deserialize_with = "duration")]
    pub lapse: Duration,
    /// Live sessions at once.
    #[serde(default = "hundred_thousand")]
    pub limit: usize,
}

/// `[webhooks]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Private networks that a webhook may reach all the same.
    pub allow_networks: Vec<IpNet>,
}

/// `[[client]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its id.
    #[serde(deserialize_with = "parsed")]
    pub id: ClientId,
    /// Its secret, in the file itself. Prefer `secret_file` or `secret_env`.
    #[serde(default)]
    secret: Option<SecretString>,
    /// A file that holds its secret.
    #[serde(default)]
    secret_file: Option<PathBuf>,
    /// An environment variable that holds its secret.
    #[serde(default)]
    secret_env: Option<String>,
    /// What it may do.
    #[serde(deserialize_with = "scopes")]
    pub scopes: Scopes,
}

/// `[[channel]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// What `channelConfigurationId` says.
    #[serde(deserialize_with = "parsed")]
    pub id: ChannelId,
    /// The messenger deployment behind it; the simulator's own if left out.
    #[serde(default, deserialize_with = "parsed_option")]
    pub deployment: Option<DeploymentId>,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or says something that cannot be; the error names file, line and
    /// what to write.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError(format!("cannot read {}: {source}", path.display())))?;
        Self::parse(&text).map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    /// Reads a configuration's text.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map_or_else(String::new, |line| format!("line {line}: "));
            ConfigError(format!("{place}{}", error.message()))
        })?;
        config.check()?;
        Ok(config)
    }

    /// The hosts of Genesys Cloud, unless the simulator is to be started.
    #[must_use]
    pub fn hosts(&self) -> Option<Hosts> {
        let genesys = &self.genesys;
        let of_host = genesys.host.as_ref().map(Hosts::single);
        of_host.or_else(|| {
            genesys
                .region
                .and_then(|region| Hosts::of_domain(region.domain).ok())
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let no = |text: &str| Err(ConfigError(text.to_owned()));
        let listen = &self.listen;
        if listen.certificate.is_some() != listen.key.is_some() {
            return no(
                "[listen] has one of `certificate` and `key`: give both, or none for plain HTTP on loopback",
            );
        }
        if listen.certificate.is_none() && !listen.address.ip().is_loopback() {
            return no("[listen] would speak plain HTTP beyond loopback: give `certificate` and `key`");
        }
        let genesys = &self.genesys;
        let ways = [
            genesys.simulator,
            genesys.region.is_some(),
            genesys.host.is_some(),
        ];
        if ways.into_iter().filter(|way| *way).count() != 1 {
            return no("[genesys] needs exactly one of `simulator = true`, `region` and `host`");
        }
        if !genesys.simulator && self.channel.iter().any(|channel| channel.deployment.is_none()) {
            return no("every [[channel]] needs its `deployment`, the id of a messenger deployment");
        }
        if self.client.is_empty() || self.channel.is_empty() {
            return no(
                "at least one [[client]] and one [[channel]] are needed, or nobody could create a session",
            );
        }
        if self.sessions.access_token_lifetime < Duration::from_secs(60) {
            return no(
                "[sessions] `access_token_lifetime` is under a minute: tokens would expire before they are rotated",
            );
        }
        if self.sessions.lapse < self.sessions.access_token_lifetime {
            return no(
                "[sessions] `lapse` is shorter than `access_token_lifetime`: make it at least as long",
            );
        }
        Ok(())
    }
}

impl Client {
    /// The secret, from wherever the file says it is.
    ///
    /// # Errors
    /// If not exactly one place is named, or it holds nothing.
    pub fn secret(&self) -> Result<SecretString, ConfigError> {
        let id = self.id.as_str();
        let fail = |what: String| ConfigError(format!("[[client]] {id}: {what}"));
        let text = match (&self.secret, &self.secret_file, &self.secret_env) {
            (Some(secret), None, None) => return Ok(secret.clone()),
            (None, Some(path), None) => std::fs::read_to_string(path)
                .map_err(|source| fail(format!("cannot read secret_file {}: {source}", path.display())))?,
            (None, None, Some(name)) => std::env::var(name).map_err(|_| {
                fail(format!(
                    "the environment variable {name} of secret_env is not set"
                ))
            })?,
            _ => {
                return Err(fail(
                    "give exactly one of `secret`, `secret_file` and `secret_env`".to_owned(),
                ));
            }
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(fail("its secret is empty".to_owned()));
        }
        Ok(text.into())
    }
}

/// The configuration cannot be used; the text says where and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<guest_payload::UnknownPolicy> for ConfigError {
    fn from(error: guest_payload::UnknownPolicy) -> Self {
        Self(format!("[sessions] policy: {error}"))
    }
}

fn parsed<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn parsed_option<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    parsed(from).map(Some)
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration such as \"1h\" or \"90s\": {error}"
        ))
    })
}

fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<OriginPolicy, D::Error> {
    OriginPolicy::new(Vec::<String>::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Scopes, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    names.join(" ").parse().map_err(serde::de::Error::custom)
}

fn tutorial_strict() -> String {
    "tutorial-strict".to_owned()
}

fn yes() -> bool {
    true
}

fn one_hour() -> Duration {
    Duration::from_secs(3_600)
}

fn one_day() -> Duration {
    Duration::from_secs(86_400)
}

fn hundred_thousand() -> usize {
    100_000
}
