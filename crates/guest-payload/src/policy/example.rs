//! Examples beside the rules of a policy file, run as tests.

use std::fmt;

use super::PolicyFile;
use super::case::{Case, Outcome};
use crate::{Jurisdictions, Subject};

impl PolicyFile {
    /// Runs each example, and returns the failures.
    #[must_use]
    pub fn test(&self) -> Vec<ExampleFailure> {
        let fails = |example: &Example| {
            let policy = &self.policy;
            let (found, rule) = example.case.outcome(policy, &example.places, policy.assumed_age);
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
        let decided = self
            .policy
            .rules()
            .iter()
            .filter(|rule| rule.subject != Subject::Functional);
        decided.map(|rule| &*rule.id).filter(move |id| !is_shown(id))
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
    /// The guest's places.
    pub places: Jurisdictions,
    /// The other inputs.
    pub case: Case,
    /// The expected outcome.
    pub expected: Outcome,
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
            example.line, example.case.subject, example.places, example.expected, example.rule
        )
    }
}
