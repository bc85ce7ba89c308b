//! `policy`: tools for authors and reviewers of consent policies.

use clap::Subcommand;
use genesys_api::Clock;
use guest_payload::{
    Age, Choice, Consent, DecisionInput, Evidence, Jurisdiction, Jurisdictions, Lint, Policy, PolicyFile,
    Purpose, Scope, Signals,
};

use super::{Failure, counted, print_line};

/// List, show, explain, lint, test and compare consent policies
///
/// A policy is named by the id of one that ships, or by the path of a file that ends in .toml. Nothing here is legal
/// advice.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the policies that ship, with their purpose
    List,
    /// Print the rules of a policy with their sources and doubts
    Show {
        /// The policy: an id or a file
        policy: String,
    },
    /// Decide about a guest and give the reasons
    ///
    /// A purpose that is neither granted nor denied is unanswered. Exit code 1 if the session is refused.
    Explain {
        /// The policy: an id or a file
        #[arg(long, default_value = "tutorial-strict")]
        policy: String,
        /// The location of the guest, such as US-CA or FR,US-CA
        #[arg(long, default_value = "unknown")]
        jurisdiction: Jurisdictions,
        /// The age of the guest, such as 16, 13-15, 18+ or "under 13"
        #[arg(long, default_value = "unknown")]
        age: Age,
        /// The browser of the guest sends a GPC signal
        #[arg(long)]
        gpc: bool,
        /// A purpose that the guest granted; may be repeated
        #[arg(long, value_parser = purpose)]
        grant: Vec<Purpose>,
        /// A purpose that the guest denied; may be repeated
        #[arg(long, value_parser = purpose)]
        deny: Vec<Purpose>,
    },
    /// List possible legal objections; exit code 1 if one is fatal
    Lint {
        /// The policy: an id or a file
        policy: String,
    },
    /// Run the examples in a policy file; exit code 1 if one fails
    Test {
        /// The policy's file
        file: String,
    },
    /// List the guests that two policies treat differently
    Diff {
        /// The older policy: an id or a file
        old: String,
        /// The newer policy: an id or a file
        new: String,
    },
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List => Policy::all()
            .iter()
            .for_each(|policy| print_line(&headline(policy))),
        Command::Show { policy } => show(&policy_of(policy)?),
        Command::Explain {
            policy,
            jurisdiction,
            age,
            gpc,
            grant,
            deny,
        } => {
            let now = Clock::system().now().utc;
            let input = DecisionInput {
                jurisdictions: jurisdiction,
                age: *age,
                signals: Signals { gpc: *gpc },
                consent: &Consent::together(choices(grant, deny)?, Evidence::at(now)),
                now,
            };
            match policy_of(policy)?.decide(&input) {
                Ok(allowed) => print_line(&allowed.explain()),
                Err(refused) => {
                    print_line(&refused.explain());
                    return Err(Failure::failed(refused));
                }
            }
        }
        Command::Lint { policy } => lint(&policy_of(policy)?)?,
        Command::Test { file } => test(file)?,
        Command::Diff { old, new } => {
            let differences = policy_of(old)?.differences(&policy_of(new)?).into_iter();
            let lines: Vec<String> = differences.map(|difference| difference.to_string()).collect();
            match lines.is_empty() {
                true => print_line("No guest is treated differently."),
                false => print_line(&lines.join("\n")),
            }
        }
    }
    Ok(())
}

fn headline(policy: &Policy) -> String {
    format!("{} {}: {}", policy.id, policy.version, policy.about)
}

fn show(policy: &Policy) {
    print_line(&headline(policy));
    let (from, reviewed) = (policy.valid_from, policy.reviewed);
    print_line(&format!("In force from {from}; reviewed on {reviewed}."));
    for rule in policy.rules() {
        let places = match &rule.scope {
            Scope::Places(places) => {
                let codes: Vec<_> = places.iter().map(Jurisdiction::as_str).collect();
                codes.join(" ")
            }
            Scope::Elsewhere => "elsewhere".to_owned(),
            _ => "unknown".to_owned(),
        };
        print_line(&format!("\n{} ({places}): {}", rule.id, rule.basis));
        for source in rule.sources.iter() {
            print_line(&format!("  source: {source} (reviewed on {})", source.reviewed));
        }
        for doubt in rule.doubts.iter() {
            print_line(&format!("  doubt: {doubt}"));
        }
    }
}

fn choices(grant: &[Purpose], deny: &[Purpose]) -> Result<[Choice; 3], Failure> {
    if let Some(both) = grant.iter().find(|purpose| deny.contains(purpose)) {
        return Err(Failure::usage(format!(
            "invalid choice about {both}: both granted and denied, use one of --grant and --deny"
        )));
    }
    Ok(Purpose::ALL.map(|purpose| match purpose {
        _ if grant.contains(&purpose) => Choice::Granted,
        _ if deny.contains(&purpose) => Choice::Denied,
        _ => Choice::Unknown,
    }))
}

fn lint(policy: &Policy) -> Result<(), Failure> {
    let lints = policy.lints(Clock::system().now().utc.date());
    let (fatal, other): (Vec<Lint>, Vec<Lint>) = lints.into_iter().partition(|lint| lint.kind.is_fatal());
    for lint in fatal.iter().chain(&other) {
        print_line(&lint.to_string());
    }
    if !fatal.is_empty() {
        return Err(Failure::failed(counted(
            fatal.len(),
            "fatal objection",
            "fatal objections",
        )));
    }
    let rules = counted(policy.rules().len(), "rule", "rules");
    let objections = counted(other.len(), "objection", "objections");
    print_line(&format!("{rules}, {objections} to consider."));
    Ok(())
}

fn test(file: &str) -> Result<(), Failure> {
    let policy = file_of(file)?;
    let failures = policy.test();
    for failure in &failures {
        print_line(&format!("{file}: {failure}"));
    }
    for rule in policy.rules_without_example() {
        print_line(&format!("{file}: {rule} has no example"));
    }
    if !failures.is_empty() {
        let (failed, all) = (failures.len(), policy.examples.len());
        return Err(Failure::failed(format!("{failed} of {all} examples fail")));
    }
    let examples = counted(policy.examples.len(), "example", "examples");
    print_line(&format!("{examples} passed."));
    Ok(())
}

/// Finds a policy that ships, or reads one from a file.
fn policy_of(name: &str) -> Result<Policy, Failure> {
    if name.ends_with(".toml") {
        return Ok(file_of(name)?.policy);
    }
    Policy::find(name).cloned().map_err(Failure::usage)
}

fn file_of(name: &str) -> Result<PolicyFile, Failure> {
    let text = std::fs::read_to_string(name)
        .map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    PolicyFile::parse(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))
}

fn purpose(text: &str) -> Result<Purpose, String> {
    let named = Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == text);
    named.ok_or_else(|| "invalid purpose: use marketing, personalization or analytics".to_owned())
}
