//! How old a guest may be.

use std::fmt;
use std::str::FromStr;

/// What is known of a guest's age: the least that they may be, in years.
///
/// A rule about age protects whoever might be too young, so the least age of a band is all that counts. Written
/// `unknown`, `16`, `13-15`, `18+` or `under 13`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Age(Option<u8>);

impl Age {
    /// Nothing is known. A policy says what it then assumes.
    pub const UNKNOWN: Self = Self(None);

    /// The guest is of this many years, or older.
    #[must_use]
    pub const fn at_least(years: u8) -> Self {
        Self(Some(years))
    }

    /// The least age in years, if anything is known.
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

/// The text is no age.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is no age: write years, as in 16, 13-15, 18+ or \"under 13\", or unknown")]
pub struct AgeError {
    /// What was given, its first 40 characters.
    pub text: String,
}

const UNKNOWN: &str = "unknown";

/// Our choice.
const OLDEST: u8 = 150;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_age_of_a_band_is_kept() {
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
