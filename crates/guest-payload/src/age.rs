//! Ages of guests.

use std::fmt;
use std::str::FromStr;

/// The minimum age of a guest in years, if it is known.
///
/// A rule about age protects guests who may be too young, so only the lower end of an age band counts. Written
/// `unknown`, `16`, `13-15`, `18+` or `under 13`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Age(Option<u8>);

impl Age {
    /// Unknown age. A policy has an age that it then assumes.
    pub const UNKNOWN: Self = Self(None);

    /// A guest of this age or older.
    #[must_use]
    pub const fn at_least(years: u8) -> Self {
        Self(Some(years))
    }

    /// The lower of two ages. An unknown one has no effect.
    pub(crate) fn or_lower(self, other: Self) -> Self {
        Self(self.0.into_iter().chain(other.0).min())
    }

    /// The minimum age in years, if it is known.
    #[must_use]
    pub const fn years(self) -> Option<u8> {
        self.0
    }
}

impl FromStr for Age {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        let wrong = || AgeError {
            text: text.chars().take(40).collect(),
        };
        let years = |text: &str| {
            let digits =
                !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u8>()
                .ok()
                .filter(|years| digits && *years <= OLDEST)
                .ok_or_else(wrong)
        };
        if text == UNKNOWN {
            return Ok(Self::UNKNOWN);
        }
        if let Some(limit) = text.strip_prefix("under ") {
            return years(limit).map(|_| Self::at_least(0));
        }
        if let Some(least) = text.strip_suffix('+') {
            return years(least).map(Self::at_least);
        }
        match text.split_once('-') {
            Some((least, most)) => {
                let (least, most) = (years(least)?, years(most)?);
                if least > most {
                    return Err(wrong());
                }
                Ok(Self::at_least(least))
            }
            None => years(text).map(Self::at_least),
        }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(years) => write!(f, "{years}+"),
            None => f.write_str(UNKNOWN),
        }
    }
}

/// Invalid age.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid age {text:?}: write years, as in 16, 13-15, 18+ or \"under 13\", or unknown")]
pub struct AgeError {
    /// The first 40 characters of the input.
    pub text: String,
}

const UNKNOWN: &str = "unknown";

/// Highest age that is accepted. Our choice.
const OLDEST: u8 = 150;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_band_keeps_its_lower_end() {
        for (text, years) in [
            ("unknown", None),
            ("16", Some(16)),
            ("13-15", Some(13)),
            ("18+", Some(18)),
            ("under 13", Some(0)),
        ] {
            let age: Age = text.parse().unwrap();
            assert_eq!(age.years(), years, "{text}");
            assert_eq!(age.to_string().parse(), Ok(age));
        }
        for text in [
            "", "15-13", "-1", "+", "1000", "151", "+5", "under", "a", "16 ", "1-", "٣",
        ] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}
