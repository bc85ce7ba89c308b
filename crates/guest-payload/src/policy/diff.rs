//! Differences between two policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::case::{Case, Outcome};
use super::{Policy, Rule};
use crate::{Jurisdiction, Purpose};

impl Policy {
    /// The guests whom `newer` treats differently, by their choice and place.
    ///
    /// Every place and every case that a rule of either policy distinguishes is evaluated. A case with an age, a guardian
    /// or days is left out if the simpler case (an adult who chose just now) has the same difference.
    #[must_use]
    pub fn differences(&self, newer: &Self) -> Vec<Difference> {
        let rules: Vec<&Rule> = self.rules.iter().chain(newer.rules.iter()).collect();
        let mut differences = Vec::new();
        for purpose in Purpose::ALL {
            let cases = Case::all(purpose, &rules).into_iter();
            let groups: Vec<(Case, Groups)> = cases.map(|case| (case, self.groups(newer, &case))).collect();
            for (case, found) in &groups {
                let simpler = case.simpler();
                let is_covered = |change, places| {
                    let simpler = groups
                        .iter()
                        .filter(|(other, _)| other != case && simpler.contains(other));
                    simpler
                        .into_iter()
                        .any(|(_, found)| found.get(change) == Some(places))
                };
                for (change, places) in found {
                    if !is_covered(change, places) {
                        differences.push(Difference {
                            case: *case,
                            before: change.0,
                            after: change.1,
                            places: places.iter().copied().collect(),
                        });
                    }
                }
            }
        }
        // the most general cases first
        differences.sort_by_key(|difference| {
            let Case {
                age, guardian, days, ..
            } = difference.case;
            (age.years().is_some(), guardian, days)
        });
        differences
    }

    fn groups(&self, newer: &Self, case: &Case) -> Groups {
        let mut groups = Groups::new();
        for place in Jurisdiction::all().map(Some).chain([None]) {
            let places = place.as_slice();
            let (before, _) = case.outcome(self, places, u8::MAX);
            let (after, _) = case.outcome(newer, places, u8::MAX);
            if before != after {
                groups.entry((before, after)).or_default().insert(place);
            }
        }
        groups
    }
}

/// Places by outcome before and after. `None` is an unknown place.
type Groups = BTreeMap<(Outcome, Outcome), BTreeSet<Option<Jurisdiction>>>;

/// A changed outcome for guests who differ only in their place.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// The case.
    pub case: Case,
    /// The outcome under the older policy.
    pub before: Outcome,
    /// The outcome under the newer policy.
    pub after: Outcome,
    /// The places. `None` is an unknown place.
    pub places: Vec<Option<Jurisdiction>>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {} in", self.case, self.before, self.after)?;
        self.places.iter().try_for_each(|place| match place {
            Some(place) => write!(f, " {place}"),
            None => write!(f, " unknown"),
        })
    }
}
