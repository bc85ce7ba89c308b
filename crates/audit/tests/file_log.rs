//! The log in a folder, from outside: threads, processes that are killed, copies.

#![expect(clippy::unwrap_used, reason = "a test ends where its own setup fails")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use audit::files::{FileErrorKind, FileLogOptions, verify_file};
use audit::{Actor, Draft, Entry, FileLog, Signer, Value};

/// Set for the child process, to its folder.
const FOLDER: &str = "AUDIT_TEST_FOLDER";
/// Short segments, so that a child starts several.
const OPTIONS: FileLogOptions = FileLogOptions {
    checkpoint_every: 50,
    segment_bytes: 32 * 1024,
};

fn signer() -> Signer {
    Signer::from_seed("example.com/log", &[7; 32]).unwrap()
}

fn open(folder: &Path) -> FileLog {
    FileLog::open_with(folder, signer(), OPTIONS).unwrap()
}

fn draft(writer: &str, number: u64) -> Draft {
    let at = std::time::SystemTime::UNIX_EPOCH.into();
    Draft::new(at, Actor::system(writer), "thing.done").detail("number", number)
}

/// The text of all segments, without the zeroes at the end.
fn text(folder: &Path) -> String {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let segments = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
    let texts = segments.map(|path| std::fs::read_to_string(path).unwrap());
    texts.map(|text| text.trim_end_matches('\0').to_owned()).collect()
}

/// The writer and the number of each entry, in order.
fn entries(folder: &Path) -> Vec<(String, i64)> {
    let text = text(folder);
    let sealed = text.lines().filter_map(|line| line.strip_prefix(r#"{"leaf":""#));
    let parsed = sealed.map(|line| {
        let entry = line.split_once(r#"","entry":"#).unwrap().1;
        Entry::parse(&entry.as_bytes()[..entry.len() - 1]).unwrap()
    });
    let number = |entry: &Entry| match entry.draft.detail["number"] {
        Value::Integer(number) => number,
        _ => panic!("not a number"),
    };
    parsed
        .map(|entry| (entry.draft.actor.id.clone(), number(&entry)))
        .collect()
}

#[test]
fn threads_share_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = open(&path);
    thread::scope(|scope| {
        for writer in 0..8 {
            let log = &log;
            scope.spawn(move || {
                let writer = format!("writer-{writer}");
                for number in 0..40 {
                    log.append(&draft(&writer, number)).unwrap();
                }
            });
        }
    });
    let note = log.checkpoint().unwrap();
    assert_eq!(log.verifier_key().open(&note).unwrap().size, 320);
    // also while it is open
    let report = verify_file(&path, log.verifier_key(), None).unwrap();
    assert_eq!((report.entries, report.covered, report.torn), (320, 320, 0));
    let found = entries(&path);
    for writer in 0..8 {
        let own = found
            .iter()
            .filter(|(name, _)| *name == format!("writer-{writer}"));
        assert!(own.map(|(_, number)| *number).eq(0..40));
    }
    // one file of all segments is an export
    let copy = folder.path().join("copy.jsonl");
    std::fs::write(&copy, text(&path)).unwrap();
    assert_eq!(verify_file(&copy, log.verifier_key(), None).unwrap(), report);
    drop(log);
    assert_eq!(open(&path).size(), 320);
}

#[test]
fn log_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let second = FileLog::open(folder.path(), signer()).unwrap_err();
    assert_eq!(second.kind(), FileErrorKind::Locked);
    assert!(
        second
            .to_string()
            .ends_with("it is open already, close it there first"),
        "{second}"
    );
    drop(log);
    assert_eq!(open(folder.path()).size(), 0);
}

#[test]
fn log_of_another_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.append(&draft("a", 1)).unwrap();
    log.checkpoint().unwrap();
    drop(log);
    let other = Signer::from_seed("example.com/log", &[8; 32]).unwrap();
    let refused = FileLog::open(folder.path(), other).unwrap_err();
    assert_eq!(refused.kind(), FileErrorKind::Altered);
    let invalid = open(folder.path()).append(&draft("a", u64::MAX)).unwrap_err();
    assert_eq!(invalid.kind(), FileErrorKind::Draft);
    assert_eq!(open(folder.path()).append(&draft("a", 2)).unwrap(), 1);
}

#[test]
fn folder_without_segments_is_not_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let error = verify_file(folder.path(), signer().verifier_key(), None).unwrap_err();
    assert_eq!(error.kind(), FileErrorKind::NotALog);
}

#[cfg(unix)]
#[test]
fn files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = open(&path);
    log.append(&draft("a", 1)).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = std::fs::read_dir(&path).unwrap().collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

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
