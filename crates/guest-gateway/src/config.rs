//! The configuration file.

mod admin;
mod genesys;
mod reload;
mod rules;
mod spa;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use genesys_api::{ChannelId, DeploymentId, Host, Hosts, MAX_DURATION};
use genesys_auth::{ClientId, Scopes};
use guest_payload::iso27560::Controller;
use guest_payload::{Policy, PolicyFile};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use ws_transport::OriginPolicy;

pub(crate) use self::admin::Admin;
pub(crate) use self::genesys::Genesys;
pub(crate) use self::spa::{Embedding, Spa};
pub use self::store::Store;
pub(crate) use self::store::Webhooks;
use crate::checkpoints::Audit;
use crate::private_file;

const MIN_DURATION: Duration = Duration::from_secs(60);

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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub(crate) listen: Listen,
    /// The files of the store.
    #[serde(default)]
    pub store: Store,
    #[serde(default)]
    pub(crate) genesys: Genesys,
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
    /// The values of the file by key, as in `listen.address`, for the audit log. Those of all `[[client]]` are one value,
    /// as are those of all `[[channel]]`.
    #[serde(skip)]
    pub(crate) values: BTreeMap<String, SecretString>,
    /// The file, if it was read from one.
    #[serde(skip)]
    path: Option<PathBuf>,
}

/// `[listen]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    /// Address and port. Port 0 selects a free one.
    #[serde(deserialize_with = "address")]
    pub(crate) address: SocketAddr,
    /// PEM file of the certificate chain. Without it the gateway serves plain HTTP, on loopback only.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// The public base URL behind a reverse proxy. It is the base of every `websocketUrl`.
    #[serde(deserialize_with = "parsed_option")]
    pub(crate) public_url: Option<Host>,
    #[serde(deserialize_with = "at_least_one")]
    pub(crate) connections: u32,
    /// Longest time to complete requests when the gateway stops.
    #[serde(deserialize_with = "reload::drain")]
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
            public_url: None,
            connections: 16_384,
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

/// `[sessions]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sessions {
    /// Origins of the pages that may open a WebSocket.
    #[serde(deserialize_with = "origins")]
    pub(crate) allowed_origins: OriginPolicy,
    /// The consent policy: the id of one that ships, or the path of a file.
    #[serde(default = "Policy::tutorial_strict", deserialize_with = "policy")]
    pub(crate) policy: &'static Policy,
    /// Whether `?access_token=` is accepted.
    #[serde(default = "enabled")]
    pub(crate) token_in_query: bool,
    #[serde(default = "hours::<1>", deserialize_with = "duration")]
    pub(crate) access_token_lifetime: Duration,
    /// Time without a token rotation after which a session ends.
    #[serde(default = "hours::<24>", deserialize_with = "duration")]
    pub(crate) idle_timeout: Duration,
    /// Time after which a message of a guest fails that could not be sent to Genesys.
    #[serde(default = "minutes::<10>", deserialize_with = "duration")]
    pub(crate) queue_timeout: Duration,
    /// Time after which an ended session is erased.
    #[serde(default = "hours::<720>", deserialize_with = "duration")]
    pub(crate) retention: Duration,
    /// Largest number of live sessions.
    #[serde(default = "default_limit", deserialize_with = "at_least_one")]
    pub(crate) limit: usize,
}

/// `[[client]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    #[serde(deserialize_with = "parsed")]
    pub(crate) id: ClientId,
    /// The secret itself. Prefer a file or an environment variable.
    #[serde(default, deserialize_with = "secret")]
    secret: Option<SecretString>,
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    #[serde(deserialize_with = "scopes")]
    pub(crate) scopes: Scopes,
}

