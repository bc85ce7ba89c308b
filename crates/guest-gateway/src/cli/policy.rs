//! `policy`: tools for authors and reviewers of consent policies.

mod explain;
mod json;

use std::path::Path;

use clap::Subcommand;
use genesys_api::Clock;
use guest_payload::{
    DifferenceSummary, Jurisdiction, Lint, LintKind, Policy, PolicyFile, Rule, Scope, Source, Subject,
};
use serde_json::Value;

use super::{Failure, counted, print_line};
use crate::policy_file;

/// List, show, explain, lint, test and compare consent policies
///
/// A policy is named by the id of one that ships, or by the path of a file that ends in .toml. `policy list` has the ids.
/// Nothing here is legal advice.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the policies that ship, with their purpose
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Print the rules of a policy with their sources and doubts
    Show {
        #[command(flatten)]
        policy: Name,
        #[command(flatten)]
        output: Output,
    },
    /// Decide about a guest and give the reasons
    ///
    /// Each purpose has its reason, rule, sources with their addresses, doubts, and what would have to change for it to be
    /// on. A purpose that is neither granted nor denied is unanswered. Exit code 1 if the session is refused.
    Explain {
        #[command(flatten)]
        policy: Name,
        #[command(flatten)]
        guest: explain::Guest,
        #[command(flatten)]
        output: Output,
    },
    /// List possible legal objections; exit code 1 if one is fatal
    Lint {
        #[command(flatten)]
        policy: Name,
        /// A name of an attribute that pages send: an undeclared one that suggests sensitive data is an objection; may be
        /// repeated
        #[arg(long, value_name = "NAME")]
        attribute: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Run the examples in a policy; exit code 1 if one fails
    Test {
        #[command(flatten)]
        policy: Name,
        #[command(flatten)]
        output: Output,
    },
    /// List the guests that two policies treat differently, after a summary by purpose and place
    Diff {
        /// The older policy: an id or a file
        old: String,
        /// The newer policy: an id or a file
        new: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Name {
    /// The policy: tutorial-strict, purpose-scoped, or a file that ends in .toml
    policy: String,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Output {
    /// Print one JSON value instead of text
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Prints `value`, or the lines of `text`.
    fn print(self, value: impl FnOnce() -> Value, text: impl FnOnce() -> Vec<String>) {
        match self.json {
            true => print_line(&format!("{:#}", value())),
            false => text().iter().for_each(|line| print_line(line)),
        }
    }
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List { output } => {
            let policies = Policy::all();
            let texts = || policies.iter().map(|policy| headline(policy, None)).collect();
            output.print(
                || policies.iter().map(|policy| json::policy(policy)).collect(),
                texts,
            );
            Ok(())
        }
        Command::Show { policy, output } => {
            let named = Named::read(&policy.policy)?;
            output.print(|| json::whole_policy(&named.file.policy), || show(&named));
            Ok(())
        }
        Command::Explain {
            policy,
            guest,
            output,
        } => explain::run(&Named::read(&policy.policy)?, guest, *output),
        Command::Lint {
            policy,
            attribute,
            output,
        } => lint(&Named::read(&policy.policy)?, attribute, *output),
        Command::Test { policy, output } => test(&Named::read(&policy.policy)?, *output),
        Command::Diff { old, new, output } => {
            let (old, new) = (Named::read(old)?, Named::read(new)?);
            diff(&old, &new, *output);
            Ok(())
        }
    }
}

/// A policy with the path of its file, if it is not one that ships.
struct Named<'a> {
    path: Option<&'a str>,
    file: PolicyFile,
}

impl<'a> Named<'a> {
    /// Finds a policy that ships, or reads one from a file.
    fn read(name: &'a str) -> Result<Self, Failure> {
        if !name.ends_with(".toml") {
            let file = PolicyFile::find(name).map_err(|error| {
                Failure::usage(format!("{error}, or the path of a file that ends in .toml"))
            })?;
            return Ok(Self { path: None, file });
        }
        let file = policy_file::read(Path::new(name)).map_err(Failure::usage)?;
        Ok(Self {
            path: Some(name),
            file,
        })
    }

    /// The path of the file, or the id of a policy that ships.
    fn name(&self) -> &str {
        self.path.unwrap_or(&self.file.policy.id)
    }
}

fn headline(policy: &Policy, path: Option<&str>) -> String {
    let from = path.map_or(String::new(), |path| format!(" ({path})"));
    format!("{} {}{from}: {}", policy.id, policy.version, policy.about)
}

fn show(named: &Named<'_>) -> Vec<String> {
    let policy = &named.file.policy;
    let (from, reviewed) = (policy.valid_from, policy.reviewed);
    let until = policy
        .valid_until
        .map_or(String::new(), |last| format!(" until {last}"));
    let mut lines = vec![
        headline(policy, named.path),
        format!("In force from {from}{until}; reviewed on {reviewed}."),
    ];
    for rule in policy.rules() {
        lines.push(format!(
            "\n{} ({}): {}",
            rule.id,
            places(rule).join(" "),
            rule.basis
        ));
        lines.extend(
            rule.all_sources()
                .map(|source| format!("  source: {}", address(source))),
        );
        lines.extend(rule.all_doubts().map(|doubt| format!("  doubt: {doubt}")));
    }
    let declared = policy.attributes().map(|(name, category)| {
        let category = category.map_or("ordinary", |category| category.as_str());
        format!("  {name}: {category}")
    });
    let declared: Vec<String> = declared.collect();
    if !declared.is_empty() {
        lines.push("\ndeclared attributes:".to_owned());
        lines.extend(declared);
    }
    lines
}

/// A source with its address and the day of the last comparison.
fn address(source: &Source) -> String {
    let reviewed = source.reviewed;
    match &source.url {
        Some(url) => format!("{source}, {url} (reviewed on {reviewed})"),
        None => format!("{source} (reviewed on {reviewed})"),
    }
}

fn places(rule: &Rule) -> Vec<&'static str> {
    match &rule.scope {
        Scope::Places(places) => places.iter().map(Jurisdiction::as_str).collect(),
        Scope::Elsewhere => vec!["elsewhere"],
        _ => vec!["unknown"],
    }
}

