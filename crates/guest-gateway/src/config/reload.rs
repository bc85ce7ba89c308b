//! The configuration of a running gateway: read again, and the time to drain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::value::RawValue;

use super::{Config, ConfigError, hours};

impl Config {
    /// Reads the file of this configuration again, with the environment and the same flags over it.
    ///
    /// # Errors
    /// See [`Config::read`].
    pub(crate) fn reread(&self) -> Result<Self, ConfigError> {
        let no_file = || ConfigError("it was not read from a file".to_owned());
        Self::read_with(self.origins.file().ok_or_else(no_file)?, self.flags.clone())
    }

    /// Returns the keys whose values differ.
    pub(crate) fn changed(&self, other: &Self) -> BTreeSet<String> {
        let [one, other] = [self, other].map(Self::values_by_key);
        let differs = |key: &&String| {
            let [one, other] = [&one, &other].map(|values| values.get(*key));
            one.map(SecretString::expose_secret) != other.map(SecretString::expose_secret)
        };
        one.keys().chain(other.keys()).filter(differs).cloned().collect()
    }

    /// The values, with those of an organization by its keys, such as `organizations.emea.proxy`.
    fn values_by_key(&self) -> BTreeMap<String, SecretString> {
        let mut values = BTreeMap::new();
        for (path, value) in &self.values {
            let table: Option<BTreeMap<String, &RawValue>> = path
                .starts_with("organizations.")
                .then(|| serde_json::from_str(value.expose_secret()).ok())
                .flatten();
            match table {
                Some(table) => values.extend(
                    table
                        .into_iter()
                        .map(|(key, value)| (format!("{path}.{key}"), value.get().into())),
                ),
                None => drop(values.insert(path.clone(), value.clone())),
            }
        }
        values
    }
}

/// Parses the time to drain, from a second to an hour.
pub(super) fn drain<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    match humantime::parse_duration(&text) {
        Ok(drain) if (Duration::from_secs(1)..=hours::<1>()).contains(&drain) => Ok(drain),
        _ => Err(D::Error::custom(format!(
            "invalid duration {text:?}: use one from a second to an hour, such as \"20s\""
        ))),
    }
}
