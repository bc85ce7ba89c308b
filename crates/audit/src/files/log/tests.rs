//! Tests of the log in a folder: crashes, faults of the disk, damage.

mod disk;

use std::path::Path;

use super::*;
use crate::effort::{self, Random};
use crate::{Actor, Entry, Fault as LogFault};
use disk::{Fault, FaultKind, FaultyDisk};

fn signer() -> Signer {
    Signer::from_seed("log", &[1; 32]).unwrap()
}

/// Small segments and many checkpoints, so that short logs have several.
const OPTIONS: FileLogOptions = FileLogOptions {
    checkpoint_every: 5,
    segment_bytes: 2048,
};

fn open(disk: &FaultyDisk) -> Result<Committer<FaultyDisk>, FileError> {
    Committer::open(disk.clone(), Path::new("folder"), signer(), OPTIONS)
}

/// A disk with `count` entries in segments of this length.
fn written(count: u64, segment_bytes: u64) -> FaultyDisk {
    let disk = FaultyDisk::default();
    let options = FileLogOptions {
        segment_bytes,
        ..OPTIONS
    };
    let log = Committer::open(disk.clone(), Path::new("folder"), signer(), options).unwrap();
    for number in 0..count {
        log.append(&draft(number)).unwrap();
    }
    disk
}

fn draft(number: u64) -> Draft {
    let at = genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
    let text = "x".repeat(usize::try_from(number * 37 % 400).unwrap());
    Draft::new(at, Actor::system("test"), "thing.done")
        .detail("number", number)
        .detail("text", text)
}

/// The numbers of the entries in a log, in order.
fn numbers(disk: &FaultyDisk) -> Vec<u64> {
    let number = |line: Vec<u8>| {
        let entry = line.strip_prefix(br#"{"leaf":""#)?.get(54..line.len() - 11)?;
        let entry = Entry::parse(entry).unwrap();
        match entry.draft.detail["number"] {
            crate::Value::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        }
    };
    disk.lines().into_iter().filter_map(number).collect()
}

/// A run of appends until the disk ends the process, with failed ones tried again.
struct Run {
    acknowledged: Vec<u64>,
    next: u64,
}

impl Run {
    fn new() -> Self {
        Self {
            acknowledged: Vec::new(),
            next: 0,
        }
    }

    /// Appends `count` entries. A log that refuses is opened again, unless the disk is down.
    fn append(&mut self, disk: &FaultyDisk, count: u64) {
        let mut log = open(disk);
        for _ in 0..count {
            let number = self.next;
            self.next += 1;
            if let Ok(log) = &log {
                match log.append(&draft(number)) {
                    Ok(seq) => {
                        assert_eq!(usize::try_from(seq).unwrap(), numbers(disk).len() - 1);
                        assert!(!disk.has_failed_to_sync(), "acknowledged after a failed sync");
                        self.acknowledged.push(number);
                        continue;
                    }
                    Err(error) if error.kind() == FileErrorKind::Write => {
                        assert!(!disk.has_failed_to_sync(), "{error:?}");
                        continue;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), FileErrorKind::Sync);
                        let after = log.append(&draft(number)).unwrap_err();
                        assert_eq!(after.kind(), FileErrorKind::Poisoned);
                        assert_eq!(log.checkpoint().unwrap_err().kind(), FileErrorKind::Poisoned);
                    }
                }
            }
            disk.forget_failed_sync();
            log = open(disk);
        }
    }

    /// Opens an image, and checks that it has every acknowledged entry, in order.
    fn check(&self, image: &FaultyDisk, what: &str) {
        let log = open(image).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let found = numbers(image);
        assert_eq!(usize::try_from(log.size()).unwrap(), found.len(), "{what}");
        assert!(found.is_sorted(), "{what}: {found:?}");
        let lost = self
            .acknowledged
            .iter()
            .find(|number| found.binary_search(number).is_err());
        assert_eq!(lost, None, "{what}: {found:?}");
        // what was recovered is durable, and the log goes on
        log.append(&draft(self.next)).unwrap();
        let again = image.after_power_loss(&mut Random(1));
        assert_eq!(numbers(&again).len(), found.len() + 1, "{what}");
    }
}

#[test]
fn acknowledged_entries_survive_every_single_fault() {
    let (images, mut random) = (effort::cases(300), effort::random());
    let mut made = 0;
    while made < images {
        let mut at = random.next() % 3;
        loop {
            let kind = [FaultKind::Crash, FaultKind::Error][random.below(2)];
            let written = random.below(1200);
            let fault = Fault { at, kind, written };
            let (disk, mut run) = (FaultyDisk::default(), Run::new());
            disk.fail(fault);
            run.append(&disk, 14);
            if !disk.has_failed() {
                break;
            }
            run.check(&disk.after_kill(), &format!("{fault:?}, killed"));
            let mut loss = random.clone();
            for _ in 0..3 {
                let what = format!("{fault:?}, {loss:?}");
                run.check(&disk.after_power_loss(&mut loss), &what);
                made += 1;
            }
            random = loss;
            at += 1 + random.next() % 3;
        }
    }
}

