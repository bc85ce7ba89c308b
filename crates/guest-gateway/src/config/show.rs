//! The effective configuration as text, with the place of each value. Secrets are redacted.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::Duration;

use genesys_api::Region;
use genesys_auth::{ClientId, Scopes};
use genesys_http::TlsVersion;
use guest_payload::Policy;
use secrecy::SecretString;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use webhook::Schedule;
use ws_transport::OriginPolicy;

use super::Config;

pub(super) const REDACTED: &str = "[redacted]";

/// Column of the places.
const COLUMN: usize = 48;

impl Config {
    /// Returns the values as TOML, defaults included. A comment behind each has its place.
    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        if let Ok(Value::Object(sections)) = serde_json::to_value(self) {
            self.show_table("", &sections, &mut text);
        }
        text
    }

    fn show_table(&self, path: &str, table: &Map<String, Value>, text: &mut String) {
        let path_of = |key: &str| match path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        let (tables, values): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| is_table(value));
        for (key, value) in values.into_iter().filter(|(_, value)| !value.is_null()) {
            let assignment = format!("{key} = {value}");
            let origin = self.origins.get(&path_of(key));
            let origin = origin.map_or_else(|| "default".to_owned(), ToString::to_string);
            let _ = writeln!(text, "{assignment:COLUMN$} # {origin}");
        }
        for (key, value) in tables {
            let path = path_of(key);
            let header: String = path
                .split('.')
                .filter(|part| part.parse::<usize>().is_err())
                .fold(String::new(), |header, part| match &*header {
                    "" => part.to_owned(),
                    header => format!("{header}.{part}"),
                });
            let items = value.as_array().map_or(&[][..], Vec::as_slice);
            for (index, item) in items.iter().enumerate() {
                let _ = writeln!(text, "\n[[{header}]]");
                if let Value::Object(item) = item {
                    self.show_table(&format!("{path}.{index}"), item, text);
                }
            }
            if let Value::Object(table) = value {
                let _ = writeln!(text, "\n[{header}]");
                self.show_table(&path, table, text);
            }
        }
    }
}

/// Whether a value is a section, or a list of them.
fn is_table(value: &Value) -> bool {
    value.is_object()
        || value
            .as_array()
            .is_some_and(|items| items.iter().any(Value::is_object))
}

pub(crate) fn text_option<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

pub(super) fn redacted<S: Serializer>(secret: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    text_option(&secret.as_ref().map(|_| REDACTED), to)
}

pub(crate) fn span<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    let text = humantime::format_duration(*duration).to_string();
    to.serialize_str(&text.replace(' ', ""))
}

/// Serializes a size in bytes, which is a multiple of a MiB.
pub(super) fn size<S: Serializer>(bytes: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    text_option(&bytes.map(|bytes| format!("{}MiB", bytes >> 20)), to)
}

pub(super) fn client_id<S: Serializer>(id: &ClientId, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(id.as_str())
}

pub(super) fn scopes<S: Serializer>(scopes: &Scopes, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(scopes.iter())
}

pub(super) fn origins<S: Serializer>(origins: &OriginPolicy, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(origins.origins().iter().map(ToString::to_string))
}

pub(super) fn schedule<S: Serializer>(schedule: &Schedule, to: S) -> Result<S::Ok, S::Error> {
    let waits = schedule.retries().iter();
    to.collect_seq(waits.map(|wait| humantime::format_duration(*wait).to_string()))
}

pub(super) fn policy<S: Serializer>(policy: &Arc<Policy>, to: S) -> Result<S::Ok, S::Error> {
    policy.id.serialize(to)
}

pub(super) fn region<S: Serializer>(region: &Option<Region>, to: S) -> Result<S::Ok, S::Error> {
    region.map(|region| region.aws).serialize(to)
}

pub(super) fn tls_version<S: Serializer>(version: &TlsVersion, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match version {
        TlsVersion::Tls13 => "1.3",
        _ => "1.2",
    })
}
