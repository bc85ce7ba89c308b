//! The configuration of a running gateway: read again, and the time to drain.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

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
        let differs = |key: &&String| {
            let [one, other] = [self, other].map(|config| config.values.get(*key));
            one.map(SecretString::expose_secret) != other.map(SecretString::expose_secret)
        };
        let keys = self.values.keys().chain(other.values.keys());
        keys.filter(differs).cloned().collect()
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
