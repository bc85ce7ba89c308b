//! Parsers of single values. An error has the value unless it is secret.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::{DeploymentId, MAX_DURATION, Region};
use genesys_auth::Scopes;
use guest_payload::Policy;
use ipnet::{IpNet, Ipv4Net};
use secrecy::SecretString;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use webhook::Schedule;
use ws_transport::OriginPolicy;

use super::suggestion::did_you_mean;
use super::{ConfigError, SCOPES};
use crate::policy_file;
use crate::resources::{connections_within, open_files};

const MIN_DURATION: Duration = Duration::from_secs(60);

pub(super) fn parsed<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    text.parse().map_err(D::Error::custom)
}

pub(crate) fn parsed_option<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    parsed(from).map(Some)
}

/// Parses a time of RFC 3339.
pub(super) fn timestamp<'de, D: Deserializer<'de>>(from: D) -> Result<OffsetDateTime, D::Error> {
    let text = String::deserialize(from)?;
    OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| {
        let hint = "use the form of RFC 3339 in quotes, such as \"2026-12-31T12:00:00Z\"";
        D::Error::custom(format!("invalid time {text:?}: {hint}"))
    })
}

pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let hint = "use an IP address with a port, such as \"127.0.0.1:8080\"";
        D::Error::custom(format!("invalid address {text:?}: {hint}"))
    })
}

pub(crate) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parse = |text: String| {
        let network = text.parse().map_err(|_| {
            let hint = "use an IP address with a prefix length, such as \"10.0.0.0/8\"";
            D::Error::custom(format!("invalid network {text:?}: {hint}"))
        })?;
        match mapped(network) {
            None => Ok(network),
            Some(network) => Err(D::Error::custom(format!(
                "invalid network {text:?}: never matches, because addresses of this form are compared as IPv4: use \"{network}\""
            ))),
        }
    };
    texts.into_iter().map(parse).collect()
}

/// Returns the IPv4 network of one that has IPv4-mapped IPv6 addresses only.
fn mapped(network: IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(network) = network else { return None };
    let address = network.network().to_ipv4_mapped()?;
    Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
}

pub(super) fn at_least_one<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default + PartialEq,
    D: Deserializer<'de>,
{
    let number = T::deserialize(from)?;
    if number == T::default() {
        return Err(D::Error::custom("invalid number: must be at least 1"));
    }
    Ok(number)
}

pub(super) fn policy<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Policy>, D::Error> {
    let name = String::deserialize(from)?;
    if !name.ends_with(".toml") {
        return Policy::find(&name).map(Arc::from).map_err(|error| {
            let suggestion = did_you_mean(&name, ["tutorial-strict", "purpose-scoped"]);
            D::Error::custom(format!(
                "{error}, or the path of a file that ends in .toml{suggestion}"
            ))
        });
    }
    let policy = tested_policy(Path::new(&name)).map_err(|error| D::Error::custom(error.0))?;
    Ok(Arc::new(policy))
}

/// Reads a policy file and runs its examples.
fn tested_policy(path: &Path) -> Result<Policy, ConfigError> {
    let file = policy_file::read(path).map_err(ConfigError)?;
    match file.test().first() {
        Some(failure) => Err(ConfigError(format!("{}: {failure}", path.display()))),
        None => Ok(file.policy),
    }
}

/// Parses a secret. No error repeats its value.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    match String::deserialize(from) {
        Ok(text) => Ok(Some(text.into())),
        Err(_) => Err(D::Error::custom("invalid secret: not a string, put it in quotes")),
    }
}

/// Parses a duration from a minute to ten years. Shorter tokens expire before they are rotated, and later dates cannot be
/// serialized.
pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let invalid = |reason: String| D::Error::custom(format!("invalid duration {text:?}: {reason}"));
    match humantime::parse_duration(&text) {
        Ok(duration) if (MIN_DURATION..=MAX_DURATION).contains(&duration) => Ok(duration),
        Ok(_) => Err(invalid("not between a minute and ten years".to_owned())),
        Err(error) => Err(invalid(format!("{error}; use a form such as \"1h\" or \"90s\""))),
    }
}

/// Parses the waits between the attempts of a delivery.
pub(super) fn schedule<'de, D: Deserializer<'de>>(from: D) -> Result<Schedule, D::Error> {
    let wait = |text: &String| {
        humantime::parse_duration(text).map_err(|error| {
            D::Error::custom(format!(
                "invalid duration {text:?}: {error}; use a form such as \"5m\""
            ))
        })
    };
    let texts = Vec::<String>::deserialize(from)?;
    let waits: Vec<_> = texts.iter().map(wait).collect::<Result<_, _>>()?;
    Schedule::new(waits).map_err(D::Error::custom)
}

pub(super) fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<OriginPolicy, D::Error> {
    OriginPolicy::new(Vec::<String>::deserialize(from)?).map_err(D::Error::custom)
}

pub(super) fn scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Scopes, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let scopes: Scopes = names.join(" ").parse().map_err(D::Error::custom)?;
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(scope)) {
        let (known, suggestion) = (SCOPES.join(", "), did_you_mean(unknown, SCOPES));
        return Err(D::Error::custom(format!(
            "invalid scope {unknown:?}: use {known}{suggestion}"
        )));
    }
    Ok(scopes)
}

pub(super) fn region<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Region>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(|error| {
        let names = Region::ALL.iter().flat_map(|region| [region.aws, region.domain]);
        D::Error::custom(format!("{error}{}", did_you_mean(&text, names)))
    })
}

/// Parses the id of a deployment. Genesys' ids are UUIDs.
pub(super) fn deployment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DeploymentId>, D::Error> {
    let text = String::deserialize(from)?;
    match (Uuid::try_parse(&text), text.parse()) {
        (Ok(_), Ok(id)) => Ok(Some(id)),
        _ => Err(D::Error::custom(format!(
            "invalid deployment {text:?}: not a UUID, copy the id of the messenger deployment from Genesys Cloud"
        ))),
    }
}

pub(super) fn default_policy() -> Arc<Policy> {
    Policy::tutorial_strict().into()
}

pub(super) fn enabled() -> bool {
    true
}

pub(super) fn minutes<const COUNT: u64>() -> Duration {
    Duration::from_secs(COUNT * 60)
}

pub(crate) fn hours<const COUNT: u64>() -> Duration {
    Duration::from_secs(COUNT * 3_600)
}

/// 16,384 connections, or as many as the files suffice for that this process may open.
pub(super) fn default_connections() -> u32 {
    let within = open_files().map_or(u32::MAX, |(_, largest)| connections_within(largest));
    within.clamp(1, 16_384)
}

pub(super) fn default_session_requests() -> u32 {
    300
}

pub(super) fn default_limit() -> usize {
    100_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_file_is_read_with_its_examples() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("custom.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            tested_policy(&path)
        };
        let shipped = include_str!("../../../guest-payload/policies/purpose-scoped.toml");
        let custom = shipped.replacen("id = \"purpose-scoped\"", "id = \"custom\"", 1);
        assert_eq!(read(&custom).unwrap().id, "custom");
        for (from, to, expected) in [
            ("basis", "bases", "custom.toml: line 24: unknown field `bases`"),
            (
                "is = \"off\"",
                "is = \"on\"",
                "should be on by custom/EU/marketing, and is off",
            ),
        ] {
            let error = read(&custom.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = tested_policy(&folder.path().join("no.toml")).unwrap_err();
        assert!(missing.to_string().contains("no.toml: cannot read the policy"));
    }
}
