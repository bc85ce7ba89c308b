//! Decisions: whether a session may be created, and the purposes that its data may serve.
//!
//! A decision is a pure function of policy, places, age, choices, signals and time. It looks up three rules for each
//! place. It allocates for the list of places and the copy of the choices, not per rule.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::{Basis, Evaluation, Policy, Rule, RuleInput, Source};
use crate::{
    Age, Choice, Consent, ConsentRecord, Jurisdiction, Jurisdictions, Obligation, Obligations, Purpose,
    PurposeRecord, Signals,
};

/// The input of a decision, beside the policy.
#[derive(Clone, Copy, Debug)]
pub struct DecisionInput<'a> {
    /// Every place whose rules may apply. The most protective wins; none at all takes the policy's strictest rules.
    pub jurisdictions: &'a [Jurisdiction],
    /// The guest's age.
    pub age: Age,
    /// Opt-out signals of the guest's browser.
    pub signals: Signals,
    /// The guest's choices.
    pub consent: &'a Consent,
    /// Time of the decision: an agreement may be too old, and a policy not in force.
    pub now: OffsetDateTime,
}

impl Policy {
    /// Decides whether a session may be created. The same input always has the same answer.
    ///
    /// # Errors
    /// The refusal, if an agreement is missing.
    pub fn decide(&self, input: &DecisionInput<'_>) -> Result<Allowed<'_>, Refused<'_>> {
        let Evaluation { states, unmet } = self.evaluate(input);
        let jurisdictions = Jurisdictions::from(input.jurisdictions);
        if unmet.iter().any(Option::is_some) {
            return Err(Refused {
                policy: self,
                jurisdictions,
                unmet,
            });
        }
        Ok(Allowed {
            policy: self,
            jurisdictions,
            age: input.age,
            consent: input.consent.clone(),
            signals: input.signals,
            states,
        })
    }
}

/// A decision that allows the session. Only [`Policy::decide`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowed<'p> {
    policy: &'p Policy,
    jurisdictions: Jurisdictions,
    age: Age,
    consent: Consent,
    signals: Signals,
    states: [PurposeState<'p>; 3],
}

impl<'p> Allowed<'p> {
    /// The state of one purpose.
    #[must_use]
    pub fn state(&self, purpose: Purpose) -> PurposeState<'p> {
        self.states[purpose as usize]
    }

    /// The record of the decision, for storage.
    #[must_use]
    pub fn record(&self) -> ConsentRecord {
        ConsentRecord {
            purposes: Purpose::ALL.map(|purpose| {
                let given = self.consent.purpose(purpose);
                let state = self.state(purpose);
                PurposeRecord {
                    choice: given.choice,
                    reason: state.reason,
                    rule: state.rule.id.clone(),
                    evidence: (given.choice != Choice::Unknown).then(|| given.evidence.clone()),
                }
            }),
            policy: self.policy.id.clone(),
            policy_version: self.policy.version.clone(),
            jurisdictions: self.jurisdictions.clone(),
            recorded_at: self.consent.latest(),
            gpc: self.signals.gpc,
            age: self.age,
        }
    }

    /// The decision in plain words, one line for the session and one for each purpose, with rule and source.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = format!(
            "A session with a guest in {} is allowed by the policy {} {}.\n- serving the guest needs no agreement. \
             Source: {}.",
            self.jurisdictions.description(),
            self.policy.id,
            self.policy.version,
            listed(&self.policy.functional.sources),
        );
        for state in &self.states {
            text.push_str("\n- ");
            text.push_str(&state.explain());
        }
        text
    }
}

/// The state of one purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PurposeState<'p> {
    /// The reason for it.
    pub reason: Reason,
    /// The deciding rule: with several places, the first that switches the purpose off.
    pub rule: &'p Rule,
    /// Obligations under the rules of all places together.
    pub obligations: Obligations,
}

impl<'p> PurposeState<'p> {
    pub(crate) fn of(rule: &'p Rule, input: &RuleInput) -> Self {
        let reason = rule.apply(input);
        Self {
            reason,
            rule,
            obligations: rule.obligations(reason),
        }
    }

