//! A store in PostgreSQL.

mod address;
mod connection;
mod database;
mod error;
mod import;
mod schema;
mod tls;
mod values;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use genesys_http::Trust;
use secrecy::SecretString;

use crate::sql::memory::Memory;
use crate::sql::prepared::Prepared;
use crate::sql::threads::{Backed, Threads, read_all};
use crate::sql::writer::Writer;
use crate::{Keys, Limits, StoreError};
use address::Address;
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
    /// The call blocks until both connections are made. A connection to another machine is encrypted by TLS, and the server
    /// has a certificate for its name by an authority of `trust`: `sslmode=verify-full`, also if the string has less. One to
    /// `localhost`, to an address of this machine or to a Unix socket is plain, unless the string has `sslmode=require`.
    ///
    /// [1]: https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING
    ///
    /// # Errors
    /// [`Invalid`](crate::StoreErrorKind::Invalid) if the string cannot be parsed or disables TLS to another
    /// machine, an authority cannot be read, the server is older than version 15, or the database is not in UTF-8,
    /// [`Locked`](crate::StoreErrorKind::Locked) if another process has the store open and keeps it for 5 s,
    /// [`WrongKey`](crate::StoreErrorKind::WrongKey), [`NewerSchema`](crate::StoreErrorKind::NewerSchema),
    /// [`Corrupt`](crate::StoreErrorKind::Corrupt) if the log does not match its last checkpoint,
    /// [`Unavailable`](crate::StoreErrorKind::Unavailable) if the server cannot be reached or is not
    /// trusted.
    pub fn open(
        connection: &SecretString,
        trust: &Trust,
        keys: Keys,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let address = Address::parse(connection, trust)?;
        let keys = Arc::new(keys);
        let writer = blocking(|| {
            let mut writer = Connection::new(address.clone(), Role::Write)?;
            schema::prepare(&mut writer, &keys)?;
            Ok(writer)
        })?;
        let reader = Connection::new(address, Role::Read)?;
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

#[cfg(test)]
mod tests;
