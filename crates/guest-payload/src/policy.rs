//! Which purposes a guest's data may serve, as data: policy, area, rule.
//!
//! A policy is a table. Each area names its places and has one rule for each purpose; a rule says what the purpose
//! rests on, how it stands while the guest has said nothing, and what a missing agreement does. The engine knows no
//! place and no law.

mod purpose_scoped;
mod tutorial_strict;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decision::{PurposeState, Reason};
use crate::{Choice, Jurisdiction, Purpose, Signals};

/// A set of rules, with a name and a version.
#[derive(Debug, Eq, PartialEq)]
pub struct Policy {
    id: &'static str,
    version: &'static str,
    reviewed: &'static str,
    areas: &'static [Area],
    elsewhere: [Rule; 3],
    unknown: [Rule; 3],
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
        &tutorial_strict::POLICY
    }

    /// What the law rather asks: the session is always allowed, and each purpose that may not be pursued is switched
    /// off. Where consent is needed first, that is each one not granted; where the guest may object, each one denied.
    ///
    /// A starting set, no legal advice: have counsel sign it off. A place without rules of its own, or an unknown
    /// one, takes the strictest.
    #[must_use]
    pub fn purpose_scoped() -> &'static Self {
        &purpose_scoped::POLICY
    }

    /// Every policy that ships.
    #[must_use]
    pub fn all() -> [&'static Self; 2] {
        [Self::tutorial_strict(), Self::purpose_scoped()]
    }

    /// The policy of this id.
    ///
    /// # Errors
    /// If none has it.
    pub fn find(id: &str) -> Result<&'static Self, UnknownPolicy> {
        Self::all()
            .into_iter()
            .find(|policy| policy.id == id)
            .ok_or_else(|| UnknownPolicy {
                id: id.chars().take(64).collect(),
            })
    }

    /// The name, as in `tutorial-strict`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id
    }

    /// The version of its rules. A decision records it.
    #[must_use]
    pub fn version(&self) -> &str {
        self.version
    }

    /// The day its rules were last compared with their sources, as `2026-11-22`.
    #[must_use]
    pub fn reviewed(&self) -> &str {
        self.reviewed
    }

    /// Every rule.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.areas
            .iter()
            .flat_map(|area| &area.rules)
            .chain(&self.elsewhere)
            .chain(&self.unknown)
    }

    /// What a lawyer would object to in the rules.
    #[must_use]
    pub fn lints(&self) -> Vec<Lint> {
        let mut lints = Vec::new();
        for rule in self.rules() {
            if rule.on_missing == OnMissing::DenySession {
                lints.push(Lint {
                    kind: LintKind::Bundled,
                    rule: rule.id,
                });
            }
            if rule.basis == Basis::Consent && rule.default == Switch::On {
                lints.push(Lint {
                    kind: LintKind::Preticked,
                    rule: rule.id,
                });
            }
        }
        lints
    }

    /// How each purpose stands for a guest of these places, and the rules whose demand for an agreement is not met.
    ///
    /// The most protective place wins: one that switches a purpose off is not outvoted, nor is one that demands.
    pub(crate) fn judge(
        &'static self,
        places: &[Jurisdiction],
        choices: [Choice; 3],
        signals: Signals,
    ) -> ([PurposeState; 3], [Option<&'static Rule>; 3]) {
        let (first, rest) = match places.split_first() {
            Some((first, rest)) => (self.rules_of(*first), rest),
            None => (&self.unknown, places),
        };
        let mut states =
            Purpose::ALL.map(|purpose| first[purpose as usize].apply(choices[purpose as usize], signals));
        let mut unmet = Purpose::ALL.map(|purpose| first[purpose as usize].unmet(choices[purpose as usize]));
        for place in rest {
            let rules = self.rules_of(*place);
            for (at, choice) in choices.into_iter().enumerate() {
                let state = rules[at].apply(choice, signals);
                if states[at].on && !state.on {
                    states[at] = state;
                }
                unmet[at] = unmet[at].or(rules[at].unmet(choice));
            }
        }
        (states, unmet)
    }

    /// The rules of the narrowest area that holds the place.
    fn rules_of(&'static self, place: Jurisdiction) -> &'static [Rule; 3] {
        place
            .widening()
            .find_map(|wider| self.areas.iter().find(|area| area.places.contains(&wider)))
            .map_or(&self.elsewhere, |area| &area.rules)
    }
}

/// Places that share their rules.
#[derive(Debug, Eq, PartialEq)]
struct Area {
    places: &'static [Jurisdiction],
    /// One for each purpose, in the order of [`Purpose::ALL`].
    rules: [Rule; 3],
}

/// What holds for one purpose in one area.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Its name: policy, area, purpose, as in `tutorial-strict/EU/marketing`.
    pub id: &'static str,
    /// What it is about.
    pub purpose: Purpose,
    /// What the purpose rests on there.
    pub basis: Basis,
    /// How it stands while the guest has said nothing.
    pub default: Switch,
    /// What the lack of an agreement does.
    pub on_missing: OnMissing,
    /// Whether a GPC signal switches it off.
    pub gpc: bool,
    /// Where the rule comes from.
    pub source: Source,
}

