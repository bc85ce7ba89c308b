//! What holds for one purpose in one area.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime};

use crate::{Choice, Jurisdiction, Obligation, Obligations, Purpose, Reason};

/// What holds for one purpose in one area.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Its name: policy, area, purpose, as in `tutorial-strict/EU/marketing`.
    pub id: String,
    /// What it is about.
    pub purpose: Purpose,
    /// Where it holds.
    pub scope: Scope,
    /// What the purpose rests on there.
    pub basis: Basis,
    /// How it stands while the guest has said nothing.
    pub default: Switch,
    /// What the lack of an agreement does.
    pub on_missing: OnMissing,
    /// Whether a GPC signal switches it off.
    pub gpc: bool,
    /// What it says about age.
    pub ages: Ages,
    /// After how many days an agreement no longer counts; never, if nothing is said.
    pub max_age_days: Option<u32>,
    /// What else it asks for.
    pub obligations: Obligations,
    /// Where the rule comes from: at least one.
    pub sources: Vec<Source>,
    /// What is not certain about it, for whoever reviews it next.
    pub doubts: Vec<String>,
}

impl Rule {
    /// Why the purpose is on or off under this rule.
    ///
    /// What switches off comes first: a refusal, the age, a signal. So none of them can switch anything on.
    pub(crate) fn apply(&self, fact: &Fact) -> Reason {
        if fact.choice == Choice::Denied {
            Reason::Denied
        } else if !fact.in_force {
            Reason::PolicyNotInForce
        } else if self.basis == Basis::Prohibited {
            Reason::Prohibited
        } else if fact.age < self.ages.prohibited_below {
            Reason::TooYoung
        } else if fact.gpc && self.gpc {
            Reason::OptOutSignal
        } else if fact.choice == Choice::Granted && !self.is_expired(fact) {
            if fact.age < self.ages.consent_from && !fact.guardian {
                Reason::GuardianNeeded
            } else {
                Reason::Granted
            }
        } else if self.default == Switch::On && fact.age >= self.ages.opt_in_below {
            Reason::NotObjected
        } else if fact.choice == Choice::Granted {
            Reason::Expired
        } else {
            Reason::NotGranted
        }
    }

    /// Whether it demands an agreement that was not given, or not by whom it takes, or too long ago.
    pub(crate) fn is_unmet(&self, fact: &Fact) -> bool {
        let agreed = fact.choice == Choice::Granted
            && !self.is_expired(fact)
            && (fact.age >= self.ages.consent_from || fact.guardian);
        self.on_missing == OnMissing::DenySession && !agreed
    }

    /// What is to be done when it comes out so.
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

    fn is_expired(&self, fact: &Fact) -> bool {
        self.max_age_days
            .is_some_and(|days| fact.since > Duration::days(i64::from(days)))
    }
}

/// What is known when a rule is applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub(crate) choice: Choice,
    /// Whether a parent or guardian chose.
    pub(crate) guardian: bool,
    /// How long ago that was.
    pub(crate) since: Duration,
    pub(crate) gpc: bool,
    pub(crate) age: u8,
    /// Whether the policy is.
    pub(crate) in_force: bool,
}

impl Fact {
    /// A choice made at `when`, looked at `now`. Nobody chooses in the future.
    pub(crate) fn since(when: OffsetDateTime, now: OffsetDateTime) -> Duration {
        (now - when).max(Duration::ZERO)
    }
}

/// Where a rule holds.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// Wherever no other rule about the purpose does.
    Elsewhere,
    /// In these places, and in what they hold unless a narrower rule does.
    Places(Vec<Jurisdiction>),
    /// Where nobody knows the place.
    Unknown,
}

/// What a purpose rests on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Basis {
    /// The guest has to agree first.
    Consent,
    /// It is part of what the guest asked for.
    Contract,
    /// The law asks for nothing.
    Exempt,
    /// An interest that outweighs the guest's.
    LegitimateInterest,
    /// The guest may object.
    OptOut,
    /// It may not be pursued at all.
    Prohibited,
}

impl Basis {
    /// The word for it in a policy file, as in `opt-out`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::Exempt => "exempt",
            Self::LegitimateInterest => "legitimate-interest",
            Self::OptOut => "opt-out",
            Self::Prohibited => "prohibited",
        }
    }
}

/// What the lack of an agreement does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnMissing {
    /// The session is created; the purpose is off, and the guest is to be asked.
    Ask,
    /// No session is created.
    DenySession,
    /// The purpose stands as its default says, and off if the guest said no. The session is created.
    DisablePurpose,
}

/// Whether a purpose is pursued.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// It is not.
    Off,
    /// It is.
    On,
}

/// What a rule says about age, in years; 0 says nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ages {
    /// From this age on a guest agrees alone; a younger one needs a parent or guardian.
    pub consent_from: u8,
    /// Below this age the purpose is off unless it is agreed to, whatever its default.
    pub opt_in_below: u8,
    /// Below this age the purpose is off, whoever agrees.
    pub prohibited_below: u8,
}

/// Where a rule comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// The law, or whoever else set the rule.
    pub law: String,
    /// The place in it.
    pub article: String,
    /// The day on which the rule was last compared with it.
    pub reviewed: Date,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.law, self.article)
    }
}
