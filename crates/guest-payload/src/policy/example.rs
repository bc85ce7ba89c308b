//! Examples beside the rules of a policy's file, run as tests.

use std::fmt;

use serde::Deserialize;
use time::Duration;

use super::{Fact, Policy, PolicyFile};
use crate::{Age, Choice, Jurisdiction, Jurisdictions, Purpose};

impl PolicyFile {
    /// Runs each example. An empty answer is a pass.
    #[must_use]
    pub fn test(&self) -> Vec<ExampleFailure> {
        let fails = |example: &Example| {
            let (found, rule) = example.run(&self.policy);
            (found != example.expected || rule != example.rule).then(|| ExampleFailure {
                example: example.clone(),
                found,
                rule: rule.to_owned(),
            })
        };
        self.examples.iter().filter_map(fails).collect()
    }

    /// The rules that no example shows.
    pub fn unexampled(&self) -> impl Iterator<Item = &str> {
        let is_shown = |id: &str| self.examples.iter().any(|example| example.rule == id);
        let ids = self.policy.rules().iter().map(|rule| &*rule.id);
        ids.filter(move |id| !is_shown(id))
    }
}

/// What the author of a rule expects of it. The guest's other choices are such that they decide nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Example {
    /// Line of the file.
    pub line: usize,
    /// The rule that it stands beside, which is to decide.
    pub rule: String,
    /// The purpose in question.
    pub purpose: Purpose,
    /// Where the guest is.
    pub places: Jurisdictions,
    /// What they chose.
    pub choice: Choice,
    /// Whether their browser sends a GPC signal.
    pub gpc: bool,
    /// How old they are.
    pub age: Age,
    /// Whether a parent or guardian chose.
    pub guardian: bool,
    /// How many days ago that was.
    pub days: u32,
    /// What is to come of it.
    pub expected: Outcome,
}

impl Example {
    fn run<'p>(&self, policy: &'p Policy) -> (Outcome, &'p str) {
        let fact = Fact {
            choice: self.choice,
            guardian: self.guardian,
            since: Duration::days(i64::from(self.days)),
            gpc: self.gpc,
            age: self.age.years().unwrap_or(policy.assumed_age),
            in_force: true,
        };
        outcome(policy, &self.places, self.purpose, &fact)
    }
}

/// What comes of one purpose, and the rule that says so.
pub(super) fn outcome<'p>(
    policy: &'p Policy,
    places: &[Jurisdiction],
    purpose: Purpose,
    fact: &Fact,
) -> (Outcome, &'p str) {
    match policy.judge_one(places, purpose, fact) {
        (_, Some(unmet)) => (Outcome::Denied, &unmet.id),
        (state, None) if state.on => (Outcome::On, &state.rule.id),
        (state, None) => (Outcome::Off, &state.rule.id),
    }
}

/// What comes of a rule.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// No session is created.
    Denied,
    /// The purpose is off.
    Off,
    /// The purpose is on.
    On,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "denied",
            Self::Off => "off",
            Self::On => "on",
        })
    }
}

/// An example that did not come out as expected.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExampleFailure {
    /// The example.
    pub example: Example,
    /// What came of it.
    pub found: Outcome,
    /// Id of the rule that decided.
    pub rule: String,
}

impl fmt::Display for ExampleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { example, found, rule } = self;
        write!(
            f,
            "line {}: {} in {} should be {} by {}, and is {found} by {rule}",
            example.line, example.purpose, example.places, example.expected, example.rule
        )
    }
}
