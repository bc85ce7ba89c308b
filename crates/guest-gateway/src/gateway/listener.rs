//! The listeners: for guests, and for operators.

use std::net::SocketAddr;
use std::sync::Arc;

use genesys_api::Host;
use genesys_http::server::{Identity, Limits, Server};
use listenfd::ListenFd;

use super::{StartError, read};
use crate::admin::Login;
use crate::config::{self, Config};

/// Most open connections of operators, and of one of their addresses. Our choice.
const ADMIN_CONNECTIONS: (u32, u32) = (256, 128);

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

/// The bound listeners, with the certificates that a reload replaces.
pub(super) struct Listeners {
    pub(super) guests: Server,
    pub(super) identity: Option<Identity>,
    /// The one for operators, if the configuration has one.
    pub(super) admin: Option<AdminListener>,
}

pub(super) struct AdminListener {
    pub(super) server: Server,
    pub(super) identity: Option<Identity>,
    pub(super) login: Arc<Login>,
    pub(super) url: Host,
}

impl Listeners {
    /// Binds the addresses, or takes the sockets of systemd: the first one for guests, the second one for operators.
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        let (listen, mut inherited) = (&config.listen, ListenFd::from_env());
        let limits = |(connections, connections_per_address)| Limits {
            connections,
            connections_per_address,
            drain: listen.drain,
            ..Limits::default()
        };
        let guest_identity = identity(config)?;
        let guests = bind_to(
            (listen.address, "[listen]"),
            guest_identity.clone(),
            Limits {
                unlimited_networks: listen.trusted_proxies.clone(),
                ..limits((listen.connections, listen.connections_per_address))
            },
            (&mut inherited, 0),
        );
        let guests = guests.await?;
        let admin = match &config.admin {
            None => None,
            Some(admin) => {
                let identity = admin_identity(admin)?;
                let server = bind_to(
                    (admin.address, "[admin]"),
                    identity.clone(),
                    limits(ADMIN_CONNECTIONS),
                    (&mut inherited, 1),
                );
                let server = server.await?;
                let url = admin_host(admin, server.local_addr())?;
                Some(AdminListener {
                    login: Arc::new(Login::new(admin.token()?, url.is_secure())),
                    server,
                    identity,
                    url,
                })
            }
        };
        Ok(Self {
            guests,
            identity: guest_identity,
            admin,
        })
    }
}

/// Binds the address of a table, or takes the socket of systemd with this position.
async fn bind_to(
    (address, table): (SocketAddr, &str),
    identity: Option<Identity>,
    limits: Limits,
    (inherited, position): (&mut ListenFd, usize),
) -> Result<Server, StartError> {
    let taken = inherited.take_tcp_listener(position);
    let taken = taken.map_err(StartError::to(format!(
        "use socket {position} of systemd for {table} (give it a stream socket of TCP)"
    )))?;
    let server = match taken {
        Some(listener) => Server::from_listener(listener, identity, limits),
        None => Server::bind(address, identity, limits).await,
    };
    server.map_err(StartError::to(format!(
        "listen on {address} (stop the program that uses it, or set another address in {table})"
    )))
}

/// The certificate of the listener for operators, if it has one.
pub(crate) fn admin_identity(admin: &config::Admin) -> Result<Option<Identity>, StartError> {
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
