//! The child process: a load that prints each acknowledgement.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;

use audit::files::FileError;
use guest_store::StoreError;

use super::protocol::Line;
use super::{Acknowledged, Error, Target, log, store};

/// The load of a child process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Load {
    /// The program under test.
    pub target: Target,
    /// The folder of its files.
    pub folder: PathBuf,
    /// Source of the load.
    pub seed: u64,
    /// Number of the process in this folder. It is part of the names of units.
    pub run: u64,
    /// Units of the one thread of a scenario that goes on after a refusal. `None` for threads that run until the process is
    /// killed, and end it at a refusal.
    pub steps: Option<u64>,
}

impl Load {
    /// Parses the arguments that [`command`](Self::command) passes.
    ///
    /// # Errors
    /// If they are not those of a load.
    pub fn parse(arguments: &[&str]) -> Result<Self, Error> {
        let [target, folder, seed, run, steps] = arguments else {
            return Err("invalid arguments: a load has five".into());
        };
        Ok(Self {
            target: target.parse()?,
            folder: folder.into(),
            seed: seed.parse()?,
            run: run.parse()?,
            steps: (*steps != "-").then(|| steps.parse()).transpose()?,
        })
    }

    /// The command line of the child.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("child").args(self.arguments());
        command
    }

    pub(super) fn arguments(&self) -> [String; 5] {
        [
            self.target.to_string(),
            self.folder.display().to_string(),
            self.seed.to_string(),
            self.run.to_string(),
            self.steps.map_or("-".to_owned(), |steps| steps.to_string()),
        ]
    }

    /// Runs the load in this process.
    ///
    /// # Errors
    /// If a unit is refused that should not be.
    pub fn run(&self) -> Result<(), Error> {
        Line::Opening.print();
        match self.target {
            Target::Log => log::load(self),
            Target::Store => store::load(self),
        }
    }

    /// Number of threads.
    pub(super) fn threads(&self) -> u64 {
        match self.steps {
            Some(_) => 1,
            None => 4,
        }
    }

    /// Runs `work` on each thread. An error of one ends the process, as the others go on until it is killed.
    pub(super) fn on_threads(&self, work: impl Fn(u64) -> Result<(), Error> + Sync) {
        thread::scope(|scope| {
            for thread in 0..self.threads() {
                let work = &work;
                scope.spawn(move || {
                    if let Err(error) = work(thread) {
                        self.fail(&error);
                    }
                });
            }
        });
    }

    #[expect(clippy::print_stderr, reason = "the parent shows the errors of a child")]
    fn fail(&self, error: &Error) -> ! {
        eprintln!("{self}: {error}");
        process::exit(1);
    }

    /// The source of a thread.
    pub(super) fn random(&self, thread: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed.wrapping_add(thread))
    }

    /// The name of a unit, unique in the folder.
    pub(super) fn unit(&self, thread: u64, number: u64) -> String {
        format!("{}-{thread}-{number}", self.run)
    }

    /// Prints the outcome of a unit: the number of its first entry, or the kind of its refusal.
    ///
    /// # Errors
    /// If the unit is refused, unless this is a scenario.
    pub(super) fn print(&self, unit: &str, outcome: Result<Option<u64>, Refusal>) -> Result<(), Error> {
        let unit = unit.to_owned();
        match outcome {
            Ok(seq) => Line::Stored(Acknowledged { unit, seq }).print(),
            Err(refusal) if self.steps.is_none() => return Err(format!("{unit}: {refusal:?}").into()),
            Err(Refusal { kind, .. }) => Line::Refused { unit, kind }.print(),
        }
        Ok(())
    }
}

/// A refused unit.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) kind: String,
    #[expect(dead_code, reason = "shown by its `Debug` form")]
    source: Error,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let kind = format!("{:?}", error.kind());
        let source = error.into();
        Self { kind, source }
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        let kind = format!("{:?}", error.kind());
        let source = error.into();
        Self { kind, source }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`crash child {}`", self.arguments().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_read_back() {
        for steps in [None, Some(9)] {
            let load = Load {
                target: Target::Log,
                folder: "/tmp/x".into(),
                seed: 1,
                run: 2,
                steps,
            };
            let arguments = load.arguments();
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            assert_eq!(Load::parse(&arguments).unwrap(), load);
        }
        assert!(Load::parse(&["store"]).is_err());
    }
}
