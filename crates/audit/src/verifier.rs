//! Verification of an exported log.

use std::borrow::Cow;

use serde::Deserialize;

use crate::export::Split;
use crate::{Checkpoint, Hash, Tree, VerifierKey, leaf_hash};

/// Maximum number of faults in a [`Failure`]. Our choice.
const MAX_FAULTS: usize = 100;

/// Verifies an exported log line by line, in constant memory.
#[derive(Debug)]
pub struct Verifier {
    key: VerifierKey,
    /// External checkpoint, until it is compared.
    against: Option<Checkpoint>,
    /// Number of the current line.
    line: u64,
    /// Expected sequence number of the next entry.
    next: u64,
    /// Tree of the leaf hashes as written in the lines.
    tree: Tree,
    /// Tree of the leaf hashes as computed, from the first entry on whose line has another one.
    computed: Option<Tree>,
    /// Number of leading entries that a checkpoint proves.
    covered: u64,
    checkpoints: u64,
    /// Set after a gap or a mismatch: later roots cannot be compared.
    broken: bool,
    faults: Vec<Fault>,
    total: u64,
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
        let mut verifier = Self {
            key,
            against,
            line: 0,
            next: 0,
            tree: Tree::new(),
            computed: None,
            covered: 0,
            checkpoints: 0,
            broken: false,
            faults: Vec::new(),
            total: 0,
        };
        verifier.compare_outside();
        verifier
    }

    /// Verifies the next line, with or without its line feed.
    pub fn verify_line(&mut self, line: &[u8]) {
        self.line += 1;
        match Split::of(line.strip_suffix(b"\n").unwrap_or(line)) {
            Some(Split::Checkpoint(note)) => self.checkpoint(&note),
            Some(Split::Entry(leaf, entry)) => self.entry(leaf, entry),
            None => {
                let (line, seq) = (self.line, self.next);
                self.fault(Fault::Malformed { line, seq });
            }
        }
    }

    /// Returns the result of the verification.
    ///
    /// # Errors
    /// If the log has a fault.
    pub fn finish(mut self) -> Result<Report, Failure> {
        let entries = self.tree.size();
        if let Some(expected) = self.against.as_ref().map(|outside| outside.size)
            && expected > entries
        {
            let found = entries;
            self.fault(Fault::Truncated { expected, found });
        }
        if self.checkpoints == 0 && self.total == 0 {
            self.fault(Fault::NoCheckpoint);
        }
        if self.total > 0 {
            return Err(Failure {
                entries,
                faults: self.faults,
                total: self.total,
            });
        }
        Ok(Report {
            entries,
            covered: self.covered,
            checkpoints: self.checkpoints,
            root: self.tree.root(),
        })
    }

    fn entry(&mut self, written: Option<Hash>, entry: &[u8]) {
        let (line, seq) = (self.line, self.next);
        let computed = leaf_hash(entry);
        let leaf = written.unwrap_or(computed);
        self.next = seq.saturating_add(1);
        if written.is_none() {
            self.fault(Fault::LeafAltered { seq, line });
        } else if leaf == computed {
            self.check_sequence(entry, seq);
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
    fn check_sequence(&mut self, entry: &[u8], expected: u64) {
        let line = self.line;
        match serde_json::from_slice(entry) {
            Err(_) => self.fault(Fault::EntryAltered { seq: expected, line }),
            Ok(EntryHead { seq: found, .. }) if found != expected => {
                // one missing entry is one fault, not one for each later entry
                self.next = expected.max(found.saturating_add(1));
                self.fault(Fault::OutOfSequence {
                    line,
                    expected,
                    found,
                });
                self.broken = true;
            }
            Ok(EntryHead { log, .. }) if log != self.key.name() => self.fault(Fault::OtherLog { line }),
            Ok(_) => {}
        }
    }

    fn checkpoint(&mut self, note: &str) {
        let line = self.line;
        let Ok(checkpoint) = self.key.open(note) else {
            self.fault(Fault::BadSignature { line });
            return;
        };
        let (expected, found) = (checkpoint.size, self.tree.size());
        if self.broken {
            return;
        }
        if expected == found {
            self.compare(&checkpoint);
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
        if !self.broken
            && let Some(outside) = self.against.take_if(|outside| outside.size == size)
        {
            self.compare(&outside);
        }
    }

    /// Compares a signed root with that of the entries so far.
    fn compare(&mut self, checkpoint: &Checkpoint) {
        let computed = self.computed.take();
        if checkpoint.root == self.tree.root() {
            self.proved();
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
            self.proved();
        } else {
            self.fault(Fault::RootMismatch {
                since: self.covered,
                checkpoint_size: checkpoint.size,
            });
            self.broken = true;
        }
    }

    fn proved(&mut self) {
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

/// The result of a verification.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Number of entries.
    pub entries: u64,
    /// Number of leading entries that a checkpoint proves. Later entries are not covered yet.
    pub covered: u64,
    /// Number of compared checkpoints, including an external one.
    pub checkpoints: u64,
    /// Root over all entries.
    pub root: Hash,
}

/// The log fails verification.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the log fails verification: {}{}", self.first(), more(self.total))]
#[non_exhaustive]
pub struct Failure {
    /// Number of entries found.
    pub entries: u64,
    /// The first 100 faults, in the order of the lines.
    pub faults: Vec<Fault>,
    /// Number of all faults.
    pub total: u64,
}

impl Failure {
    /// The first fault.
    #[must_use]
    pub fn first(&self) -> &Fault {
        self.faults.first().unwrap_or(&Fault::NoCheckpoint)
    }
}

/// A fault of a log. Entries count from 0, lines from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A checkpoint that the key did not sign, or that was changed.
    #[error("line {line}: the checkpoint is not signed by this key, or was altered")]
    BadSignature {
        /// Number of the line.
        line: u64,
    },
    /// An altered entry.
    #[error("line {line}: entry {seq} was altered")]
    EntryAltered {
        /// Sequence number of the entry.
        seq: u64,
        /// Number of the line.
        line: u64,
    },
    /// An altered leaf hash beside an unaltered entry.
    #[error("line {line}: the leaf hash of entry {seq} was altered, the entry itself was not")]
    LeafAltered {
        /// Sequence number of the entry.
        seq: u64,
        /// Number of the line.
        line: u64,
    },
    /// Not a log line.
    #[error("line {line}: neither entry {seq} nor a checkpoint")]
    Malformed {
        /// Number of the line.
        line: u64,
        /// Sequence number of the next entry.
        seq: u64,
    },
    /// A checkpoint over fewer entries than are above it.
    #[error("line {line}: the checkpoint covers {size} entries, found {entries} above it")]
    Misplaced {
        /// Number of the line.
        line: u64,
        /// Number of entries under the checkpoint.
        size: u64,
        /// Number of entries above the line.
        entries: u64,
    },
    /// No checkpoint, so nothing is proved.
    #[error("no checkpoint: export the log with one, or give an external one")]
    NoCheckpoint,
    /// An entry of another log.
    #[error("line {line}: the entry belongs to another log")]
    OtherLog {
        /// Number of the line.
        line: u64,
    },
    /// A missing, repeated or moved entry.
    #[error("line {line}: entry {found} in place of entry {expected}")]
    OutOfSequence {
        /// Number of the line.
        line: u64,
        /// The expected sequence number.
        expected: u64,
        /// The sequence number found.
        found: u64,
    },
    /// Entries that were rewritten with their hashes.
    #[error("entries {since} to {} do not match the checkpoint over {checkpoint_size} entries", checkpoint_size.saturating_sub(1))]
    RootMismatch {
        /// Sequence number of the first entry that may be wrong.
        since: u64,
        /// Number of entries under the checkpoint.
        checkpoint_size: u64,
    },
    /// Missing entries at the end.
    #[error("a checkpoint covers {expected} entries, found {found}: the others are missing")]
    Truncated {
        /// Number of entries under the checkpoint.
        expected: u64,
        /// Number of entries found.
        found: u64,
    },
}

/// The parsed fields of an entry. The others are proved by the hash.
#[derive(Deserialize)]
struct EntryHead<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    seq: u64,
}

fn more(total: u64) -> String {
    match total {
        0 | 1 => String::new(),
        more => format!("; and {} more", more - 1),
    }
}

#[cfg(test)]
mod tests;
