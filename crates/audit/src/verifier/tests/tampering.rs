//! Tests of an export of 1,000 entries that is changed in every way.

use super::*;
use crate::effort;

/// An export with a checkpoint after every 64 entries, and the verifier before each of its lines.
struct Export {
    lines: Vec<Vec<u8>>,
    before: Vec<Verifier>,
}

impl Export {
    fn new() -> Self {
        let mut checkpoints: Vec<u64> = (1..=15).map(|n| n * 64).collect();
        checkpoints.push(1000);
        let lines = log(1000, &checkpoints, "spa");
        let kept = kept(1000, "spa");
        let mut verifier = Verifier::new(signer().verifier_key().clone(), Some(kept));
        let mut before = Vec::new();
        for line in &lines {
            before.push(verifier.clone());
            verifier.verify_line(line);
        }
        assert!(verifier.finish().is_ok());
        Self { lines, before }
    }

    /// Whether a fault is found if `changed` stands in place of the lines from `from` to `to`.
    fn detects(&self, from: usize, to: usize, changed: &[u8]) -> bool {
        let mut verifier = self.before[from].clone();
        let changed = changed.split_inclusive(|byte| *byte == b'\n');
        for line in changed.chain(self.lines[to..].iter().map(Vec::as_slice)) {
            verifier.verify_line(line);
            // a fault stays one, whatever follows
            if verifier.sequence.total > 0 {
                return true;
            }
        }
        verifier.finish().is_err()
    }

    fn is_entry(&self, index: usize) -> bool {
        self.lines[index].starts_with(b"{\"leaf")
    }

    fn detects_flip(&self, index: usize, bit: usize) -> bool {
        let mut line = self.lines[index].clone();
        line[bit / 8] ^= 1 << (bit % 8);
        if line.ends_with(b"\n") || index + 1 == self.lines.len() {
            return self.detects(index, index + 1, &line);
        }
        line.extend(&self.lines[index + 1]);
        self.detects(index, index + 2, &line)
    }
}

#[test]
fn flipped_bit_is_detected() {
    let export = Export::new();
    let total: usize = export.lines.iter().map(|line| line.len() * 8).sum();
    let sample = effort::cases(3000);
    let mut random = effort::random();
    if sample < 100_000 {
        for _ in 0..sample {
            let index = random.below(export.lines.len());
            let bit = random.below(export.lines[index].len() * 8);
            assert!(export.detects_flip(index, bit), "line {index}, bit {bit}");
        }
        return;
    }
    println!("all {total} bits");
    for (index, line) in export.lines.iter().enumerate() {
        for bit in 0..line.len() * 8 {
            assert!(export.detects_flip(index, bit), "line {index}, bit {bit}");
        }
    }
}

#[test]
fn removed_repeated_moved_or_cut_entry_is_detected() {
    let export = Export::new();
    let last = export.lines.len() - 1;
    for (index, line) in export.lines.iter().enumerate() {
        if index < last {
            // an export that ends before the kept checkpoint is cut off
            let cut = export.before[index].clone().finish().unwrap_err();
            let found = cut.entries;
            let expected = Fault::Truncated {
                expected: 1000,
                found,
            };
            assert_eq!(cut.faults, [expected]);
        }
        if !export.is_entry(index) {
            continue;
        }
        assert!(export.detects(index, index + 1, b""), "without line {index}");
        assert!(
            export.detects(index, index + 1, &line.repeat(2)),
            "line {index} twice"
        );
        let swapped = [&export.lines[index + 1][..], line].concat();
        assert!(
            export.detects(index, (index + 2).min(last + 1), &swapped),
            "line {index} moved"
        );
        let other = super::line(&sealed(index as u64, signer().name(), "mallory"));
        assert!(export.detects(index, index, &other), "inserted at line {index}");
    }
}
