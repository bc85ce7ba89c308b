//! Constraints between the values of a configuration.

use std::net::SocketAddr;
use std::path::Path;

use genesys_api::Host;

use super::suggestion::did_you_mean;
use super::{Channel, Client, Config, Listen, Organization, PlainHttp};
use crate::simulator::NOT_BUILT_IN;

pub(super) const ONE_SECRET: &str = "give exactly one of `secret`, `secret_file` and `secret_env`";

/// A violated constraint between valid values.
#[derive(Debug)]
pub(super) struct Conflict {
    /// The path of the value or its table, such as `client.0`.
    pub(super) path: String,
    pub(super) what: String,
}

pub(super) fn check(config: &Config) -> Result<(), Conflict> {
    check_listen(&config.listen)?;
    check_tables(config)?;
    check_organizations(config)?;
    let client_id = |client: &Client| client.id.as_str().to_owned();
    check_each("client", &config.client, client_id, |client| {
        let secret = (!client.has_one_secret()).then(|| ONE_SECRET.to_owned());
        let what = secret.or_else(|| invalid_organizations(config, "organizations", &client.organizations));
        what.map(|what| format!("invalid [[client]] {}: {what}", client.id.as_str()))
    })?;
    check_admin(config)?;
    let channel_id = |channel: &Channel| channel.id.as_str().to_owned();
    check_each("channel", &config.channel, channel_id, |channel| {
        let has_deployment = channel.deployment.is_some() || config.genesys.simulator;
        let missing = || "`deployment` is missing, give the id of a messenger deployment".to_owned();
        let what = (!has_deployment).then(missing);
        let what = what.or_else(|| invalid_organizations(config, "organization", &channel.organization));
        what.map(|what| format!("invalid [[channel]]: {what}"))
    })?;
    check_spa(config)
}

fn check_listen(listen: &Listen) -> Result<(), Conflict> {
    let (certificate, key) = (listen.certificate.is_some(), listen.key.is_some());
    let one_of_two =
        "invalid [listen]: one of `certificate` and `key` is missing, use both, or none for plain HTTP";
    let is_plain = !certificate && !key;
    let behind_proxy = listen.plain_http == PlainHttp::BehindProxy;
    let has_https_url = listen.public_url.as_ref().is_some_and(Host::is_secure);
    let beyond_loopback = format!(
        "invalid [listen] `address` {}: plain HTTP is for loopback only, add `certificate` and `key`, or \
         `plain_http = \"behind-proxy\"` if a proxy or an ingress terminates TLS",
        listen.address
    );
    first_violated([
        (
            is_plain && !behind_proxy && !listen.address.ip().is_loopback(),
            ("listen", "address"),
            &*beyond_loopback,
        ),
        (
            behind_proxy && !is_plain,
            ("listen", "plain_http"),
            "invalid [listen] `plain_http`: `certificate` and `key` are set, remove them or `plain_http`",
        ),
        (
            behind_proxy && !has_https_url,
            ("listen", "plain_http"),
            "invalid [listen] `plain_http`: needs `public_url`, give the https URL of the proxy",
        ),
        (
            behind_proxy
                && listen
                    .trusted_proxies
                    .iter()
                    .all(|network| network.addr().is_loopback())
                && !listen.address.ip().is_loopback(),
            ("listen", "plain_http"),
            "invalid [listen] `plain_http`: needs the network of the proxy in `trusted_proxies`, otherwise all guests share \
             the limits of its address",
        ),
        (certificate && !key, ("listen", "certificate"), one_of_two),
        (key && !certificate, ("listen", "key"), one_of_two),
    ])
}

