//! Faults of single system calls: `strace` lets each call of a short scenario fail once, or kills the process there.
//! Afterwards the files open, and hold everything that was acknowledged.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::protocol::Received;
use super::{Error, Findings, Load, SHOWN, Target};

/// The calls that fail. A scenario need not make all of them.
const CALLS: [&str; 9] = [
    "fdatasync",
    "fsync",
    "ftruncate",
    "mkdir",
    "openat",
    "pwrite64",
    "rename",
    "unlink",
    "write",
];
/// The errors of a failing disk and of a full one, and the end of the process at the call.
const FAULTS: [&str; 3] = ["error=EIO", "error=ENOSPC", KILL];
const KILL: &str = "signal=KILL";
/// Files of which calls fail, beside the segments of a log.
const FILES: [&str; 7] = [
    "",
    "guest.db",
    "guest.db-journal",
    "guest.db-shm",
    "guest.db-wal",
    "guest.db.lock",
    "log",
];
/// Units of a scenario on existing files.
const STEPS: u64 = 16;
/// Calls that fail in a row while a disk is full.
const FULL: usize = 4;
/// Calls between the beginnings of a full disk.
const FULL_EVERY: usize = 3;

/// The result of fault injection.
#[derive(Debug, Default)]
pub struct FaultReport {
    /// Scenarios with a fault.
    pub runs: u64,
    /// Calls that failed, or killed the process.
    pub injected: u64,
    /// Units that were acknowledged.
    pub acknowledged: u64,
    /// Units that were refused.
    pub refused: u64,
    /// Runs in which units were refused while the disk was full, and stored again afterwards.
    pub recovered: u64,
    /// Faults of the last run, with its call.
    pub findings: Vec<String>,
    /// The folder of the last run, kept if something is wrong.
    pub folder: Option<PathBuf>,
}

impl FaultReport {
    /// Whether nothing was lost, and the disk was full at least once without a restart.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.recovered > 0
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} failed calls, {} acknowledged, {} refused, {} times recovered from a full disk, {} faults",
            self.runs,
            self.injected,
            self.acknowledged,
            self.refused,
            self.recovered,
            self.findings.len()
        )?;
        for finding in self.findings.iter().take(SHOWN) {
            write!(f, "\n{finding}")?;
        }
        match &self.folder {
            Some(folder) => write!(f, "\nkept: {}", folder.display()),
            None => Ok(()),
        }
    }
}

/// Lets each call of the creation of the files, and of a scenario on existing ones, fail once. `strace` counts the calls of
/// each thread. `progress` gets the number of runs to do and the report after each.
///
/// # Errors
/// If `strace` is missing or cannot trace.
pub fn inject(
    program: &Path,
    target: Target,
    mut progress: impl FnMut(u64, &FaultReport),
) -> Result<FaultReport, Error> {
    let mut report = FaultReport::default();
    let mut todo = 0;
    for steps in [1, STEPS] {
        let mut scenario = Scenario::new(program, target, steps)?;
        let counts = scenario.count()?;
        let mut faults = Vec::new();
        for (call, count) in &counts {
            let single = (1..=*count).flat_map(|at| FAULTS.map(|fault| format!("{call}:{fault}:when={at}")));
            faults.extend(single.map(|fault| (fault, false)));
        }
        if steps > 1 {
            let writes = counts.get("pwrite64").max(counts.get("write")).copied();
            let full = (1..=writes.unwrap_or_default() / 2).step_by(FULL_EVERY);
            faults.extend(full.map(|at| {
                (
                    format!("pwrite64,write:error=ENOSPC:when={at}..{}", at + FULL - 1),
                    true,
                )
            }));
        }
        todo += faults.len() as u64;
        for (fault, is_full) in &faults {
            scenario.run(fault, *is_full, &mut report)?;
            progress(todo, &report);
            if !report.findings.is_empty() {
                return Ok(report);
            }
        }
    }
    Ok(report)
}

/// A scenario without its fault.
struct Scenario<'p> {
    program: &'p Path,
    target: Target,
    steps: u64,
    /// The files that it starts with. The creation of files starts with none.
    files: TempDir,
    /// Units in them.
    before: Received,
    /// Names of the segments that it writes.
    segments: Vec<String>,
}

impl<'p> Scenario<'p> {
    fn new(program: &'p Path, target: Target, steps: u64) -> Result<Self, Error> {
        let mut scenario = Self {
            program,
            target,
            steps,
            files: folder_in_memory()?,
            before: Received::default(),
            segments: Vec::new(),
        };
        if steps > 1 {
            let load = scenario.load(scenario.files.path(), 0);
            scenario.before.add_output(&load.command(program).output()?)?;
        }
        Ok(scenario)
    }

