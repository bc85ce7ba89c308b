//! Consent policies: tables of rules.
//!
//! A rule states for one subject (a purpose, a category of sensitive data, or serving the guest) in some places the legal
//! basis, the default while the guest has not chosen, and the effect of a missing agreement. The engine itself has no place and no law. Parsing a policy builds an index from each
//! place to its rules, and a decision looks them up there.

mod case;
mod diff;
mod example;
mod file;
#[cfg(test)]
mod guests;
mod lint;
mod rule;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use time::{Date, Duration, OffsetDateTime};

use crate::decision::PurposeState;
use crate::sensitive::declared_name;
use crate::{
    AttributeWarning, Attributes, Category, Choice, DecisionInput, Jurisdiction, Purpose, Reason, Subject,
};

pub use self::case::{Case, Outcome};
pub use self::diff::{Difference, DifferenceSummary};
pub use self::example::{Example, ExampleFailure};
pub use self::file::{PolicyError, PolicyFile};
pub use self::lint::{Lint, LintKind};
pub(crate) use self::rule::RuleInput;
pub use self::rule::{AgeLimits, Basis, OnMissing, Rule, Scope, Source, Switch};

/// A set of rules, with a name and a version.
#[derive(Clone, Eq, PartialEq)]
pub struct Policy {
    /// Its id, as in `tutorial-strict`.
    pub id: String,
    /// Version of its rules, as in `1.0.0`. A decision records it.
    pub version: String,
    /// A short description.
    pub about: String,
    /// First day on which it is in force, in UTC.
    pub valid_from: Date,
    /// Last day on which it is in force, in UTC, if it ends.
    pub valid_until: Option<Date>,
    /// Day of the last review of all rules.
    pub reviewed: Date,
    /// Age that a guest of unknown age is assumed to have, in years.
    pub assumed_age: u8,
    /// Declared attributes by the [`declared_name`] of each: the name as written, and the category of sensitive data. `None`
    /// for an ordinary one.
    attributes: BTreeMap<String, (String, Option<Category>)>,
    rules: Vec<Rule>,
    /// The number of a rule for each subject of each index of [`Jurisdiction`], and after them of an unknown place.
    index: Vec<u16>,
}

impl From<&Policy> for Arc<Policy> {
    fn from(policy: &Policy) -> Self {
        Self::new(policy.clone())
    }
}

