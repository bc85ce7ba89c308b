//! Tests of the verifier.

mod tampering;

use genesys_api::parse_rfc3339;

use super::*;
use crate::{Actor, Draft, Line, Signer, leaf_hash};

fn signer() -> Signer {
    Signer::from_seed("example.com/log", &[7; 32]).unwrap()
}

fn sealed(seq: u64, log: &str, who: &str) -> Vec<u8> {
    let at = parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
    Draft::new(at, Actor::client(who), "session.created")
        .detail("session", format!("s-{seq}"))
        .seal(seq, log)
        .unwrap()
}

fn line(bytes: &[u8]) -> Vec<u8> {
    let leaf = leaf_hash(bytes);
    Line::Entry { leaf, bytes }.to_bytes()
}

/// A log of `size` entries by `who`, with a checkpoint after each of these sizes.
fn log(size: u64, checkpoints: &[u64], who: &str) -> Vec<Vec<u8>> {
    let signer = signer();
    let (mut lines, mut tree) = (Vec::new(), Tree::new());
    for seq in 0..size {
        let bytes = sealed(seq, signer.name(), who);
        tree.append(leaf_hash(&bytes));
        lines.push(line(&bytes));
        if checkpoints.contains(&(seq + 1)) {
            lines.push(Line::Checkpoint(&signer.checkpoint(seq + 1, tree.root())).to_bytes());
        }
    }
    lines
}

fn verify(lines: &[Vec<u8>], against: Option<Checkpoint>) -> Result<Report, Failure> {
    let mut verifier = Verifier::new(signer().verifier_key().clone(), against);
    for line in lines {
        verifier.verify_line(line);
    }
    verifier.finish()
}

fn faults(lines: &[Vec<u8>], against: Option<Checkpoint>) -> Vec<Fault> {
    verify(lines, against).unwrap_err().faults
}

/// The checkpoint over the first `size` entries, as if it had been kept elsewhere.
fn kept(size: u64, who: &str) -> Checkpoint {
    let tree: Tree = (0..size)
        .map(|seq| leaf_hash(&sealed(seq, signer().name(), who)))
        .collect();
    Checkpoint {
        origin: signer().name().to_owned(),
        size,
        root: tree.root(),
    }
}

#[test]
fn verifier_accepts_sound_log() {
    let report = verify(&log(20, &[8, 16], "spa"), Some(kept(12, "spa"))).unwrap();
    assert_eq!((report.entries, report.covered, report.checkpoints), (20, 16, 3));
    assert_eq!(report.root, kept(20, "spa").root);
    let report = verify(&log(20, &[], "spa"), Some(kept(20, "spa"))).unwrap();
    assert_eq!((report.entries, report.covered), (20, 20));
    assert_eq!(faults(&log(20, &[], "spa"), None), [Fault::NoCheckpoint]);
    assert_eq!(faults(&[], None), [Fault::NoCheckpoint]);
    assert_eq!(verify(&[], Some(kept(0, "spa"))).unwrap().entries, 0);
}

#[test]
fn verifier_detects_every_flipped_bit_and_names_altered_entry() {
    let lines = log(2, &[1], "spa");
    let text = lines.concat();
    let mut at = 0;
    let mut seq = 0;
    for line in &lines {
        let is_entry = line.starts_with(b"{\"leaf\"");
        for within in 0..line.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at + within] ^= 1 << bit;
                let changed: Vec<_> = changed
                    .split_inclusive(|b| *b == b'\n')
                    .map(<[u8]>::to_vec)
                    .collect();
                let found = faults(&changed, None);
                // 63 bytes of frame stand before the entry, a brace and the line feed behind it
                if is_entry && (63..line.len() - 2).contains(&within) {
                    let named = matches!(found[0], Fault::EntryAltered { seq: named, .. } if named == seq);
                    assert!(named, "entry {seq}, byte {within}, bit {bit}: {found:?}");
                }
            }
        }
        at += line.len();
        seq += u64::from(is_entry);
    }
}