fn lint(named: &Named<'_>, attributes: &[String], output: Output) -> Result<(), Failure> {
    let policy = &named.file.policy;
    let lints = policy.lints(Clock::system().now().utc.date());
    let (fatal, other): (Vec<Lint>, Vec<Lint>) = lints.into_iter().partition(|lint| lint.kind.is_fatal());
    let warnings: Vec<_> = attributes
        .iter()
        .filter_map(|name| policy.warning(name))
        .collect();
    let objections = other.len() + warnings.len();
    output.print(
        || json::lints(named.name(), fatal.iter().chain(&other), &warnings),
        || {
            let mut lines = objections_with_rules(fatal.iter().chain(&other));
            lines.extend(warnings.iter().map(|warning| format!("{}: {warning}", policy.id)));
            if fatal.is_empty() {
                let rules = counted(policy.rules().len(), "rule", "rules");
                let objections = counted(objections, "objection", "objections");
                lines.push(format!("{rules}, {objections} to consider."));
            }
            lines
        },
    );
    match fatal.len() {
        0 => Ok(()),
        fatal => Err(Failure::failed(counted(
            fatal,
            "fatal objection",
            "fatal objections",
        ))),
    }
}

/// Each objection once, with the rules that have it.
fn objections_with_rules<'a>(lints: impl Iterator<Item = &'a Lint>) -> Vec<String> {
    let mut objections: Vec<(&LintKind, Vec<&str>)> = Vec::new();
    for lint in lints {
        match objections.iter_mut().find(|(kind, _)| *kind == &lint.kind) {
            Some((_, rules)) => rules.push(&lint.rule),
            None => objections.push((&lint.kind, vec![&lint.rule])),
        }
    }
    let objections = objections.iter();
    objections
        .flat_map(|(kind, rules)| wrapped(&format!("{kind} [{}]", short(rules))))
        .collect()
}

