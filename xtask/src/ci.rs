//! `ci`: every gate that a change passes, in one order, on a laptop as in CI.
//!
//! Warnings are refused by clippy, which sees what the compiler sees, and by rustdoc. `RUSTFLAGS` stays as it is: any
//! other value would build every dependency once more.

mod examples;
mod leaves;

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::{tidy, workspace};

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Path) -> Result<(), Box<dyn Error>>,
}

/// What is quick and often wrong comes first.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        what: "the code is formatted",
        run: |root| shell(root, "cargo fmt --all --check"),
    },
    Step {
        name: "tidy",
        what: "the rules of the repository hold, and generated files are fresh",
        run: tidy::run,
    },
    Step {
        name: "leaves",
        what: "the crates that are used alone stay small",
        run: leaves::run,
    },
    Step {
        name: "deny",
        what: "licences, sources and bans of dependencies hold",
        run: deny,
    },
    Step {
        name: "clippy",
        what: "no warning anywhere, all features on",
        run: |root| {
            shell(
                root,
                "cargo clippy --workspace --all-targets --all-features -- -D warnings",
            )
        },
    },
    Step {
        name: "features",
        what: "each crate compiles alone, with its default features and with none",
        run: features,
    },
    Step {
        name: "test",
        what: "the test command of the README passes",
        run: test,
    },
    Step {
        name: "examples",
        what: "the first example of each README compiles as shown, and runs",
        run: |root| examples::run(root, None),
    },
    Step {
        name: "doc",
        what: "the documentation builds, and its links lead somewhere",
        run: doc,
    },
];

/// Prints the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("  {:10}{}", step.name, step.what);
    }
}

/// Runs every step, up to the first that fails.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    run_steps(root, STEPS)
}

/// Runs one step.
pub(crate) fn run_one(root: &Path, name: &str) -> Result<(), Box<dyn Error>> {
    let at = STEPS
        .iter()
        .position(|step| step.name == name)
        .ok_or_else(|| format!("ci has no step `{name}`: `cargo xtask ci steps` lists them"))?;
    run_steps(root, &STEPS[at..=at])
}

/// Checks the first example of one crate.
pub(crate) fn run_example(root: &Path, package: &str) -> Result<(), Box<dyn Error>> {
    examples::run(root, Some(package))
}

fn run_steps(root: &Path, steps: &[Step]) -> Result<(), Box<dyn Error>> {
    let tree = working_tree(root)?;
    let started = now();
    for step in steps {
        println!("== {}: {}", step.name, step.what);
        let step_started = now();
        (step.run)(root).map_err(|error| {
            let seconds = seconds(now() - step_started);
            format!(
                "step `{}` failed after {seconds}: {error}\nrun it alone: cargo xtask ci {}",
                step.name, step.name
            )
        })?;
        println!("== {}: {}", step.name, seconds(now() - step_started));
    }
    if working_tree(root)? != tree {
        return Err(
            "a step changed the working tree: `git status` shows what; commit it or mend the step".into(),
        );
    }
    println!("== all passed: {}", seconds(now() - started));
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

/// In a build of the whole workspace, a crate that forgot to name a feature of a dependency gets it from a neighbour.
/// Alone it does not.
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

/// The command that the README shows is the command that is run, so that the two cannot differ.
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

/// What git sees of the working tree: which files differ from the last commit, and how. `None` outside of git.
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
                println!("no git: whether a step changes the working tree is not checked");
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
    fn the_test_command_is_the_first_of_the_readme() {
        let readme = "# A\n\ncargo test no\n\n```text\ncargo test nor this\n```\n\n```sh\ncargo run -- demo\n\
                      cargo test --workspace   # all of it\ncargo test --doc\n```\n";
        assert_eq!(test_command(readme), Some("cargo test --workspace"));
        assert_eq!(test_command("```sh\ncargo run\n```\ncargo test\n"), None);
        assert_eq!(test_command(""), None);
    }

    #[test]
    fn an_unknown_step_is_named() {
        let error = run_one(workspace::root(), "lint").unwrap_err();
        assert!(error.to_string().contains("`lint`"));
    }

    #[test]
    fn a_step_that_fails_stops_the_run_and_is_named() {
        const FAILING: &[Step] = &[
            Step {
                name: "first",
                what: "fails",
                run: |_| Err("broken".into()),
            },
            Step {
                name: "second",
                what: "is not reached",
                run: |_| panic!("reached"),
            },
        ];
        let error = run_steps(workspace::root(), FAILING).unwrap_err().to_string();
        assert!(error.contains("`first`") && error.contains("broken"), "{error}");
    }

    #[test]
    fn a_command_that_fails_is_an_error() {
        assert!(shell(workspace::root(), "false").is_err());
        assert!(shell(workspace::root(), "true").is_ok());
    }
}
