//! Which guests two policies treat differently.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::example::{Outcome, outcome};
use super::file::facts;
use super::{Fact, Policy, Rule};
use crate::{Choice, Jurisdiction, Purpose};

impl Policy {
    /// The guests whom `newer` would treat differently, by what they chose and where they are. An empty answer: none.
    ///
    /// Every place and every case that a rule of either can tell apart is tried. What a difference has to do with age, a
    /// guardian or time is only told where it is another without: without is a grown-up who chose just now.
    #[must_use]
    pub fn differences(&self, newer: &Self) -> Vec<Difference> {
        let rules: Vec<&Rule> = self.rules.iter().chain(newer.rules.iter()).collect();
        let facts = facts(&rules);
        let mut differences = Vec::new();
        for purpose in Purpose::ALL {
            let groups = facts
                .iter()
                .map(|fact| (Case::new(purpose, fact), self.groups(newer, purpose, fact)));
            let groups: Vec<(Case, Groups)> = groups.collect();
            for (case, found) in &groups {
                let simpler = case.simpler();
                let is_told = |change, places| {
                    let simpler = groups.iter().filter(|(other, _)| simpler.contains(&Some(*other)));
                    simpler
                        .into_iter()
                        .any(|(_, found)| found.get(change) == Some(places))
                };
                for (change, places) in found {
                    if !is_told(change, places) {
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
        // what holds for most guests first
        differences.sort_by_key(|difference| {
            let Case {
                age, guardian, days, ..
            } = difference.case;
            (age.is_some(), guardian, days)
        });
        differences
    }

    fn groups(&self, newer: &Self, purpose: Purpose, fact: &Fact) -> Groups {
        let mut groups = Groups::new();
        for place in Jurisdiction::all().map(Some).chain([None]) {
            let places = place.as_slice();
            let (before, _) = outcome(self, places, purpose, fact);
            let (after, _) = outcome(newer, places, purpose, fact);
            if before != after {
                groups.entry((before, after)).or_default().insert(place);
            }
        }
        groups
    }
}

/// Places by what was and what will be; `None` is an unknown place.
type Groups = BTreeMap<(Outcome, Outcome), BTreeSet<Option<Jurisdiction>>>;

/// Guests who are alike in all but their place, and what changes for them.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// Who they are.
    pub case: Case,
    /// What came of it under the older policy.
    pub before: Outcome,
    /// What comes of it under the newer.
    pub after: Outcome,
    /// Where they are; `None` is an unknown place.
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

/// What a guest chose about one purpose, and what else matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Case {
    /// The purpose.
    pub purpose: Purpose,
    /// What they chose.
    pub choice: Choice,
    /// Whether their browser sends a GPC signal.
    pub gpc: bool,
    /// The age from which on it is so, in years; nothing for a grown-up.
    pub age: Option<u8>,
    /// Whether a parent or guardian chose.
    pub guardian: bool,
    /// How many days ago they chose.
    pub days: u32,
}

impl Case {
    fn new(purpose: Purpose, fact: &Fact) -> Self {
        Self {
            purpose,
            choice: fact.choice,
            gpc: fact.gpc,
            age: (fact.age != u8::MAX).then_some(fact.age),
            guardian: fact.guardian,
            days: u32::try_from(fact.since.whole_days()).unwrap_or(u32::MAX),
        }
    }

    /// The same without age, without a guardian, without time, as far as it has them.
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
