//! The connection to Genesys.

use std::num::NonZeroU32;
use std::path::PathBuf;

use genesys_api::{Host, Region};
use genesys_http::{Proxy, TlsVersion};
use secrecy::ExposeSecret as _;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ws_transport::Origin;

use super::parse::{parsed_option, region, secret};
use super::{ConfigError, show};

/// `[genesys]`
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
    #[serde(deserialize_with = "parsed_option", serialize_with = "show::text_option")]
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
    Explicit(Proxy),
}

impl Genesys {
    /// Returns the files that it names, with their keys.
    pub(super) fn files(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [
            ("genesys.extra_ca", &self.extra_ca),
            ("genesys.client_certificate", &self.client_certificate),
            ("genesys.client_key", &self.client_key),
        ]
    }

    /// Returns the proxy to Genesys, if there is one. Webhooks use no proxy: it would resolve their hosts itself and so
    /// bypass the check against private addresses.
    pub(crate) fn proxy(&self) -> Result<Option<Proxy>, ConfigError> {
        match &self.proxy {
            ProxySetting::Environment => Proxy::from_env().map_err(|error| ConfigError(error.to_string())),
            ProxySetting::Off => Ok(None),
            ProxySetting::Explicit(proxy) => Ok(Some(proxy.clone())),
        }
    }
}

/// Parses a proxy. Its URL may hold a password, so no error repeats it.
fn proxy_setting<'de, D: Deserializer<'de>>(from: D) -> Result<ProxySetting, D::Error> {
    match secret(from)? {
        Some(url) if url.expose_secret() == "off" => Ok(ProxySetting::Off),
        Some(url) => Proxy::new(&url, "")
            .map(ProxySetting::Explicit)
            .map_err(D::Error::custom),
        None => Ok(ProxySetting::Environment),
    }
}

fn show_proxy<S: Serializer>(proxy: &ProxySetting, to: S) -> Result<S::Ok, S::Error> {
    match proxy {
        ProxySetting::Environment => to.serialize_none(),
        ProxySetting::Off => to.serialize_str("off"),
        // its URL may have a password
        ProxySetting::Explicit(_) => to.serialize_str(show::REDACTED),
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
