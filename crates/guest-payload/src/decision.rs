//! Decisions: whether a session may be created, and the purposes that its data may serve.
//!
//! A decision is a pure function of policy, places, age, choices, signals and time. It looks up three rules for each
//! place, and one for each category of sensitive data that the policy has rules for. It allocates for the list of places,
//! the copy of the choices and the list of categories, not per rule.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::{Basis, Evaluation, Policy, Rule, RuleInput, Source};
use crate::remedy::listed_remedies;
use crate::{
    Age, Category, Consent, ConsentRecord, Jurisdiction, Jurisdictions, Obligation, Obligations, Purpose,
    PurposeRecord, Remedy, Signals, Subject,
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
    pub fn decide(&self, input: &DecisionInput<'_>) -> Result<Allowed<'_>, Refused> {
        let Evaluation {
            states,
            unmet,
            sensitive,
        } = self.evaluate(input);
        let jurisdictions = Jurisdictions::from(input.jurisdictions);
        if unmet.iter().any(Option::is_some) {
            return Err(Refused {
                policy: format!("{} {}", self.id, self.version).into(),
                jurisdictions,
                unmet: unmet.map(|rule| rule.cloned().map(Box::new)),
            });
        }
        Ok(Allowed {
            policy: self,
            jurisdictions,
            age: input.age,
            consent: input.consent.clone(),
            signals: input.signals,
            now: input.now,
            states,
            sensitive,
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
    now: OffsetDateTime,
    states: [PurposeState<'p>; 3],
    sensitive: Vec<(Category, PurposeState<'p>)>,
}

impl<'p> Allowed<'p> {
    /// The state of one purpose.
    #[must_use]
    pub fn state(&self, purpose: Purpose) -> PurposeState<'p> {
        self.states[purpose as usize]
    }

    /// The state of one category of sensitive data, if the policy has rules for it.
    #[must_use]
    pub fn category(&self, category: Category) -> Option<PurposeState<'p>> {
        let found = self.sensitive.iter().find(|(other, _)| *other == category);
        found.map(|(_, state)| *state)
    }

    /// Every state: of each purpose, and of each category of sensitive data that the policy has rules for.
    pub fn states(&self) -> impl Iterator<Item = PurposeState<'p>> {
        let sensitive = self.sensitive.iter().map(|(_, state)| *state);
        self.states.into_iter().chain(sensitive)
    }

    /// The rules about serving the guest, one for each place.
    pub fn functional(&self) -> impl Iterator<Item = &'p Rule> {
        self.policy.rules_for(&self.jurisdictions, Subject::Functional)
    }

    /// The record of the decision, for storage. It has every category of sensitive data that the guest was asked about.
    #[must_use]
    pub fn record(&self) -> ConsentRecord {
        self.record_with(|_| false)
    }

    /// The record of the decision with the categories of sensitive data that the guest was asked about, or for which `has`
    /// returns true.
    pub(crate) fn record_with(&self, has: impl Fn(&Category) -> bool) -> ConsentRecord {
        let asked = |category: &Category| has(category) || self.consent.category(*category).is_some();
        ConsentRecord {
            purposes: Purpose::ALL.map(|purpose| {
                let given = self.consent.purpose(purpose);
                PurposeRecord::new(Some(given), Some(self.state(purpose)))
            }),
            sensitive: Category::ALL
                .into_iter()
                .filter(asked)
                .map(|category| {
                    let (given, state) = (self.consent.category(category), self.category(category));
                    (category, PurposeRecord::new(given, state))
                })
                .collect(),
            policy: self.policy.id.clone(),
            policy_version: self.policy.version.clone(),
            jurisdictions: self.jurisdictions.clone(),
            recorded_at: self.consent.latest(),
            gpc: self.signals.gpc,
            age: self.age,
        }
    }

    /// The decision in plain words: one line for the session, then for each purpose, and for each category of sensitive data
    /// that the guest was asked about or that is `named`. A line has rule, sources, obligations and what would have to change.
    #[must_use]
    pub fn explain(&self, named: &[Category]) -> String {
        let mut text = format!(
            "A session with a guest in {} is allowed by the policy {} {}.\n- serving the guest needs no agreement.",
            self.jurisdictions.description(),
            self.policy.id,
            self.policy.version,
        );
        for rule in self.functional() {
            text.push_str(&format!(" Rule {}; source: {}.", rule.id, listed(&rule.sources)));
        }
        for state in self.explained(named) {
            text.push_str(&format!("\n- {}", state.explain()));
            if !state.is_on() {
                let remedies = self.remedies(state.rule.subject);
                text.push_str(&format!(" {}", listed_remedies(remedies.as_deref())));
            }
        }
        for category in self.without_rule(named) {
            text.push_str(&format!("\n- {category} data is {NO_RULE}."));
        }
        text
    }

    /// The states that an explanation has.
    pub fn explained(&self, named: &[Category]) -> impl Iterator<Item = PurposeState<'p>> {
        self.states().filter(move |state| match state.rule.subject {
            Subject::Sensitive(category) => self.is_explained(category, named),
            _ => true,
        })
    }

    /// The explained categories of sensitive data that the policy has no rule about. They are off.
    pub fn without_rule(&self, named: &[Category]) -> impl Iterator<Item = Category> {
        Category::ALL
            .into_iter()
            .filter(|category| self.is_explained(*category, named) && self.category(*category).is_none())
    }

    fn is_explained(&self, category: Category, named: &[Category]) -> bool {
        named.contains(&category) || self.consent.category(category).is_some()
    }

    /// The fewest changes that would switch the subject on. `None` if nothing can.
    #[must_use]
    pub fn remedies(&self, subject: Subject) -> Option<Vec<Remedy>> {
        let input = self.policy.rule_input(
            subject,
            &DecisionInput {
                jurisdictions: &self.jurisdictions,
                age: self.age,
                signals: self.signals,
                consent: &self.consent,
                now: self.now,
            },
        );
        self.policy.remedies(&self.jurisdictions, subject, &input)
    }
}

/// The state of one purpose, or of one category of sensitive data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PurposeState<'p> {
    /// The reason for it.
    pub reason: Reason,
    /// The deciding rule: with several places, the first that switches it off.
    pub rule: &'p Rule,
    /// Obligations under the rules of all places together.
    pub obligations: Obligations,
    /// The last time at which the agreement counts. Then the guest is to be asked again.
    pub ask_again_at: Option<OffsetDateTime>,
}

