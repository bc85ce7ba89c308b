//! The log in a folder, from outside: threads, locks, copies.

#![expect(clippy::unwrap_used, reason = "a test ends where its own setup fails")]

mod folder;

use std::path::Path;
use std::thread;

use audit::files::{FileErrorKind, verify_file};
use audit::{FileLog, Signer};

use folder::{draft, entries, open, signer, text};

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
