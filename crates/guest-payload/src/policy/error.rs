//! Errors of policy files.

use std::fmt;

use crate::{AgeError, JurisdictionError, Purpose};

/// Invalid policy file: the line and the kind of its first error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyError {
    line: usize,
    kind: Box<PolicyErrorKind>,
}

impl PolicyError {
    pub(super) fn new(line: usize, kind: PolicyErrorKind) -> Self {
        Self {
            line,
            kind: Box::new(kind),
        }
    }

    /// The line, counted from 1. A missing rule is reported on line 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> &PolicyErrorKind {
        &self.kind
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl std::error::Error for PolicyError {}

/// The kind of an error in a policy file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyErrorKind {
    /// Invalid age.
    #[error("{error}")]
    Age {
        /// The cause.
        error: AgeError,
    },
    /// An age limit above 25 years.
    #[error("invalid age limit {years}: at most 25 years are allowed")]
    Years {
        /// The value.
        years: u8,
    },
    /// Invalid name of an area.
    #[error("invalid area {area:?}: use 1 to 32 of A-Z a-z 0-9 and -")]
    Area {
        /// The value, truncated.
        area: String,
    },
    /// The policy ends before it begins.
    #[error("invalid valid-until: the last day is before valid-from")]
    Backwards,
    /// Invalid date.
    #[error("invalid date {date}: write a date without time, as in 2026-11-22")]
    Date {
        /// The value.
        date: String,
    },
    /// Invalid id of the policy.
    #[error("invalid policy id {id:?}: use 1 to 64 of a-z 0-9 and -")]
    Id {
        /// The value, truncated.
        id: String,
    },
    /// The rule for unknown places is less strict than another.
    #[error(
        "invalid rule {unknown}: it is less strict than {stricter}, and the rule for unknown places must be the strictest"
    )]
    LaxUnknown {
        /// The rule for unknown places.
        unknown: String,
        /// The one that is stricter.
        stricter: String,
    },
    /// A purpose has no rule for elsewhere or for unknown places.
    #[error("missing rule: {purpose} needs one with the places {places:?}")]
    NoFallback {
        /// The purpose.
        purpose: Purpose,
        /// `elsewhere` or `unknown`.
        places: &'static str,
    },
    /// An empty list of places, purposes or sources.
    #[error("empty {what}: name at least one")]
    Nothing {
        /// The key of the list.
        what: &'static str,
    },
    /// Two rules for one purpose in one place.
    #[error("overlapping rule: {purpose} in {place} has one on line {first}")]
    Overlap {
        /// The purpose.
        purpose: Purpose,
        /// The place.
        place: &'static str,
        /// Line of the first rule.
        first: usize,
    },
    /// Invalid place.
    #[error("{error}")]
    Place {
        /// The cause.
        error: JurisdictionError,
    },
    /// `elsewhere` or `unknown` beside other places.
    #[error("invalid places: {places:?} must be the only one, add a rule for the others")]
    PlacesBeside {
        /// `elsewhere` or `unknown`.
        places: &'static str,
    },
    /// Two rules with the same id.
    #[error("duplicate rule {id}: the first is on line {first}, use another area")]
    SameName {
        /// The id.
        id: String,
        /// Line of the first rule.
        first: usize,
    },
    /// Invalid TOML, an unknown or missing key, or a value of the wrong type.
    #[error("{message}")]
    Syntax {
        /// The message of the TOML parser.
        message: String,
    },
    /// A text that is empty, too long, or contains control characters.
    #[error("invalid {what}: use 1 to {most} characters without line breaks")]
    Text {
        /// The key of the text.
        what: &'static str,
        /// Maximum characters.
        most: usize,
    },
    /// The file is too large.
    #[error("policy too large: at most {most} {what} are allowed")]
    TooLarge {
        /// The unit of the limit.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A source that the file does not define.
    #[error("unknown source {name:?}: define it under [sources.NAME]")]
    UnknownSource {
        /// The value, truncated.
        name: String,
    },
    /// A source that no rule names.
    #[error("unused source {name:?}: remove it, or name it in a rule")]
    UnusedSource {
        /// Its name, truncated.
        name: String,
    },
    /// Invalid version.
    #[error("invalid version {version:?}: use three numbers, as in 1.0.0")]
    Version {
        /// The value, truncated.
        version: String,
    },
    /// `max-age-days` of 0.
    #[error("invalid max-age-days 0: an agreement would be too old at once")]
    ZeroDays,
}