impl<'p> PurposeState<'p> {
    pub(crate) fn of(rule: &'p Rule, input: &RuleInput) -> Self {
        let reason = rule.apply(input);
        Self {
            reason,
            rule,
            obligations: rule.obligations(reason),
            ask_again_at: None,
        }
    }

    /// The sources of the reason.
    #[must_use]
    pub fn sources(&self) -> &'p [Source] {
        self.rule.sources_of(self.reason)
    }

    /// Whether data may be used for it.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.reason.is_on()
    }

    fn explain(&self) -> String {
        let ages = self.rule.ages;
        let because = match (self.reason, self.rule.basis) {
            (Reason::Denied, _) => "off: the guest refused it".to_owned(),
            (Reason::Expired, _) => "off: the guest agreed to it too long ago".to_owned(),
            (Reason::Granted, _) => "on: the guest agreed to it".to_owned(),
            (Reason::GuardianNeeded, _) => format!(
                "off: the guest may be younger than {}, and there is no evidence that a parent or guardian agreed",
                ages.consent_from
            ),
            (Reason::MinorNotGranted, _) => format!(
                "off: the guest may be younger than {}, and has to agree first at that age",
                ages.opt_in_below
            ),
            (Reason::NotGranted, Basis::Consent) => {
                "off: it needs an agreement first, and the guest gave none".to_owned()
            }
            (Reason::NotGranted, _) => "off: the policy leaves it off until the guest agrees".to_owned(),
            (Reason::NoRule, _) => NO_RULE.to_owned(),
            (Reason::NotObjected, Basis::Consent) => {
                "on: the policy assumes it, though the guest was not asked".to_owned()
            }
            (Reason::NotObjected, _) => "on: it needs no agreement, and the guest did not object".to_owned(),
            (Reason::OptOutSignal, _) => "off: the guest's browser sent an opt-out signal (GPC)".to_owned(),
            (Reason::PolicyNotInForce, _) => "off: the policy is not in force on this day".to_owned(),
            (Reason::Prohibited, _) => "off: it is prohibited there".to_owned(),
            (Reason::TooYoung, _) => format!(
                "off: the guest may be younger than {}, and it is prohibited below that age",
                ages.prohibited_below
            ),
        };
        let mut text = format!(
            "{} is {because}. Rule {}",
            self.rule.subject.description(),
            self.rule.id
        );
        match self.sources() {
            [] => text.push('.'),
            sources => text.push_str(&format!("; source: {}.", listed(sources))),
        }
        let to_do: Vec<&str> = self.obligations.iter().map(Obligation::as_str).collect();
        if !to_do.is_empty() {
            text.push_str(&format!(" To do: {}.", to_do.join("; ")));
        }
        if let Some(at) = self.ask_again_at {
            text.push_str(&format!(" Ask again after {}.", at.date()));
        }
        text
    }
}

const NO_RULE: &str = "off: the policy has no rule about it";

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
    /// Off: the guest may be too young to agree, and there is no evidence that a parent or guardian did.
    GuardianNeeded,
    /// On: the guest agreed.
    Granted,
    /// Off: the guest did not agree, who may be so young that the rule demands an agreement.
    MinorNotGranted,
    /// Off: the policy has no rule about this category of sensitive data.
    NoRule,
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
pub struct Refused {
    /// Id and version of the policy.
    pub(crate) policy: Box<str>,
    pub(crate) jurisdictions: Jurisdictions,
    unmet: [Option<Box<Rule>>; 3],
}

impl Refused {
    /// The rules whose demand for an agreement is not met.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.unmet.iter().flatten().map(Box::as_ref)
    }

    /// Each purpose without the demanded agreement, with the id of the rule that demands it.
    pub fn missing(&self) -> impl Iterator<Item = (Purpose, &str)> {
        let unmet = Purpose::ALL.into_iter().zip(&self.unmet);
        unmet.filter_map(|(purpose, rule)| Some((purpose, &*rule.as_ref()?.id)))
    }

    /// The decision in plain words, one line for the session and one for each purpose, with rule and source.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = format!(
            "A session with a guest in {} is refused by the policy {}.",
            self.jurisdictions.description(),
            self.policy
        );
        for rule in self.rules() {
            text.push_str(&format!(
                "\n- {} has to be granted first. Rule {}; source: {}.",
                rule.subject,
                rule.id,
                listed(&rule.sources)
            ));
        }
        text
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing();
        let missing: Vec<String> = missing
            .map(|(purpose, rule)| format!("{purpose} is not granted (rule {rule})"))
            .collect();
        write!(
            f,
            "cannot create a session in {} under the policy {}: {}; ask the guest, and create it once they agree",
            self.jurisdictions,
            self.policy,
            missing.join(", ")
        )
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests;
