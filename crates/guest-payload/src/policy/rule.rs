//! Rules for one purpose in one area.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime};

use super::file;
use crate::{Choice, Jurisdiction, Obligation, Obligations, Purpose, Reason};

/// A rule for one purpose in one area.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Its id: policy, area, purpose, as in `tutorial-strict/EU/marketing`.
    pub id: String,
    /// The purpose.
    pub purpose: Purpose,
    /// The places.
    pub scope: Scope,
    /// The legal basis of the purpose there.
    pub basis: Basis,
    /// The state while the guest has not chosen.
    pub default: Switch,
    /// The effect of a missing agreement.
    pub on_missing: OnMissing,
    /// Whether a GPC signal switches the purpose off.
    pub gpc: bool,
    /// Age limits.
    pub ages: AgeLimits,
    /// Days after which an agreement expires, if it does.
    pub max_age_days: Option<u32>,
    /// Obligations beside the decision.
    pub obligations: Obligations,
    /// Sources of the rule, at least one.
    pub sources: Vec<Source>,
    /// Open questions for the next review.
    pub doubts: Vec<String>,
}

impl Rule {
    /// Returns the reason for the state of the purpose under this rule.
    ///
    /// Refusal, age and signal come first, so that none of them can switch a purpose on.
    pub(crate) fn apply(&self, input: &RuleInput) -> Reason {
        if input.choice == Choice::Denied {
            Reason::Denied
        } else if !input.in_force {
            Reason::PolicyNotInForce
        } else if self.basis == Basis::Prohibited {
            Reason::Prohibited
        } else if input.age < self.ages.prohibited_below {
            Reason::TooYoung
        } else if input.gpc && self.gpc {
            Reason::OptOutSignal
        } else if input.choice == Choice::Granted && !self.is_expired(input) {
            if input.age < self.ages.consent_from && !input.guardian {
                Reason::GuardianNeeded
            } else {
                Reason::Granted
            }
        } else if self.default == Switch::On && input.age >= self.ages.opt_in_below {
            Reason::NotObjected
        } else if input.choice == Choice::Granted {
            Reason::Expired
        } else {
            Reason::NotGranted
        }
    }

    /// Whether the rule demands an agreement that is missing, too old, or needs a guardian.
    pub(crate) fn is_unmet(&self, input: &RuleInput) -> bool {
        let agreed = input.choice == Choice::Granted
            && !self.is_expired(input)
            && (input.age >= self.ages.consent_from || input.guardian);
        self.on_missing == OnMissing::DenySession && !agreed
    }

    /// Obligations under this rule with this result.
    pub(crate) fn obligations(&self, reason: Reason) -> Obligations {
        let own = match reason {
            Reason::NotGranted if self.on_missing == OnMissing::Ask => &[Obligation::Ask][..],
            Reason::Expired => &[Obligation::AskAgain],
            Reason::GuardianNeeded => &[Obligation::AskGuardian],
            Reason::PolicyNotInForce => &[Obligation::ReplacePolicy],
            _ => &[],
        };
        self.obligations.and(Obligations::of(own))
    }

    /// The first time at which an agreement of this time has expired, if it does.
    pub(crate) fn expiry(&self, chosen_at: OffsetDateTime) -> Option<OffsetDateTime> {
        let age = Duration::days(self.max_age_days?.into()) + Duration::NANOSECOND;
        chosen_at.checked_add(age)
    }

    fn is_expired(&self, input: &RuleInput) -> bool {
        self.max_age_days
            .is_some_and(|days| input.since > Duration::days(i64::from(days)))
    }
}

/// The input of one rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleInput {
    pub(crate) choice: Choice,
    /// Whether a parent or guardian chose.
    pub(crate) guardian: bool,
    /// Time since the choice.
    pub(crate) since: Duration,
    pub(crate) gpc: bool,
    pub(crate) age: u8,
    /// Whether the policy is in force.
    pub(crate) in_force: bool,
}

impl RuleInput {
    /// Time since a choice. It is never negative.
    pub(crate) fn since(when: OffsetDateTime, now: OffsetDateTime) -> Duration {
        (now - when).max(Duration::ZERO)
    }
}

/// The places of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// Every place without another rule for the purpose.
    Elsewhere,
    /// These places and the places within them, unless a narrower rule exists.
    Places(Vec<Jurisdiction>),
    /// An unknown place.
    Unknown,
}

/// The legal basis of a purpose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Basis {
    /// The guest has to agree first.
    Consent,
    /// The purpose is part of the requested service.
    Contract,
    /// The law has no requirement.
    Exempt,
    /// An interest that outweighs the guest's.
    LegitimateInterest,
    /// The guest may object.
    OptOut,
    /// The purpose is prohibited.
    Prohibited,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The effect of a missing agreement.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnMissing {
    /// The session is created; the purpose is off, and the guest is to be asked.
    Ask,
    /// No session is created.
    DenySession,
    /// The session is created. The purpose has its default state, and is off if the guest refused.
    DisablePurpose,
}

/// The default state of a purpose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// Data is not used for the purpose.
    Off,
    /// Data is used for the purpose.
    On,
}

/// Age limits of a rule in years. 0 means no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AgeLimits {
    /// Minimum age to agree without a parent or guardian.
    pub consent_from: u8,
    /// Below this age the purpose needs an agreement, regardless of its default.
    pub opt_in_below: u8,
    /// Below this age the purpose is off, even with an agreement.
    pub prohibited_below: u8,
}

/// A source of a rule.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The law, or another origin of the rule.
    #[serde(deserialize_with = "file::line")]
    pub law: String,
    /// The article in it.
    #[serde(deserialize_with = "file::line")]
    pub article: String,
    /// The day of the last comparison with it.
    #[serde(deserialize_with = "file::day")]
    pub reviewed: Date,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.law, self.article)
    }
}