/// A rule without the id of its policy, or the number of rules with their areas: `13 rules: GB, CH`.
fn short(rules: &[&str]) -> String {
    if let [rule] = rules {
        return rule.split_once('/').map_or(*rule, |(_, rest)| rest).to_owned();
    }
    let mut areas: Vec<&str> = Vec::new();
    for rule in rules {
        let area = rule.split('/').nth(1).unwrap_or(rule);
        if !areas.contains(&area) {
            areas.push(area);
        }
    }
    format!("{} rules: {}", rules.len(), areas.join(", "))
}

/// Lines of at most 80 columns, unless a word is longer. All but the first are indented.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= 80 => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("    {word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn test(named: &Named<'_>, output: Output) -> Result<(), Failure> {
    let (name, file) = (named.name(), &named.file);
    let failures = file.test();
    let without: Vec<&str> = file.rules_without_example().collect();
    output.print(
        || json::test(name, file.examples.len(), &failures, &without),
        || {
            let mut lines: Vec<String> = failures
                .iter()
                .map(|failure| format!("{name}: {failure}"))
                .collect();
            lines.extend(
                without
                    .iter()
                    .map(|rule| format!("{name}: {rule} has no example")),
            );
            if failures.is_empty() {
                let examples = counted(file.examples.len(), "example", "examples");
                lines.push(format!("{examples} passed."));
            }
            lines
        },
    );
    match failures.len() {
        0 => Ok(()),
        failed => Err(Failure::failed(format!(
            "{failed} of {} examples fail",
            file.examples.len()
        ))),
    }
}

fn diff(old: &Named<'_>, new: &Named<'_>, output: Output) {
    let policies = [old, new].map(|named| &named.file.policy);
    let [older, newer] = policies;
    let differences = older.differences(newer);
    let summaries = DifferenceSummary::of(&differences);
    let only = |policy: &Policy, other: &Policy| -> Vec<Subject> {
        let subjects = policy.decided_subjects();
        subjects.filter(|subject| !other.decides(*subject)).collect()
    };
    let only = [only(older, newer), only(newer, older)];
    output.print(
        || json::diff(policies, &only, &summaries, &differences),
        || {
            let mut lines = Vec::new();
            for (policy, subjects) in policies.iter().zip(&only) {
                if !subjects.is_empty() {
                    let names: Vec<&str> = subjects.iter().map(|subject| subject.as_str()).collect();
                    let (id, version) = (&policy.id, &policy.version);
                    lines.push(format!(
                        "Only {id} {version} has rules about {} data.",
                        names.join(", ")
                    ));
                }
            }
            match differences.is_empty() {
                true => lines.push("No guest is treated differently.".to_owned()),
                false => {
                    let cases = counted(differences.len(), "case differs", "cases differ");
                    let (from, to) = (&older.version, &newer.version);
                    lines.push(format!("{} {from} -> {} {to}: {cases}.", older.id, newer.id));
                    lines.extend(summaries.iter().map(|summary| format!("- {summary}")));
                    lines.push("\nCases, the most general first:".to_owned());
                    lines.extend(differences.iter().map(|difference| format!("- {difference}")));
                }
            }
            lines
        },
    );
}

fn subject(text: &str) -> Result<Subject, String> {
    let named = Subject::all()
        .filter(|subject| *subject != Subject::Functional)
        .find(|subject| subject.as_str() == text);
    named.ok_or_else(|| {
        let names: Vec<&str> = Subject::all()
            .map(Subject::as_str)
            .filter(|name| *name != "functional")
            .collect();
        format!("invalid purpose or category: use {}", names.join(", "))
    })
}
