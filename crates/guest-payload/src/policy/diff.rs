//! Differences between two policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::example::{Outcome, outcome};
use super::file::inputs;
use super::{Policy, Rule, RuleInput};
use crate::{Choice, Jurisdiction, Purpose};

impl Policy {
    /// The guests whom `newer` treats differently, by their choice and place.
    ///
    /// Every place and every case that a rule of either policy distinguishes is evaluated. A case with an age, a guardian
    /// or days is left out if the simpler case (an adult who chose just now) has the same difference.
    #[must_use]
    pub fn differences(&self, newer: &Self) -> Vec<Difference> {
        let rules: Vec<&Rule> = self.rules.iter().chain(newer.rules.iter()).collect();
        let inputs = inputs(&rules);
        let mut differences = Vec::new();
        for purpose in Purpose::ALL {
            let groups = inputs
                .iter()
                .map(|input| (Case::new(purpose, input), self.groups(newer, purpose, input)));
            let groups: Vec<(Case, Groups)> = groups.collect();
            for (case, found) in &groups {
                let simpler = case.simpler();
                let is_covered = |change, places| {
                    let simpler = groups.iter().filter(|(other, _)| simpler.contains(&Some(*other)));
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
            (age.is_some(), guardian, days)
        });
        differences
    }

    fn groups(&self, newer: &Self, purpose: Purpose, input: &RuleInput) -> Groups {
        let mut groups = Groups::new();
        for place in Jurisdiction::all().map(Some).chain([None]) {
            let places = place.as_slice();
            let (before, _) = outcome(self, places, purpose, input);
            let (after, _) = outcome(newer, places, purpose, input);
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

/// The inputs of a decision about one purpose, without the place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Case {
    /// The purpose.
    pub purpose: Purpose,
    /// The choice.
    pub choice: Choice,
    /// Whether the browser sends a GPC signal.
    pub gpc: bool,
    /// The minimum age in years, or `None` for an adult.
    pub age: Option<u8>,
    /// Whether a parent or guardian chose.
    pub guardian: bool,
    /// Days since the choice.
    pub days: u32,
}

impl Case {
    fn new(purpose: Purpose, input: &RuleInput) -> Self {
        Self {
            purpose,
            choice: input.choice,
            gpc: input.gpc,
            age: (input.age != u8::MAX).then_some(input.age),
            guardian: input.guardian,
            days: u32::try_from(input.since.whole_days()).unwrap_or(u32::MAX),
        }
    }

    /// The same case without age, without guardian, and without days.
    fn simpler(&self) -> [Option<Self>; 3] {
        [
            self.age.map(|_| Self { age: None, ..*self }),
            self.guardian.then_some(Self {
                guardian: false,
                ..*self
            }),
            (self.days > 0).then_some(Self { days: 0, ..*self }),
        ]
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.purpose, self.choice)?;
        if self.gpc {
            f.write_str(", with a GPC signal")?;
        }
        if let Some(years) = self.age {
            write!(f, ", at age {years}")?;
        }
        if self.guardian {
            f.write_str(", by a guardian")?;
        }
        if self.days > 0 {
            write!(f, ", {} days ago", self.days)?;
        }
        Ok(())
    }
}
