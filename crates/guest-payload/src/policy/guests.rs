//! A table of guests with the decisions that the sources of the law lead to: `guests.csv`, which counsel can read.
//!
//! Its columns are separated by semicolons. A decision is `on` or `off` with its reason. The column `by` after it has the
//! laws that the decision must cite, separated by ` + `. `sensitive` is the choice about the category in `attributes`.
//! `leave` has the attributes that may be sent. The last two columns explain where version 1.1.0 of the policy decided
//! otherwise: marketing, personalization, analytics, and what left.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::decision::PurposeState;
use crate::{
    Actor, Age, Category, Choice, Consent, DecisionInput, Evidence, GuardianEvidence, NewGuest, Policy,
    Purpose, Relationship, Signals, Source, Verification,
};

fn now() -> OffsetDateTime {
    genesys_api::parse_rfc3339("2026-12-01T12:30:00Z").unwrap()
}

/// A guest of the table, by the columns of its row.
struct Row<'a>(Vec<&'a str>);

impl<'a> Row<'a> {
    fn guest(&self) -> NewGuest {
        let choice = |column: usize| match self.0[column] {
            "granted" => Choice::Granted,
            "denied" => Choice::Denied,
            _ => Choice::Unknown,
        };
        let mut evidence = Evidence::at(now());
        if !self.0[3].is_empty() {
            evidence.actor = Actor::Guardian;
            let verification = Verification::SignedForm;
            evidence.guardian = Some(GuardianEvidence::new(Relationship::Parent, verification, now()));
        }
        let mut consent = Consent::together([choice(5); 3], evidence.clone());
        if choice(6) != Choice::Unknown {
            consent = consent.with_sensitive(self.category(), choice(6), evidence);
        }
        let place = self.0[1].parse().unwrap();
        let mut guest = NewGuest::new("channel".parse().unwrap(), place, consent);
        guest.age = match self.0[2] {
            "" => Age::UNKNOWN,
            age => age.parse().unwrap(),
        };
        guest.signals = Signals {
            gpc: !self.0[4].is_empty(),
        };
        for attribute in self.0[7].split(' ') {
            let (name, category) = attribute.split_once('(').unwrap_or((attribute, ""));
            let declared = Policy::purpose_scoped().category(name);
            assert_eq!(
                declared.map_or("", Category::as_str),
                category.trim_end_matches(')'),
                "{name}"
            );
            guest.attributes.insert(name, "value").unwrap();
        }
        guest
    }

    /// The category of the attribute with sensitive data.
    fn category(&self) -> Category {
        let declared = self.0[7].split(' ').find_map(|attribute| {
            let (_, category) = attribute.trim_end_matches(')').split_once('(')?;
            Category::ALL.into_iter().find(|known| known.as_str() == category)
        });
        declared.unwrap()
    }

    /// The decision in the columns from this one on, as the table writes it.
    fn written(&self, column: usize) -> (&'a str, &'a str) {
        (self.0[column], self.0[column + 1])
    }
}

/// A decision as the table writes it.
fn decision(state: PurposeState<'_>) -> (String, String) {
    let switch = if state.is_on() { "on" } else { "off" };
    let reason = serde_json::to_value(state.reason).unwrap();
    let cited: Vec<String> = state.sources().iter().map(Source::to_string).collect();
    (
        format!("{switch}: {}", reason.as_str().unwrap()),
        cited.join(" + "),
    )
}

#[test]
fn guests_are_decided_as_in_the_table() {
    let policy = Policy::purpose_scoped();
    let table = include_str!("guests.csv");
    let rows = table.lines().skip(1).map(|line| Row(line.split(';').collect()));
    let (mut guests, mut categories, mut failures) = (0, BTreeSet::new(), Vec::new());
    for row in rows {
        assert_eq!(row.0.len(), 19, "guest {}", row.0[0]);
        let guest = row.guest();
        let allowed = policy.decide(&DecisionInput {
            jurisdictions: &guest.jurisdictions,
            age: guest.age,
            signals: guest.signals,
            consent: &guest.consent,
            now: now(),
        });
        let allowed = allowed.unwrap();
        let mut compare = |column: usize, state| {
            let (is, by) = decision(state);
            if row.written(column) != (&*is, &*by) {
                failures.push(format!("guest {}, column {column}: {is} by {by}", row.0[0]));
            }
        };
        for (purpose, column) in Purpose::ALL.into_iter().zip([8, 10, 12]) {
            compare(column, allowed.state(purpose));
        }
        if !row.0[14].is_empty() {
            compare(14, allowed.category(row.category()).unwrap());
            categories.insert(row.category());
        }
        let session = guest.clone().decide(policy, now()).unwrap();
        let leave: BTreeSet<&str> = session.data().attributes().map(|(name, _)| name).collect();
        if leave != row.0[16].split(' ').collect() {
            failures.push(format!("guest {}: {leave:?} leave", row.0[0]));
        }
        assert_eq!(row.0[17].is_empty(), row.0[18].is_empty(), "guest {}", row.0[0]);
        guests += 1;
    }
    assert!(guests >= 200, "{guests} guests");
    assert!(categories.into_iter().eq(Category::ALL));
    assert_eq!(failures, [""; 0]);
}