/// `[[channel]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channel {
    /// The value of `channelConfigurationId`.
    pub(crate) id: ChannelId,
    /// The messenger deployment of the channel. Default: the one of the simulator.
    pub(crate) deployment: Option<DeploymentId>,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or holds an invalid value. The error names file, line and the correction.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::unread(path, &source))?;
        let parsed = Self::parse(&text);
        let mut config = parsed.map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        config.path = Some(path.to_owned());
        Ok(config)
    }

    /// Parses the text of a configuration.
    ///
    /// # Errors
    /// See [`Config::read`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let invalid = |error: toml::de::Error| {
            let offset = error.span().map(|span| span.start);
            match offset.and_then(|offset| key_at(text, offset)) {
                Some(key) if !error.message().contains(key) => {
                    ConfigError::at(text, offset, &format!("{key}: {}", error.message()))
                }
                _ => ConfigError::at(text, offset, error.message()),
            }
        };
        let mut config: Self = toml::from_str(text).map_err(invalid)?;
        config.values = values(toml::from_str(text).map_err(invalid)?);
        rules::check(&config)
            .map_err(|conflict| ConfigError::at(text, conflict.offset(text), &conflict.what))?;
        Ok(config)
    }

    /// Checks that the files and environment variables of the configuration exist.
    pub(crate) fn check_environment(&self) -> Result<(), ConfigError> {
        for client in &self.client {
            client.secret()?;
        }
        self.spa.as_ref().map(Spa::assertion_keys).transpose()?;
        self.admin.as_ref().map(Admin::token).transpose()?;
        self.check_files()
    }

    /// Checks that the other files of the configuration exist, and the proxy.
    pub(crate) fn check_files(&self) -> Result<(), ConfigError> {
        self.genesys.proxy()?;
        let listen = [&self.listen.certificate, &self.listen.key];
        let admin = self.admin.iter().flat_map(Admin::files);
        let files = listen.into_iter().chain(self.genesys.files()).chain(admin);
        for path in files.flatten() {
            std::fs::metadata(path).map_err(|source| ConfigError::unread(path, &source))?;
        }
        self.check_checkpoint_file()
    }

    /// Returns the files that hold secrets, but for the key file of the store: this configuration if it does, those of
    /// `secret_file`, and the keys of the certificates.
    pub(crate) fn secret_files(&self) -> impl Iterator<Item = &Path> {
        let has_password = |proxy: &SecretString| proxy.expose_secret().contains('@');
        let pages = || self.spa.iter().flat_map(|spa| &spa.assertion_key);
        let has_secret = self.client.iter().any(|client| client.secret.is_some())
            || pages().any(|key| key.secret.is_some())
            || self.admin.as_ref().is_some_and(|admin| admin.token.is_some())
            || self.values.get("genesys.proxy").is_some_and(has_password);
        let own = self.path.iter().filter(move |_| has_secret);
        let clients = self
            .client
            .iter()
            .filter_map(|client| client.secret_file.as_ref());
        let pages = pages().filter_map(|key| key.secret_file.as_ref());
        let keys = self.listen.key.iter().chain(&self.genesys.client_key);
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

    /// Checks that checkpoints can be appended to the file of `[audit]`.
    pub(crate) fn check_checkpoint_file(&self) -> Result<(), ConfigError> {
        self.audit.check_file(&self.store).map_err(ConfigError)
    }

    /// Returns the hosts of Genesys Cloud, or `None` if the simulator is to be started.
    pub(crate) fn hosts(&self) -> Option<Hosts> {
        let genesys = &self.genesys;
        let of_host = genesys.host.as_ref().map(Hosts::single);
        let mut hosts = of_host.or_else(|| Hosts::of_domain(genesys.region?.domain).ok())?;
        hosts.login = genesys.login.clone().unwrap_or(hosts.login);
        hosts.api = genesys.api.clone().unwrap_or(hosts.api);
        hosts.messaging = genesys.messaging.clone().unwrap_or(hosts.messaging);
        hosts.cdn = genesys.cdn.clone().unwrap_or(hosts.cdn);
        Some(hosts)
    }
}

impl Client {
    /// Reads the secret.
    ///
    /// # Errors
    /// If it is missing or empty.
    pub fn secret(&self) -> Result<SecretString, ConfigError> {
        let id = self.id.as_str();
        let fail = |what: String| ConfigError(format!("invalid [[client]] {id}: {what}"));
        read_secret("secret", (&self.secret, &self.secret_file, &self.secret_env)).map_err(fail)
    }

    fn has_one_secret(&self) -> bool {
        let (secret, file, env) = (&self.secret, &self.secret_file, &self.secret_env);
        u8::from(secret.is_some()) + u8::from(file.is_some()) + u8::from(env.is_some()) == 1
    }
}

/// Reads a secret of `secret`, `secret_file` or `secret_env`, where `name` is `secret`. The error gives the reason.
fn read_secret(
    name: &str,
    sources: (&Option<SecretString>, &Option<PathBuf>, &Option<String>),
) -> Result<SecretString, String> {
    let text = match sources {
        (Some(secret), None, None) => return Ok(secret.clone()),
        (None, Some(path), None) => std::fs::read_to_string(path)
            .map_err(|source| format!("cannot read {name}_file {}: {source}", path.display()))?,
        (None, None, Some(variable)) => std::env::var(variable)
            .map_err(|_| format!("the environment variable {variable} of {name}_env is not set"))?,
        _ => return Err(rules::ONE_SECRET.to_owned()),
    };
    match text.trim() {
        "" => Err(format!("the {name} is empty")),
        text => Ok(text.into()),
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

    /// An error with the line of `offset`, if that is known.
    fn at(text: &str, offset: Option<usize>, what: &str) -> Self {
        match offset.and_then(|offset| text.get(..offset)) {
            Some(before) => Self(format!("line {}: {what}", before.matches('\n').count() + 1)),
            None => Self(what.to_owned()),
        }
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

/// Returns the key in the line at an offset, if the line has one.
fn key_at(text: &str, offset: usize) -> Option<&str> {
    let line = text.get(..offset)?.matches('\n').count();
    let (key, _) = text.lines().nth(line)?.split_once('=')?;
    Some(key.trim())
}

fn parsed<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    text.parse().map_err(D::Error::custom)
}

pub(crate) fn parsed_option<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    parsed(from).map(Some)
}

pub(crate) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let hint = "use an IP address with a port, such as \"127.0.0.1:8080\"";
        D::Error::custom(format!("invalid address {text:?}: {hint}"))
    })
}

