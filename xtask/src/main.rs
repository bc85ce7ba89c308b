//! The tasks of the workspace. `cargo xtask` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks on its terminal"
)]

mod ci;
mod codegen;
mod readme;
mod simulate;
mod tidy;
mod workspace;

use std::error::Error;
use std::process::ExitCode;

const TASKS: &str = "\
Tasks of the workspace, with their times on 2 cores:

  cargo xtask tidy              the rules that no compiler checks: layers, sizes, names, reasons    1 s
  cargo xtask codegen           writes the files that are generated from spec/                      1 s
  cargo xtask codegen --check   says which generated files are stale                                1 s
  cargo xtask ci                everything that .ci/run calls, and stops at the first failure  4 to 10 min
  cargo xtask simulate --seeds N    random journeys on virtual time; --seed S plays one again      10,000 a minute
  cargo xtask ci STEP           one step of it; `cargo xtask ci steps` lists them
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
        ["ci", "steps"] => {
            ci::list();
            Ok(())
        }
        ["ci", "examples", package] => ci::run_example(root, package),
        ["ci", step] => ci::run_one(root, step),
        ["codegen"] => codegen::write(root),
        ["codegen", "--check"] => codegen::check(root),
        ["simulate", arguments @ ..] => simulate::run(root, arguments),
        ["tidy", "language"] => tidy::list_language(root, ""),
        ["tidy", "language", folder] => tidy::list_language(root, folder),
        ["tidy"] => tidy::run(root),
        _ => Err(format!(
            "there is no task `{}`: run `cargo xtask` for the list",
            arguments.join(" ")
        )
        .into()),
    }
}
