//! The tasks of the workspace. `cargo xtask` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool writes to its terminal"
)]

mod ci;
mod codegen;
mod program;
mod projects;
mod readme;
mod release;
mod screenshot;
mod tidy;
mod workspace;

use std::error::Error;
use std::process::ExitCode;

const TASKS: &str = "\
Tasks of the workspace, with their times on 2 cores:

  cargo xtask tidy                 checks the rules that no compiler checks: layers, sizes, names, reasons    1 s
  cargo xtask codegen              writes the files that are generated from spec/                             1 s
  cargo xtask codegen --check      lists stale generated files                                                1 s
  cargo xtask simulate --seeds N   random scenarios on virtual time; --seed S repeats one            10,000 a minute
  cargo xtask crash                1,000 kills of the store and of the file log; --cycles N, --seed S         15 min
  cargo xtask screenshot           makes the picture of the README anew; needs chromium                   1 min
  cargo xtask ci                   the gate: everything that .ci/run calls, up to the first failure      under 30 min
  cargo xtask ci --deep            longer checks, for a release or once a night
  cargo xtask ci steps             lists the steps of both, with their minutes
  cargo xtask ci STEP...           runs one step, or several in turn
  cargo xtask ci examples CRATE    checks the first example of one README
  cargo xtask release              dry run of a release: stages, packages, builds examples; publishes nothing
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let root = workspace::root();
    match arguments {
        [] | ["help" | "-h" | "--help"] => {
            print!("{TASKS}");
            Ok(())
        }
        ["ci"] => ci::run(root),
        ["ci", "--deep"] => ci::run_deep(root),
        ["ci", "steps"] => {
            ci::list();
            Ok(())
        }
        ["ci", "examples", package] => ci::run_example(root, package),
        ["ci", steps @ ..] => steps.iter().try_for_each(|step| ci::run_one(root, step)),
        ["codegen"] => codegen::write(root),
        ["codegen", "--check"] => codegen::check(root),
        ["release"] => release::run(root),
        ["crash" | "simulate", ..] => program::run(root, arguments[0], &arguments[1..]),
        ["screenshot"] => screenshot::run(root),
        ["tidy"] => tidy::run(root),
        _ => Err(format!(
            "there is no task `{}`: run `cargo xtask` for the list",
            arguments.join(" ")
        )
        .into()),
    }
}
