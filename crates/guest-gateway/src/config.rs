//! The configuration file.

mod rules;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use genesys_api::{ChannelId, DeploymentId, Host, Hosts, Region};
use genesys_auth::{ClientId, Scopes};
use genesys_http::Proxy;
use guest_payload::iso27560::Controller;
use guest_payload::{Policy, PolicyFile};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use ws_transport::{Origin, OriginPolicy};

const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

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
    /// Who decides about the guests' data: part of each consent record that is exported.
    #[serde(default)]
    pub controller: Controller,
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
    #[serde(deserialize_with = "at_least_one")]
    pub connections: u32,
    /// Requests a minute of one API client.
    #[serde(deserialize_with = "at_least_one")]
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
    /// Where tokens are issued, in place of that of the region or host.
    #[serde(deserialize_with = "parsed_option")]
    pub login: Option<Host>,
    /// The platform API, in place of that of the region or host.
    #[serde(deserialize_with = "parsed_option")]
    pub api: Option<Host>,
    /// The guests' WebSocket, in place of that of the region or host.
    #[serde(deserialize_with = "parsed_option")]
    pub messaging: Option<Host>,
    /// The public configuration of deployments, in place of that of the region or host.
    #[serde(deserialize_with = "parsed_option")]
    pub cdn: Option<Host>,
    /// The proxy on the way to Genesys: `http://host:port`, or `off`. The environment's, such as `HTTPS_PROXY`, if
    /// left out.
    #[serde(deserialize_with = "way_out")]
    proxy: WayOut,
}

/// How Genesys is reached.
#[derive(Debug, Default)]
enum WayOut {
    /// As the environment says.
    #[default]
    Environment,
    Directly,
    Through(Proxy),
}

impl Genesys {
    /// The proxy on the way to Genesys, if there is one. Webhooks go without: a proxy would resolve their hosts itself,
    /// past the check that keeps them off private addresses.
    ///
    /// # Errors
    /// If the environment names something that is no proxy of a known kind.
    pub fn proxy(&self) -> Result<Option<Proxy>, ConfigError> {
        match &self.proxy {
            WayOut::Environment => Proxy::from_env()
                .map_err(|error| ConfigError(format!("the proxy of the environment: {error}"))),
            WayOut::Directly => Ok(None),
            WayOut::Through(proxy) => Ok(Some(proxy.clone())),
        }
    }
}

/// `[sessions]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Origins of the pages that may open a guest's WebSocket.
    #[serde(deserialize_with = "origins")]
    pub allowed_origins: OriginPolicy,
    /// The consent policy: the id of one that ships, or the path of a file.
    #[serde(default = "Policy::tutorial_strict", deserialize_with = "policy")]
    pub policy: &'static Policy,
    /// Whether `?access_token=` is accepted beside the safer ways.
    #[serde(default = "yes")]
    pub token_in_query: bool,
    /// How long an access token lives.
    #[serde(default = "one_hour", deserialize_with = "duration")]
    pub access_token_lifetime: Duration,
    /// Time without a refresh of its tokens after which a session ends.
    #[serde(default = "one_day", deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// How long an ended session is kept before it is erased.
    #[serde(default = "thirty_days", deserialize_with = "duration")]
    pub retention: Duration,
    /// Live sessions at once.
    #[serde(default = "hundred_thousand", deserialize_with = "at_least_one")]
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
#[serde(try_from = "ClientTable")]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    secret: SecretPlace,
    /// What it may do.
    pub scopes: Scopes,
}

/// Where a client's secret is.
#[derive(Debug)]
enum SecretPlace {
    Environment(String),
    File(PathBuf),
    Here(SecretString),
}

/// A client as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientTable {
    #[serde(deserialize_with = "parsed")]
    id: ClientId,
    /// In the file itself. Prefer one of the other two.
    #[serde(default, deserialize_with = "secret")]
    secret: Option<SecretString>,
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    #[serde(deserialize_with = "scopes")]
    scopes: Scopes,
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
        let config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::at(text, error.span().map(|span| span.start), error.message()))?;
        rules::check(&config).map_err(|fault| ConfigError::at(text, fault.offset(text), &fault.what))?;
        Ok(config)
    }

    /// Makes sure that every file and environment variable that it names is there, as a start needs them.
    ///
    /// # Errors
    /// Which is not.
    pub fn check_surroundings(&self) -> Result<(), ConfigError> {
        for client in &self.client {
            client.secret()?;
        }
        self.genesys.proxy()?;
        let files = [&self.listen.certificate, &self.listen.key, &self.genesys.extra_ca];
        for path in files.into_iter().flatten() {
            std::fs::metadata(path)
                .map_err(|source| ConfigError(format!("cannot read {}: {source}", path.display())))?;
        }
        Ok(())
    }

    /// The hosts of Genesys Cloud, unless the simulator is to be started.
    #[must_use]
    pub fn hosts(&self) -> Option<Hosts> {
        let genesys = &self.genesys;
        let of_host = genesys.host.as_ref().map(Hosts::single);
        let mut hosts = of_host.or_else(|| Hosts::of_domain(genesys.region?.domain).ok())?;
        for (host, own) in [
            (&mut hosts.login, &genesys.login),
            (&mut hosts.api, &genesys.api),
            (&mut hosts.messaging, &genesys.messaging),
            (&mut hosts.cdn, &genesys.cdn),
        ] {
            if let Some(own) = own {
                *host = own.clone();
            }
        }
        Some(hosts)
    }
}

