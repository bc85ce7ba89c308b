//! `[[client]]`: the API clients and their secrets.

use std::env::VarError;
use std::path::PathBuf;

use genesys_auth::{ClientId, Scopes};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::parse::{parsed, scopes, secret, timestamp};
use super::{ConfigError, rules, show};
use crate::input_file;

/// `[[client]]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    #[serde(deserialize_with = "parsed", serialize_with = "show::client_id")]
    pub(crate) id: ClientId,
    /// The secret itself. Prefer a file or an environment variable.
    #[serde(default, deserialize_with = "secret", serialize_with = "show::redacted")]
    pub(super) secret: Option<SecretString>,
    pub(super) secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    /// The secret before a rotation, which stays valid for some time.
    #[serde(default)]
    pub(super) old_secret: Option<OldSecret>,
    #[serde(deserialize_with = "scopes", serialize_with = "show::scopes")]
    pub(crate) scopes: Scopes,
    /// The names of the organizations whose channels it may use, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) organizations: Vec<String>,
}

/// `old_secret` of `[[client]]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OldSecret {
    #[serde(default, deserialize_with = "secret", serialize_with = "show::redacted")]
    pub(super) secret: Option<SecretString>,
    pub(super) secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    /// The end of its validity.
    #[serde(
        deserialize_with = "timestamp",
        serialize_with = "time::serde::rfc3339::serialize"
    )]
    until: OffsetDateTime,
}

impl Client {
    /// Reads the secret.
    ///
    /// # Errors
    /// If it is missing, or no client can send it.
    pub fn secret(&self) -> Result<SecretString, ConfigError> {
        read_secret("secret", (&self.secret, &self.secret_file, &self.secret_env))
            .and_then(sendable)
            .map_err(|reason| self.invalid(&reason))
    }

    /// Reads the old secret, with the end of its validity.
    ///
    /// # Errors
    /// If no client can send it, or its file or variable is missing.
    pub(crate) fn old_secret(&self) -> Result<Option<(SecretString, OffsetDateTime)>, ConfigError> {
        let Some(old) = &self.old_secret else {
            return Ok(None);
        };
        read_secret("secret", (&old.secret, &old.secret_file, &old.secret_env))
            .and_then(sendable)
            .map(|secret| Some((secret, old.until)))
            .map_err(|reason| self.invalid(&format!("old_secret: {reason}")))
    }

    /// Whether the configuration itself has a secret of this client.
    pub(super) fn is_inline(&self) -> bool {
        let old = self.old_secret.as_ref().and_then(|old| old.secret.as_ref());
        self.secret.is_some() || old.is_some()
    }

    pub(super) fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        let old = self.old_secret.as_ref().and_then(|old| old.secret_file.as_ref());
        self.secret_file.iter().chain(old)
    }

    /// The end of the validity of the old secret, if it has passed.
    pub(super) fn ended_secret(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let until = self.old_secret.as_ref()?.until;
        (until <= now).then_some(until)
    }

    fn invalid(&self, reason: &str) -> ConfigError {
        ConfigError(format!("invalid [[client]] {}: {reason}", self.id.as_str()))
    }

    pub(super) fn has_one_secret(&self) -> bool {
        let (secret, file, env) = (&self.secret, &self.secret_file, &self.secret_env);
        u8::from(secret.is_some()) + u8::from(file.is_some()) + u8::from(env.is_some()) == 1
    }
}

/// Checks that a client can send `secret`: the characters of RFC 6749 appendix A.2.
fn sendable(secret: SecretString) -> Result<SecretString, String> {
    let is_sendable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    match secret.expose_secret().bytes().all(is_sendable) {
        true => Ok(secret),
        false => {
            Err("the secret cannot be sent by a client: use ASCII characters without line breaks".to_owned())
        }
    }
}

/// Reads a secret of `secret`, `secret_file` or `secret_env`, where `name` is `secret`. The error gives the reason.
pub(super) fn read_secret(
    name: &str,
    sources: (&Option<SecretString>, &Option<PathBuf>, &Option<String>),
) -> Result<SecretString, String> {
    let text = match sources {
        (Some(secret), None, None) => return Ok(secret.clone()),
        (None, Some(path), None) => input_file::read_text(path)
            .map_err(|source| format!("cannot read {name}_file {}: {source}", path.display()))?,
        (None, None, Some(variable)) => std::env::var(variable).map_err(|error| {
            let fault = match error {
                VarError::NotPresent => "is not set",
                VarError::NotUnicode(_) => "is not UTF-8",
            };
            format!("the environment variable {variable} of {name}_env {fault}")
        })?,
        _ => return Err(rules::ONE_SECRET.to_owned()),
    };
    match text.trim() {
        "" => Err(format!("the {name} is empty")),
        text => Ok(text.into()),
    }
}
