//! `[spa]`: sessions of pages without a backend of their own.

use std::path::PathBuf;
use std::time::Duration;

use genesys_api::{ChannelId, Host, Origin};
use genesys_auth::ClientId;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::client::read_secret;
use super::parse::{at_least_one, duration, enabled, hours, parsed, secret};
use super::{Config, ConfigError, show};
use crate::spa::AssertionKey;

/// `[spa]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spa {
    /// The API client that owns the sessions of the pages.
    #[serde(deserialize_with = "parsed", serialize_with = "show::client_id")]
    pub(crate) client: ClientId,
    /// The channel of the sessions. Default: the only one.
    pub(crate) channel: Option<ChannelId>,
    /// The relation of the pages to this gateway, which decides the credential of a browser.
    #[serde(default)]
    pub(crate) embedding: Embedding,
    /// Whether guests without an assertion are admitted.
    #[serde(default = "enabled")]
    pub(crate) anonymous: bool,
    /// Whether the gateway serves the demo shop.
    #[serde(default)]
    pub(crate) demo_page: bool,
    /// Longest lifetime of a session, however often it is used.
    #[serde(
        default = "hours::<720>",
        deserialize_with = "duration",
        serialize_with = "show::span"
    )]
    pub(crate) lifetime: Duration,
    /// Limit of new sessions of an address prefix.
    #[serde(default = "sessions_per_minute", deserialize_with = "at_least_one")]
    pub(crate) sessions_per_minute: u32,
    /// Limit of all requests of an address prefix.
    #[serde(default = "requests_per_minute", deserialize_with = "at_least_one")]
    pub(crate) requests_per_minute: u32,
    /// The keys under which the app's backend signs the identities of guests.
    #[serde(default)]
    pub(super) assertion_key: Vec<KeyConfig>,
}

/// The relation of the pages to the gateway.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Embedding {
    /// Of another site: the credential is in the storage of the page.
    #[serde(rename = "cross-site")]
    OtherSite,
    /// Of one site, such as `www.shop.example` and `chat.shop.example`: the credential is a cookie.
    #[default]
    #[serde(rename = "same-site")]
    SameSite,
}

/// `[[spa.assertion_key]]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyConfig {
    /// The value of `kid`.
    pub(super) id: String,
    /// The public key of Ed25519, in base64.
    public_key: Option<String>,
    /// The secret of HS256.
    #[serde(default, deserialize_with = "secret", serialize_with = "show::redacted")]
    pub(super) secret: Option<SecretString>,
    pub(super) secret_file: Option<PathBuf>,
    secret_env: Option<String>,
}

impl Spa {
    /// Reads the keys of assertions.
    ///
    /// # Errors
    /// If one is missing or invalid.
    pub(crate) fn assertion_keys(&self) -> Result<Vec<AssertionKey>, ConfigError> {
        self.assertion_key.iter().map(KeyConfig::read).collect()
    }
}

impl KeyConfig {
    pub(super) fn has_one_value(&self) -> bool {
        let values = [
            self.public_key.is_some(),
            self.secret.is_some(),
            self.secret_file.is_some(),
            self.secret_env.is_some(),
        ];
        values.into_iter().filter(|has| *has).count() == 1
    }

    fn read(&self) -> Result<AssertionKey, ConfigError> {
        let fail = |what: String| ConfigError(format!("invalid [[spa.assertion_key]] {}: {what}", self.id));
        if let Some(public_key) = &self.public_key {
            let key = AssertionKey::public(self.id.clone(), public_key);
            let what = "`public_key` is not a key of Ed25519, give its 32 bytes in base64";
            return key.ok_or_else(|| fail(what.to_owned()));
        }
        let sources = (&self.secret, &self.secret_file, &self.secret_env);
        let secret = read_secret("secret", sources).map_err(fail)?;
        let key = AssertionKey::secret(self.id.clone(), &secret);
        key.ok_or_else(|| fail("the secret has fewer than 32 bytes, use a random one".to_owned()))
    }
}

impl Config {
    /// Returns a warning if pages are of another site than the gateway at `public` although they should be of the same: their
    /// scheme, their address or the last two labels of their name differ. Of two names that have these in common the
    /// list of public suffixes decides, which only browsers have.
    pub(crate) fn pages_of_other_sites(&self, public: &Host) -> Option<String> {
        if self.spa.as_ref()?.embedding != Embedding::SameSite {
            return None;
        }
        let own = public.to_string().parse().ok()?;
        let origins = self.sessions.allowed_origins.origins();
        let page = origins.iter().find(|page| are_other_sites(page, &own))?;
        let key = self
            .origins
            .get("spa.embedding")
            .map_or("spa", |_| "spa.embedding");
        let what = format!(
            "the pages of {page} are refused, because they are of another site than this gateway at {public}: set `embedding = \
             \"cross-site\"` of [spa], or serve both from one site"
        );
        Some(self.error(key, what).0)
    }

    /// The channel of the sessions of pages, which the configuration names if it has several.
    pub(crate) fn spa_channel(&self) -> Option<&ChannelId> {
        let named = self.spa.as_ref()?.channel.as_ref();
        let only = self.channel.first().filter(|_| self.channel.len() == 1);
        named.or_else(|| Some(&only?.id))
    }
}

fn are_other_sites(one: &Origin, other: &Origin) -> bool {
    let scheme = |origin: &Origin| origin.to_string().starts_with("https:");
    if scheme(one) != scheme(other) {
        return true;
    }
    match (one.host(), other.host()) {
        (one, other) if one == other => false,
        (url::Host::Domain(one), url::Host::Domain(other)) => {
            let labels = one.rsplit('.').zip(other.rsplit('.'));
            labels.take_while(|(one, other)| one == other).count() < 2
        }
        _ => true,
    }
}

fn sessions_per_minute() -> u32 {
    30
}

fn requests_per_minute() -> u32 {
    600
}