#[test]
fn altered_leaf_hash_differs_from_altered_entry() {
    let mut lines = log(6, &[4], "spa");
    let other = line(&sealed(9, signer().name(), "other"));
    lines[1].splice(..63, other[..63].iter().copied());
    assert_eq!(faults(&lines, None), [Fault::LeafAltered { seq: 1, line: 2 }]);
    lines[2][70] ^= 1;
    let mixed = faults(&lines, None);
    assert_eq!(
        mixed[..2],
        [
            Fault::EntryAltered { seq: 1, line: 2 },
            Fault::EntryAltered { seq: 2, line: 3 }
        ]
    );
    lines[1][9] = b'!';
    lines[2][70] ^= 1;
    assert_eq!(faults(&lines, None), [Fault::LeafAltered { seq: 1, line: 2 }]);
}

#[test]
fn verifier_detects_missing_repeated_or_moved_entry() {
    for seq in 0..7 {
        let mut lines = log(8, &[8], "spa");
        lines.remove(seq);
        let (at, seq) = (seq as u64 + 1, seq as u64);
        assert_eq!(
            faults(&lines, None),
            [Fault::OutOfSequence {
                line: at,
                expected: seq,
                found: seq + 1
            }]
        );
    }
    let mut lines = log(8, &[8], "spa");
    lines.insert(3, lines[2].clone());
    assert_eq!(
        faults(&lines, None)[0],
        Fault::OutOfSequence {
            line: 4,
            expected: 3,
            found: 2
        }
    );
    let mut lines = log(8, &[8], "spa");
    lines.swap(2, 3);
    assert_eq!(
        faults(&lines, None),
        [
            Fault::OutOfSequence {
                line: 3,
                expected: 2,
                found: 3
            },
            Fault::OutOfSequence {
                line: 4,
                expected: 4,
                found: 2
            },
        ]
    );
}

#[test]
fn verifier_detects_truncation() {
    let lines = log(20, &[8, 16], "spa");
    let mut cut = lines.clone();
    cut.drain(13..17);
    assert_eq!(
        faults(&cut, None)[0],
        Fault::Truncated {
            expected: 16,
            found: 12
        }
    );
    // a log cut at a checkpoint verifies: only an external checkpoint shows that there was more
    let end = lines
        .iter()
        .rposition(|line| line.starts_with(b"{\"checkpoint"))
        .unwrap();
    assert!(verify(&lines[..9], None).is_ok());
    assert_eq!(
        faults(&lines[..9], Some(kept(16, "spa"))),
        [Fault::Truncated {
            expected: 16,
            found: 8
        }]
    );
    assert!(verify(&lines[..=end], Some(kept(16, "spa"))).is_ok());
    assert_eq!(
        verify(&[], Some(kept(16, "spa"))).unwrap_err().to_string(),
        "the log fails verification: a checkpoint covers 16 entries, found 0: the others are missing"
    );
}

#[test]
fn rewritten_log_fails_against_external_checkpoint() {
    let mut lines = log(8, &[4, 8], "spa");
    lines[5] = line(&sealed(4, signer().name(), "mallory"));
    assert_eq!(
        faults(&lines, None),
        [Fault::RootMismatch {
            since: 4,
            checkpoint_size: 8
        }]
    );
    // the holder of the key can sign anything
    let rewritten = log(8, &[4, 8], "mallory");
    assert!(verify(&rewritten, None).is_ok());
    assert_eq!(
        faults(&rewritten, Some(kept(6, "spa")))[0],
        Fault::RootMismatch {
            since: 4,
            checkpoint_size: 6
        }
    );
}

#[test]
fn verifier_detects_misplaced_and_foreign_lines() {
    let mut lines = log(4, &[4], "spa");
    lines.swap(3, 4);
    assert_eq!(
        faults(&lines, None)[0],
        Fault::Truncated {
            expected: 4,
            found: 3
        }
    );
    let mut lines = log(5, &[4], "spa");
    lines.swap(4, 5);
    assert_eq!(
        faults(&lines, None)[0],
        Fault::Misplaced {
            line: 6,
            size: 4,
            entries: 5
        }
    );
    lines[0] = line(&sealed(0, "example.com/other", "spa"));
    assert_eq!(faults(&lines, None)[0], Fault::OtherLog { line: 1 });
    lines[0] = line(b"[]");
    assert_eq!(faults(&lines, None)[0], Fault::EntryAltered { seq: 0, line: 1 });
    lines[0] = b"\n".to_vec();
    assert_eq!(faults(&lines, None)[0], Fault::Malformed { line: 1, seq: 0 });
    let other_signer = Signer::from_seed("example.com/log", &[8; 32]).unwrap();
    let mut lines = log(2, &[], "spa");
    lines.push(Line::Checkpoint(&other_signer.checkpoint(2, kept(2, "spa").root)).to_bytes());
    assert_eq!(faults(&lines, None)[0], Fault::BadSignature { line: 3 });
}

