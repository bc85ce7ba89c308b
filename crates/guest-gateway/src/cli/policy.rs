//! `policy`: consent policies, for whoever writes, reviews or has to explain them.

use std::path::Path;

use clap::{Args, Subcommand};
use genesys_api::Clock;
use guest_payload::{
    Age, Choice, Consent, DecisionInput, Evidence, Jurisdictions, Lint, Policy, PolicyFile, Purpose, Scope,
    Signals,
};

use super::{Failure, say};

/// Show, explain, check and compare consent policies
///
/// Wherever a policy is asked for, give the id of one that ships or the path of a file that ends in .toml. None of this
/// is legal advice.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Name the policies that ship, and say what they are for
    List,
    /// Print the rules of a policy with their sources and doubts
    Show {
        /// The policy: an id or a file
        policy: String,
    },
    Explain(ExplainOptions),
    /// Say what a lawyer would object to; exit code 1 if no policy may ship so
    Lint {
        /// The policy: an id or a file
        policy: String,
    },
    /// Run the examples that stand beside the rules of a file; exit code 1 if one fails
    Test {
        /// The policy's file
        file: String,
    },
    /// Say which guests two policies treat differently, and where
    Diff {
        /// The older policy: an id or a file
        old: String,
        /// The newer policy: an id or a file
        new: String,
    },
}

/// Decide about a guest, and say why
///
/// A purpose that is neither granted nor denied was not answered. Exit code 1 if the session is refused.
#[derive(Args, Debug)]
pub(super) struct ExplainOptions {
    /// The policy: an id or a file
    #[arg(long, default_value = "tutorial-strict")]
    policy: String,
    /// Where the guest is, as in US-CA or FR,US-CA
    #[arg(long, default_value = "unknown")]
    jurisdiction: Jurisdictions,
    /// How old they are, as in 16, 13-15, 18+ or "under 13"
    #[arg(long, default_value = "unknown")]
    age: Age,
    /// Their browser sends a GPC signal
    #[arg(long)]
    gpc: bool,
    /// A purpose that they agreed to; may be repeated
    #[arg(long, value_parser = purpose)]
    grant: Vec<Purpose>,
    /// A purpose that they refused; may be repeated
    #[arg(long, value_parser = purpose)]
    deny: Vec<Purpose>,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            for policy in Policy::all() {
                say(&headline(policy));
            }
            Ok(())
        }
        Command::Show { policy } => {
            show(&policy_of(policy)?);
            Ok(())
        }
        Command::Explain(options) => explain(options),
        Command::Lint { policy } => lint(&policy_of(policy)?),
        Command::Test { file } => test(file),
        Command::Diff { old, new } => {
            let differences = policy_of(old)?.differences(&policy_of(new)?).into_iter();
            let lines: Vec<String> = differences.map(|difference| difference.to_string()).collect();
            match lines.is_empty() {
                true => say("No guest is treated differently."),
                false => say(&lines.join("\n")),
            }
            Ok(())
        }
    }
}

fn headline(policy: &Policy) -> String {
    format!("{} {}: {}", policy.id(), policy.version(), policy.about())
}

fn show(policy: &Policy) {
    say(&headline(policy));
    say(&format!(
        "In force from {}; reviewed on {}.",
        policy.valid_from(),
        policy.reviewed()
    ));
    for rule in policy.rules() {
        let places = match &rule.scope {
            Scope::Places(places) => {
                let codes: Vec<&str> = places.iter().map(guest_payload::Jurisdiction::as_str).collect();
                codes.join(" ")
            }
            Scope::Elsewhere => "elsewhere".to_owned(),
            _ => "unknown".to_owned(),
        };
        say(&format!("\n{} ({places}): {}", rule.id, rule.basis.as_str()));
        for source in rule.sources.iter() {
            say(&format!("  source: {source} (reviewed on {})", source.reviewed));
        }
        for doubt in rule.doubts.iter() {
            say(&format!("  doubt: {doubt}"));
        }
    }
}

fn explain(options: &ExplainOptions) -> Result<(), Failure> {
    if let Some(both) = options
        .grant
        .iter()
        .find(|purpose| options.deny.contains(purpose))
    {
        return Err(Failure::usage(format!(
            "{both} is both granted and denied: give one of them"
        )));
    }
    let choice = |purpose| match (options.grant.contains(&purpose), options.deny.contains(&purpose)) {
        (true, _) => Choice::Granted,
        (_, true) => Choice::Denied,
        _ => Choice::Unknown,
    };
    let now = Clock::system().now().utc;
    let policy = policy_of(&options.policy)?;
    let decision = policy.decide(&DecisionInput {
        jurisdictions: &options.jurisdiction,
        age: options.age,
        signals: Signals { gpc: options.gpc },
        consent: &Consent::together(Purpose::ALL.map(choice), Evidence::at(now)),
        now,
    });
    match decision {
        Ok(allowed) => {
            say(&allowed.explain());
            Ok(())
        }
        Err(refused) => {
            say(&refused.explain());
            Err(Failure::failed(refused))
        }
    }
}

fn lint(policy: &Policy) -> Result<(), Failure> {
    let lints = policy.lints(Clock::system().now().utc.date());
    let (fatal, other): (Vec<Lint>, Vec<Lint>) = lints.into_iter().partition(|lint| lint.kind.is_fatal());
    for lint in fatal.iter().chain(&other) {
        say(&lint.to_string());
    }
    match fatal.len() {
        0 => {
            say(&format!(
                "{} rules, {} to weigh.",
                policy.rules().len(),
                other.len()
            ));
            Ok(())
        }
        count => Err(Failure::failed(format!(
            "{count} objections that no policy may ship with"
        ))),
    }
}

fn test(file: &str) -> Result<(), Failure> {
    let policy = file_of(file)?;
    let failures = policy.test();
    for failure in &failures {
        say(&format!("{file}: {failure}"));
    }
    for rule in policy.rules_without_example() {
        say(&format!("{file}: {rule} has no example"));
    }
    if !failures.is_empty() {
        let (failed, all) = (failures.len(), policy.examples.len());
        return Err(Failure::failed(format!("{failed} of {all} examples fail")));
    }
    say(&format!("{} examples hold.", policy.examples.len()));
    Ok(())
}

/// One that ships, or one from a file.
fn policy_of(name: &str) -> Result<Policy, Failure> {
    if name.ends_with(".toml") {
        return Ok(file_of(name)?.policy);
    }
    Policy::find(name).cloned().map_err(Failure::usage)
}

fn file_of(name: &str) -> Result<PolicyFile, Failure> {
    let text = std::fs::read_to_string(Path::new(name))
        .map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    PolicyFile::parse(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))
}

fn purpose(text: &str) -> Result<Purpose, String> {
    let named = Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == text);
    named.ok_or_else(|| "there are marketing, personalization and analytics".to_owned())
}
