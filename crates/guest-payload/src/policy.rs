//! Which purposes a guest's data may serve, as data: policy, rule, place.
//!
//! A policy is a table of rules, read from a file or built in. Each says for one purpose in some places what the
//! purpose rests on, how it stands while the guest has said nothing, and what a missing agreement does. The engine
//! knows no place and no law. Which rule holds where is worked out once, when the policy is read or generated; a
//! decision looks it up.

mod diff;
mod example;
mod file;
mod index;
mod lint;
mod mistake;
mod rule;
mod sheet;

use std::fmt;
use std::sync::LazyLock;

use time::Date;

use crate::decision::PurposeState;
use crate::{Jurisdiction, Purpose, Request};

pub use self::diff::{Case, Difference};
pub use self::example::{Example, ExampleFailure, Outcome};
pub use self::file::PolicyFile;
pub use self::lint::{Lint, LintKind};
pub use self::mistake::{Mistake, PolicyError};
pub(crate) use self::rule::Fact;
pub use self::rule::{Ages, Basis, OnMissing, Rule, Scope, Source, Switch};

/// A set of rules, with a name and a version.
#[derive(Clone, Eq, PartialEq)]
pub struct Policy {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) about: String,
    pub(crate) valid_from: Date,
    pub(crate) valid_until: Option<Date>,
    pub(crate) reviewed: Date,
    pub(crate) assumed_age: u8,
    pub(crate) functional: Functional,
    pub(crate) rules: Vec<Rule>,
    /// The number of a rule for each purpose of each slot of [`Jurisdiction`], and after them of an unknown place.
    pub(crate) index: Vec<u16>,
}

impl Policy {
    /// The founding tutorial's rule, exactly: in the EU and each of its members, the United Kingdom, Canada and
    /// Brazil a session is refused unless marketing and personalization are granted. Elsewhere it is allowed.
    ///
    /// What the law of those places rather says is in [`Policy::purpose_scoped`]. Beyond the tutorial, and our
    /// choice: `EEA` counts as the EU, since the guest may be there; Iceland, Liechtenstein and Norway do not, nor do
    /// territories with a code of their own, such as `GP`; an unknown place counts as strict; and a GPC signal
    /// switches marketing and personalization off.
    #[must_use]
    pub fn tutorial_strict() -> &'static Self {
        static POLICY: LazyLock<Policy> =
            LazyLock::new(|| shipped(include_str!("../policies/tutorial-strict.toml")));
        &POLICY
    }

    /// What the law rather asks: the session is always allowed, and each purpose that may not be pursued is switched
    /// off. Where consent is needed first, that is each one not granted; where the guest may object, each one denied.
    ///
    /// A starting set, no legal advice: have counsel sign it off. A place without rules of its own, or an unknown
    /// one, takes the strictest.
    #[must_use]
    pub fn purpose_scoped() -> &'static Self {
        static POLICY: LazyLock<Policy> =
            LazyLock::new(|| shipped(include_str!("../policies/purpose-scoped.toml")));
        &POLICY
    }

    /// Every policy that ships.
    #[must_use]
    pub fn all() -> [&'static Self; 2] {
        [Self::tutorial_strict(), Self::purpose_scoped()]
    }

    /// The policy of this id that ships.
    ///
    /// # Errors
    /// If none has it.
    pub fn find(id: &str) -> Result<&'static Self, UnknownPolicy> {
        match id {
            "tutorial-strict" => Ok(Self::tutorial_strict()),
            "purpose-scoped" => Ok(Self::purpose_scoped()),
            _ => Err(UnknownPolicy {
                id: id.chars().take(64).collect(),
            }),
        }
    }

    /// The name, as in `tutorial-strict`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The version of its rules, as in `1.0.0`. A decision records it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it is for, in a sentence or two.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.about
    }

    /// The first day on which it may decide, in UTC.
    #[must_use]
    pub fn valid_from(&self) -> Date {
        self.valid_from
    }

    /// The last day on which it may decide, in UTC, if it ends.
    #[must_use]
    pub fn valid_until(&self) -> Option<Date> {
        self.valid_until
    }

    /// The day its rules were last reviewed as a whole.
    #[must_use]
    pub fn reviewed(&self) -> Date {
        self.reviewed
    }

    /// How old a guest of unknown age is taken to be, in years.
    #[must_use]
    pub fn assumed_age(&self) -> u8 {
        self.assumed_age
    }

    /// What serving the guest rests on.
    #[must_use]
    pub fn functional(&self) -> &Functional {
        &self.functional
    }

    /// Every rule.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that holds for a purpose in a place, or where the place is unknown.
    #[must_use]
    pub fn rule(&self, place: Option<Jurisdiction>, purpose: Purpose) -> &Rule {
        let slot = place.map_or(Jurisdiction::COUNT, Jurisdiction::slot);
        &self.rules[usize::from(self.index[slot * Purpose::ALL.len() + purpose as usize])]
    }

    /// How each purpose stands for a guest of these places, and the rules whose demand for an agreement is not met.
    ///
    /// The most protective place wins: one that switches a purpose off is not outvoted, nor is one that demands.
    pub(crate) fn judge(&self, request: &Request<'_>) -> Judgement<'_> {
        let today = request.now.date();
        let in_force = self.valid_from <= today && self.valid_until.is_none_or(|last| today <= last);
        let age = request.age.years().unwrap_or(self.assumed_age);
        let [marketing, personalization, analytics] = Purpose::ALL.map(|purpose| {
            let given = request.consent.given(purpose);
            let fact = Fact {
                choice: given.choice,
                guardian: given.evidence.is_by_guardian(),
                since: Fact::since(given.evidence.when, request.now),
                gpc: request.signals.gpc,
                age,
                in_force,
            };
            self.judge_one(request.jurisdictions, purpose, &fact)
        });
        Judgement {
            states: [marketing.0, personalization.0, analytics.0],
            unmet: [marketing.1, personalization.1, analytics.1],
        }
    }

    pub(crate) fn judge_one(
        &self,
        places: &[Jurisdiction],
        purpose: Purpose,
        fact: &Fact,
    ) -> (PurposeState<'_>, Option<&Rule>) {
        let (first, rest) = match places.split_first() {
            Some((first, rest)) => (self.rule(Some(*first), purpose), rest),
            None => (self.rule(None, purpose), places),
        };
        let mut state = PurposeState::of(first, fact);
        let mut unmet = first.is_unmet(fact).then_some(first);
        for place in rest {
            let rule = self.rule(Some(*place), purpose);
            let other = PurposeState::of(rule, fact);
            let obligations = state.obligations.and(other.obligations);
            if state.on && !other.on {
                state = other;
            }
            state.obligations = obligations;
            unmet = unmet.or(rule.is_unmet(fact).then_some(rule));
        }
        (state, unmet)
    }
}

