//! Why a text is no policy.

use std::fmt;

use crate::{AgeError, JurisdictionError, Purpose};

/// The text is no policy. It says the line and the first mistake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyError {
    line: usize,
    mistake: Box<Mistake>,
}

impl PolicyError {
    pub(super) fn new(line: usize, mistake: Mistake) -> Self {
        Self {
            line,
            mistake: Box::new(mistake),
        }
    }

    /// The line, from 1. What is missing altogether is said to be missing on line 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// What is wrong there.
    #[must_use]
    pub fn mistake(&self) -> &Mistake {
        &self.mistake
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.mistake)
    }
}

impl std::error::Error for PolicyError {}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mistake {
    /// An age cannot be one.
    #[error("{error}")]
    Age {
        /// Why.
        error: AgeError,
    },
    /// An age in years that nobody reaches as a minor.
    #[error("{years} years are too many: give at most 25")]
    Years {
        /// What was given.
        years: u8,
    },
    /// The name of an area.
    #[error("{area:?} is no name of an area: give 1 to 32 of A-Z a-z 0-9 and -")]
    Area {
        /// What was given, cut short.
        area: String,
    },
    /// The policy ends before it begins.
    #[error("the policy ends before it begins: make valid-until the last day, not before valid-from")]
    Backwards,
    /// A date is none.
    #[error("{date} is no day: write a date alone, as in 2026-11-22")]
    Date {
        /// What was given.
        date: String,
    },
    /// An id that cannot be one.
    #[error("{id:?} is no id of a policy: give 1 to 64 of a-z 0-9 and -")]
    Id {
        /// What was given, cut short.
        id: String,
    },
    /// The rule for unknown places lets through what another holds back.
    #[error("{unknown} is laxer than {stricter}: where nobody knows the place, the strictest has to hold")]
    LaxUnknown {
        /// The rule for unknown places.
        unknown: String,
        /// The one that is stricter.
        stricter: String,
    },
    /// A purpose has no rule for where no other holds.
    #[error("{purpose} has no rule whose places are {places:?}")]
    NoFallback {
        /// The purpose.
        purpose: Purpose,
        /// `elsewhere` or `unknown`.
        places: &'static str,
    },
    /// Something names no place, purpose or source.
    #[error("{what} is empty: give at least one")]
    Nothing {
        /// What is empty.
        what: &'static str,
    },
    /// Two rules hold for one purpose in one place.
    #[error("{purpose} in {place} has a rule already, on line {first}")]
    Overlap {
        /// The purpose.
        purpose: Purpose,
        /// The place.
        place: &'static str,
        /// Where the first rule stands.
        first: usize,
    },
    /// A place is none.
    #[error("{error}")]
    Place {
        /// Why.
        error: JurisdictionError,
    },
    /// `elsewhere` or `unknown` stands beside other places.
    #[error("{places:?} stands alone: give other places a rule of their own")]
    PlacesBeside {
        /// `elsewhere` or `unknown`.
        places: &'static str,
    },
    /// Two rules would have the same name.
    #[error("the rule {id} is there already, on line {first}: name the area otherwise")]
    SameName {
        /// The name.
        id: String,
        /// Where the first one stands.
        first: usize,
    },
    /// It cannot be read: bad TOML, a key that is unknown or missing, a value of the wrong kind.
    #[error("{message}")]
    Syntax {
        /// What the reader says.
        message: String,
    },
    /// A text is empty, too long, or holds control characters.
    #[error("{what} must be 1 to {most} characters, without line breaks")]
    Text {
        /// Which.
        what: &'static str,
        /// Most characters.
        most: usize,
    },
    /// The file is too large.
    #[error("the policy has more than {most} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// No source of the file has the name.
    #[error("no source is called {name:?}: describe it under [sources.NAME]")]
    UnknownSource {
        /// What was given, cut short.
        name: String,
    },
    /// No rule names the source.
    #[error("no rule names the source {name:?}: leave it out, or name it")]
    UnusedSource {
        /// Which, cut short.
        name: String,
    },
    /// A version that is none.
    #[error("{version:?} is no version: give three numbers, as in 1.0.0")]
    Version {
        /// What was given, cut short.
        version: String,
    },
    /// An agreement that would be too old at once.
    #[error("max-age-days is 0: an agreement would be too old at once")]
    ZeroDays,
}
