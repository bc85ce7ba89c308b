//! Differences between two policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::case::{Case, Outcome};
use super::{Policy, Rule};
use crate::{Jurisdiction, Subject};

impl Policy {
    /// The guests whom `newer` treats differently, by their choice and place.
    ///
    /// Every place and every case that a rule of either policy distinguishes is evaluated. A case with an age, a guardian
    /// or days is left out if the simpler case (an adult who chose just now) has the same difference. Sensitive data about
    /// which one of the policies has no rules is left out: see [`Policy::decided_subjects`].
    #[must_use]
    pub fn differences(&self, newer: &Self) -> Vec<Difference> {
        let rules: Vec<&Rule> = self.rules.iter().chain(newer.rules.iter()).collect();
        let mut differences = Vec::new();
        for subject in self.decided_subjects().filter(|subject| newer.decides(*subject)) {
            let about: Vec<&Rule> = rules
                .iter()
                .copied()
                .filter(|rule| rule.subject == subject)
                .collect();
            let cases = Case::all(subject, &about).into_iter();
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

    /// The subjects that the policy has rules about, beside serving the guest.
    pub fn decided_subjects(&self) -> impl Iterator<Item = Subject> {
        Subject::all().filter(|subject| *subject != Subject::Functional && self.decides(*subject))
    }

    /// Whether the policy has rules about a subject.
    #[must_use]
    pub fn decides(&self, subject: Subject) -> bool {
        self.rules.iter().any(|rule| rule.subject == subject)
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
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The case.
    #[serde(flatten)]
    pub case: Case,
    /// The outcome under the older policy.
    pub before: Outcome,
    /// The outcome under the newer policy.
    pub after: Outcome,
    /// The places. `None` is an unknown place.
    #[serde(serialize_with = "codes")]
    pub places: Vec<Option<Jurisdiction>>,
}

impl Difference {
    /// Whether the newer policy lets fewer guests through.
    #[must_use]
    pub fn is_stricter(&self) -> bool {
        self.after < self.before
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: BTreeSet<_> = self.places.iter().copied().collect();
        write!(
            f,
            "{}: {} -> {} in {}",
            self.case,
            self.before,
            self.after,
            Places(&places)
        )
    }
}

/// The places in which a newer policy is stricter about a subject, or less strict, for some guests.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DifferenceSummary {
    /// The subject.
    pub subject: Subject,
    /// Whether the newer policy is stricter there. A place can be in a stricter and in a less strict summary.
    pub is_stricter: bool,
    /// Number of differing cases.
    pub cases: usize,
    /// The places. `None` is an unknown place.
    #[serde(serialize_with = "codes")]
    pub places: BTreeSet<Option<Jurisdiction>>,
}

impl DifferenceSummary {
    /// Summaries of differences, by subject, the stricter first.
    #[must_use]
    pub fn of(differences: &[Difference]) -> Vec<Self> {
        let mut summaries: BTreeMap<(Subject, bool), (usize, BTreeSet<_>)> = BTreeMap::new();
        for difference in differences {
            let key = (difference.case.subject, !difference.is_stricter());
            let (cases, places) = summaries.entry(key).or_default();
            *cases += 1;
            places.extend(difference.places.iter().copied());
        }
        summaries
            .into_iter()
            .map(|((subject, is_looser), (cases, places))| Self {
                subject,
                is_stricter: !is_looser,
                cases,
                places,
            })
            .collect()
    }
}

impl fmt::Display for DifferenceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.is_stricter {
            "stricter"
        } else {
            "less strict"
        };
        let cases = if self.cases == 1 { "case" } else { "cases" };
        write!(
            f,
            "{}: {direction} in {} {cases}, in {}",
            self.subject,
            self.cases,
            Places(&self.places)
        )
    }
}

/// Places in few words: a union or a country stands for all its parts, and a long list is cut with the number of the rest.
struct Places<'a>(&'a BTreeSet<Option<Jurisdiction>>);

impl Places<'_> {
    /// The places without the parts of a union or country of which every part is in the set. One of which only some parts are
    /// stands for guests whose part is not known.
    fn names(&self) -> Vec<String> {
        let holds = |place: Jurisdiction| self.0.contains(&Some(place));
        let is_part_of = |part: Jurisdiction, whole| part.ancestors().skip(1).any(|wider| wider == whole);
        let is_whole = |whole| {
            let mut parts = Jurisdiction::all().filter(|part| is_part_of(*part, whole));
            parts.all(holds)
        };
        let known = self.0.iter().copied().flatten();
        let widest = known.filter(|place| {
            !place
                .ancestors()
                .skip(1)
                .any(|wider| holds(wider) && is_whole(wider))
        });
        let mut names: Vec<String> = widest
            .map(|place| match is_whole(place) {
                true => place.to_string(),
                false => format!("{place} (part not known)"),
            })
            .collect();
        names.extend(self.0.contains(&None).then(|| "unknown".to_owned()));
        names
    }
}

impl fmt::Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        if self.0.len() > Jurisdiction::all().len() {
            return f.write_str("every place");
        }
        let (shown, rest) = names.split_at(names.len().min(SHOWN));
        f.write_str(&shown.join(" "))?;
        match rest.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more places (--json lists them)"),
        }
    }
}

/// Places of a difference that are shown. Our choice.
const SHOWN: usize = 20;

fn codes<'a, S: Serializer>(
    places: impl IntoIterator<Item = &'a Option<Jurisdiction>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let code = |place: &'a Option<Jurisdiction>| place.as_ref().map_or("unknown", Jurisdiction::as_str);
    serializer.collect_seq(places.into_iter().map(code))
}