pub(crate) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parse = |text: String| {
        text.parse().map_err(|_| {
            let hint = "use an IP address with a prefix length, such as \"10.0.0.0/8\"";
            D::Error::custom(format!("invalid network {text:?}: {hint}"))
        })
    };
    texts.into_iter().map(parse).collect()
}

fn at_least_one<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default + PartialEq,
    D: Deserializer<'de>,
{
    let number = T::deserialize(from)?;
    if number == T::default() {
        return Err(D::Error::custom("invalid number: must be at least 1"));
    }
    Ok(number)
}

fn policy<'de, D: Deserializer<'de>>(from: D) -> Result<&'static Policy, D::Error> {
    let name = String::deserialize(from)?;
    if !name.ends_with(".toml") {
        return Policy::find(&name).map_err(|error| {
            D::Error::custom(format!("{error}; or use the path of a file that ends in .toml"))
        });
    }
    let policy = policy_file(Path::new(&name)).map_err(|error| D::Error::custom(error.0))?;
    // leaked, because the process needs it until it ends
    Ok(Box::leak(Box::new(policy)))
}

/// Reads a policy file and runs its examples.
fn policy_file(path: &Path) -> Result<Policy, ConfigError> {
    let fail = |what: String| ConfigError(format!("{}: {what}", path.display()));
    let text =
        std::fs::read_to_string(path).map_err(|source| fail(format!("cannot read the policy: {source}")))?;
    let file = PolicyFile::parse(&text).map_err(|error| fail(error.to_string()))?;
    match file.test().first() {
        Some(failure) => Err(fail(failure.to_string())),
        None => Ok(file.policy),
    }
}

/// Parses a secret. No error repeats its value.
fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    match String::deserialize(from) {
        Ok(text) if text.is_empty() => Err(D::Error::custom("invalid secret: empty")),
        Ok(text) => Ok(Some(text.into())),
        Err(_) => Err(D::Error::custom("invalid secret: not a string, put it in quotes")),
    }
}

/// Parses a duration from a minute to ten years. Shorter tokens expire before they are rotated, and later dates cannot be
/// serialized.
pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let invalid = |reason: String| D::Error::custom(format!("invalid duration {text:?}: {reason}"));
    match humantime::parse_duration(&text) {
        Ok(duration) if (MIN_DURATION..=MAX_DURATION).contains(&duration) => Ok(duration),
        Ok(_) => Err(invalid("not between a minute and ten years".to_owned())),
        Err(error) => Err(invalid(format!("{error}; use a form such as \"1h\" or \"90s\""))),
    }
}

fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<OriginPolicy, D::Error> {
    OriginPolicy::new(Vec::<String>::deserialize(from)?).map_err(D::Error::custom)
}

fn scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Scopes, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    names.join(" ").parse().map_err(D::Error::custom)
}

fn enabled() -> bool {
    true
}

fn minutes<const COUNT: u64>() -> Duration {
    Duration::from_secs(COUNT * 60)
}

pub(crate) fn hours<const COUNT: u64>() -> Duration {
    Duration::from_secs(COUNT * 3_600)
}

fn default_limit() -> usize {
    100_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_file_is_read_with_its_examples() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("custom.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            policy_file(&path)
        };
        let shipped = include_str!("../../guest-payload/policies/purpose-scoped.toml");
        let custom = shipped.replacen("id = \"purpose-scoped\"", "id = \"custom\"", 1);
        assert_eq!(read(&custom).unwrap().id, "custom");
        for (from, to, expected) in [
            ("basis", "bases", "custom.toml: line 18: unknown field `bases`"),
            (
                "is = \"off\"",
                "is = \"on\"",
                "should be on by custom/EU/marketing, and is off",
            ),
        ] {
            let error = read(&custom.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = policy_file(&folder.path().join("no.toml")).unwrap_err();
        assert!(missing.to_string().contains("no.toml: cannot read the policy"));
    }
}
