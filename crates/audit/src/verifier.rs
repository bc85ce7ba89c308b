//! Verifies an exported log line by line, in constant memory and without a server.

use serde::Deserialize;

use crate::export::Cut;
use crate::{Checkpoint, Hash, Line, Tree, VerifierKey, leaf_hash};

/// Verifies a log that was exported: feed it every line, then ask for the result.
#[derive(Debug)]
pub struct Verifier {
    key: VerifierKey,
    against: Option<Checkpoint>,
    /// Lines seen.
    line: u64,
    /// The number that the next entry should have.
    next: u64,
    /// The tree of the leaf hashes that the lines state.
    tree: Tree,
    /// The tree of the hashes that the entries have, from the first entry on whose line states another one.
    computed: Option<Tree>,
    /// Entries before this one are proved by a checkpoint.
    covered: u64,
    checkpoints: u64,
    /// Set once entries are missing or do not lead to a signed root: later roots cannot be compared any more.
    broken: bool,
    faults: Vec<Fault>,
    total: u64,
}

/// Verifies all lines of a log with its key.
///
/// # Errors
/// A [`Failure`] with the faults.
pub fn verify(key: &VerifierKey, lines: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<Report, Failure> {
    let mut verifier = Verifier::new(key.clone(), None);
    lines
        .into_iter()
        .for_each(|line| verifier.verify_line(line.as_ref()));
    verifier.finish()
}

impl Verifier {
    /// A verifier for the log of `key`. With a checkpoint that was kept outside, it also notices that the end of
    /// the log is missing, or that all of it was written anew.
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

    /// Takes the next line, with or without its line feed.
    pub fn verify_line(&mut self, line: &[u8]) {
        self.line += 1;
        match Line::cut(line.strip_suffix(b"\n").unwrap_or(line)) {
            Cut::Checkpoint(note) => self.checkpoint(&note),
            Cut::Entry(leaf, entry) => self.entry(leaf, entry),
            Cut::Neither => {
                let (line, seq) = (self.line, self.next);
                self.fault(Fault::Malformed { line, seq });
            }
        }
    }

    /// The result: what was proved, or what is wrong.
    ///
    /// # Errors
    /// A [`Failure`], if anything is.
    pub fn finish(mut self) -> Result<Report, Failure> {
        let entries = self.tree.size();
        if let Some(outside) = &self.against
            && outside.size > entries
        {
            let expected = outside.size;
            self.fault(Fault::Truncated {
                expected,
                found: entries,
            });
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

    fn entry(&mut self, stated: Option<Hash>, entry: &[u8]) {
        let (line, seq) = (self.line, self.next);
        let computed = leaf_hash(entry);
        match stated {
            Some(stated) if stated == computed => self.sound_entry(entry, stated),
            // which of the two was changed shows at the next checkpoint
            Some(stated) => {
                self.fault(Fault::EntryAltered { seq, line });
                let other = self.computed.get_or_insert_with(|| self.tree.clone());
                other.append(computed);
                self.tree.append(stated);
                self.next = self.next.saturating_add(1);
            }
            None => {
                self.fault(Fault::LeafAltered { seq, line });
                self.append(computed);
                self.next = self.next.saturating_add(1);
            }
        }
        self.compare_outside();
    }

    /// An entry whose line states its true hash.
    fn sound_entry(&mut self, entry: &[u8], leaf: Hash) {
        let (line, expected) = (self.line, self.next);
        match serde_json::from_slice::<Place<'_>>(entry) {
            Err(_) => {
                self.fault(Fault::EntryAltered { seq: expected, line });
                self.next = expected.saturating_add(1);
            }
            Ok(place) => {
                // one missing entry is one fault, not one for each entry after it
                self.next = expected.max(place.seq.saturating_add(1));
                if place.seq != expected {
                    let found = place.seq;
                    self.fault(Fault::OutOfSequence {
                        line,
                        expected,
                        found,
                    });
                    self.broken = true;
                } else if place.log != self.key.name() {
                    self.fault(Fault::OtherLog { line });
                }
            }
        }
        self.append(leaf);
    }

    fn append(&mut self, leaf: Hash) {
        self.tree.append(leaf);
        if let Some(computed) = &mut self.computed {
            computed.append(leaf);
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
            && self.against.as_ref().is_some_and(|outside| outside.size == size)
            && let Some(outside) = self.against.take()
        {
            self.compare(&outside);
            self.against = Some(outside);
        }
    }

    /// Compares a signed root with that of the entries so far, and settles what was in doubt.
    fn compare(&mut self, checkpoint: &Checkpoint) {
        let computed = self.computed.take();
        if checkpoint.root == self.tree.root() {
            self.proved();
        } else if let Some(computed) = computed.filter(|tree| tree.root() == checkpoint.root) {
            // the entries are those that were signed, so the stated hashes were changed
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
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// The result of a verification.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Its entries.
    pub entries: u64,
    /// Number of leading entries that a checkpoint proves. Later entries are not covered yet.
    pub covered: u64,
    /// The checkpoints that were compared, one kept outside among them.
    pub checkpoints: u64,
    /// The root over all entries.
    pub root: Hash,
}

/// The log fails verification.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the log fails verification: {}{}", self.first(), more(self.total))]
#[non_exhaustive]
pub struct Failure {
    /// Its entries, as far as they could be counted.
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
    /// The entry is not the one that was logged.
    #[error("line {line}: entry {seq} was altered")]
    EntryAltered {
        /// Sequence number of the entry.
        seq: u64,
        /// Number of the line.
        line: u64,
    },
    /// The entry is sound, but the hash beside it is not its hash.
    #[error("line {line}: the leaf hash beside entry {seq} was altered; the entry itself is sound")]
    LeafAltered {
        /// Sequence number of the entry.
        seq: u64,
        /// Number of the line.
        line: u64,
    },
    /// Not a log line.
    #[error("line {line}: neither an entry nor a checkpoint, where entry {seq} could stand")]
    Malformed {
        /// Number of the line.
        line: u64,
        /// The entry that would come next.
        seq: u64,
    },
    /// A checkpoint over fewer entries than stand above it.
    #[error("line {line}: a checkpoint over {size} entries stands below {entries} of them")]
    Misplaced {
        /// Number of the line.
        line: u64,
        /// Number of entries under the checkpoint.
        size: u64,
        /// Number of entries above the line.
        entries: u64,
    },
    /// Nothing is signed, so nothing is proved.
    #[error(
        "there is no checkpoint: nothing is proved; export the log with one, or give one that was kept outside"
    )]
    NoCheckpoint,
    /// An entry of another log.
    #[error("line {line}: the entry belongs to another log")]
    OtherLog {
        /// Number of the line.
        line: u64,
    },
    /// An entry is missing, doubled, or in another place.
    #[error("line {line}: entry {found} stands where entry {expected} should")]
    OutOfSequence {
        /// Number of the line.
        line: u64,
        /// The expected sequence number.
        expected: u64,
        /// The sequence number found.
        found: u64,
    },
    /// Some entries were written anew, with their hashes.
    #[error("entries {since} to {} are not those that the checkpoint over {checkpoint_size} entries signs", checkpoint_size.saturating_sub(1))]
    RootMismatch {
        /// The first entry that may be wrong.
        since: u64,
        /// Number of entries under the checkpoint.
        checkpoint_size: u64,
    },
    /// Entries are missing at the end.
    #[error("a checkpoint expects {expected} entries, found {found}: the others are missing")]
    Truncated {
        /// Number of entries under the checkpoint.
        expected: u64,
        /// Number of entries found.
        found: u64,
    },
}

/// Most faults that are kept; the others are counted. Our choice.
const MOST_FAULTS: usize = 100;

/// The fields of an entry that the verifier reads. Its bytes are proved as a whole.
#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    seq: u64,
}

fn more(total: u64) -> String {
    match total {
        0 | 1 => String::new(),
        more => format!("; and {} more", more - 1),
    }
}

#[cfg(test)]
mod tests {
    use genesys_api::parse_rfc3339;

    use super::*;
    use crate::{Action, Actor, Draft, Signer};

    fn signer() -> Signer {
        Signer::from_seed("example.com/log", &[7; 32]).unwrap()
    }

    fn sealed(seq: u64, log: &str, who: &str) -> Vec<u8> {
        let at = parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        Draft::new(at, Actor::client(who), Action::SessionCreated)
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
    fn a_sound_log() {
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
    fn every_flipped_bit_is_noticed_and_one_in_an_entry_names_it() {
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
                        let named =
                            matches!(found[0], Fault::EntryAltered { seq: named, .. } if named == seq);
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
    fn a_missing_doubled_or_moved_entry() {
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
    fn a_missing_end() {
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
        // up to a checkpoint, the log proves itself: only one that was kept outside shows that there was more
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
            "the log fails verification: a checkpoint expects 16 entries, found 0: the others are missing"
        );
    }

    #[test]
    fn a_rewritten_log_needs_an_outside_checkpoint() {
        let mut lines = log(8, &[4, 8], "spa");
        lines[5] = line(&sealed(4, signer().name(), "mallory"));
        assert_eq!(
            faults(&lines, None),
            [Fault::RootMismatch {
                since: 4,
                checkpoint_size: 8
            }]
        );
        // who has the key can sign anything
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
    fn what_belongs_elsewhere() {
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
    fn faults_are_bounded() {
        let mut lines = log(200, &[200], "spa");
        lines.iter_mut().for_each(|line| line[70] ^= 1);
        let failure = verify(&lines, None).unwrap_err();
        assert_eq!((failure.faults.len(), failure.total), (100, 201));
        assert_eq!(
            failure.to_string(),
            "the log fails verification: line 1: entry 0 was altered; and 200 more"
        );
    }
}
