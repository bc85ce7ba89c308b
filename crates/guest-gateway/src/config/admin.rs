//! `[admin]`: the listener for operators.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use genesys_api::Host;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::client::read_secret;
use super::parse::{address, parsed_option, secret};
use super::{ConfigError, show};

/// Fewest bytes of the token. Our choice.
const MIN_TOKEN: usize = 20;

/// `[admin]`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    /// Address and port. Port 0 selects a free one.
    #[serde(default = "loopback", deserialize_with = "address")]
    pub(crate) address: SocketAddr,
    /// PEM file of the certificate chain. Without it the listener serves plain HTTP, on loopback only.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// PEM file of the authorities whose client certificates are a login.
    pub(crate) client_ca: Option<PathBuf>,
    /// The URL by which browsers reach it, if it has a host name.
    #[serde(
        default,
        deserialize_with = "parsed_option",
        serialize_with = "show::text_option"
    )]
    pub(crate) public_url: Option<Host>,
    /// The token itself. Prefer a file or an environment variable.
    #[serde(default, deserialize_with = "secret", serialize_with = "show::redacted")]
    pub(super) token: Option<SecretString>,
    pub(super) token_file: Option<PathBuf>,
    token_env: Option<String>,
}

impl Admin {
    /// Reads the token, if the login has one.
    ///
    /// # Errors
    /// If it is missing, too short, or cannot stand in a header.
    pub(crate) fn token(&self) -> Result<Option<SecretString>, ConfigError> {
        if self.tokens() == 0 {
            return Ok(None);
        }
        let fail = |what: String| ConfigError(format!("invalid [admin]: {what}"));
        let sources = (&self.token, &self.token_file, &self.token_env);
        let token = read_secret("token", sources).map_err(fail)?;
        let text = token.expose_secret();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = "the token cannot be sent in a header: use visible ASCII characters, without spaces and line breaks";
            return Err(fail(what.to_owned()));
        }
        match text.len() {
            MIN_TOKEN.. => Ok(Some(token)),
            _ => Err(fail(format!(
                "the token has fewer than {MIN_TOKEN} bytes, use a random one"
            ))),
        }
    }

    /// The violated constraint between its values, with the key.
    pub(super) fn conflict(&self) -> Option<(&'static str, &'static str)> {
        let (certificate, key) = (self.certificate.is_some(), self.key.is_some());
        let conflicts = [
            (
                certificate != key,
                if certificate { "certificate" } else { "key" },
                "invalid [admin]: one of `certificate` and `key` is missing, use both, or none for plain HTTP on loopback",
            ),
            (
                !certificate && !self.address.ip().is_loopback(),
                "address",
                "invalid [admin] `address`: plain HTTP is for loopback only, add `certificate` and `key`",
            ),
            (
                self.client_ca.is_some() && !certificate,
                "client_ca",
                "invalid [admin] `client_ca`: client certificates need TLS, add `certificate` and `key`",
            ),
            (
                self.tokens() > 1 || (self.tokens() == 0 && self.client_ca.is_none()),
                "",
                "invalid [admin]: give exactly one of `token`, `token_file` and `token_env`, or `client_ca`",
            ),
        ];
        let violated = conflicts.into_iter().find(|(is_violated, ..)| *is_violated);
        violated.map(|(_, key, what)| (key, what))
    }

    /// The files that it names, with their keys.
    pub(super) fn files(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [
            ("admin.certificate", &self.certificate),
            ("admin.key", &self.key),
            ("admin.client_ca", &self.client_ca),
        ]
    }

    fn tokens(&self) -> u8 {
        u8::from(self.token.is_some())
            + u8::from(self.token_file.is_some())
            + u8::from(self.token_env.is_some())
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090)
}