impl Client {
    /// The secret, from wherever the file says it is.
    ///
    /// # Errors
    /// If it cannot be had, or is empty.
    pub fn secret(&self) -> Result<SecretString, ConfigError> {
        let id = self.id.as_str();
        let fail = |what: String| ConfigError(format!("[[client]] {id}: {what}"));
        let text = match &self.secret {
            SecretPlace::Here(secret) => return Ok(secret.clone()),
            SecretPlace::File(path) => std::fs::read_to_string(path)
                .map_err(|source| fail(format!("cannot read secret_file {}: {source}", path.display())))?,
            SecretPlace::Environment(name) => std::env::var(name).map_err(|_| {
                fail(format!(
                    "the environment variable {name} of secret_env is not set"
                ))
            })?,
        };
        match text.trim() {
            "" => Err(fail("its secret is empty".to_owned())),
            text => Ok(text.into()),
        }
    }
}

impl TryFrom<ClientTable> for Client {
    type Error = String;

    fn try_from(table: ClientTable) -> Result<Self, String> {
        let secret = match (table.secret, table.secret_file, table.secret_env) {
            (Some(secret), None, None) => SecretPlace::Here(secret),
            (None, Some(path), None) => SecretPlace::File(path),
            (None, None, Some(name)) => SecretPlace::Environment(name),
            _ => {
                let id = table.id.as_str();
                return Err(format!(
                    "[[client]] {id}: give exactly one of `secret`, `secret_file` and `secret_env`"
                ));
            }
        };
        Ok(Self {
            id: table.id,
            secret,
            scopes: table.scopes,
        })
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

impl ConfigError {
    /// With the line of `offset`, if that is known.
    fn at(text: &str, offset: Option<usize>, what: &str) -> Self {
        match offset.and_then(|offset| text.get(..offset)) {
            Some(before) => Self(format!("line {}: {what}", before.matches('\n').count() + 1)),
            None => Self(what.to_owned()),
        }
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

fn at_least_one<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default + PartialEq,
    D: Deserializer<'de>,
{
    let number = T::deserialize(from)?;
    if number == T::default() {
        return Err(serde::de::Error::custom("must be at least 1"));
    }
    Ok(number)
}

fn policy<'de, D: Deserializer<'de>>(from: D) -> Result<&'static Policy, D::Error> {
    let name = String::deserialize(from)?;
    if !name.ends_with(".toml") {
        return Policy::find(&name).map_err(|error| {
            serde::de::Error::custom(format!("{error}; or give the path of a file that ends in .toml"))
        });
    }
    let policy = policy_file(Path::new(&name)).map_err(|error| serde::de::Error::custom(error.0))?;
    // it is needed until the process ends, and read once
    Ok(Box::leak(Box::new(policy)))
}

/// A policy whose file is sound and whose examples hold.
fn policy_file(path: &Path) -> Result<Policy, ConfigError> {
    let fail = |what: String| ConfigError(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|source| fail(format!("cannot be read: {source}")))?;
    let file = PolicyFile::parse(&text).map_err(|error| fail(error.to_string()))?;
    match file.test().first() {
        Some(failure) => Err(fail(failure.to_string())),
        None => Ok(file.policy),
    }
}

/// No error repeats what stands there.
fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    match String::deserialize(from) {
        Ok(text) if text.is_empty() => Err(serde::de::Error::custom("the secret is empty")),
        Ok(text) => Ok(Some(text.into())),
        Err(_) => Err(serde::de::Error::custom(
            "the secret is no text: put it in quotes",
        )),
    }
}

/// It may hold a password, so no error repeats it.
fn way_out<'de, D: Deserializer<'de>>(from: D) -> Result<WayOut, D::Error> {
    match secret(from)? {
        Some(url) if url.expose_secret() == "off" => Ok(WayOut::Directly),
        Some(url) => Proxy::new(&url, "")
            .map(WayOut::Through)
            .map_err(serde::de::Error::custom),
        None => Ok(WayOut::Environment),
    }
}

/// From a minute to ten years: tokens that live shorter expire before they are rotated, and times beyond that have
/// no form on the wire.
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let duration = humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration such as \"1h\" or \"90s\": {error}"
        ))
    })?;
    if (SHORTEST..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err(serde::de::Error::custom(format!(
            "{text:?} is not between a minute and ten years"
        )))
    }
}

fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<OriginPolicy, D::Error> {
    OriginPolicy::new(Vec::<String>::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Scopes, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    names.join(" ").parse().map_err(serde::de::Error::custom)
}

fn yes() -> bool {
    true
}

fn one_hour() -> Duration {
    Duration::from_secs(3_600)
}

fn thirty_days() -> Duration {
    Duration::from_secs(30 * 86_400)
}

fn one_day() -> Duration {
    Duration::from_secs(86_400)
}

fn hundred_thousand() -> usize {
    100_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_of_ones_own_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            policy_file(&path)
        };
        let shipped = include_str!("../../guest-payload/policies/purpose-scoped.toml");
        let mine = shipped.replacen("id = \"purpose-scoped\"", "id = \"mine\"", 1);
        assert_eq!(read(&mine).unwrap().id(), "mine");
        for (from, to, expected) in [
            ("basis", "bases", "mine.toml: line 18: unknown field `bases`"),
            (
                "is = \"off\"",
                "is = \"on\"",
                "should be on by mine/EU/marketing, and is off",
            ),
        ] {
            let error = read(&mine.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = policy_file(&folder.path().join("no.toml")).unwrap_err();
        assert!(missing.to_string().contains("no.toml: cannot be read"));
    }
}
