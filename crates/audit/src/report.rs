//! The result of a verification.

use crate::{Cosignatures, Hash};

/// The log passes verification.
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
    /// Cosignatures by witness: of each configured key, and of the first 100 names that the checkpoints hold.
    pub cosignatures: Vec<Cosignatures>,
    /// Length of an incomplete batch at the end of a log's folder, in bytes. A crash leaves one, and so does a writer at
    /// work. Its entries were not acknowledged.
    pub torn: u64,
}

/// The log fails verification.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{}{}", self.subject(), self.first(), more(self.total))]
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

    fn subject(&self) -> &'static str {
        match self.first() {
            Fault::NotALog { .. } => "",
            _ => "the log fails verification: ",
        }
    }
}

/// A fault of a log. Entries count from 0, lines from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A cosignature under the name and id of a configured witness that does not match the checkpoint.
    #[error("line {line}: the cosignature of the witness {witness} does not match the checkpoint")]
    BadCosignature {
        /// Number of the line.
        line: u64,
        /// Name of the witness.
        witness: String,
    },
    /// A checkpoint that the key did not sign, or that was changed.
    #[error("line {line}: the checkpoint is not signed by this key, or was altered")]
    BadSignature {
        /// Number of the line.
        line: u64,
    },
    /// A line that ends before its JSON does, as in a copy that was not completed.
    #[error("line {line}: cut before its end, at entry {seq} or a checkpoint: copy or export the log again")]
    Cut {
        /// Number of the line.
        line: u64,
        /// Sequence number of the next entry.
        seq: u64,
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
    /// Lines without a single entry or checkpoint: another file, or one in another encoding than UTF-8.
    #[error(
        "not an audit log: none of its {lines} lines is an entry or a checkpoint, check which file it is"
    )]
    NotALog {
        /// Number of lines.
        lines: u64,
    },
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
    /// A missing segment in the folder of a log.
    #[error("a segment is missing: one begins with entry {found} in place of entry {expected}")]
    SegmentMissing {
        /// The expected sequence number.
        expected: u64,
        /// The sequence number in the name of the segment.
        found: u64,
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

fn more(total: u64) -> String {
    match total {
        0 | 1 => String::new(),
        more => format!("; and {} more", more - 1),
    }
}
