//! A store in PostgreSQL.

mod connection;
mod database;
mod error;
mod import;
mod schema;
mod values;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::sql::memory::Memory;
use crate::sql::prepared::Prepared;
use crate::sql::threads::{Backed, Threads, read_all};
use crate::sql::writer::Writer;
use crate::{Keys, Limits, StoreError, StoreErrorKind};
use connection::Role;
use database::PostgresDatabase;

pub(crate) use connection::Connection;
pub(crate) use values::value;

/// A store in a PostgreSQL database of version 15 or later, in the schema `guest_store`, which one process has open at a
/// time.
///
/// One connection writes: it commits all queued units in one transaction and answers when that is durable. It holds an
/// advisory lock of the database, which ends with the connection. Another one reads. A lost connection is made again.
///
/// The statements are those of [`SqliteStore`](crate::SqliteStore).
#[derive(Debug)]
pub struct PostgresStore {
    threads: Threads,
}

impl Backed for PostgresStore {
    fn threads(&self) -> &Threads {
        &self.threads
    }
}

impl PostgresStore {
    /// Time after which the server ends the writing connection of a process that sends nothing, so that another process can
    /// open the store. A process that shares its guests with others sends something more often, and stops to serve if it
    /// cannot. Our choice.
    pub const LEASE: Duration = Duration::from_secs(10);

    /// Opens the store in the database of a [connection URI or string][1], or creates it.
    ///
    /// The call blocks until both connections are made. The server is on this machine: a connection by TLS is not
    /// implemented, and a password or a token is not sent to another machine without it.
    ///
    /// [1]: https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING
    ///
    /// # Errors
    /// [`Invalid`](StoreErrorKind::Invalid) if the string cannot be parsed or names another machine,
    /// [`Locked`](StoreErrorKind::Locked) if another process has the store open and keeps it for 5 s,
    /// [`WrongKey`](StoreErrorKind::WrongKey), [`NewerSchema`](StoreErrorKind::NewerSchema),
    /// [`Corrupt`](StoreErrorKind::Corrupt) if the log does not match its last checkpoint,
    /// [`Unavailable`](StoreErrorKind::Unavailable) if the server cannot be reached.
    pub fn open(connection: &SecretString, keys: Keys, limits: Limits) -> Result<Self, StoreError> {
        let config = parse(connection)?;
        let keys = Arc::new(keys);
        let writer = blocking(|| {
            let mut writer = Connection::new(config.clone(), Role::Write)?;
            schema::prepare(&mut writer, &keys)?;
            Ok(writer)
        })?;
        let reader = Connection::new(config, Role::Read)?;
        let mut threads = Threads::start(keys.clone(), limits.queue, {
            let keys = keys.clone();
            move |inbox| {
                let database = PostgresDatabase::new(keys.clone());
                let prepared = Prepared::from(writer);
                Writer::new(keys, limits, database, Memory::default()).run(prepared, inbox);
            }
        })?;
        threads.start_to_read(limits.queue, move |inbox| {
            read_all(Prepared::from(reader), &keys, inbox);
        })?;
        Ok(Self { threads })
    }
}

/// Runs what uses a connection. It blocks, which a thread of an async runtime refuses.
fn blocking<T: Send>(work: impl FnOnce() -> Result<T, StoreError> + Send) -> Result<T, StoreError> {
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Parses a connection string. Its error may repeat a password, so it is not kept.
fn parse(connection: &SecretString) -> Result<Config, StoreError> {
    let invalid = |reason: &str| {
        let source = format!("invalid connection string of PostgreSQL: {reason}");
        StoreError::new(StoreErrorKind::Invalid, source)
    };
    let config = connection.expose_secret().parse::<Config>();
    let mut config = config.map_err(|_| invalid("use postgres://USER@%2Fvar%2Frun%2Fpostgresql/DATABASE"))?;
    let is_local = |host: &Host| match host {
        Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    if !config.get_hosts().iter().all(is_local) {
        return Err(invalid(
            "its server is on another machine, to which connections are not encrypted yet; use one on this machine",
        ));
    }
    if config.get_application_name().is_none() {
        config.application_name("guest-gateway");
    }
    config
        .connect_timeout(CONNECT)
        .keepalives_idle(KEEPALIVE)
        .tcp_user_timeout(CONNECT * 2);
    Ok(config)
}

/// Longest wait for a connection. Our choice.
const CONNECT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
