//! Cases: the inputs of a decision about one subject.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::Duration;

use super::{Policy, Rule, RuleInput};
use crate::{Age, Choice, Jurisdiction, Subject};

/// The inputs of a decision about one subject, without the place.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Case {
    /// The subject.
    pub subject: Subject,
    /// The choice.
    pub choice: Choice,
    /// Whether the browser sends a GPC signal.
    pub gpc: bool,
    /// The guest's age. In a difference an unknown age stands for an adult.
    #[serde(serialize_with = "age")]
    pub age: Age,
    /// Whether there is evidence that a parent or guardian chose.
    pub guardian: bool,
    /// Days since the choice.
    pub days: u32,
}

impl Case {
    /// Every case that these rules distinguish, an adult's with an unknown age.
    pub(super) fn all(subject: Subject, rules: &[&Rule]) -> Vec<Self> {
        let mut ages = BTreeSet::from([0]);
        let mut days = BTreeSet::from([0]);
        for rule in rules {
            ages.extend([
                rule.ages.consent_from,
                rule.ages.opt_in_below,
                rule.ages.prohibited_below,
            ]);
            days.extend(rule.max_age_days.map(|days| days.saturating_add(1)));
        }
        let ages = ages.into_iter().map(Age::at_least).chain([Age::UNKNOWN]);
        let mut cases = Vec::new();
        for age in ages {
            for gpc in [false, true] {
                let case = |choice, guardian, days| Self {
                    subject,
                    choice,
                    gpc,
                    age,
                    guardian,
                    days,
                };
                cases.extend([Choice::Denied, Choice::Unknown].map(|choice| case(choice, false, 0)));
                for guardian in [false, true] {
                    cases.extend(days.iter().map(|days| case(Choice::Granted, guardian, *days)));
                }
            }
        }
        cases
    }

    /// The input of a rule, with an age in place of an unknown one.
    pub(super) fn input(&self, assumed_age: u8) -> RuleInput {
        RuleInput {
            choice: self.choice,
            guardian: self.guardian,
            since: Duration::days(i64::from(self.days)),
            gpc: self.gpc,
            age: self.age.years().unwrap_or(assumed_age),
            in_force: true,
        }
    }

    /// The outcome under a policy, and the id of the deciding rule. Sensitive data without rules is on: it is data as any
    /// other.
    pub(super) fn outcome<'p>(
        &self,
        policy: &'p Policy,
        places: &[Jurisdiction],
        assumed_age: u8,
    ) -> (Outcome, &'p str) {
        match policy.evaluate_subject(places, self.subject, &self.input(assumed_age)) {
            Some((_, Some(unmet))) => (Outcome::Denied, &unmet.id),
            Some((state, None)) if state.is_on() => (Outcome::On, &state.rule.id),
            Some((state, None)) => (Outcome::Off, &state.rule.id),
            None => (Outcome::On, "no rule"),
        }
    }

    /// The same case without age, without guardian, and without days.
    pub(super) fn simpler(&self) -> [Self; 3] {
        [
            Self {
                age: Age::UNKNOWN,
                ..*self
            },
            Self {
                guardian: false,
                ..*self
            },
            Self { days: 0, ..*self },
        ]
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject, self.choice)?;
        if self.gpc {
            f.write_str(", with a GPC signal")?;
        }
        if let Some(years) = self.age.years() {
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

/// The lower end of an age band in years, or nothing.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde demands"
)]
fn age<S: serde::Serializer>(age: &Age, serializer: S) -> Result<S::Ok, S::Error> {
    age.years().serialize(serializer)
}

/// The outcome for one subject.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// No session is created.
    Denied,
    /// The subject is off.
    Off,
    /// The subject is on.
    On,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
