//! `cargo xtask crash`: many crash cycles of the store and the file log. Also the child process that is killed.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool prints on its terminal"
)]

use std::process::ExitCode;
use std::time::Instant;

use end_to_end::crash::{Error, Load, Plan, Report, Target, inject, run};
use indicatif::{ProgressBar, ProgressStyle};

const USAGE: &str = "usage: cargo xtask crash [store|log] [--cycles N] [--seed SEED]
       runs N cycles (1,000) of load, kill, restart and check, of both or of one
       cargo xtask crash faults [store|log]
       lets each system call of a short scenario fail once, and a full disk recover; needs strace";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &arguments[..] {
        ["child", load @ ..] => Load::parse(load).and_then(|load| load.run()).map(|()| true),
        ["faults", targets @ ..] => match Options::parse(targets) {
            Some(options) => options.inject(),
            None => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        arguments => match Options::parse(arguments) {
            Some(options) => options.run(),
            None => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    targets: Vec<Target>,
    cycles: u64,
    seed: u64,
}

impl Options {
    fn parse(arguments: &[&str]) -> Option<Self> {
        let mut options = Self {
            targets: Vec::new(),
            cycles: 1_000,
            seed: genesys_api::entropy::number() % 1_000_000,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--cycles" => options.cycles = arguments.next()?.parse().ok()?,
                "--seed" => options.seed = arguments.next()?.parse().ok()?,
                target => options.targets.push(target.parse().ok()?),
            }
        }
        if options.targets.is_empty() {
            options.targets = vec![Target::Store, Target::Log];
        }
        Some(options)
    }

    /// Runs the cycles, and returns whether nothing was lost.
    fn run(&self) -> Result<bool, Error> {
        println!("seed {}", self.seed);
        let program = std::env::current_exe()?;
        let mut is_sound = true;
        for target in &self.targets {
            let bar = bar(*target)?;
            bar.set_length(self.cycles);
            let started = now();
            let plan = Plan {
                program: &program,
                target: *target,
                seed: self.seed,
                cycles: self.cycles,
            };
            let report = run(&plan, |report: &Report| {
                bar.set_message(format!("{} acknowledged", report.acknowledged));
                bar.set_position(report.cycles);
            })?;
            bar.finish_and_clear();
            println!("{target}: {report}, {:.1} s", (now() - started).as_secs_f64());
            is_sound &= report.is_sound();
        }
        Ok(is_sound)
    }

    /// Injects faults, and returns whether nothing was lost.
    fn inject(&self) -> Result<bool, Error> {
        let program = std::env::current_exe()?;
        let mut is_sound = true;
        for target in &self.targets {
            let bar = bar(*target)?;
            let started = now();
            let report = inject(&program, *target, |todo, report| {
                bar.set_length(todo);
                bar.set_message(format!("{} acknowledged", report.acknowledged));
                bar.set_position(report.runs);
            })?;
            bar.finish_and_clear();
            println!("{target}: {report}, {:.1} s", (now() - started).as_secs_f64());
            is_sound &= report.is_sound();
        }
        Ok(is_sound)
    }
}

/// A bar, which is shown on a terminal only.
fn bar(target: Target) -> Result<ProgressBar, Error> {
    let template = "{prefix} {wide_bar} {pos}/{len}, {msg}, {eta} to go";
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template(template)?);
    bar.set_prefix(target.to_string());
    Ok(bar)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the program reads a clock"
)]
fn now() -> Instant {
    Instant::now()
}