#[test]
fn prefix_of_the_last_segment_opens_with_its_complete_lines() {
    let disk = written(18, 4096);
    let bytes = disk.last();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(disk.segment_count() > 1 && written > 1000, "{written}");
    let before = numbers(&disk.with_last(Vec::new())).len();
    // all lengths take the effort of a deep run
    let step = usize::try_from(20 / effort::cases(1).min(20)).unwrap();
    for length in (0..=written).step_by(step) {
        let complete = bytes[..length].split_inclusive(|byte| *byte == b'\n');
        let complete = complete.filter(|line| line.starts_with(b"{\"leaf") && line.ends_with(b"\n"));
        let expected = before + complete.count();
        let zeroes = vec![0; bytes.len() - length];
        for image in [bytes[..length].to_vec(), [&bytes[..length], &zeroes].concat()] {
            let image = disk.with_last(image);
            let log = open(&image).unwrap_or_else(|error| panic!("{length}: {error:?}"));
            assert_eq!(usize::try_from(log.size()).unwrap(), expected, "{length} bytes");
            let line_ends = length == 0 || bytes[length - 1] == b'\n';
            assert_eq!(log.torn > 0, !line_ends, "{length} bytes");
            log.append(&draft(99)).unwrap();
            assert_eq!(numbers(&image).last(), Some(&99));
            assert!(open(&image).is_ok());
        }
    }
}

/// The fault of a log that does not open.
fn refusal(image: &FaultyDisk) -> LogFault {
    let error = open(image).err().expect("it opens");
    assert_eq!(error.kind(), FileErrorKind::Altered, "{error:?}");
    error.failure().unwrap().first().clone()
}

#[test]
fn damage_before_the_end_is_refused() {
    let disk = written(12, 1 << 20);
    let bytes = disk.last();
    let first_end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    for at in (0..first_end).step_by(11) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        refusal(&disk.with_last(altered));
    }
    // zeroes in an entry under a checkpoint are damage; behind the last one they are a torn batch
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let lines: Vec<_> = bytes[..written].split_inclusive(|byte| *byte == b'\n').collect();
    let checkpoint = lines
        .iter()
        .rposition(|line| line.starts_with(b"{\"checkpoint"))
        .unwrap();
    assert!(checkpoint > 5 && checkpoint + 1 < lines.len());
    let mut start = 0;
    for (index, line) in lines.iter().enumerate() {
        let mut altered = bytes.clone();
        altered[start + 100] = 0;
        start += line.len();
        let image = disk.with_last(altered);
        if index < checkpoint {
            assert!(
                matches!(refusal(&image), LogFault::Malformed { .. }),
                "line {index}"
            );
        } else {
            assert!(open(&image).unwrap().torn > 0, "line {index}");
            // it is gone, although the segment is longer than a new one
            assert_eq!(open(&image).unwrap().torn, 0, "line {index}");
        }
    }
}

#[test]
fn missing_segment_is_refused() {
    let disk = written(24, 2048);
    assert!(disk.segment_count() > 3);
    for index in 0..disk.segment_count() - 1 {
        let image = disk.without(index);
        assert!(matches!(refusal(&image), LogFault::SegmentMissing { .. }));
    }
}

#[test]
fn empty_last_segment_has_the_number_of_its_first_entry() {
    let disk = written(12, 2048);
    let before = disk.segment_count();
    let shorter = disk.with_last(Vec::new());
    assert!(open(&shorter).is_ok());
    let missing = shorter.without(before - 2);
    assert!(matches!(refusal(&missing), LogFault::SegmentMissing { .. }));
}

#[test]
fn entries_of_a_failed_sync_are_written_again() {
    let disk = written(1, 4096);
    let log = open(&disk).unwrap();
    // the operations of an append are a write and a sync
    disk.fail(Fault {
        at: 1,
        kind: FaultKind::Error,
        written: 0,
    });
    assert_eq!(log.append(&draft(10)).unwrap_err().kind(), FileErrorKind::Sync);
    assert_eq!(
        log.append(&draft(11)).unwrap_err().kind(),
        FileErrorKind::Poisoned
    );
    drop(log);
    // the kernel shows the entry, and has forgotten that it is not on the disk
    assert_eq!(numbers(&disk), [0, 10]);
    open(&disk).unwrap().append(&draft(12)).unwrap();
    assert_eq!(numbers(&disk.after_power_loss(&mut Random(1))), [0, 10, 12]);
}

#[test]
fn failed_write_is_a_passing_fault() {
    let disk = written(3, 4096);
    let log = open(&disk).unwrap();
    for written in [0, 100] {
        disk.fail(Fault {
            at: 0,
            kind: FaultKind::Error,
            written,
        });
        let before = log.size();
        let error = log.append(&draft(50)).unwrap_err();
        assert_eq!((error.kind(), log.size()), (FileErrorKind::Write, before));
        assert_eq!(log.append(&draft(51)).unwrap(), before);
    }
    assert_eq!(numbers(&disk), [0, 1, 2, 51, 51]);
    assert!(open(&disk.after_kill()).is_ok());
}

#[test]
fn failed_write_at_the_end_of_a_segment_leaves_nothing_in_it() {
    let mut segments = Vec::new();
    for count in 1..10 {
        let disk = written(count, 2048);
        let log = open(&disk).unwrap();
        let before = disk.segment_count();
        disk.fail(Fault {
            at: 0,
            kind: FaultKind::Error,
            written: 100,
        });
        log.append(&draft(0)).unwrap_err();
        // longer than the failed one, so that it may need the next segment
        log.append(&draft(10)).unwrap();
        segments.push(disk.segment_count() - before);
        for seed in 0..8 {
            let image = disk.after_power_loss(&mut Random(seed));
            let log = open(&image).unwrap_or_else(|error| panic!("{count}, {seed}: {error:?}"));
            assert_eq!(log.size(), count + 1);
        }
    }
    assert!(segments.contains(&0) && segments.contains(&1), "{segments:?}");
}
