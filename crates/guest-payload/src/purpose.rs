//! What data about a guest may be used for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A use of data that a guest may agree to or refuse.
///
/// Serving the guest is none of them: it needs no consent.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Messages and offers that the guest did not ask for.
    Marketing,
    /// Profiling, and content chosen by what is known of the guest.
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
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
