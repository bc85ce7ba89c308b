//! Verification of an exported log.

mod line;

use std::cmp::Reverse;

use crate::witness::{self, Check, Cosignature};
use crate::{Checkpoint, Cosignatures, Failure, Fault, Hash, Report, Tree, VerifierKey, WitnessKey};

use line::Head;
#[cfg(feature = "client")]
pub(crate) use line::MAX_LINE;
pub(crate) use line::{CheckedLine, LineChecker};

/// Maximum number of faults in a [`Failure`]. Our choice.
const MAX_FAULTS: usize = 100;

/// Verifies an exported log line by line, in constant memory.
#[derive(Clone, Debug)]
pub struct Verifier {
    checker: LineChecker,
    sequence: Sequence,
}

/// Verifies all lines of a log with its key.
///
/// # Errors
/// If the log has a fault.
pub fn verify(key: &VerifierKey, lines: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<Report, Failure> {
    let mut verifier = Verifier::new(key.clone(), None);
    lines
        .into_iter()
        .for_each(|line| verifier.verify_line(line.as_ref()));
    verifier.finish()
}

impl Verifier {
    /// A verifier for the log of `key`. With an external checkpoint it also detects that the end of the log is missing,
    /// or that all of it was rewritten.
    #[must_use]
    pub fn new(key: VerifierKey, against: Option<Checkpoint>) -> Self {
        Self {
            checker: LineChecker {
                key,
                witnesses: Vec::new(),
            },
            sequence: Sequence::new(),
        }
        .with_checkpoints(against)
    }

    /// Compares the log with further external checkpoints.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: impl IntoIterator<Item = Checkpoint>) -> Self {
        let against = &mut self.sequence.against;
        against.extend(checkpoints);
        // the smallest is the last, and is compared first
        against.sort_by_key(|outside| Reverse(outside.size));
        self.sequence.compare_outside();
        self
    }

    /// Verifies the cosignatures of these witnesses. Those of others are reported as unverified.
    #[must_use]
    pub fn with_witnesses(mut self, witnesses: impl IntoIterator<Item = WitnessKey>) -> Self {
        self.checker.witnesses.extend(witnesses);
        let names = self.checker.witnesses.iter().map(WitnessKey::name);
        self.sequence.cosignatures = names.map(Cosignatures::empty).collect();
        self
    }

    /// Verifies the next line, with or without its line end. A line may end with CRLF, and the first may begin with a
    /// byte order mark: editors and mail programs add them to copies.
    pub fn verify_line(&mut self, line: &[u8]) {
        let line = match self.sequence.line {
            0 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            _ => line,
        };
        self.sequence.apply(self.checker.check(line));
    }

    /// Returns the result of the verification.
    ///
    /// # Errors
    /// If the log has a fault.
    pub fn finish(self) -> Result<Report, Failure> {
        self.sequence.finish()
    }
}

/// The operations of the driver on files.
#[cfg(feature = "client")]
impl Verifier {
    /// Returns the tree of a log without faults, and the number of entries that a checkpoint proves.
    pub(crate) fn into_tree(mut self) -> Result<(Tree, u64), Failure> {
        self.sequence.refuse_empty();
        match self.sequence.failure() {
            Some(failure) => Err(failure),
            None => Ok((self.sequence.tree, self.sequence.covered)),
        }
    }

    /// Number of entries so far.
    pub(crate) fn size(&self) -> u64 {
        self.sequence.tree.size()
    }

    /// The following lines begin with entry number `first`.
    pub(crate) fn begin_segment(&mut self, first: u64) {
        self.sequence.begin_segment(first);
    }

    /// The next line is damaged.
    pub(crate) fn refuse_line(&mut self) {
        self.sequence.apply(CheckedLine::Malformed);
    }

    /// Whether it has seen no line.
    pub(crate) fn is_new(&self) -> bool {
        self.sequence.line == 0
    }

    /// The checks of single lines, and the state that their results are applied to.
    pub(crate) fn parts(&mut self) -> (&LineChecker, &mut Sequence) {
        (&self.checker, &mut self.sequence)
    }
}

