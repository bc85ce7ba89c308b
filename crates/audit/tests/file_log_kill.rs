//! The log in a folder of a process that is killed.
//!
//! A test binary of its own: a child that is being started holds the locks of its parent until it executes.

#![expect(clippy::unwrap_used, reason = "a test ends where its own setup fails")]

mod folder;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use audit::files::verify_file;

use folder::{draft, entries, open, signer};

/// Set for the child process, to its folder.
const FOLDER: &str = "AUDIT_TEST_FOLDER";

/// Runs in the child process: appends until it is killed, and prints each acknowledged entry.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let log = open(Path::new(&folder));
    let start = log.size();
    thread::scope(|scope| {
        for writer in 0..4 {
            let log = &log;
            scope.spawn(move || {
                let writer = format!("{start}-{writer}");
                for number in 0.. {
                    log.append(&draft(&writer, number)).unwrap();
                    // one write, which the parent reads whole
                    let line = format!("{ACKNOWLEDGED}{writer} {number}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

const ACKNOWLEDGED: &str = "acknowledged ";

fn start(folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

#[test]
fn acknowledged_entries_survive_kill() {
    let cycles = std::env::var("AUDIT_KILLS").map_or(60, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut torn) = (Vec::new(), 0);
    for cycle in 0..cycles {
        let (mut child, output) = start(folder.path());
        let mut lines = output.lines();
        let mut received = |line: std::io::Result<String>| {
            let line = line.unwrap();
            if let Some((writer, number)) = line
                .split_once(ACKNOWLEDGED)
                .and_then(|(_, entry)| entry.split_once(' '))
            {
                acknowledged.push((writer.to_owned(), number.parse::<i64>().unwrap()));
            }
        };
        // at another moment in each cycle
        for line in lines.by_ref().take(6 + cycle * 7 % 40) {
            received(line);
        }
        child.kill().unwrap();
        // what was acknowledged before the end is still in the pipe
        lines.for_each(received);
        child.wait().unwrap();
        let log = open(folder.path());
        torn += log.torn();
        log.checkpoint().unwrap();
    }
    let mut found = entries(folder.path());
    let report = verify_file(folder.path(), signer().verifier_key(), None).unwrap();
    assert_eq!(
        (report.covered, report.entries),
        (found.len() as u64, found.len() as u64)
    );
    found.sort();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|entry| found.binary_search(entry).is_err())
        .collect();
    println!(
        "{cycles} cycles, {} acknowledged, {} found, {torn} bytes torn",
        acknowledged.len(),
        found.len()
    );
    assert_eq!(lost, Vec::<&(String, i64)>::new());
    assert!(acknowledged.len() >= cycles);
}