    fn load(&self, folder: &Path, run: u64) -> Load {
        Load {
            target: self.target,
            folder: folder.to_owned(),
            seed: 5 + run,
            run,
            steps: Some(self.steps),
        }
    }

    /// Counts the calls of a run without a fault: the largest number of a thread.
    fn count(&mut self) -> Result<BTreeMap<&'static str, usize>, Error> {
        let folder = self.copy()?;
        // the names of the segments, for the second run
        let untraced = self.load(folder.path(), 1).command(self.program).output()?;
        Received::default().add_output(&untraced)?;
        if let Ok(log) = fs::read_dir(folder.path().join("log")) {
            for file in log {
                let name = file?.file_name();
                self.segments.push(format!("log/{}", name.to_string_lossy()));
            }
        }
        let folder = self.copy()?;
        let (_, trace) = self.trace(folder.path(), &CALLS.join(","), None)?;
        let mut counts = BTreeMap::<(&str, &str), usize>::new();
        for line in trace.lines() {
            let (thread, call) = line.split_once(' ').unwrap_or_default();
            let call = call.trim_start().split('(').next().unwrap_or_default();
            *counts.entry((thread, call)).or_default() += 1;
        }
        let largest = |call: &'static str| {
            let of_threads = counts.iter().filter(|((_, name), _)| *name == call);
            Some((call, of_threads.map(|(_, count)| *count).max()?))
        };
        Ok(CALLS.into_iter().filter_map(largest).collect())
    }

    /// Runs the scenario with a fault, and checks its files.
    fn run(&self, fault: &str, is_full: bool, report: &mut FaultReport) -> Result<(), Error> {
        let mut folder = self.copy()?;
        let calls = fault.split(':').next().unwrap_or_default();
        let (output, trace) = self.trace(folder.path(), calls, Some(fault))?;
        let mut received = self.before.clone();
        let mut findings = Vec::new();
        let is_kill = fault.contains(KILL);
        let added = if is_kill {
            received.add_lines(&output.stdout)
        } else {
            received.add_output(&output)
        };
        if let Err(error) = added {
            findings.push(error.to_string());
        }
        report.runs += 1;
        report.injected += trace.matches("(INJECTED)").count() as u64;
        report.injected += u64::from(is_kill && !output.status.success());
        report.acknowledged += (received.stored.len() - self.before.stored.len()) as u64;
        report.refused += received.refusals;
        if is_full && received.is_refusing {
            report.recovered += u64::from(received.has_recovered);
            if !received.has_recovered {
                findings.push("no unit was stored after the refused ones".to_owned());
            }
        }
        match self.target.check(folder.path(), &received) {
            Ok(Findings { lost, incomplete, .. }) => {
                findings.extend(lost.into_iter().map(|unit| format!("lost: {unit}")));
                findings.extend(incomplete);
            }
            Err(error) => findings.push(error.to_string()),
        }
        let phase = if self.steps > 1 { "units" } else { "creation" };
        report.findings = findings
            .iter()
            .map(|finding| format!("{phase}, {fault}: {finding}"))
            .collect();
        if !findings.is_empty() {
            folder.disable_cleanup(true);
            report.folder = Some(folder.path().to_owned());
        }
        Ok(())
    }

    /// Runs the scenario under `strace`. Returns its output, and the trace of the calls.
    fn trace(&self, folder: &Path, calls: &str, fault: Option<&str>) -> Result<(Output, String), Error> {
        let trace = tempfile::NamedTempFile::new()?;
        let load = self.load(folder, 1);
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-e", "signal=none", "-o"])
            .arg(trace.path());
        command.arg("-e").arg(format!("trace={calls}"));
        if let Some(fault) = fault {
            command.arg("-e").arg(format!("inject={fault}"));
        }
        for file in FILES
            .iter()
            .copied()
            .chain(self.segments.iter().map(String::as_str))
        {
            command.arg("-P").arg(folder.join(file));
        }
        command.arg(self.program).arg("child").args(load.arguments());
        let output = command.output().map_err(|error| {
            format!("cannot run strace: {error}: install it with `apt-get install strace`")
        })?;
        Ok((output, fs::read_to_string(trace.path())?))
    }

    /// A copy of the files to start with.
    fn copy(&self) -> Result<TempDir, Error> {
        let copy = folder_in_memory()?;
        copy_folder(self.files.path(), copy.path())?;
        Ok(copy)
    }
}

/// A folder whose files take no time to sync, where the system has one.
fn folder_in_memory() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    for file in fs::read_dir(from)? {
        let file = file?;
        let to = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy_folder(&file.path(), &to)?;
        } else {
            fs::copy(file.path(), to)?;
        }
    }
    Ok(())
}
