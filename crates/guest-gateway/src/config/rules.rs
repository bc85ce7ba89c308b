//! Constraints between the values of a configuration.

use std::collections::HashSet;

use toml::de::{DeTable, DeValue};

use super::Config;
use crate::api::SCOPES;
use crate::simulator::NOT_BUILT_IN;

/// A violated constraint between valid values.
#[derive(Debug)]
pub(super) struct Conflict {
    table: &'static str,
    /// The index of the table, for `[[client]]` and `[[channel]]`.
    position: Option<usize>,
    key: Option<&'static str>,
    pub(super) what: String,
}

impl Conflict {
    fn new(table: &'static str, key: &'static str, what: impl Into<String>) -> Self {
        Self {
            table,
            position: None,
            key: Some(key),
            what: what.into(),
        }
    }

    fn of(table: &'static str, position: usize, what: impl Into<String>) -> Self {
        Self {
            table,
            position: Some(position),
            key: None,
            what: what.into(),
        }
    }

    /// Returns the byte offset of the value in `text`, or the one of its table.
    pub(super) fn offset(&self, text: &str) -> Option<usize> {
        let file = DeTable::parse(text).ok()?;
        let (name, value) = file.get_ref().get_key_value(self.table)?;
        let mut offset = name.span().start;
        let table = match (value.get_ref(), self.position) {
            (DeValue::Array(tables), Some(position)) => {
                let table = tables.get(position)?;
                offset = table.span().start;
                table.get_ref()
            }
            (value, _) => value,
        };
        let key = self.key.and_then(|key| table.as_table()?.get_key_value(key));
        Some(key.map_or(offset, |(key, _)| key.span().start))
    }
}

pub(super) fn check(config: &Config) -> Result<(), Conflict> {
    listen(config)?;
    genesys(config)?;
    if config.store.path == config.store.keys {
        return Err(Conflict::new(
            "store",
            "keys",
            "[store] `path` and `keys` are the same file: give each its own",
        ));
    }
    scopes(config)?;
    if config.sessions.idle_timeout < config.sessions.access_token_lifetime {
        return Err(Conflict::new(
            "sessions",
            "idle_timeout",
            "[sessions] `idle_timeout` is shorter than `access_token_lifetime`: make it at least as long",
        ));
    }
    let nobody = "at least one [[client]] and one [[channel]] are needed to create a session";
    if config.client.is_empty() {
        return Err(Conflict::new("client", "", nobody));
    }
    if config.channel.is_empty() {
        return Err(Conflict::new("channel", "", nobody));
    }
    let ids = config.client.iter().map(|client| client.id.as_str());
    unique("client", ids)?;
    unique(
        "channel",
        config.channel.iter().map(|channel| channel.id.as_str()),
    )
}

fn listen(config: &Config) -> Result<(), Conflict> {
    let listen = &config.listen;
    match (&listen.certificate, &listen.key) {
        (Some(_), Some(_)) => Ok(()),
        (None, None) if listen.address.ip().is_loopback() => Ok(()),
        (None, None) => Err(Conflict::new(
            "listen",
            "address",
            "[listen] plain HTTP is allowed on loopback only: add `certificate` and `key`",
        )),
        (certificate, _) => Err(Conflict::new(
            "listen",
            if certificate.is_some() {
                "certificate"
            } else {
                "key"
            },
            "[listen] has one of `certificate` and `key`: use both, or none for plain HTTP on loopback",
        )),
    }
}

fn genesys(config: &Config) -> Result<(), Conflict> {
    let genesys = &config.genesys;
    let sources = [
        genesys.simulator,
        genesys.region.is_some(),
        genesys.host.is_some(),
    ];
    if sources.into_iter().filter(|source| *source).count() != 1 {
        return Err(Conflict::new(
            "genesys",
            "",
            "[genesys] needs exactly one of `simulator = true`, `region` and `host`",
        ));
    }
    if genesys.simulator && !cfg!(feature = "sim") {
        return Err(Conflict::new(
            "genesys",
            "simulator",
            format!("[genesys] `simulator`: {NOT_BUILT_IN} as `host`"),
        ));
    }
    let overrides = [
        ("login", &genesys.login),
        ("api", &genesys.api),
        ("messaging", &genesys.messaging),
        ("cdn", &genesys.cdn),
    ];
    if let Some((key, _)) = overrides
        .iter()
        .find(|(_, host)| genesys.simulator && host.is_some())
    {
        return Err(Conflict::new(
            "genesys",
            key,
            "[genesys] has `simulator = true`, which serves all hosts: use `region` or `host` instead",
        ));
    }
    let without = config
        .channel
        .iter()
        .position(|channel| channel.deployment.is_none());
    match without {
        Some(position) if !genesys.simulator => Err(Conflict::of(
            "channel",
            position,
            "every [[channel]] needs its `deployment`, the id of a messenger deployment",
        )),
        _ => Ok(()),
    }
}

fn scopes(config: &Config) -> Result<(), Conflict> {
    for (position, client) in config.client.iter().enumerate() {
        if let Some(scope) = client.scopes.iter().find(|scope| !SCOPES.contains(scope)) {
            return Err(Conflict::of(
                "client",
                position,
                format!("unknown scope {scope}: use {}", SCOPES.join(", ")),
            ));
        }
    }
    Ok(())
}

fn unique<'a>(table: &'static str, ids: impl Iterator<Item = &'a str>) -> Result<(), Conflict> {
    let mut known = HashSet::new();
    for (position, id) in ids.enumerate() {
        if !known.insert(id) {
            return Err(Conflict::of(
                table,
                position,
                format!("duplicate [[{table}]] {id}: the ids must differ"),
            ));
        }
    }
    Ok(())
}
