//! The server and how it is reached.

use std::net::IpAddr;
use std::time::Duration;

use genesys_http::{Tls, TlsSettings, Trust};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Error, NoTls, Socket};

use super::tls::Connector;
use crate::{StoreError, StoreErrorKind};

/// A connection string, and the TLS settings if its connections are encrypted.
#[derive(Clone)]
pub(super) struct Address {
    config: Config,
    tls: Option<Tls>,
}

impl Address {
    /// Parses a connection string. Its error may repeat a password, so it is not kept.
    pub(super) fn parse(connection: &SecretString, trust: &Trust) -> Result<Self, StoreError> {
        let invalid = |reason: &str| {
            let source = format!("invalid connection string of PostgreSQL: {reason}");
            StoreError::new(StoreErrorKind::Invalid, source)
        };
        let config = connection.expose_secret().parse::<Config>();
        let mut config =
            config.map_err(|_| invalid("use postgres://USER@%2Fvar%2Frun%2Fpostgresql/DATABASE"))?;
        let is_encrypted = match config.get_ssl_mode() {
            mode if is_on_this_machine(&config) => mode == SslMode::Require,
            SslMode::Disable => {
                return Err(invalid(
                    "`sslmode=disable` is for a server on this machine, remove it and set `ssl = on` on the other one",
                ));
            }
            _ => true,
        };
        if is_encrypted && config.get_hosts().len() < config.get_hostaddrs().len() {
            return Err(invalid(
                "add `host`, the name in the server's certificate, to `hostaddr`",
            ));
        }
        if config.get_application_name().is_none() {
            config.application_name("guest-gateway");
        }
        config
            .ssl_mode(match is_encrypted {
                true => SslMode::Require,
                false => SslMode::Disable,
            })
            .connect_timeout(CONNECT)
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(CONNECT * 2);
        let settings = TlsSettings {
            trust: trust.clone(),
            ..TlsSettings::default()
        };
        let tls = is_encrypted.then(|| Tls::new(settings)).transpose();
        let tls = tls.map_err(|error| StoreError::new(StoreErrorKind::Invalid, error))?;
        Ok(Self { config, tls })
    }

    /// Connects on the runtime of the caller. The inner error is that of a server or database that cannot have a store.
    pub(super) async fn connect(&self) -> Result<Result<Client, StoreError>, Error> {
        match &self.tls {
            Some(tls) => self.connect_by(Connector(tls.clone())).await,
            None => self.connect_by(NoTls).await,
        }
    }

    async fn connect_by<T>(&self, tls: T) -> Result<Result<Client, StoreError>, Error>
    where
        T: MakeTlsConnect<Socket, Stream: Send + 'static>,
    {
        let (client, connection) = self.config.connect(tls).await?;
        // the server reports both at the start of each connection
        let version = connection.parameter("server_version").unwrap_or_default();
        let encoding = connection.parameter("server_encoding").unwrap_or_default();
        if let Err(reason) = check(version, encoding) {
            return Ok(Err(StoreError::new(StoreErrorKind::Invalid, reason)));
        }
        tokio::spawn(async move {
            // the client reports the error
            let _closed = connection.await;
        });
        Ok(Ok(client))
    }
}

/// Checks that a database can have a store.
fn check(version: &str, encoding: &str) -> Result<(), String> {
    let major = version.split(|c: char| !c.is_ascii_digit()).next();
    let major = major.and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < MIN_VERSION {
        return Err(format!(
            "PostgreSQL {version} is too old: use version {MIN_VERSION} or later"
        ));
    }
    if encoding != "UTF8" {
        return Err(format!(
            "the encoding of the database is {encoding}: create one by CREATE DATABASE guests ENCODING 'UTF8' TEMPLATE template0"
        ));
    }
    Ok(())
}

/// Whether all names and addresses are of this machine.
fn is_on_this_machine(config: &Config) -> bool {
    let is_local = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(is_local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

const MIN_VERSION: u32 = 15;
/// Longest wait for a connection. Our choice.
const CONNECT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(connection: &str) -> Result<SslMode, String> {
        let pki = genesys_sim::throwaway_ca(&["db.test"]).map_err(|error| error.to_string())?;
        let trust = Trust::Only(pki.ca_pem.into_bytes());
        let address = Address::parse(&connection.into(), &trust);
        let address = address.map_err(|error| genesys_api::error_chain(&error))?;
        assert_eq!(
            address.tls.is_some(),
            address.config.get_ssl_mode() == SslMode::Require
        );
        Ok(address.config.get_ssl_mode())
    }

    #[test]
    fn address_of_another_machine_is_encrypted() {
        for local in [
            "postgres://guests@%2Frun%2Fpostgresql/guests",
            "host=localhost",
            "host=127.0.0.1",
            "host=::1",
            "hostaddr=127.0.0.1",
            "host=localhost sslmode=disable",
        ] {
            assert_eq!(parse(local), Ok(SslMode::Disable), "{local}");
        }
        for encrypted in [
            "postgres://guests:password@db.test/guests",
            "host=localhost sslmode=require",
            "host=db.test sslmode=prefer",
            "host=localhost,db.test",
            "host=db.test hostaddr=127.0.0.1",
            "host=localhost hostaddr=192.0.2.1",
        ] {
            assert_eq!(parse(encrypted), Ok(SslMode::Require), "{encrypted}");
        }
        for (refused, remedy) in [
            ("host=db.test sslmode=disable", "set `ssl = on`"),
            ("hostaddr=192.0.2.1", "add `host`"),
            ("postgres://guests:secret@[", "use postgres://"),
        ] {
            let error = parse(refused).unwrap_err();
            assert!(error.contains(remedy) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn version_before_15_is_refused() {
        for version in ["15.6 (Debian 15.6-0+deb12u1)", "18.1", "19devel", "16beta1"] {
            assert_eq!(check(version, "UTF8"), Ok(()), "{version}");
        }
        for version in ["14.20", "9.6.24", ""] {
            let reason = check(version, "UTF8").unwrap_err();
            assert!(reason.ends_with("use version 15 or later"), "{reason}");
        }
    }
}