impl Policy {
    /// The founding tutorial's rule, exactly: in the EU and each of its members, the United Kingdom, Canada and
    /// Brazil a session is refused unless marketing and personalization are granted. Elsewhere it is allowed.
    ///
    /// [`Policy::purpose_scoped`] is closer to the law of those places. Beyond the tutorial, and our choice:
    ///
    /// - `EEA` counts as the EU, since the guest may be there. Iceland, Liechtenstein, Norway, and territories with a
    ///   code of their own, such as `GP`, do not.
    /// - An unknown place counts as strict.
    /// - A GPC signal switches marketing and personalization off.
    #[must_use]
    pub fn tutorial_strict() -> &'static Self {
        static POLICY: LazyLock<Policy> = LazyLock::new(|| file::embedded(STRICT).policy);
        &POLICY
    }

    /// The rules of the law, as far as known: the session is always allowed, and a purpose is off if it was not granted
    /// (where consent is needed first) or was denied (where the guest may object).
    ///
    /// A starting set and no legal advice: have counsel approve it. An unknown place, or one without rules of its own,
    /// takes the strictest rules.
    #[must_use]
    pub fn purpose_scoped() -> &'static Self {
        static POLICY: LazyLock<Policy> = LazyLock::new(|| file::embedded(SCOPED).policy);
        &POLICY
    }

    /// Every embedded policy.
    #[must_use]
    pub fn all() -> [&'static Self; 2] {
        [Self::tutorial_strict(), Self::purpose_scoped()]
    }

    /// The embedded policy with this id.
    ///
    /// # Errors
    /// If the id is unknown.
    pub fn find(id: &str) -> Result<&'static Self, UnknownPolicy> {
        match id {
            "tutorial-strict" => Ok(Self::tutorial_strict()),
            "purpose-scoped" => Ok(Self::purpose_scoped()),
            _ => Err(UnknownPolicy {
                id: id.chars().take(64).collect(),
            }),
        }
    }

    /// Every rule.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule for a purpose in a place, or in an unknown place.
    #[must_use]
    pub fn rule(&self, place: Option<Jurisdiction>, purpose: Purpose) -> &Rule {
        let rule = self.rule_about(place, purpose);
        rule.expect("each purpose has a rule in every place, or the policy does not parse")
    }

    /// The rule for a subject in a place, or in an unknown place. `None` for sensitive data without rules.
    #[must_use]
    pub fn rule_about(&self, place: Option<Jurisdiction>, subject: impl Into<Subject>) -> Option<&Rule> {
        let index = place.map_or_else(|| Jurisdiction::all().len(), Jurisdiction::index);
        let number = self.index[index * Subject::COUNT + subject.into().index()];
        self.rules.get(usize::from(number))
    }

    /// The rules for a subject in each of these places, or in an unknown place if there are none.
    pub(crate) fn rules_for(
        &self,
        places: &[Jurisdiction],
        subject: impl Into<Subject>,
    ) -> impl Iterator<Item = &Rule> {
        let subject = subject.into();
        let unknown = places.is_empty().then_some(None);
        let places = places.iter().copied().map(Some).chain(unknown);
        places.filter_map(move |place| self.rule_about(place, subject))
    }

    /// The declared names of attributes, each with its category of sensitive data. `None` for an ordinary one.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Option<Category>)> {
        self.attributes
            .values()
            .map(|(name, category)| (&**name, *category))
    }

    /// The category of sensitive data that the policy declares for an attribute. Case, separators and prefixes of purposes do
    /// not matter: `marketing.BloodType` is declared as `blood-type`.
    #[must_use]
    pub fn category(&self, attribute: &str) -> Option<Category> {
        self.attributes.get(&declared_name(attribute))?.1
    }

    /// A warning for each attribute that suggests sensitive data and is not declared.
    #[must_use]
    pub fn warnings(&self, attributes: &Attributes) -> Vec<AttributeWarning> {
        let names = attributes.iter().map(|(name, _)| name);
        names.filter_map(|name| self.warning(name)).collect()
    }

    /// The warning for an attribute of this name, if it suggests sensitive data and is not declared.
    #[must_use]
    pub fn warning(&self, attribute: &str) -> Option<AttributeWarning> {
        if self.attributes.contains_key(&declared_name(attribute)) {
            return None;
        }
        Some(AttributeWarning {
            category: Category::suggested_by(attribute)?,
            attribute: attribute.to_owned(),
        })
    }

    /// Evaluates each purpose and each category of sensitive data that has rules, and finds the rules whose demand for an
    /// agreement is not met.
    ///
    /// The most protective place wins, both in switching off and in demanding an agreement.
    pub(crate) fn evaluate(&self, input: &DecisionInput<'_>) -> Evaluation<'_> {
        let [marketing, personalization, analytics] = Purpose::ALL.map(|purpose| {
            let evaluated = self.evaluate_choice(purpose.into(), input);
            evaluated.expect("each purpose has a rule in every place")
        });
        let sensitive = Category::ALL.into_iter().filter_map(|category| {
            let (state, _) = self.evaluate_choice(category.into(), input)?;
            Some((category, state))
        });
        Evaluation {
            states: [marketing.0, personalization.0, analytics.0],
            unmet: [marketing.1, personalization.1, analytics.1],
            sensitive: sensitive.collect(),
        }
    }

    fn evaluate_choice(
        &self,
        subject: Subject,
        input: &DecisionInput<'_>,
    ) -> Option<(PurposeState<'_>, Option<&Rule>)> {
        let (mut state, unmet) =
            self.evaluate_subject(input.jurisdictions, subject, &self.rule_input(subject, input))?;
        if let Some(given) = input.consent.about(subject)
            && state.reason == Reason::Granted
        {
            let days = self
                .rules_for(input.jurisdictions, subject)
                .filter_map(|rule| rule.max_age_days);
            let first = days.min().map(|days| Duration::days(days.into()));
            state.ask_again_at = first.and_then(|age| given.evidence.chosen_at.checked_add(age));
        }
        Some((state, unmet))
    }

    /// The input of a rule about a subject.
    pub(crate) fn rule_input(&self, subject: Subject, input: &DecisionInput<'_>) -> RuleInput {
        let given = input.consent.about(subject);
        let chosen_at = given.map_or(input.now, |given| given.evidence.chosen_at);
        RuleInput {
            choice: given.map_or(Choice::Unknown, |given| given.choice),
            guardian: given.is_some_and(|given| given.evidence.is_by_guardian()),
            since: (input.now - chosen_at).max(Duration::ZERO),
            gpc: input.signals.gpc,
            age: input.age.years().unwrap_or(self.assumed_age),
            in_force: self.is_in_force(input.now),
        }
    }

    fn is_in_force(&self, now: OffsetDateTime) -> bool {
        let today = now.date();
        self.valid_from <= today && self.valid_until.is_none_or(|last| today <= last)
    }

    /// `None` for sensitive data without rules.
    pub(crate) fn evaluate_subject(
        &self,
        places: &[Jurisdiction],
        subject: Subject,
        input: &RuleInput,
    ) -> Option<(PurposeState<'_>, Option<&Rule>)> {
        let mut rules = self.rules_for(places, subject);
        let first = rules.next()?;
        let mut state = PurposeState::of(first, input);
        let mut unmet = first.is_unmet(input).then_some(first);
        for rule in rules {
            let other = PurposeState::of(rule, input);
            let obligations = state.obligations.and(other.obligations);
            if state.is_on() && !other.is_on() {
                state = other;
            }
            state.obligations = obligations;
            unmet = unmet.or(rule.is_unmet(input).then_some(rule));
        }
        Some((state, unmet))
    }
}

