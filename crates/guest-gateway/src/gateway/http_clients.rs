//! The HTTP clients, with the TLS settings and the proxies that a reload replaces.

use genesys_api::Clock;
use genesys_http::{Client, ClientIdentity, Egress, Tls, TlsSettings, TlsVersion, Trust};
use webhook::Dispatcher;

use super::{StartError, read};
use crate::config::{self, Config, Genesys};

#[derive(Debug)]
pub(crate) struct HttpClients {
    /// One for each organization, in the order of the configuration.
    pub(super) organizations: Vec<Client>,
    /// The client of webhooks.
    pub(super) dispatcher: Dispatcher,
    /// The client of the archive of checkpoints.
    pub(super) archive: Client,
}

impl HttpClients {
    /// # Errors
    /// If a certificate, a key or a proxy is invalid.
    pub(crate) fn new(config: &Config, clock: &Clock) -> Result<Self, StartError> {
        let builder = |tls| Client::builder(tls).clock(clock.clone());
        let organization = |configured: config::Organization<'_>| {
            let client = builder(genesys_tls(&configured)?);
            Ok(client.proxy(configured.genesys.proxy()?).build())
        };
        let organizations = config.organizations().into_iter().map(organization);
        let other_tls = other_tls(config)?;
        let webhooks = builder(other_tls.clone()).egress(Egress::PublicOnly {
            allow: config.webhooks.allow_networks.clone(),
        });
        Ok(Self {
            organizations: organizations.collect::<Result<_, StartError>>()?,
            dispatcher: Dispatcher::new(webhooks).with_schedule(config.webhooks.retries.clone()),
            archive: builder(other_tls).proxy(config.genesys.proxy()?).build(),
        })
    }

    /// Takes the settings of others, for the connections that begin after it.
    pub(crate) fn replace(&self, others: &Self) {
        for (client, other) in self.organizations.iter().zip(&others.organizations) {
            client.replace_settings(other);
        }
        self.dispatcher.replace_settings(&others.dispatcher);
        self.archive.replace_settings(&others.archive);
    }
}

/// The TLS settings of connections to an organization of Genesys.
pub(crate) fn genesys_tls(organization: &config::Organization<'_>) -> Result<Tls, StartError> {
    let genesys = organization.genesys;
    let identity = match (&genesys.client_certificate, &genesys.client_key) {
        (Some(certificate), Some(key)) => {
            let identity = ClientIdentity::from_pem(&read(certificate)?, &read(key)?);
            let table = &organization.table;
            let start_error =
                StartError::to(format!("use `client_certificate` and `client_key` of [{table}]"));
            Some(identity.map_err(start_error)?)
        }
        _ => None,
    };
    tls(genesys, identity, genesys.min_tls_version)
}

/// The TLS settings of webhooks and of the archive of checkpoints, which do not get the client certificate.
pub(super) fn other_tls(config: &Config) -> Result<Tls, StartError> {
    tls(&config.genesys, None, TlsVersion::default())
}

fn tls(
    genesys: &Genesys,
    identity: Option<ClientIdentity>,
    min_version: TlsVersion,
) -> Result<Tls, StartError> {
    let trust = match &genesys.extra_ca {
        Some(path) => Trust::SystemAnd(read(path)?),
        None => Trust::System,
    };
    let settings = TlsSettings {
        trust,
        identity,
        min_version,
    };
    Tls::new(settings).map_err(StartError::to("load the certificate authorities"))
}