fn check_tables(config: &Config) -> Result<(), Conflict> {
    let sessions = &config.sessions;
    let none = "invalid configuration: a session needs at least one [[client]] and one [[channel]], add them";
    let has_demo_page = config.spa.as_ref().is_some_and(|spa| spa.demo_page);
    let is_file = |path: &Path| path.file_name().is_some();
    let conflicts = [
        (
            sessions.allowed_origins.origins().is_empty() && !has_demo_page,
            ("sessions", "allowed_origins"),
            "invalid [sessions] `allowed_origins`: empty, so that no page can connect: give the origins of the pages, such as \
             \"https://shop.example\"",
        ),
        (
            config.store.databases() > 1,
            ("store", ""),
            "invalid [store]: give at most one of `postgres`, `postgres_file` and `postgres_env`",
        ),
        (
            config.store.databases() > 0 && config.values.contains_key("store.path"),
            ("store", "path"),
            "invalid [store] `path`: the store is in PostgreSQL, remove it or the connection string",
        ),
        (
            config.store.databases() > 0 && config.store.max_size.is_some(),
            ("store", "max_size"),
            "invalid [store] `max_size`: the store is in PostgreSQL, which limits its size; remove it",
        ),
        (
            !is_file(&config.store.path),
            ("store", "path"),
            "invalid [store] `path`: names no file, give one such as \"guest-gateway.db\"",
        ),
        (
            config.store.path == Path::new(":memory:"),
            ("store", "path"),
            "invalid [store] `path` \":memory:\": the end of the process would erase the sessions and the audit log, name a file",
        ),
        (
            !is_file(&config.store.keys),
            ("store", "keys"),
            "invalid [store] `keys`: names no file, give one such as \"guest-gateway.keys\"",
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
    first_violated(conflicts)
}

fn check_organizations(config: &Config) -> Result<(), Conflict> {
    let (defaults, has_several) = (&config.genesys, !config.organizations.is_empty());
    let has_hosts = defaults.simulator
        || defaults.region.is_some()
        || defaults.host.is_some()
        || defaults.own_host().is_some();
    first_violated([(
        has_several && has_hosts,
        ("genesys", ""),
        "invalid [genesys]: has defaults of [organizations] only, so that each of them needs `region` or `host` of its own: \
         move them there",
    )])?;
    let organizations = config.organizations();
    organizations
        .iter()
        .try_for_each(|organization| check_organization(organization, has_several))
}

fn check_organization(organization: &Organization<'_>, is_named: bool) -> Result<(), Conflict> {
    let Organization { name, table, genesys } = organization;
    let (certificate, key) = (genesys.client_certificate.is_some(), genesys.client_key.is_some());
    let targets =
        u8::from(genesys.simulator) + u8::from(genesys.region.is_some()) + u8::from(genesys.host.is_some());
    let own_host = genesys.own_host();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_valid = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 64
        && name.bytes().all(is_name);
    let pair = "one of `client_certificate` and `client_key` is missing, use both, or none";
    let not_built_in = format!("`simulator = true`: {NOT_BUILT_IN} as `host`");
    let conflicts = [
        (
            !is_valid,
            "",
            "use a name of at most 64 letters, digits, `-` and `_` that begins with a letter",
        ),
        (certificate && !key, "client_certificate", pair),
        (key && !certificate, "client_key", pair),
        (
            is_named && genesys.simulator,
            "simulator",
            "`simulator` is of one organization only, use `host` with the URL of a running simulator",
        ),
        (
            targets != 1,
            "",
            "use exactly one of `simulator = true`, `region` and `host`",
        ),
        (
            genesys.simulator && !cfg!(feature = "sim"),
            "simulator",
            &not_built_in,
        ),
        (
            genesys.simulator && own_host.is_some(),
            own_host.unwrap_or_default(),
            "`simulator = true` serves all hosts, use `region` or `host` instead",
        ),
    ];
    let violated = conflicts.into_iter().find(|(is_violated, ..)| *is_violated);
    violated.map_or(Ok(()), |(_, key, what)| {
        Err(Conflict {
            path: organization.path(key),
            what: format!("invalid [{table}]: {what}"),
        })
    })
}

/// The reason why these are no names of organizations for a client or a channel.
fn invalid_organizations<'a>(
    config: &Config,
    key: &str,
    names: impl IntoIterator<Item = &'a String>,
) -> Option<String> {
    let organizations = &config.organizations;
    let mut names = names.into_iter().peekable();
    if !organizations.is_empty() && names.peek().is_none() {
        let known = organizations.keys().map(String::as_str).collect::<Vec<_>>();
        return Some(format!(
            "`{key}` is missing, give those of [organizations]: {}",
            known.join(", ")
        ));
    }
    let unknown = names.find(|name| !organizations.contains_key(*name))?;
    let suggestion = did_you_mean(unknown, organizations.keys().map(String::as_str));
    Some(format!(
        "`{key}`: there is no [organizations.{unknown}], add it or correct the name{suggestion}"
    ))
}

/// Returns the first conflict of those that are violated, with its table and key.
fn first_violated<const COUNT: usize>(
    conflicts: [(bool, (&str, &str), &str); COUNT],
) -> Result<(), Conflict> {
    let violated = conflicts.into_iter().find(|(is_violated, ..)| *is_violated);
    violated.map_or(Ok(()), |(_, (table, key), what)| {
        Err(Conflict {
            path: format!("{table}.{key}"),
            what: what.to_owned(),
        })
    })
}

fn check_spa(config: &Config) -> Result<(), Conflict> {
    let Some(spa) = &config.spa else { return Ok(()) };
    let conflict = |key: &str, what: &str| Conflict {
        path: format!("spa.{key}"),
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
    let is_channel = |known: &&Channel| Some(&known.id) == channel;
    let organization = config
        .channel
        .iter()
        .find(is_channel)
        .and_then(|known| known.organization.as_ref());
    if let Some(organization) = organization
        && !config
            .client
            .iter()
            .any(|client| client.id == spa.client && client.organizations.contains(organization))
    {
        let what = "invalid [spa] `channel`: of an organization that its `client` does not have, give it that organization";
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
        return Err(conflict(&format!("assertion_key.{position}"), &what));
    }
    Ok(())
}

fn check_admin(config: &Config) -> Result<(), Conflict> {
    let Some(admin) = &config.admin else { return Ok(()) };
    let conflict = |key: &str, what: String| Conflict {
        path: format!("admin.{key}"),
        what,
    };
    if let Some((key, what)) = admin.conflict() {
        return Err(conflict(key, what.to_owned()));
    }
    if overlap(config.listen.address, admin.address) {
        let what = format!(
            "invalid [admin] `address` {}: taken by [listen], give each its own port",
            admin.address
        );
        return Err(conflict("address", what));
    }
    Ok(())
}

/// Whether two listeners cannot have these addresses. Those of all interfaces have each address of their port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (is_fixed, has_all) = (one.port() != 0, |address: SocketAddr| {
        address.ip().is_unspecified()
    });
    is_fixed && one.port() == other.port() && (one.ip() == other.ip() || has_all(one) || has_all(other))
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
                path: format!("{table}.{position}"),
                what,
            });
        }
    }
    Ok(())
}