#[test]
fn copies_with_other_line_ends_or_a_byte_order_mark_verify() {
    let lines = log(20, &[8, 20], "spa");
    let report = verify(&lines, None).unwrap();
    let mut copy: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| [line.strip_suffix(b"\n").unwrap(), b"\r\n"].concat())
        .collect();
    assert_eq!(verify(&copy, None).as_ref(), Ok(&report));
    copy[0].splice(..0, *b"\xef\xbb\xbf");
    assert_eq!(verify(&copy, None).as_ref(), Ok(&report));
    let last = copy.last_mut().unwrap();
    last.truncate(last.len() - 2);
    assert_eq!(verify(&copy, None), Ok(report));
    // a change of the copy is found as in the original
    copy[3][70] ^= 1;
    assert_eq!(faults(&copy, None)[0], Fault::EntryAltered { seq: 3, line: 4 });
    let mut marked = lines.clone();
    marked[3].splice(..0, *b"\xef\xbb\xbf");
    assert_eq!(faults(&marked, None)[0], Fault::Malformed { line: 4, seq: 3 });
    let mut ends = lines;
    ends[3].pop();
    ends[3].extend(b"\r\r\n");
    assert_eq!(faults(&ends, None)[0], Fault::EntryAltered { seq: 3, line: 4 });
}

#[test]
fn other_file_is_not_an_audit_log() {
    for text in ["x\n", "{}\n{}\n", "a,b\n1,2\n", "\u{feff}\r\n", "\0\0"] {
        let lines: Vec<_> = text
            .split_inclusive('\n')
            .map(|line| line.as_bytes().to_vec())
            .collect();
        for against in [None, Some(kept(4, "spa"))] {
            let failure = verify(&lines, against).unwrap_err();
            let expected = Fault::NotALog {
                lines: lines.len() as u64,
            };
            assert_eq!(
                (failure.faults.as_slice(), failure.total),
                ([expected].as_slice(), 1),
                "{text:?}"
            );
            assert!(failure.to_string().starts_with("not an audit log: "), "{failure}");
        }
    }
}

#[test]
fn verifier_bounds_faults() {
    let mut lines = log(200, &[200], "spa");
    lines.iter_mut().for_each(|line| line[70] ^= 1);
    let failure = verify(&lines, None).unwrap_err();
    assert_eq!((failure.faults.len(), failure.total), (100, 201));
    assert_eq!(
        failure.to_string(),
        "the log fails verification: line 1: entry 0 was altered; and 200 more"
    );
}

#[test]
fn every_external_checkpoint_is_compared() {
    let lines = log(8, &[4, 8], "spa");
    let verify = |kept: Vec<Checkpoint>| {
        let mut verifier = Verifier::new(signer().verifier_key().clone(), None).with_checkpoints(kept);
        lines.iter().for_each(|line| verifier.verify_line(line));
        verifier.finish()
    };
    let report = verify(vec![kept(8, "spa"), kept(2, "spa"), kept(0, "spa")]).unwrap();
    assert_eq!(report.checkpoints, 5);
    for (size, other) in [(2, "mallory"), (8, "mallory"), (9, "spa")] {
        let failed = verify(vec![kept(8, "spa"), kept(size, other), kept(4, "spa")]);
        assert!(failed.is_err(), "{size} {other}");
    }
}

#[test]
fn cut_or_partial_log_is_not_reported_as_altered() {
    let mut lines = log(8, &[4], "spa");
    let whole = verify(&lines, None);
    lines.extend([b"\n".to_vec(), b"\r\n".to_vec()]);
    assert_eq!(verify(&lines, None), whole);
    lines.truncate(9);
    lines[8].truncate(90);
    assert_eq!(faults(&lines, None), [Fault::Cut { line: 9, seq: 7 }]);
    // with lines behind it
    lines.push(lines[0].clone());
    assert_eq!(faults(&lines, None)[0], Fault::EntryAltered { seq: 7, line: 9 });
    let part = log(8, &[], "spa").split_off(3);
    assert_eq!(faults(&part, None), [Fault::NoCheckpoint]);
}