    /// Whether data may be used for the purpose.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.reason.is_on()
    }

    fn explain(&self) -> String {
        let because = match (self.reason, self.rule.basis) {
            (Reason::Denied, _) => "off: the guest refused it",
            (Reason::Expired, _) => "off: the guest agreed to it too long ago",
            (Reason::Granted, _) => "on: the guest agreed to it",
            (Reason::GuardianNeeded, _) => {
                "off: the guest may be too young to agree to it without a parent or guardian"
            }
            (Reason::NotGranted, Basis::Consent) => {
                "off: it needs an agreement first, and the guest gave none"
            }
            (Reason::NotGranted, _) => "off: the guest did not ask for it",
            (Reason::NotObjected, Basis::Consent) => {
                "on: the policy assumes it, though the guest was not asked"
            }
            (Reason::NotObjected, _) => "on: it needs no agreement, and the guest did not object",
            (Reason::OptOutSignal, _) => "off: the guest's browser sent an opt-out signal (GPC)",
            (Reason::PolicyNotInForce, _) => "off: the policy is not in force on this day",
            (Reason::Prohibited, _) => "off: it is prohibited there",
            (Reason::TooYoung, _) => "off: the guest may be too young for it, even with an agreement",
        };
        let mut text = format!(
            "{} is {because}. Rule {}; source: {}.",
            self.rule.purpose,
            self.rule.id,
            listed(&self.rule.sources)
        );
        let to_do: Vec<&str> = self.obligations.iter().map(Obligation::as_str).collect();
        if !to_do.is_empty() {
            text.push_str(&format!(" To do: {}.", to_do.join("; ")));
        }
        text
    }
}

/// Sources, separated by semicolons.
fn listed(sources: &[Source]) -> String {
    let sources: Vec<String> = sources.iter().map(Source::to_string).collect();
    sources.join("; ")
}

/// The reason for the state of a purpose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Reason {
    /// Off: the guest refused.
    Denied,
    /// Off: the agreement is too old.
    Expired,
    /// Off: the guest agreed, but may be too young to agree without a parent or guardian.
    GuardianNeeded,
    /// On: the guest agreed.
    Granted,
    /// Off: the guest did not agree.
    NotGranted,
    /// On: the guest did not object, and the rule does not require an agreement.
    NotObjected,
    /// Off: the guest's browser sent a GPC signal.
    OptOutSignal,
    /// Off: the policy is not in force on the day of the decision.
    PolicyNotInForce,
    /// Off: the rule prohibits it.
    Prohibited,
    /// Off: the guest may be too young for it, even with an agreement.
    TooYoung,
}

impl Reason {
    /// Whether the purpose is on for this reason.
    pub(crate) fn is_on(self) -> bool {
        matches!(self, Self::Granted | Self::NotObjected)
    }
}

/// A decision that refuses the session: the guest has not given an agreement that the policy demands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) jurisdictions: Jurisdictions,
    unmet: [Option<&'p Rule>; 3],
}

impl Refused<'_> {
    /// Each purpose without the demanded agreement, with the id of the rule that demands it.
    pub fn missing(&self) -> impl Iterator<Item = (Purpose, &str)> {
        self.unmet.iter().flatten().map(|rule| (rule.purpose, &*rule.id))
    }

    /// The decision in plain words, one line for the session and one for each purpose, with rule and source.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = format!(
            "A session with a guest in {} is refused by the policy {} {}.",
            self.jurisdictions.description(),
            self.policy.id,
            self.policy.version
        );
        for rule in self.unmet.iter().flatten() {
            text.push_str(&format!(
                "\n- {} has to be granted first. Rule {}; source: {}.",
                rule.purpose,
                rule.id,
                listed(&rule.sources)
            ));
        }
        text
    }
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing();
        let missing: Vec<String> = missing
            .map(|(purpose, rule)| format!("{purpose} is not granted (rule {rule})"))
            .collect();
        write!(
            f,
            "cannot create a session in {} under the policy {} {}: {}; ask the guest, and create it once they agree",
            self.jurisdictions,
            self.policy.id,
            self.policy.version,
            missing.join(", ")
        )
    }
}

impl std::error::Error for Refused<'_> {}

#[cfg(test)]
mod tests;
