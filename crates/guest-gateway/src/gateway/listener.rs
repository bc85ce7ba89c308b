//! The listeners: for guests, and for operators.

use std::net::SocketAddr;

use genesys_api::Host;
use genesys_http::server::{Identity, Limits, Server};

use super::{DRAIN, StartError, read};
use crate::config::{self, Config};

/// Most open connections of operators. Our choice.
const ADMIN_CONNECTIONS: u32 = 256;

/// The certificate of the listener, if it has one.
pub(crate) fn identity(config: &Config) -> Result<Option<Identity>, StartError> {
    let (Some(certificate), Some(key)) = (&config.listen.certificate, &config.listen.key) else {
        return Ok(None);
    };
    let identity = Identity::from_pem(&read(certificate)?, &read(key)?);
    identity
        .map(Some)
        .map_err(StartError::to("use certificate and key of [listen]"))
}

pub(super) async fn bind(config: &Config) -> Result<Server, StartError> {
    let listen = &config.listen;
    let identity = identity(config)?;
    let limits = Limits {
        connections: listen.connections,
        drain: DRAIN,
        ..Limits::default()
    };
    bind_to(listen.address, "[listen]", identity, limits).await
}

/// The server of operators, if the configuration has one.
pub(super) async fn bind_admin(config: &Config) -> Result<Option<Server>, StartError> {
    let Some(admin) = &config.admin else {
        return Ok(None);
    };
    let limits = Limits {
        connections: ADMIN_CONNECTIONS,
        drain: DRAIN,
        ..Limits::default()
    };
    let server = bind_to(admin.address, "[admin]", admin_identity(admin)?, limits);
    server.await.map(Some)
}

async fn bind_to(
    address: SocketAddr,
    table: &str,
    identity: Option<Identity>,
    limits: Limits,
) -> Result<Server, StartError> {
    let server = Server::bind(address, identity, limits).await;
    server.map_err(StartError::to(format!(
        "listen on {address} (stop the program that uses it, or set another address in {table})"
    )))
}

/// The certificate of the listener for operators, if it has one.
fn admin_identity(admin: &config::Admin) -> Result<Option<Identity>, StartError> {
    let (Some(certificate), Some(key)) = (&admin.certificate, &admin.key) else {
        return Ok(None);
    };
    let (certificate, key) = (read(certificate)?, read(key)?);
    let identity = match &admin.client_ca {
        Some(path) => Identity::with_client_ca(&certificate, &key, &read(path)?),
        None => Identity::from_pem(&certificate, &key),
    };
    identity.map(Some).map_err(StartError::to(
        "use `certificate`, `key` and `client_ca` of [admin]",
    ))
}

pub(super) fn public_host(config: &Config, address: SocketAddr) -> Result<Host, StartError> {
    let listen = &config.listen;
    own_host(
        listen.public_url.as_ref(),
        listen.certificate.is_some(),
        address,
        "[listen]",
    )
}

pub(super) fn admin_host(admin: &config::Admin, address: SocketAddr) -> Result<Host, StartError> {
    own_host(
        admin.public_url.as_ref(),
        admin.certificate.is_some(),
        address,
        "[admin]",
    )
}

/// The configured URL of a listener, or the one of its address.
fn own_host(
    public: Option<&Host>,
    has_tls: bool,
    address: SocketAddr,
    table: &str,
) -> Result<Host, StartError> {
    if let Some(public) = public {
        return Ok(public.clone());
    }
    let scheme = if has_tls { "https" } else { "http" };
    let own = format!("{scheme}://{address}").parse();
    own.map_err(StartError::to(format!(
        "determine public_url of {table}, which is required for this address"
    )))
}