/// The part of a verification that depends on the order of the lines.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    /// External checkpoints that were not compared yet, the largest first.
    against: Vec<Checkpoint>,
    /// Number of empty lines since the last other line.
    empty: u64,
    /// Number of lines with a checkpoint.
    notes: u64,
    /// Number of the last line that was cut, or 0.
    cut: u64,
    /// Number of the current line.
    line: u64,
    /// Number of lines that are entries or checkpoints, and of segments.
    recognized: u64,
    /// Expected sequence number of the next entry.
    next: u64,
    /// Tree of the leaf hashes as written in the lines.
    tree: Tree,
    /// Tree of the leaf hashes as computed, from the first entry on whose line has another one.
    computed: Option<Tree>,
    /// Number of leading entries that a checkpoint proves.
    covered: u64,
    checkpoints: u64,
    cosignatures: Vec<Cosignatures>,
    /// Set after a gap or a mismatch: later roots cannot be compared.
    broken: bool,
    faults: Vec<Fault>,
    total: u64,
}

impl Sequence {
    fn new() -> Self {
        Self {
            against: Vec::new(),
            empty: 0,
            notes: 0,
            cut: 0,
            line: 0,
            recognized: 0,
            next: 0,
            tree: Tree::new(),
            computed: None,
            covered: 0,
            checkpoints: 0,
            cosignatures: Vec::new(),
            broken: false,
            faults: Vec::new(),
            total: 0,
        }
    }

    /// Applies the next line.
    pub(crate) fn apply(&mut self, line: CheckedLine) {
        if matches!(line, CheckedLine::Empty) {
            self.empty += 1;
            return;
        }
        if let CheckedLine::Cut(line) = line {
            self.apply(*line);
            self.cut = self.line;
            return;
        }
        self.refuse_empty();
        self.line += 1;
        match line {
            CheckedLine::Checkpoint(checkpoint, cosignatures) => {
                self.recognized += 1;
                self.notes += 1;
                match checkpoint {
                    Some(checkpoint) => self.checkpoint(&checkpoint, cosignatures),
                    None => self.fault(Fault::BadSignature { line: self.line }),
                }
            }
            CheckedLine::Entry {
                written,
                computed,
                head,
            } => {
                self.recognized += 1;
                self.entry(written, computed, head);
            }
            CheckedLine::Malformed => {
                let (line, seq) = (self.line, self.next);
                self.fault(Fault::Malformed { line, seq });
            }
            CheckedLine::Cut(_) | CheckedLine::Empty => {}
        }
    }

    /// Refuses the empty lines so far. Those at the end of a file are none of the log.
    fn refuse_empty(&mut self) {
        for _ in 0..std::mem::take(&mut self.empty) {
            self.line += 1;
            let (line, seq) = (self.line, self.next);
            self.fault(Fault::Malformed { line, seq });
        }
    }

    fn finish(mut self) -> Result<Report, Failure> {
        let entries = self.tree.size();
        if self.line == 0 {
            self.refuse_empty();
        }
        // a cut line that others follow was altered
        if let Some(Fault::Malformed { line, seq } | Fault::EntryAltered { seq, line }) =
            self.faults.last().cloned()
            && line == self.line
            && line == self.cut
        {
            self.faults.pop();
            self.faults.push(Fault::Cut { line, seq });
        }
        if self.is_partial() {
            self.faults = vec![Fault::NoCheckpoint];
        } else if let Some(expected) = self.against.first().map(|outside| outside.size)
            && expected > entries
        {
            let found = entries;
            self.fault(Fault::Truncated { expected, found });
        }
        if self.checkpoints == 0 && self.total == 0 {
            self.fault(Fault::NoCheckpoint);
        }
        match self.failure() {
            Some(failure) => Err(failure),
            None => Ok(self.report()),
        }
    }

    /// Whether it is a part of a log without checkpoints, whose entries are unaltered as far as that shows.
    fn is_partial(&self) -> bool {
        let starts_later = matches!(self.faults[..], [Fault::OutOfSequence { line: 1, .. }]);
        starts_later && self.total == 1 && self.notes == 0
    }

    /// The faults so far, if there are any.
    fn failure(&self) -> Option<Failure> {
        if self.line > 0 && self.recognized == 0 {
            return Some(Failure {
                entries: 0,
                faults: vec![Fault::NotALog { lines: self.line }],
                total: 1,
            });
        }
        (self.total > 0).then(|| Failure {
            entries: self.tree.size(),
            faults: self.faults.clone(),
            total: self.total,
        })
    }

