//! Rules for one subject in one area.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime};

use super::file;
use crate::{Choice, Jurisdiction, Obligation, Obligations, Reason, Subject};

/// A rule for one subject in one area.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Its id: policy, area, subject, as in `tutorial-strict/EU/marketing`.
    pub id: String,
    /// The subject.
    pub subject: Subject,
    /// The places.
    pub scope: Scope,
    /// The legal basis there.
    pub basis: Basis,
    /// The state while the guest has not chosen.
    pub default: Switch,
    /// The effect of a missing agreement.
    pub on_missing: OnMissing,
    /// Whether a GPC signal switches the subject off.
    pub gpc: bool,
    /// Age limits.
    pub ages: AgeLimits,
    /// Days after which an agreement expires, if it does.
    pub max_age_days: Option<u32>,
    /// Obligations beside the decision.
    pub obligations: Obligations,
    /// Sources of the rule, at least one.
    pub sources: Vec<Source>,
    /// Sources of its age limits.
    pub age_sources: Vec<Source>,
    /// Sources of the effect of a signal.
    pub signal_sources: Vec<Source>,
    /// Open questions for the next review.
    pub doubts: Vec<String>,
}

impl Rule {
    /// Returns the reason for the state of the subject under this rule.
    ///
    /// Refusal, age and signal come first, so that none of them can switch anything on.
    pub(crate) fn apply(&self, input: &RuleInput) -> Reason {
        let is_granted = input.choice == Choice::Granted;
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
        } else if input.age < self.ages.consent_from && !(is_granted && input.guardian) {
            Reason::GuardianNeeded
        } else if is_granted && !self.is_expired(input) {
            Reason::Granted
        } else if self.default == Switch::On
            && input.age >= self.ages.opt_in_below
            && input.age >= self.ages.consent_from
        {
            Reason::NotObjected
        } else if is_granted {
            Reason::Expired
        } else if self.default == Switch::On {
            Reason::MinorNotGranted
        } else {
            Reason::NotGranted
        }
    }

    /// The sources of a reason: those of the age limits if age is the cause, those of the signal if a signal is, none if the
    /// cause is the date.
    #[must_use]
    pub fn sources_of(&self, reason: Reason) -> &[Source] {
        match reason {
            Reason::GuardianNeeded | Reason::MinorNotGranted | Reason::TooYoung => &self.age_sources,
            Reason::OptOutSignal => &self.signal_sources,
            Reason::PolicyNotInForce => &[],
            _ => &self.sources,
        }
    }

    /// Every source with its use: of the rule, of its age limits, of the effect of a signal.
    pub fn all_sources(&self) -> impl Iterator<Item = &Source> {
        let ages = self
            .age_sources
            .iter()
            .filter(|_| self.ages != AgeLimits::default());
        let signals = self.signal_sources.iter().filter(|_| self.gpc);
        self.sources.iter().chain(ages).chain(signals)
    }

    /// The doubts of the rule, and those about its sources.
    pub fn all_doubts(&self) -> impl Iterator<Item = String> {
        let mut of_sources: Vec<String> = Vec::new();
        for source in self.all_sources() {
            let doubt = source.doubt.as_ref().map(|doubt| format!("{source}: {doubt}"));
            of_sources.extend(doubt.filter(|doubt| !of_sources.contains(doubt)));
        }
        self.doubts.iter().cloned().chain(of_sources)
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
        let can_object = matches!(self.basis, Basis::OptOut | Basis::LegitimateInterest);
        let own = match reason {
            Reason::NotGranted | Reason::MinorNotGranted if self.on_missing == OnMissing::Ask => {
                &[Obligation::Ask][..]
            }
            Reason::Expired => &[Obligation::AskAgain],
            Reason::Granted => &[Obligation::OfferWithdrawal],
            Reason::GuardianNeeded => &[Obligation::AskGuardian],
            Reason::NotObjected if can_object => &[Obligation::OfferObjection],
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
    /// Whether there is evidence that a parent or guardian chose.
    pub(crate) guardian: bool,
    /// Time since the choice.
    pub(crate) since: Duration,
    pub(crate) gpc: bool,
    pub(crate) age: u8,
    /// Whether the policy is in force.
    pub(crate) in_force: bool,
}

/// The places of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// Every place without another rule for the subject.
    Elsewhere,
    /// These places and the places within them, unless a narrower rule exists.
    Places(Vec<Jurisdiction>),
    /// An unknown place.
    Unknown,
}

/// A legal basis.
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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgeLimits {
    /// Minimum age to agree without a parent or guardian.
    pub consent_from: u8,
    /// Below this age the purpose needs an agreement, regardless of its default.
    pub opt_in_below: u8,
    /// Below this age the purpose is off, even with an agreement.
    pub prohibited_below: u8,
}

/// A source of a rule.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The law, or another origin of the rule.
    #[serde(deserialize_with = "file::line")]
    pub law: String,
    /// The article in it.
    #[serde(deserialize_with = "file::line")]
    pub article: String,
    /// The day of the last comparison with it.
    #[serde(deserialize_with = "file::day", serialize_with = "file::write_day")]
    pub reviewed: Date,
    /// Address of the text that the rule was compared with.
    #[serde(
        default,
        deserialize_with = "file::address",
        skip_serializing_if = "Option::is_none"
    )]
    pub url: Option<String>,
    /// A doubt about the citation.
    #[serde(
        default,
        deserialize_with = "file::optional_line",
        skip_serializing_if = "Option::is_none"
    )]
    pub doubt: Option<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.law, self.article)
    }
}
