//! Examples beside the rules of a policy file, run as tests.

use std::fmt;

use serde::Deserialize;
use time::Duration;

use super::{Policy, PolicyFile, RuleInput};
use crate::{Age, Choice, Jurisdiction, Jurisdictions, Purpose};

impl PolicyFile {
    /// Runs each example, and returns the failures.
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

    /// The ids of rules without an example.
    pub fn rules_without_example(&self) -> impl Iterator<Item = &str> {
        let is_shown = |id: &str| self.examples.iter().any(|example| example.rule == id);
        let ids = self.policy.rules().iter().map(|rule| &*rule.id);
        ids.filter(move |id| !is_shown(id))
    }
}

/// An expected outcome of a rule. The guest's other choices have no effect.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Example {
    /// Line of the file.
    pub line: usize,
    /// Id of the rule that must decide.
    pub rule: String,
    /// The purpose.
    pub purpose: Purpose,
    /// The guest's places.
    pub places: Jurisdictions,
    /// The guest's choice.
    pub choice: Choice,
    /// Whether the browser sends a GPC signal.
    pub gpc: bool,
    /// The guest's age.
    pub age: Age,
    /// Whether a parent or guardian chose.
    pub guardian: bool,
    /// Days since the choice.
    pub days: u32,
    /// The expected outcome.
    pub expected: Outcome,
}

impl Example {
    fn run<'p>(&self, policy: &'p Policy) -> (Outcome, &'p str) {
        let input = RuleInput {
            choice: self.choice,
            guardian: self.guardian,
            since: Duration::days(i64::from(self.days)),
            gpc: self.gpc,
            age: self.age.years().unwrap_or(policy.assumed_age),
            in_force: true,
        };
        outcome(policy, &self.places, self.purpose, &input)
    }
}

/// The outcome for one purpose, and the id of the deciding rule.
pub(super) fn outcome<'p>(
    policy: &'p Policy,
    places: &[Jurisdiction],
    purpose: Purpose,
    input: &RuleInput,
) -> (Outcome, &'p str) {
    match policy.evaluate_purpose(places, purpose, input) {
        (_, Some(unmet)) => (Outcome::Denied, &unmet.id),
        (state, None) if state.on => (Outcome::On, &state.rule.id),
        (state, None) => (Outcome::Off, &state.rule.id),
    }
}

/// The outcome for one purpose.
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

/// An example with another outcome than expected.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExampleFailure {
    /// The example.
    pub example: Example,
    /// The actual outcome.
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
