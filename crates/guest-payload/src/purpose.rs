//! Purposes of data about a guest.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A purpose of data that a guest may agree to or refuse. Serving the guest needs no consent and is not listed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Unsolicited messages and offers.
    Marketing,
    /// Profiling, and content selected by data about the guest.
    Personalization,
    /// Statistics of use.
    Analytics,
}

impl Purpose {
    /// Every purpose, in the order of the founding tutorial.
    pub const ALL: [Self; 3] = [Self::Marketing, Self::Personalization, Self::Analytics];

    /// The name, as in `marketing`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::Personalization => "personalization",
            Self::Analytics => "analytics",
        }
    }

    /// Splits the prefix of a purpose off the name of an attribute: its first letters and digits, in any case.
    pub(crate) fn split_prefix(name: &str) -> Option<(Self, &str)> {
        let name = name.trim_start_matches(|c: char| !c.is_alphanumeric());
        let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
        let (prefix, rest) = name.split_at(end);
        let prefix = prefix.to_lowercase();
        let purpose = Self::ALL.into_iter().find(|purpose| purpose.as_str() == prefix)?;
        Some((purpose, rest))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value for each purpose, as an object.
#[derive(Deserialize, Serialize)]
pub(crate) struct ByPurpose<T> {
    marketing: T,
    personalization: T,
    analytics: T,
}

impl<T> From<[T; 3]> for ByPurpose<T> {
    fn from([marketing, personalization, analytics]: [T; 3]) -> Self {
        Self {
            marketing,
            personalization,
            analytics,
        }
    }
}

impl<T> From<ByPurpose<T>> for [T; 3] {
    fn from(by_purpose: ByPurpose<T>) -> Self {
        [
            by_purpose.marketing,
            by_purpose.personalization,
            by_purpose.analytics,
        ]
    }
}