impl Rule {
    /// How the purpose stands under this rule.
    ///
    /// A refusal and a signal come first, so neither can switch anything on.
    fn apply(&'static self, choice: Choice, signals: Signals) -> PurposeState {
        let reason = match choice {
            Choice::Denied => Reason::Denied,
            _ if signals.gpc && self.gpc => Reason::OptOutSignal,
            Choice::Granted => Reason::Granted,
            Choice::Unknown => match self.default {
                Switch::Off => Reason::NotGranted,
                Switch::On => Reason::NotObjected,
            },
        };
        PurposeState {
            on: reason.is_on(),
            reason,
            rule: self,
        }
    }

    /// This rule, if it demands an agreement that was not given.
    fn unmet(&'static self, choice: Choice) -> Option<&'static Self> {
        (self.on_missing == OnMissing::DenySession && choice != Choice::Granted).then_some(self)
    }
}

/// What a purpose rests on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Basis {
    /// The guest has to agree first.
    Consent,
    /// The guest may object.
    OptOut,
}

/// What the lack of an agreement does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnMissing {
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

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Source {
    /// The law, or whoever else set the rule.
    pub law: &'static str,
    /// The place in it.
    pub article: &'static str,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.law, self.article)
    }
}

/// An objection to a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Lint {
    /// What is wrong with it.
    pub kind: LintKind,
    /// Id of the rule.
    pub rule: &'static str,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, why) = match self.kind {
            LintKind::Bundled => (
                "bundled",
                "a session is refused for want of a consent that serving the guest does not need (GDPR, Art. 7(4))",
            ),
            LintKind::Preticked => (
                "preticked",
                "a purpose that needs consent is on before it is given (CJEU C-673/17, Planet49)",
            ),
        };
        write!(f, "{}: {name}: {why}", self.rule)
    }
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LintKind {
    /// The session depends on a consent that it does not need.
    Bundled,
    /// A purpose that needs consent is on by default.
    Preticked,
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
    use crate::jurisdiction::every_code;

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
    fn every_rule_has_a_name_of_its_own_and_a_source() {
        for policy in Policy::all() {
            let mut names = BTreeSet::new();
            for rule in policy.rules() {
                let parts: Vec<&str> = rule.id.split('/').collect();
                assert_eq!(parts.len(), 3, "{}", rule.id);
                assert_eq!((parts[0], parts[2]), (policy.id(), rule.purpose.as_str()));
                assert!(names.insert(rule.id), "{} stands twice", rule.id);
                assert!(
                    !rule.source.law.is_empty() && !rule.source.article.is_empty(),
                    "{}",
                    rule.id
                );
            }
        }
    }

    #[test]
    fn rules_stand_in_the_order_of_the_purposes() {
        for policy in Policy::all() {
            let tables = policy.areas.iter().map(|area| &area.rules);
            for rules in tables.chain([&policy.elsewhere, &policy.unknown]) {
                assert_eq!(rules.each_ref().map(|rule| rule.purpose), Purpose::ALL);
            }
        }
    }

    #[test]
    fn every_place_of_a_table_exists_and_stands_once() {
        for policy in Policy::all() {
            let mut places = BTreeSet::new();
            for place in policy.areas.iter().flat_map(|area| area.places) {
                assert_eq!(place.as_str().parse(), Ok(*place));
                assert!(places.insert(*place), "{place} stands twice in {}", policy.id());
            }
        }
    }

    #[test]
    fn the_narrowest_area_rules() {
        let rule = |code: &str| Policy::purpose_scoped().rules_of(code.parse().unwrap())[0].id;
        assert_eq!(rule("US-CA"), "purpose-scoped/US-CA/marketing");
        assert_eq!(rule("US-TX"), "purpose-scoped/US/marketing");
        assert_eq!(rule("CA-QC"), "purpose-scoped/CA-QC/marketing");
        assert_eq!(rule("CA-ON"), "purpose-scoped/CA/marketing");
        assert_eq!(rule("FR"), "purpose-scoped/EU/marketing");
        assert_eq!(rule("NO"), "purpose-scoped/EU/marketing");
        assert_eq!(rule("TV"), "purpose-scoped/elsewhere/marketing");
    }

    #[test]
    fn what_a_lawyer_would_object_to_is_said() {
        assert_eq!(Policy::purpose_scoped().lints(), []);
        let lints = Policy::tutorial_strict().lints();
        let has = |kind, rule| lints.contains(&Lint { kind, rule });
        assert!(has(LintKind::Preticked, "tutorial-strict/EU/analytics"));
        assert!(has(LintKind::Bundled, "tutorial-strict/BR/marketing"));
        assert!(
            lints
                .iter()
                .all(|lint| lint.to_string().starts_with("tutorial-strict/"))
        );
    }

    #[test]
    fn no_place_is_stricter_than_an_unknown_one() {
        let choices = [Choice::Denied, Choice::Granted, Choice::Unknown];
        for policy in Policy::all() {
            for code in every_code() {
                let place = [code.parse().unwrap()];
                for choice in choices {
                    let (unknown, demanded) = policy.judge(&[], [choice; 3], Signals::default());
                    let (known, unmet) = policy.judge(&place, [choice; 3], Signals::default());
                    for at in 0..3 {
                        assert!(known[at].on || !unknown[at].on, "{code} {choice}");
                        assert!(demanded[at].is_some() || unmet[at].is_none(), "{code} {choice}");
                    }
                }
            }
        }
    }
}