    fn report(self) -> Report {
        Report {
            entries: self.tree.size(),
            covered: self.covered,
            checkpoints: self.checkpoints,
            root: self.tree.root(),
            cosignatures: self.cosignatures,
            torn: 0,
        }
    }

    #[cfg(feature = "client")]
    fn begin_segment(&mut self, found: u64) {
        self.recognized += 1;
        let expected = self.next;
        if found != expected {
            self.fault(Fault::SegmentMissing { expected, found });
            self.broken = true;
            self.next = found;
        }
    }

    fn entry(&mut self, written: Option<Hash>, computed: Hash, head: Head) {
        let (line, seq) = (self.line, self.next);
        let leaf = written.unwrap_or(computed);
        self.next = seq.saturating_add(1);
        if written.is_none() {
            self.fault(Fault::LeafAltered { seq, line });
        } else if leaf == computed {
            self.check_head(head, seq);
        } else {
            // the next checkpoint shows which of the two was changed
            self.fault(Fault::EntryAltered { seq, line });
            self.computed.get_or_insert_with(|| self.tree.clone());
        }
        self.tree.append(leaf);
        if let Some(tree) = &mut self.computed {
            tree.append(computed);
        }
        self.compare_outside();
    }

    /// Checks the log and the sequence number of an entry whose hash is correct.
    fn check_head(&mut self, head: Head, expected: u64) {
        let line = self.line;
        match head {
            Head::Malformed => self.fault(Fault::EntryAltered { seq: expected, line }),
            Head::Seq(found) | Head::OtherLog(found) if found != expected => {
                // one missing entry is one fault, not one for each later entry
                self.next = expected.max(found.saturating_add(1));
                self.fault(Fault::OutOfSequence {
                    line,
                    expected,
                    found,
                });
                self.broken = true;
            }
            Head::OtherLog(_) => self.fault(Fault::OtherLog { line }),
            Head::Seq(_) => {}
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint, cosignatures: Vec<Cosignature>) {
        let line = self.line;
        for cosignature in cosignatures {
            if cosignature.check == Check::Invalid {
                let witness = cosignature.witness;
                self.fault(Fault::BadCosignature { line, witness });
            } else {
                witness::count(&mut self.cosignatures, &cosignature, checkpoint.size);
            }
        }
        let (expected, found) = (checkpoint.size, self.tree.size());
        if self.broken {
            return;
        }
        if expected == found {
            self.compare(checkpoint);
        } else if expected > found {
            self.fault(Fault::Truncated { expected, found });
            self.broken = true;
            self.next = expected;
        } else {
            self.fault(Fault::Misplaced {
                line,
                size: expected,
                entries: found,
            });
        }
    }

    fn compare_outside(&mut self) {
        let size = self.tree.size();
        while !self.broken
            && let Some(outside) = self.against.pop_if(|outside| outside.size == size)
        {
            self.compare(&outside);
        }
    }

    /// Compares a signed root with that of the entries so far.
    fn compare(&mut self, checkpoint: &Checkpoint) {
        let computed = self.computed.take();
        if checkpoint.root == self.tree.root() {
            self.count_checkpoint();
        } else if let Some(computed) = computed.filter(|tree| tree.root() == checkpoint.root) {
            // the entries are the signed ones, so the written hashes were changed
            for fault in &mut self.faults {
                if let Fault::EntryAltered { seq, line } = *fault
                    && seq >= self.covered
                {
                    *fault = Fault::LeafAltered { seq, line };
                }
            }
            self.tree = computed;
            self.count_checkpoint();
        } else {
            self.fault(Fault::RootMismatch {
                since: self.covered,
                checkpoint_size: checkpoint.size,
            });
            self.broken = true;
        }
    }

    fn count_checkpoint(&mut self) {
        self.checkpoints += 1;
        self.covered = self.tree.size();
    }

    fn fault(&mut self, fault: Fault) {
        self.total += 1;
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// The bytes of U+FEFF at the start of a UTF-8 file.
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[cfg(test)]
mod tests;
