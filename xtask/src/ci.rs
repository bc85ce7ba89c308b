//! `ci`: every check that a change passes, in one order, on a laptop as in CI.
//!
//! Warnings are refused by clippy, which sees what the compiler sees, and by rustdoc. `RUSTFLAGS` stays as it is: any
//! other value would build every dependency once more.

mod changelog;
mod contract;
pub(crate) mod examples;
mod leaves;
mod npm;
mod postgres;
mod public_items;
mod python;
mod revision;
mod spelling;

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::{program, release, tidy, workspace};

struct Step {
    name: &'static str,
    purpose: &'static str,
    /// The time that the step may take from a cold cache on 2 cores.
    minutes: f64,
    run: fn(&Path) -> Result<(), Box<dyn Error>>,
}

/// The gate. The quick checks come first. All steps together take at most 30 minutes.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        purpose: "the code is formatted",
        minutes: 0.5,
        run: |root| shell(root, "cargo fmt --all --check"),
    },
    Step {
        name: "tidy",
        purpose: "the rules of the repository hold, and generated files are fresh",
        minutes: 0.5,
        run: tidy::run,
    },
    Step {
        name: "commits",
        purpose: "subjects of commits have an area and at most 72 characters",
        minutes: 0.5,
        run: revision::check_subjects,
    },
    Step {
        name: "changelog",
        purpose: "each crate with a public change has a new line in its section",
        minutes: 0.5,
        run: changelog::run,
    },
    Step {
        name: "spelling",
        purpose: "no misspelled words",
        minutes: 0.5,
        run: spelling::run,
    },
    Step {
        name: "npm",
        purpose: "the package of the browser client has its files, and the version of the crates",
        minutes: 0.5,
        run: npm::run,
    },
    Step {
        name: "leaves",
        purpose: "the crates that are used alone stay small",
        minutes: 0.5,
        run: leaves::run,
    },
    Step {
        name: "deny",
        purpose: "licenses, sources and bans of dependencies hold",
        minutes: 0.5,
        run: deny,
    },
    Step {
        name: "clippy",
        purpose: "no warning anywhere, all features on",
        minutes: 4.0,
        run: |root| {
            shell(
                root,
                "cargo clippy --workspace --all-targets --all-features -- -D warnings",
            )
        },
    },
    Step {
        name: "features",
        purpose: "each crate compiles alone, with its default features and with none",
        minutes: 4.0,
        run: features,
    },
    Step {
        name: "test",
        purpose: "the test command of the README passes",
        minutes: 8.0,
        run: test,
    },
    Step {
        name: "database",
        purpose: "gateways with a store in PostgreSQL pass a core set of the end-to-end tests",
        minutes: 3.0,
        run: postgres::run_core,
    },
    Step {
        name: "examples",
        purpose: "the first example of each README compiles as shown, and runs",
        minutes: 5.0,
        run: |root| examples::run(root, None),
    },
    Step {
        name: "doc",
        purpose: "the documentation builds without broken links",
        minutes: 2.0,
        run: doc,
    },
];

