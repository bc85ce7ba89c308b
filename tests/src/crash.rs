//! Crash cycles: a child process under load is killed at a random moment. After a restart, everything that it
//! acknowledged is there, and every stored change has its entries, its event and its additions to totals.

mod faults;
mod history;
mod load;
mod log;
mod protocol;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;

use audit::Signer;
use tempfile::TempDir;

pub use faults::{FaultReport, inject};
pub use load::Load;
use protocol::Received;

/// An error of the harness: the machine or the program under test failed otherwise than by a loss.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The program under test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// `audit::FileLog`.
    Log,
    /// `guest_store::SqliteStore`.
    Store,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "log" => Ok(Self::Log),
            "store" => Ok(Self::Store),
            _ => Err(format!("invalid target: `{text}`: use `log` or `store`")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Store => "store",
        })
    }
}

impl Target {
    fn check(self, folder: &Path, received: &Received) -> Result<Findings, Error> {
        match self {
            Self::Log => log::check(folder, received),
            Self::Store => store::check(folder, received),
        }
    }
}

/// A unit whose success the child received.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Acknowledged {
    unit: String,
    /// Sequence number of its first entry, where the call returns it.
    seq: Option<u64>,
}

/// The faults that a check after a restart found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Acknowledged units that are not stored.
    pub lost: Vec<String>,
    /// Changes that are stored without their entries, events or totals, or the reverse.
    pub incomplete: Vec<String>,
    /// Whether a part of the file was recovered or cut off.
    pub is_recovered: bool,
}

impl Findings {
    /// Compares the sequence numbers of the stored units with the outcomes.
    fn compare(&mut self, received: &Received, stored: &BTreeMap<String, u64>) {
        for Acknowledged { unit, seq } in &received.stored {
            match stored.get(unit) {
                None => self.lost.push(unit.clone()),
                Some(found) if seq.is_some_and(|seq| seq != *found) => {
                    self.lost
                        .push(format!("{unit}: acknowledged as {seq:?}, stored as {found}"));
                }
                Some(_) => {}
            }
        }
        let present = received.refused.iter().filter(|unit| stored.contains_key(*unit));
        self.incomplete
            .extend(present.map(|unit| format!("unit {unit} is stored although it was refused")));
        let late = received.after_failed_sync.iter();
        self.incomplete
            .extend(late.map(|unit| format!("unit {unit} was acknowledged after a failed sync")));
    }
}

/// The cycles to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'p> {
    /// The binary `crash`.
    pub program: &'p Path,
    /// The program under test.
    pub target: Target,
    /// Source of the load and of the moments of the kills.
    pub seed: u64,
    /// Number of kills.
    pub cycles: u64,
}

/// The result of cycles.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Number of kills.
    pub cycles: u64,
    /// Number of units that the child processes acknowledged.
    pub acknowledged: u64,
    /// Number of restarts that recovered a write-ahead log, or cut off a torn batch.
    pub recovered: u64,
    /// Faults after the last cycle. The run ends with the first fault.
    pub findings: Findings,
    /// The folder of the last cycle, kept if something is wrong.
    pub folder: Option<PathBuf>,
}

impl Report {
    /// Whether nothing was lost and nothing is incomplete.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.lost.is_empty() && self.findings.incomplete.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { lost, incomplete, .. } = &self.findings;
        write!(
            f,
            "{} cycles, {} acknowledged, {} lost, {} incomplete, {} recovered",
            self.cycles,
            self.acknowledged,
            lost.len(),
            incomplete.len(),
            self.recovered
        )?;
        for unit in lost.iter().take(SHOWN) {
            write!(f, "\nlost: {unit}")?;
        }
        for fault in incomplete.iter().take(SHOWN) {
            write!(f, "\nincomplete: {fault}")?;
        }
        match &self.folder {
            Some(folder) => write!(f, "\nkept: {}", folder.display()),
            None => Ok(()),
        }
    }
}

/// Faults that a report lists.
const SHOWN: usize = 10;

/// The key of the logs under test.
fn signer() -> Signer {
    Signer::from_seed("example.com/log", &[7; 32]).expect("the name and the seed are valid")
}

/// Cycles on one folder. Later ones use a new folder, so that a check reads a short log.
const CYCLES_OF_A_FOLDER: u64 = 25;
/// Largest number of lines of a child before its kill.
const LINES: usize = 60;

/// Runs cycles until one finds a fault. `progress` gets the report after each.
///
/// # Errors
/// If a child ends by itself, or the folder cannot be opened after a kill.
pub fn run(plan: &Plan<'_>, mut progress: impl FnMut(&Report)) -> Result<Report, Error> {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut report = Report::default();
    let mut folder = tempfile::tempdir()?;
    let mut received = Received::default();
    for cycle in 0..plan.cycles {
        if cycle % CYCLES_OF_A_FOLDER == 0 {
            folder = tempfile::tempdir()?;
            received = Received::default();
        }
        let before = received.stored.len();
        let load = Load {
            target: plan.target,
            folder: folder.path().to_owned(),
            seed: random.u64(..),
            run: cycle,
            steps: None,
        };
        kill_under_load(plan.program, &load, random.usize(1..=LINES), &mut received)?;
        report.cycles += 1;
        report.acknowledged += (received.stored.len() - before) as u64;
        report.findings = plan
            .target
            .check(folder.path(), &received)
            .map_err(|error| keep_for(error, &mut folder, cycle))?;
        report.recovered += u64::from(report.findings.is_recovered);
        if !report.is_sound() {
            folder.disable_cleanup(true);
            report.folder = Some(folder.path().to_owned());
            progress(&report);
            return Ok(report);
        }
        progress(&report);
    }
    Ok(report)
}

fn keep_for(error: Error, folder: &mut TempDir, cycle: u64) -> Error {
    folder.disable_cleanup(true);
    let folder = folder.path().display();
    format!("cycle {cycle}: {error} ({folder} is kept)").into()
}

/// Starts a child, kills it after a number of its lines, and collects what it acknowledged.
fn kill_under_load(program: &Path, load: &Load, lines: usize, received: &mut Received) -> Result<(), Error> {
    let mut child = load.command(program).stdout(Stdio::piped()).spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or("a child without output")?).lines();
    let mut count = 0;
    for line in output.by_ref().take(lines) {
        received.add(&line?)?;
        count += 1;
    }
    child.kill()?;
    // what was acknowledged before the kill is still in the pipe
    for line in output {
        received.add(&line?)?;
    }
    let status = child.wait()?;
    if count < lines {
        return Err(format!("a child ended by itself, {status}: run {load}").into());
    }
    Ok(())
}
