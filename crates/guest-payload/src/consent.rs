//! What a guest chose, and when.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

use crate::Purpose;

/// What the guest said about one purpose.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// No.
    Denied,
    /// Yes.
    Granted,
    /// Nothing: not asked, or not answered.
    #[default]
    Unknown,
}

impl Choice {
    /// The name, as in `granted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Granted => "granted",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a choice can be shown to have been made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Evidence {
    /// When the guest chose, in UTC, to the millisecond. Not when the session is built.
    pub when: OffsetDateTime,
}

impl Evidence {
    /// The choice was made at `when`.
    #[must_use]
    pub fn at(when: OffsetDateTime) -> Self {
        // a time that has no equal in UTC lies at the very end of the calendar, and stays as it is
        let utc = when.checked_to_offset(UtcOffset::UTC).unwrap_or(when);
        Self {
            when: utc.truncate_to_millisecond(),
        }
    }
}

/// A guest's choices.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Consent {
    /// Choice about marketing.
    pub marketing: Choice,
    /// Choice about personalization.
    pub personalization: Choice,
    /// Choice about analytics.
    pub analytics: Choice,
    /// When the guest made them.
    pub evidence: Evidence,
}

impl Consent {
    /// The choice about one purpose.
    #[must_use]
    pub fn choice(&self, purpose: Purpose) -> Choice {
        self.choices()[purpose as usize]
    }

    pub(crate) fn choices(&self) -> [Choice; 3] {
        [self.marketing, self.personalization, self.analytics]
    }
}

/// What a guest changes about earlier choices. A purpose that is not named stays as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConsentChange {
    choices: [Option<Choice>; 3],
    evidence: Evidence,
}

impl ConsentChange {
    /// A change that names no purpose yet.
    #[must_use]
    pub fn new(evidence: Evidence) -> Self {
        Self {
            choices: [None; 3],
            evidence,
        }
    }

    /// The guest agrees to `purpose`.
    #[must_use]
    pub fn granting(mut self, purpose: Purpose) -> Self {
        self.choices[purpose as usize] = Some(Choice::Granted);
        self
    }

    /// The guest refuses `purpose`, or withdraws what they agreed to.
    #[must_use]
    pub fn withdrawing(mut self, purpose: Purpose) -> Self {
        self.choices[purpose as usize] = Some(Choice::Denied);
        self
    }

    /// What is chosen about one purpose, if anything is: granted or denied, never unknown.
    #[must_use]
    pub fn choice(&self, purpose: Purpose) -> Option<Choice> {
        self.choices[purpose as usize]
    }

    /// When the guest chose.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }
}

/// What the guest's browser says on their behalf.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Signals {
    /// Global Privacy Control: the guest opts out of the sale and sharing of their data. It switches marketing and
    /// personalization off everywhere, even where they were granted, and switches nothing on.
    pub gpc: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_kept_as_the_wire_can_carry_it() {
        let when = genesys_api::parse_rfc3339("2026-11-22T13:30:00.123456+01:00").unwrap();
        let evidence = Evidence::at(when);
        assert_eq!(genesys_api::rfc3339(evidence.when), "2026-11-22T12:30:00.123Z");
        assert_eq!(
            genesys_api::parse_rfc3339("2026-11-22T12:30:00.123Z"),
            Some(evidence.when)
        );
    }

    #[test]
    fn a_change_names_only_what_it_changes() {
        let change = ConsentChange::new(Evidence::at(OffsetDateTime::UNIX_EPOCH))
            .granting(Purpose::Analytics)
            .withdrawing(Purpose::Marketing);
        assert_eq!(change.choice(Purpose::Analytics), Some(Choice::Granted));
        assert_eq!(change.choice(Purpose::Marketing), Some(Choice::Denied));
        assert_eq!(change.choice(Purpose::Personalization), None);
    }
}