/// Longer checks, for a release or once a night.
const DEEP_STEPS: &[Step] = &[
    Step {
        name: "release",
        purpose: "every crate packages, and its first example runs against the package",
        minutes: 15.0,
        run: release::run,
    },
    Step {
        name: "simulate",
        purpose: "100,000 random scenarios on virtual time",
        minutes: 15.0,
        run: |root| program::run(root, "simulate", &["--seeds", "100000"]),
    },
    Step {
        name: "audit",
        purpose: "the audit log: 30,000 crash images, 1,000,000 mutated proofs, every flipped bit",
        minutes: 15.0,
        run: |root| {
            let line = "cargo test --profile simulate --package audit";
            with_settings(root, line, &[("AUDIT_EFFORT", "100")])
        },
    },
    Step {
        name: "crash",
        purpose: "the store and the file log: 1,000 kills each",
        minutes: 15.0,
        run: |root| program::run(root, "crash", &[]),
    },
    Step {
        name: "images",
        purpose: "the store: 10,000 images after a loss of power, or with damage",
        minutes: 10.0,
        run: |root| {
            let line = "cargo test --profile simulate --package guest-store every_image_verifies";
            with_settings(root, line, &[("STORE_EFFORT", "34")])
        },
    },
    Step {
        name: "postgres",
        purpose: "the tests of the store and of gateways on PostgreSQL 18; the gate uses the system's version",
        minutes: 20.0,
        run: postgres::run,
    },
    Step {
        name: "tokens",
        purpose: "10,000 tasks at an expired token in 1,000 rounds, 1,000,000 refreshes with faults of both sides",
        minutes: 10.0,
        run: |root| {
            let line =
                "cargo test --profile simulate --package genesys-auth --package token-window --all-features";
            let settings = [
                ("GENESYS_AUTH_ROUNDS", "1000"),
                ("TOKEN_WINDOW_SESSIONS", "10000"),
                ("PROPTEST_CASES", "10000"),
            ];
            with_settings(root, line, &settings)
        },
    },
    Step {
        name: "consent",
        purpose: "consent: 1,000,000 guests, whom no refusal, signal, lower age, place or lack of evidence switches on",
        minutes: 10.0,
        run: |root| {
            let line = "cargo test --profile simulate --package guest-payload nothing_is_switched_on";
            with_settings(root, line, &[("GUEST_PAYLOAD_CASES", "1000000")])
        },
    },
    Step {
        name: "contract",
        purpose: "schemathesis over the served document: no 5xx, no answer outside the contract, no unlisted refusal",
        minutes: 10.0,
        run: contract::run,
    },
    Step {
        name: "otlp",
        purpose: "spans and metrics reach a collector without personal data",
        minutes: 5.0,
        run: |root| shell(root, "cargo test --package guest-gateway --features otlp otlp"),
    },
    Step {
        name: "restarts",
        purpose: "50 restarts with and 50 without socket activation, each with 1,000 guests who talk, and 1,000 reloads",
        minutes: 120.0,
        run: |root| {
            let filter = "-- --test-threads 1 restarts_with restarts_lose reloads_under_load";
            let line = format!("cargo test --profile simulate --package end-to-end --test it {filter}");
            let settings = [
                ("GUEST_SUITE_GUESTS", "1000"),
                ("GUEST_SUITE_RESTARTS", "50"),
                ("GUEST_SUITE_RELOADS", "1000"),
            ];
            with_settings(root, &line, &settings)
        },
    },
    Step {
        name: "container",
        purpose: "the Containerfile builds an image whose program runs, where buildah and debootstrap are installed",
        minutes: 10.0,
        run: |root| shell(root, "bash xtask/src/ci/container.sh"),
    },
    Step {
        name: "faults",
        purpose: "the store and the file log: each write, sync and open fails once, and a full disk recovers",
        minutes: 15.0,
        run: |root| program::run(root, "crash", &["faults"]),
    },
];

/// Prints the steps with their minutes.
pub(crate) fn list() {
    let print = |steps: &[Step]| {
        for step in steps {
            println!("  {:10}{:5} min  {}", step.name, step.minutes, step.purpose);
        }
        println!("  {:10}{:5} min", "together", total(steps));
    };
    println!("cargo xtask ci, from a cold cache on 2 cores:");
    print(STEPS);
    println!("cargo xtask ci --deep, beyond that:");
    print(DEEP_STEPS);
}

fn total(steps: &[Step]) -> f64 {
    steps.iter().map(|step| step.minutes).sum()
}

/// Runs every step of the gate, up to the first that fails.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    run_steps(root, STEPS)
}

/// Runs the longer checks.
pub(crate) fn run_deep(root: &Path) -> Result<(), Box<dyn Error>> {
    run_steps(root, DEEP_STEPS)
}

/// Runs one step.
pub(crate) fn run_one(root: &Path, name: &str) -> Result<(), Box<dyn Error>> {
    let step = [STEPS, DEEP_STEPS]
        .into_iter()
        .flat_map(|steps| steps.chunks(1))
        .find(|step| step[0].name == name)
        .ok_or_else(|| format!("ci has no step `{name}`: `cargo xtask ci steps` lists them"))?;
    run_steps(root, step)
}

/// Checks the first example of one crate.
pub(crate) fn run_example(root: &Path, package: &str) -> Result<(), Box<dyn Error>> {
    examples::run(root, Some(package))
}

fn run_steps(root: &Path, steps: &[Step]) -> Result<(), Box<dyn Error>> {
    let tree = working_tree(root)?;
    let started = now();
    for step in steps {
        println!("== {}: {}", step.name, step.purpose);
        let step_started = now();
        (step.run)(root).map_err(|error| {
            let seconds = seconds(now() - step_started);
            format!(
                "step `{}` failed after {seconds}: {error}\nrun it alone: cargo xtask ci {}",
                step.name, step.name
            )
        })?;
        let took = now() - step_started;
        let over = if took.as_secs_f64() > step.minutes * 60.0 {
            format!(", over its {} min", step.minutes)
        } else {
            String::new()
        };
        println!("== {}: {}{over}", step.name, seconds(took));
    }
    if working_tree(root)? != tree {
        return Err(
            "a step changed the working tree: commit what `git status` shows, or correct the step".into(),
        );
    }
    println!(
        "== all passed: {} of {} min",
        seconds(now() - started),
        total(steps)
    );
    Ok(())
}

/// Advisories are left out: their database is not reachable from every machine.
fn deny(root: &Path) -> Result<(), Box<dyn Error>> {
    shell(
        root,
        "cargo deny --locked check --allow unused-wrapper bans licenses sources",
    )
    .map_err(|error| format!("{error} (if cargo-deny is missing: .ci/run installs it)").into())
}

