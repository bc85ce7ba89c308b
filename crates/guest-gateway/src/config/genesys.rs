//! The connection to Genesys.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use genesys_api::{Host, Hosts, Region};
use genesys_http::{Proxy, TlsVersion};
use guest_suite::direct::Rules;
use secrecy::ExposeSecret as _;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ws_transport::{Origin, ParseOriginError};

use super::parse::{parsed_option, region, secret};
use super::{Channel, Client, Config, ConfigError, show};

/// `[genesys]`, or one of `[organizations]`
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Genesys {
    /// Whether to start the simulator in this process and use it.
    pub(crate) simulator: bool,
    /// The AWS name or base domain of a region.
    #[serde(deserialize_with = "region", serialize_with = "show::region")]
    pub(crate) region: Option<Region>,
    /// One host for all services, such as a simulator in another process.
    #[serde(deserialize_with = "parsed_option", serialize_with = "show::text_option")]
    pub(crate) host: Option<Host>,
    /// The origin of connections to Genesys. The deployment must allow it.
    #[serde(deserialize_with = "own_origin", serialize_with = "show::text_option")]
    pub(crate) origin: Option<Origin>,
    /// PEM file of an additional CA.
    pub(crate) extra_ca: Option<PathBuf>,
    /// PEM file of the certificate that Genesys, or a TLS proxy before it, requires.
    pub(crate) client_certificate: Option<PathBuf>,
    /// PEM file of the key of `client_certificate`.
    pub(crate) client_key: Option<PathBuf>,
    /// Oldest version of TLS.
    #[serde(deserialize_with = "tls_version", serialize_with = "show::tls_version")]
    pub(crate) min_tls_version: TlsVersion,
    /// Largest number of new sockets to each deployment in a minute. Default: 915.
    pub(crate) connections_per_minute: Option<NonZeroU32>,
    // hosts in place of those of the region or host
    #[serde(deserialize_with = "parsed_option", serialize_with = "show::text_option")]
    pub(crate) login: Option<Host>,
    #[serde(deserialize_with = "parsed_option", serialize_with = "show::text_option")]
    pub(crate) api: Option<Host>,
    #[serde(deserialize_with = "parsed_option", serialize_with = "show::text_option")]
    pub(crate) messaging: Option<Host>,
    #[serde(deserialize_with = "parsed_option", serialize_with = "show::text_option")]
    pub(crate) cdn: Option<Host>,
    /// The proxy to Genesys: `http://host:port`, or `off`. Default: the one of the environment, such as `HTTPS_PROXY`.
    #[serde(deserialize_with = "proxy_setting", serialize_with = "show_proxy")]
    proxy: ProxySetting,
}

#[derive(Debug, Default)]
enum ProxySetting {
    #[default]
    Environment,
    Off,
    Explicit {
        proxy: Proxy,
        has_password: bool,
    },
}

/// An organization of Genesys Cloud: `[genesys]` alone, or one of `[organizations]`, each with the values of `[genesys]` that it
/// does not set.
#[derive(Clone, Debug)]
pub(crate) struct Organization<'a> {
    /// `default` for `[genesys]` alone.
    pub(crate) name: &'a str,
    /// The path of its table, such as `organizations.emea`.
    pub(crate) table: String,
    pub(crate) genesys: &'a Genesys,
}

impl Config {
    pub(crate) fn organizations(&self) -> Vec<Organization<'_>> {
        let named = self.organizations.iter().map(|(name, genesys)| Organization {
            name,
            table: format!("organizations.{name}"),
            genesys,
        });
        let only = Organization {
            name: "default",
            table: "genesys".to_owned(),
            genesys: &self.genesys,
        };
        match self.organizations.is_empty() {
            true => vec![only],
            false => named.collect(),
        }
    }

    /// Returns the rules of sessions, with the organizations of each API client, unless each has the only one.
    pub(crate) fn rules(&self) -> Rules {
        let of_client = |client: &Client| {
            let organizations = client.organizations.iter().cloned().collect();
            (client.id.as_str().to_owned(), organizations)
        };
        let has_several = !self.organizations.is_empty();
        Rules {
            policy: Arc::clone(&self.sessions.policy),
            limit: self.sessions.limit,
            memberships: has_several.then(|| self.client.iter().map(of_client).collect()),
        }
    }
}

