//! `[[client]]`: the API clients and their secrets.

use std::path::PathBuf;

use genesys_auth::{ClientId, Scopes};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::parse::{parsed, scopes, secret};
use super::{ConfigError, rules, show};

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
    #[serde(deserialize_with = "scopes", serialize_with = "show::scopes")]
    pub(crate) scopes: Scopes,
}

impl Client {
    /// Reads the secret.
    ///
    /// # Errors
    /// If it is missing or empty.
    pub fn secret(&self) -> Result<SecretString, ConfigError> {
        let id = self.id.as_str();
        let fail = |what: String| ConfigError(format!("invalid [[client]] {id}: {what}"));
        read_secret("secret", (&self.secret, &self.secret_file, &self.secret_env)).map_err(fail)
    }

    pub(super) fn has_one_secret(&self) -> bool {
        let (secret, file, env) = (&self.secret, &self.secret_file, &self.secret_env);
        u8::from(secret.is_some()) + u8::from(file.is_some()) + u8::from(env.is_some()) == 1
    }
}

/// Reads a secret of `secret`, `secret_file` or `secret_env`, where `name` is `secret`. The error gives the reason.
pub(super) fn read_secret(
    name: &str,
    sources: (&Option<SecretString>, &Option<PathBuf>, &Option<String>),
) -> Result<SecretString, String> {
    let text = match sources {
        (Some(secret), None, None) => return Ok(secret.clone()),
        (None, Some(path), None) => std::fs::read_to_string(path)
            .map_err(|source| format!("cannot read {name}_file {}: {source}", path.display()))?,
        (None, None, Some(variable)) => std::env::var(variable)
            .map_err(|_| format!("the environment variable {variable} of {name}_env is not set"))?,
        _ => return Err(rules::ONE_SECRET.to_owned()),
    };
    match text.trim() {
        "" => Err(format!("the {name} is empty")),
        text => Ok(text.into()),
    }
}
