//! The store and its limits.

use std::path::{Path, PathBuf};

use genesys_http::Trust;
use guest_store::Limits;
use ipnet::IpNet;
use secrecy::SecretString;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use webhook::Schedule;

use super::client::read_secret;
use super::parse::{at_least_one, networks, schedule, secret};
use super::{Config, ConfigError, show};
use crate::input_file;

/// `[store]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The SQLite file.
    pub path: PathBuf,
    /// The connection string of a database of PostgreSQL, in place of the file. Prefer a file or an environment variable if
    /// it has a password.
    #[serde(deserialize_with = "secret", serialize_with = "show::redacted")]
    pub(super) postgres: Option<SecretString>,
    pub(super) postgres_file: Option<PathBuf>,
    pub(super) postgres_env: Option<String>,
    /// The key file, for sealing secrets and signing the audit log. The first start creates it, readable by its owner
    /// only. Keep it apart from backups of the store.
    pub keys: PathBuf,
    /// Largest size of the file in bytes. Above it every change is refused, also a withdrawal of consent and an erasure.
    #[serde(deserialize_with = "size", serialize_with = "show::size")]
    pub(crate) max_size: Option<u64>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: "guest-gateway.db".into(),
            postgres: None,
            postgres_file: None,
            postgres_env: None,
            keys: "guest-gateway.keys".into(),
            max_size: None,
        }
    }
}

/// The place of the store.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of PostgreSQL with this connection string. The trust is for a server on another machine.
    Postgres(SecretString, Trust),
}

impl Store {
    /// The file, if the store is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        (self.databases() == 0).then_some(&self.path)
    }

    /// The place for messages.
    pub(crate) fn name(&self) -> String {
        match self.file() {
            Some(file) => file.display().to_string(),
            None => "in PostgreSQL".to_owned(),
        }
    }

    /// Number of connection strings.
    pub(super) fn databases(&self) -> u8 {
        u8::from(self.postgres.is_some())
            + u8::from(self.postgres_file.is_some())
            + u8::from(self.postgres_env.is_some())
    }
}

/// `[webhooks]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webhooks {
    /// Private networks that webhooks may reach.
    #[serde(deserialize_with = "networks")]
    pub(crate) allow_networks: Vec<IpNet>,
    /// Deliveries of one webhook in flight.
    #[serde(deserialize_with = "at_least_one")]
    concurrency: u64,
    /// Pending events of one webhook.
    #[serde(deserialize_with = "at_least_one")]
    queue: u64,
    /// Largest number of webhooks of one API client.
    #[serde(deserialize_with = "at_least_one")]
    per_client: u64,
    /// Waits before the second and each later attempt of a delivery.
    #[serde(deserialize_with = "schedule", serialize_with = "show::schedule")]
    pub(crate) retries: Schedule,
    /// Largest number of webhooks.
    #[serde(deserialize_with = "at_least_one")]
    limit: u64,
}

impl Default for Webhooks {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            allow_networks: Vec::new(),
            concurrency: limits.webhook_leases as u64,
            queue: limits.webhook_queue_rows,
            per_client: limits.owner_webhooks,
            retries: Schedule::default(),
            limit: limits.webhooks,
        }
    }
}

impl Config {
    /// The place of the store, for which files or a variable may be read.
    ///
    /// # Errors
    /// If the connection string or the additional authority cannot be read.
    pub(crate) fn place(&self) -> Result<Place, ConfigError> {
        let store = &self.store;
        if let Some(file) = store.file() {
            return Ok(Place::File(file.to_owned()));
        }
        let sources = (&store.postgres, &store.postgres_file, &store.postgres_env);
        let connection = read_secret("postgres", sources);
        let connection = connection.map_err(|what| ConfigError(format!("invalid [store]: {what}")))?;
        Ok(Place::Postgres(connection, self.postgres_trust()?))
    }

    /// The authorities of PostgreSQL on another machine.
    ///
    /// # Errors
    /// If the additional one cannot be read.
    pub(crate) fn postgres_trust(&self) -> Result<Trust, ConfigError> {
        Ok(match &self.genesys.extra_ca {
            Some(path) => Trust::SystemAnd(input_file::read(path).map_err(|error| {
                ConfigError(format!(
                    "invalid `extra_ca` of [genesys]: cannot read {}: {error}",
                    path.display()
                ))
            })?),
            None => Trust::System,
        })
    }

    /// The limits of the store.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            file_bytes: self.store.max_size.unwrap_or(u64::MAX),
            webhook_leases: usize::try_from(self.webhooks.concurrency).unwrap_or(usize::MAX),
            webhook_queue_rows: self.webhooks.queue,
            owner_webhooks: self.webhooks.per_client,
            webhooks: self.webhooks.limit,
            ..Limits::default()
        }
    }
}

/// Parses a size such as "20GiB".
fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    let units = [("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1_u64 << 40)];
    let parsed = units.into_iter().find_map(|(unit, bytes)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(bytes)
    });
    match parsed {
        None | Some(0) => Err(D::Error::custom(format!(
            "invalid size {text:?}: use a number above 0 with MiB, GiB or TiB, such as \"20GiB\""
        ))),
        bytes => Ok(bytes),
    }
}