/// In a build of the whole workspace, a crate may use a feature of a dependency that only another crate names. Built
/// alone it cannot.
fn features(root: &Path) -> Result<(), Box<dyn Error>> {
    for package in workspace::packages(root)? {
        if !workspace::relative(root, &package.manifest_path).starts_with("crates/") {
            continue;
        }
        let name = &package.name;
        shell(
            root,
            &format!("cargo clippy --quiet --package {name} --no-default-features -- -D warnings"),
        )?;
        if package
            .features
            .get("default")
            .is_some_and(|default| !default.is_empty())
        {
            shell(
                root,
                &format!("cargo clippy --quiet --package {name} -- -D warnings"),
            )?;
        }
    }
    Ok(())
}

/// Runs the command that the README shows, so that the two cannot differ.
fn test(root: &Path) -> Result<(), Box<dyn Error>> {
    let readme = fs::read_to_string(root.join("README.md")).map_err(|error| format!("README.md: {error}"))?;
    let command = test_command(&readme)
        .ok_or("README.md: no block of `sh` has a line that starts with `cargo test`: add one")?;
    shell(root, command)
}

fn test_command(readme: &str) -> Option<&str> {
    let mut in_shell = false;
    for line in readme.lines() {
        if let Some(info) = line.strip_prefix("```") {
            in_shell = info == "sh";
        } else if in_shell && line.starts_with("cargo test") {
            let command = line.split('#').next().unwrap_or(line);
            return Some(command.trim_end());
        }
    }
    None
}

/// Runs a command line with environment variables, by which a test takes longer.
fn with_settings(root: &Path, line: &str, settings: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
    let mut command = command(root, line);
    command.envs(settings.iter().copied());
    succeed(&mut command)
}

fn doc(root: &Path) -> Result<(), Box<dyn Error>> {
    let mut command = command(root, "cargo doc --workspace --all-features --no-deps");
    command.env("RUSTDOCFLAGS", "-D warnings");
    succeed(&mut command)
}

/// Runs a command line of plain words.
fn shell(root: &Path, line: &str) -> Result<(), Box<dyn Error>> {
    succeed(&mut command(root, line))
}

fn command(root: &Path, line: &str) -> Command {
    println!("$ {line}");
    let mut words = line.split_whitespace();
    let mut command = workspace::tool(root, words.next().unwrap_or_default());
    command.args(words);
    command
}

fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status()?;
    if !status.success() {
        return Err(format!("the command above ended with {status}").into());
    }
    Ok(())
}

/// The differences between the working tree and the last commit. `None` outside of git.
fn working_tree(root: &Path) -> Result<Option<Vec<u8>>, Box<dyn Error>> {
    let mut seen = Vec::new();
    for arguments in [
        &["status", "--porcelain", "--untracked-files=all"][..],
        &["diff", "HEAD"],
    ] {
        match workspace::tool(root, "git").args(arguments).output() {
            Ok(output) if output.status.success() => seen.extend(output.stdout),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {
                println!("no git: changes of the working tree are not checked");
                return Ok(None);
            }
        }
    }
    Ok(Some(seen))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where tooling reads a clock"
)]
fn now() -> Instant {
    Instant::now()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_command_is_the_first_of_the_readme() {
        let readme = "# A\n\ncargo test no\n\n```text\ncargo test nor this\n```\n\n```sh\ncargo run -- demo\n\
                      cargo test --workspace   # all of it\ncargo test --doc\n```\n";
        assert_eq!(test_command(readme), Some("cargo test --workspace"));
        assert_eq!(test_command("```sh\ncargo run\n```\ncargo test\n"), None);
        assert_eq!(test_command(""), None);
    }

    #[test]
    fn gate_takes_at_most_thirty_minutes() {
        assert!(total(STEPS) <= 30.0);
    }

    #[test]
    fn names_of_steps_differ() {
        let mut names: Vec<_> = STEPS.iter().chain(DEEP_STEPS).map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len() + DEEP_STEPS.len());
    }

    #[test]
    fn unknown_step_is_named() {
        let error = run_one(workspace::root(), "lint").unwrap_err();
        assert!(error.to_string().contains("`lint`"));
    }

    #[test]
    fn failed_step_stops_the_run_and_is_named() {
        const FAILING: &[Step] = &[
            Step {
                name: "first",
                purpose: "fails",
                minutes: 1.0,
                run: |_| Err("broken".into()),
            },
            Step {
                name: "second",
                purpose: "is not reached",
                minutes: 1.0,
                run: |_| panic!("reached"),
            },
        ];
        let error = run_steps(workspace::root(), FAILING).unwrap_err().to_string();
        assert!(error.contains("`first`") && error.contains("broken"), "{error}");
    }

    #[test]
    fn failed_command_is_an_error() {
        assert!(shell(workspace::root(), "false").is_err());
        assert!(shell(workspace::root(), "true").is_ok());
    }
}