/// Id, version and number of rules.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

/// The state of each purpose, in the order of [`Purpose::ALL`], and the rule whose demand is not met.
pub(crate) struct Evaluation<'p> {
    pub(crate) states: [PurposeState<'p>; 3],
    pub(crate) unmet: [Option<&'p Rule>; 3],
    /// The state of each category of sensitive data that has rules.
    pub(crate) sensitive: Vec<(Category, PurposeState<'p>)>,
}

/// Returns the number of each subject's rule for each place, and last for an unknown place. The narrowest rule applies, or
/// else the one for elsewhere. A subject without rules has [`NO_RULE`].
///
/// The rules must not overlap, and each purpose needs one for elsewhere and one for unknown places.
fn index(rules: &[Rule]) -> Vec<u16> {
    let mut exact = vec![[None; Subject::COUNT]; Jurisdiction::all().len()];
    let (mut elsewhere, mut unknown) = ([NO_RULE; Subject::COUNT], [NO_RULE; Subject::COUNT]);
    for (number, rule) in (0..).zip(rules) {
        let subject = rule.subject.index();
        match &rule.scope {
            Scope::Elsewhere => elsewhere[subject] = number,
            Scope::Places(places) => {
                for place in places.iter() {
                    exact[place.index()][subject] = Some(number);
                }
            }
            Scope::Unknown => unknown[subject] = number,
        }
    }
    let exact = &exact;
    Jurisdiction::all()
        .flat_map(|place| {
            (0..Subject::COUNT).map(move |subject| {
                let narrowest = place.ancestors().find_map(|wider| exact[wider.index()][subject]);
                narrowest.unwrap_or(elsewhere[subject])
            })
        })
        .chain(unknown)
        .collect()
}

/// No rule has this number: a file has fewer.
const NO_RULE: u16 = u16::MAX;

const STRICT: &str = include_str!("../policies/tutorial-strict.toml");
const SCOPED: &str = include_str!("../policies/purpose-scoped.toml");

/// Unknown policy id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid policy {id:?}: use \"tutorial-strict\" or \"purpose-scoped\"")]
pub struct UnknownPolicy {
    /// The first 64 characters of the requested id.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn policy_is_found_by_id() {
        for policy in Policy::all() {
            assert_eq!(Policy::find(&policy.id), Ok(policy));
        }
        let error = Policy::find("lenient").unwrap_err();
        for policy in Policy::all() {
            assert!(error.to_string().contains(&*policy.id), "{error}");
        }
    }

    #[test]
    fn rule_ids_are_unique() {
        for policy in Policy::all() {
            let mut names = BTreeSet::new();
            for rule in policy.rules() {
                let parts: Vec<&str> = rule.id.split('/').collect();
                assert_eq!(parts.len(), 3, "{}", rule.id);
                assert_eq!((parts[0], parts[2]), (&*policy.id, rule.subject.as_str()));
                assert!(names.insert(&rule.id), "duplicate {}", rule.id);
            }
        }
    }

    #[test]
    fn narrowest_rule_applies() {
        let rule = |code: &str, purpose| &*Policy::purpose_scoped().rule(code.parse().ok(), purpose).id;
        for (code, expected) in [
            ("US-CA", "purpose-scoped/US-CA/marketing"),
            ("US-TX", "purpose-scoped/US/marketing"),
            ("CA-QC", "purpose-scoped/CA-QC/marketing"),
            ("CA-ON", "purpose-scoped/CA/marketing"),
            ("FR", "purpose-scoped/EU-15/marketing"),
            ("DE", "purpose-scoped/EU/marketing"),
            ("NO", "purpose-scoped/EEA-13/marketing"),
            ("TV", "purpose-scoped/elsewhere/marketing"),
            ("nowhere", "purpose-scoped/unknown/marketing"),
        ] {
            assert_eq!(rule(code, Purpose::Marketing), expected);
        }
        // a rule about one purpose leaves the others to the wider place
        assert_eq!(
            rule("US-TX", Purpose::Personalization),
            "purpose-scoped/US-TX/personalization"
        );
        assert_eq!(rule("CA-BC", Purpose::Analytics), "purpose-scoped/CA/analytics");
    }

    #[test]
    fn index_equals_search_of_rules() {
        for policy in Policy::all() {
            for place in Jurisdiction::all() {
                for purpose in Purpose::ALL {
                    let holds_in = |wider| {
                        policy.rules().iter().find(|rule| {
                            rule.subject == purpose.into()
                                && matches!(&rule.scope, Scope::Places(places) if places.contains(&wider))
                        })
                    };
                    let is_elsewhere =
                        |rule: &&Rule| rule.subject == purpose.into() && rule.scope == Scope::Elsewhere;
                    let found = place.ancestors().find_map(holds_in);
                    let found = found.or_else(|| policy.rules().iter().find(is_elsewhere));
                    assert_eq!(
                        found,
                        Some(policy.rule(Some(place), purpose)),
                        "{place} {purpose}"
                    );
                }
            }
        }
    }
}
