//! Changes that would switch a purpose, or the use of sensitive data, on.

use std::fmt;

use serde::Serialize;
use time::Duration;

use crate::policy::RuleInput;
use crate::{Choice, Jurisdiction, Policy, Subject};

/// A change that would switch something on, alone or with others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Remedy {
    /// A policy that is in force.
    PolicyInForce,
    /// An agreement now.
    Agreement,
    /// Evidence that a parent or guardian agreed.
    GuardianEvidence,
    /// No opt-out signal.
    NoSignal,
    /// A guest who is known to be of this age or older.
    MinimumAge(u8),
}

impl Policy {
    /// The fewest changes of this input that switch `subject` on. `None` if none do. Nothing has to change if it is on.
    ///
    /// Every combination is tried, with the age limits of the rules of these places. Another age is the last resort, as a guest
    /// cannot change it.
    pub(crate) fn remedies(
        &self,
        places: &[Jurisdiction],
        subject: Subject,
        input: &RuleInput,
    ) -> Option<Vec<Remedy>> {
        let limits = self.rules_for(places, subject).flat_map(|rule| {
            let ages = rule.ages;
            [ages.consent_from, ages.opt_in_below, ages.prohibited_below]
        });
        let mut ages: Vec<u8> = limits.filter(|limit| *limit > input.age).collect();
        ages.sort_unstable();
        ages.dedup();
        let ages = std::iter::once(None).chain(ages.into_iter().map(Some));
        let combinations = ages.flat_map(|age| (0..16_u8).map(move |bits| (age, bits)));
        let tried = combinations.filter_map(|(age, bits)| {
            let has = |bit: u8| bits & (1 << bit) != 0;
            let mut changed = *input;
            let mut remedies = Vec::new();
            if has(0) {
                changed.in_force = true;
                remedies.push(Remedy::PolicyInForce);
            }
            if has(1) {
                changed.choice = Choice::Granted;
                changed.since = Duration::ZERO;
                remedies.push(Remedy::Agreement);
            }
            if has(2) {
                changed.guardian = true;
                remedies.push(Remedy::GuardianEvidence);
            }
            if has(3) {
                changed.gpc = false;
                remedies.push(Remedy::NoSignal);
            }
            if let Some(age) = age {
                changed.age = age;
                remedies.push(Remedy::MinimumAge(age));
            }
            let (state, _) = self.evaluate_subject(places, subject, &changed)?;
            state.is_on().then_some(remedies)
        });
        tried.min_by_key(|remedies| {
            let has_age = matches!(remedies.last(), Some(Remedy::MinimumAge(_)));
            (has_age, remedies.len(), remedies.clone())
        })
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicyInForce => f.write_str("a policy is in force"),
            Self::Agreement => f.write_str("the guest agrees"),
            Self::GuardianEvidence => f.write_str("there is evidence that a parent or guardian agreed"),
            Self::NoSignal => f.write_str("the browser sends no signal"),
            Self::MinimumAge(years) => write!(f, "the guest is known to be {years} or older"),
        }
    }
}

/// The changes in a sentence.
pub(crate) fn listed_remedies(remedies: Option<&[Remedy]>) -> String {
    let Some(remedies) = remedies else {
        return "Nothing about the guest would switch it on.".to_owned();
    };
    let remedies: Vec<String> = remedies.iter().map(Remedy::to_string).collect();
    format!("It would be on if {}.", remedies.join(" and "))
}