impl Organization<'_> {
    /// Whether it is `[genesys]` alone.
    pub(crate) fn is_only(&self) -> bool {
        self.table == "genesys"
    }

    /// The path of a value, for errors.
    pub(crate) fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.table)
    }

    /// Whether a channel is one of this organization.
    pub(crate) fn has(&self, channel: &Channel) -> bool {
        channel
            .organization
            .as_deref()
            .is_none_or(|name| name == self.name)
    }

    /// Returns the files that it names, with their paths in the configuration.
    pub(super) fn files(&self) -> impl Iterator<Item = (String, &PathBuf)> {
        let files = [
            ("extra_ca", &self.genesys.extra_ca),
            ("client_certificate", &self.genesys.client_certificate),
            ("client_key", &self.genesys.client_key),
        ];
        let files = files.into_iter();
        files.filter_map(|(key, file)| Some((self.path(key), file.as_ref()?)))
    }
}

impl Genesys {
    /// Returns the hosts of Genesys Cloud, or `None` if the simulator is to be started.
    pub(crate) fn hosts(&self) -> Option<Hosts> {
        let of_host = self.host.as_ref().map(Hosts::single);
        let mut hosts = of_host.or_else(|| Hosts::of_domain(self.region?.domain).ok())?;
        hosts.login = self.login.clone().unwrap_or(hosts.login);
        hosts.api = self.api.clone().unwrap_or(hosts.api);
        hosts.messaging = self.messaging.clone().unwrap_or(hosts.messaging);
        hosts.cdn = self.cdn.clone().unwrap_or(hosts.cdn);
        Some(hosts)
    }

    /// The first key that sets a host of one service.
    pub(super) fn own_host(&self) -> Option<&'static str> {
        let hosts = [
            ("login", &self.login),
            ("api", &self.api),
            ("messaging", &self.messaging),
            ("cdn", &self.cdn),
        ];
        let own_host = hosts.into_iter().find(|(_, host)| host.is_some());
        own_host.map(|(key, _)| key)
    }

    /// Whether the configuration has the password of the proxy.
    pub(super) fn has_password(&self) -> bool {
        matches!(self.proxy, ProxySetting::Explicit { has_password, .. } if has_password)
    }

    /// Returns the proxy to Genesys, if there is one. Webhooks use no proxy: it would resolve their hosts itself and so
    /// bypass the check against private addresses.
    pub(crate) fn proxy(&self) -> Result<Option<Proxy>, ConfigError> {
        match &self.proxy {
            ProxySetting::Environment => Proxy::from_env().map_err(|error| ConfigError(error.to_string())),
            ProxySetting::Off => Ok(None),
            ProxySetting::Explicit { proxy, .. } => Ok(Some(proxy.clone())),
        }
    }
}

fn own_origin<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Origin>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(|problem| {
        let shown = match problem {
            ParseOriginError::Credentials => String::new(),
            _ => format!(" {text:?}"),
        };
        D::Error::custom(format!("invalid origin{shown}: {problem}"))
    })
}

/// Parses a proxy. Its URL may hold a password, so no error repeats it.
fn proxy_setting<'de, D: Deserializer<'de>>(from: D) -> Result<ProxySetting, D::Error> {
    match secret(from)? {
        Some(url) if url.expose_secret() == "off" => Ok(ProxySetting::Off),
        Some(url) => Ok(ProxySetting::Explicit {
            proxy: Proxy::new(&url, "").map_err(D::Error::custom)?,
            has_password: url.expose_secret().contains('@'),
        }),
        None => Ok(ProxySetting::Environment),
    }
}

fn show_proxy<S: Serializer>(proxy: &ProxySetting, to: S) -> Result<S::Ok, S::Error> {
    match proxy {
        ProxySetting::Environment => to.serialize_none(),
        ProxySetting::Off => to.serialize_str("off"),
        // its URL may have a password
        ProxySetting::Explicit { .. } => to.serialize_str(show::REDACTED),
    }
}

fn tls_version<'de, D: Deserializer<'de>>(from: D) -> Result<TlsVersion, D::Error> {
    match &*String::deserialize(from)? {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        other => {
            let message = format!("invalid version of TLS {other:?}: use \"1.2\" or \"1.3\"");
            Err(D::Error::custom(message))
        }
    }
}