/// Its name and size: the rules would fill pages.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

/// One state for each purpose, in the order of [`Purpose::ALL`], and the rule whose demand is not met, if one is not.
pub(crate) struct Judgement<'p> {
    pub(crate) states: [PurposeState<'p>; 3],
    pub(crate) unmet: [Option<&'p Rule>; 3],
}

/// A policy that ships. It is parsed when it is first used, and a test parses each.
fn shipped(text: &str) -> Policy {
    Policy::parse(text).expect("the policies that ship are valid")
}

/// What serving the guest rests on. It needs no consent, so there is nothing to decide about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Functional {
    /// The legal basis.
    pub basis: Basis,
    /// Where that comes from.
    pub sources: Vec<Source>,
}

/// No policy bears the id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no consent policy is called {id:?}: there are \"tutorial-strict\" and \"purpose-scoped\"")]
pub struct UnknownPolicy {
    /// What was asked for, its first 64 characters.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_policy_is_found_by_its_id() {
        for policy in Policy::all() {
            assert_eq!(Policy::find(policy.id()), Ok(policy));
        }
        let error = Policy::find("lenient").unwrap_err();
        for policy in Policy::all() {
            assert!(error.to_string().contains(policy.id()), "{error}");
        }
    }

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        for policy in Policy::all() {
            let mut names = BTreeSet::new();
            for rule in policy.rules() {
                let parts: Vec<&str> = rule.id.split('/').collect();
                assert_eq!(parts.len(), 3, "{}", rule.id);
                assert_eq!((parts[0], parts[2]), (policy.id(), rule.purpose.as_str()));
                assert!(names.insert(&rule.id), "{} stands twice", rule.id);
            }
        }
    }

    #[test]
    fn the_narrowest_rule_holds() {
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
    fn the_index_is_what_a_search_of_the_rules_finds() {
        for policy in Policy::all() {
            for place in Jurisdiction::all() {
                for purpose in Purpose::ALL {
                    let holds_in = |wider| {
                        policy.rules().iter().find(|rule| {
                            rule.purpose == purpose
                                && matches!(&rule.scope, Scope::Places(places) if places.contains(&wider))
                        })
                    };
                    let is_elsewhere =
                        |rule: &&Rule| rule.purpose == purpose && rule.scope == Scope::Elsewhere;
                    let found = place.widening().find_map(holds_in);
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
