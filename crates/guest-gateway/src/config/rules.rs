//! Constraints between the values of a configuration.

use toml::de::{DeTable, DeValue};

use super::Config;
use crate::api::SCOPES;
use crate::simulator::NOT_BUILT_IN;

pub(super) const ONE_SECRET: &str = "give exactly one of `secret`, `secret_file` and `secret_env`";

/// A violated constraint between valid values.
#[derive(Debug)]
pub(super) struct Conflict {
    table: &'static str,
    /// The index of the table, for `[[client]]` and `[[channel]]`.
    position: Option<usize>,
    /// The key, or an empty text for the whole table.
    key: &'static str,
    pub(super) what: String,
}

impl Conflict {
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
        let key = table.as_table().and_then(|table| table.get_key_value(self.key));
        Some(key.map_or(offset, |(key, _)| key.span().start))
    }
}

pub(super) fn check(config: &Config) -> Result<(), Conflict> {
    check_tables(config)?;
    check_each("client", &config.client, |index, client| {
        let id = client.id.as_str();
        let unknown_scope = client.scopes.iter().find(|scope| !SCOPES.contains(scope));
        if !client.has_one_secret() {
            Some(format!("[[client]] {id}: {ONE_SECRET}"))
        } else if let Some(scope) = unknown_scope {
            Some(format!("unknown scope {scope}: use {}", SCOPES.join(", ")))
        } else {
            let mut earlier = config.client[..index].iter();
            earlier
                .any(|other| other.id == client.id)
                .then(|| duplicate("client", id))
        }
    })?;
    check_each("channel", &config.channel, |index, channel| {
        if channel.deployment.is_none() && !config.genesys.simulator {
            return Some(
                "every [[channel]] needs its `deployment`, the id of a messenger deployment".to_owned(),
            );
        }
        let mut earlier = config.channel[..index].iter();
        earlier
            .any(|other| other.id == channel.id)
            .then(|| duplicate("channel", channel.id.as_str()))
    })
}

fn check_tables(config: &Config) -> Result<(), Conflict> {
    let (listen, genesys, sessions) = (&config.listen, &config.genesys, &config.sessions);
    let (certificate, key) = (listen.certificate.is_some(), listen.key.is_some());
    let (region, host) = (genesys.region.is_some(), genesys.host.is_some());
    let targets = u8::from(genesys.simulator) + u8::from(region) + u8::from(host);
    let own_hosts = [
        ("login", &genesys.login),
        ("api", &genesys.api),
        ("messaging", &genesys.messaging),
        ("cdn", &genesys.cdn),
    ];
    let own_host = own_hosts.into_iter().find(|(_, host)| host.is_some());
    let one_of_two =
        "[listen] has one of `certificate` and `key`: use both, or none for plain HTTP on loopback";
    let not_built_in = format!("[genesys] `simulator`: {NOT_BUILT_IN} as `host`");
    let none = "at least one [[client]] and one [[channel]] are needed to create a session";
    let conflicts = [
        (
            !certificate && !key && !listen.address.ip().is_loopback(),
            ("listen", "address"),
            "[listen] plain HTTP is allowed on loopback only: add `certificate` and `key`",
        ),
        (certificate && !key, ("listen", "certificate"), one_of_two),
        (key && !certificate, ("listen", "key"), one_of_two),
        (
            targets != 1,
            ("genesys", ""),
            "[genesys] needs exactly one of `simulator = true`, `region` and `host`",
        ),
        (
            genesys.simulator && !cfg!(feature = "sim"),
            ("genesys", "simulator"),
            &not_built_in,
        ),
        (
            genesys.simulator && own_host.is_some(),
            ("genesys", own_host.map_or("", |(key, _)| key)),
            "[genesys] has `simulator = true`, which serves all hosts: use `region` or `host` instead",
        ),
        (
            config.store.path == config.store.keys,
            ("store", "keys"),
            "[store] `path` and `keys` are the same file: give each its own",
        ),
        (
            sessions.idle_timeout < sessions.access_token_lifetime,
            ("sessions", "idle_timeout"),
            "[sessions] `idle_timeout` is shorter than `access_token_lifetime`: make it at least as long",
        ),
        (config.client.is_empty(), ("client", ""), none),
        (config.channel.is_empty(), ("channel", ""), none),
    ];
    let violated = conflicts.into_iter().find(|(is_violated, ..)| *is_violated);
    violated.map_or(Ok(()), |(_, (table, key), what)| {
        Err(Conflict {
            table,
            position: None,
            key,
            what: what.to_owned(),
        })
    })
}

/// Checks the tables of an array.
fn check_each<T>(
    table: &'static str,
    items: &[T],
    violation: impl Fn(usize, &T) -> Option<String>,
) -> Result<(), Conflict> {
    let mut items = items.iter().enumerate();
    let violated = items.find_map(|(index, item)| Some((index, violation(index, item)?)));
    violated.map_or(Ok(()), |(index, what)| {
        Err(Conflict {
            table,
            position: Some(index),
            key: "",
            what,
        })
    })
}

fn duplicate(table: &str, id: &str) -> String {
    format!("duplicate [[{table}]] {id}: the ids must differ")
}
