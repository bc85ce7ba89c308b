//! Constraints between the values of a configuration.

use toml::de::{DeTable, DeValue};

use super::{Admin, Channel, Client, Config, SCOPES};
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
    let client_id = |client: &Client| client.id.as_str().to_owned();
    check_each("client", &config.client, client_id, |client| {
        if !client.has_one_secret() {
            return Some(format!("invalid [[client]] {}: {ONE_SECRET}", client.id.as_str()));
        }
        let unknown = client.scopes.iter().find(|scope| !SCOPES.contains(scope))?;
        Some(format!("invalid scope {unknown}: use {}", SCOPES.join(", ")))
    })?;
    check_spa(config)?;
    check_admin(config)?;
    let channel_id = |channel: &Channel| channel.id.as_str().to_owned();
    check_each("channel", &config.channel, channel_id, |channel| {
        let has_deployment = channel.deployment.is_some() || config.genesys.simulator;
        let missing = "invalid [[channel]]: `deployment` is missing, give the id of a messenger deployment";
        (!has_deployment).then(|| missing.to_owned())
    })
}

fn check_tables(config: &Config) -> Result<(), Conflict> {
    let (listen, genesys, sessions) = (&config.listen, &config.genesys, &config.sessions);
    let (certificate, key) = (listen.certificate.is_some(), listen.key.is_some());
    let (client_certificate, client_key) =
        (genesys.client_certificate.is_some(), genesys.client_key.is_some());
    let (region, host) = (genesys.region.is_some(), genesys.host.is_some());
    let targets = u8::from(genesys.simulator) + u8::from(region) + u8::from(host);
    let own_hosts = [
        ("login", &genesys.login),
        ("api", &genesys.api),
        ("messaging", &genesys.messaging),
        ("cdn", &genesys.cdn),
    ];
    let own_host = own_hosts.into_iter().find(|(_, host)| host.is_some());
    let one_of_two = "invalid [listen]: one of `certificate` and `key` is missing, use both, or none for plain HTTP on loopback";
    let client_pair =
        "invalid [genesys]: one of `client_certificate` and `client_key` is missing, use both, or none";
    let not_built_in = format!("invalid [genesys] `simulator`: {NOT_BUILT_IN} as `host`");
    let none = "invalid configuration: a session needs at least one [[client]] and one [[channel]]";
    let conflicts = [
        (
            !certificate && !key && !listen.address.ip().is_loopback(),
            ("listen", "address"),
            "invalid [listen] `address`: plain HTTP is for loopback only, add `certificate` and `key`",
        ),
        (certificate && !key, ("listen", "certificate"), one_of_two),
        (key && !certificate, ("listen", "key"), one_of_two),
        (
            client_certificate && !client_key,
            ("genesys", "client_certificate"),
            client_pair,
        ),
        (
            client_key && !client_certificate,
            ("genesys", "client_key"),
            client_pair,
        ),
        (
            targets != 1,
            ("genesys", ""),
            "invalid [genesys]: use exactly one of `simulator = true`, `region` and `host`",
        ),
        (
            genesys.simulator && !cfg!(feature = "sim"),
            ("genesys", "simulator"),
            &not_built_in,
        ),
        (
            genesys.simulator && own_host.is_some(),
            ("genesys", own_host.map_or("", |(key, _)| key)),
            "invalid [genesys]: `simulator = true` serves all hosts, use `region` or `host` instead",
        ),
        (
            config.store.path == config.store.keys,
            ("store", "keys"),
            "invalid [store] `keys`: the same file as `path`, give each its own",
        ),
        (
            sessions.idle_timeout < sessions.access_token_lifetime,
            ("sessions", "idle_timeout"),
            "invalid [sessions] `idle_timeout`: shorter than `access_token_lifetime`, make it at least as long",
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

fn check_spa(config: &Config) -> Result<(), Conflict> {
    let Some(spa) = &config.spa else { return Ok(()) };
    let conflict = |key, what: &str| Conflict {
        table: "spa",
        position: None,
        key,
        what: what.to_owned(),
    };
    if !config.client.iter().any(|client| client.id == spa.client) {
        let what = "invalid [spa] `client`: not the id of a [[client]], give the one that owns the sessions";
        return Err(conflict("client", what));
    }
    let channel = config.spa_channel();
    if !config.channel.iter().any(|known| Some(&known.id) == channel) {
        let what = "invalid [spa] `channel`: missing, or not the id of a [[channel]], give one of them";
        return Err(conflict("channel", what));
    }
    if spa.lifetime < config.sessions.idle_timeout {
        let what =
            "invalid [spa] `lifetime`: shorter than `idle_timeout` of [sessions], make it at least as long";
        return Err(conflict("lifetime", what));
    }
    if !spa.anonymous && spa.assertion_key.is_empty() {
        let what = "invalid [spa] `anonymous`: false without an [[spa.assertion_key]], so that no guest is admitted: add one";
        return Err(conflict("anonymous", what));
    }
    if spa.demo_page && !spa.anonymous {
        let what =
            "invalid [spa] `demo_page`: the demo shop has no assertions, use it with `anonymous = true`";
        return Err(conflict("demo_page", what));
    }
    for (position, key) in spa.assertion_key.iter().enumerate() {
        let is_repeated = spa.assertion_key[..position]
            .iter()
            .any(|other| other.id == key.id);
        let what = match (key.has_one_value(), is_repeated) {
            (false, _) => "give exactly one of `public_key`, `secret`, `secret_file` and `secret_env`",
            (true, true) => "duplicate id, give each its own",
            (true, false) => continue,
        };
        let what = format!("invalid [[spa.assertion_key]] {}: {what}", key.id);
        return Err(conflict("assertion_key", &what));
    }
    Ok(())
}

fn check_admin(config: &Config) -> Result<(), Conflict> {
    let conflict = config.admin.as_ref().and_then(Admin::conflict);
    conflict.map_or(Ok(()), |(key, what)| {
        Err(Conflict {
            table: "admin",
            position: None,
            key,
            what: what.to_owned(),
        })
    })
}

/// Checks the tables of an array, whose ids must differ.
fn check_each<T>(
    table: &'static str,
    items: &[T],
    id: impl Fn(&T) -> String,
    violation: impl Fn(&T) -> Option<String>,
) -> Result<(), Conflict> {
    for (position, item) in items.iter().enumerate() {
        let duplicate = || {
            let id_of_item = id(item);
            let is_repeated = items[..position].iter().any(|earlier| id(earlier) == id_of_item);
            is_repeated.then(|| format!("invalid [[{table}]] {id_of_item}: duplicate id, give each its own"))
        };
        if let Some(what) = violation(item).or_else(duplicate) {
            return Err(Conflict {
                table,
                position: Some(position),
                key: "",
                what,
            });
        }
    }
    Ok(())
}
