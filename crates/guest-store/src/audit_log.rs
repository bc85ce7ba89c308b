//! The head of the audit log, and the authentication of its rows.

use audit::{Draft, Hash, Pseudonym, Signer, Tree, leaf_hash};

use crate::{SealKey, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// Entries between two checkpoints. Our choice: the width of a tile of C2SP `tlog-tiles`.
const CHECKPOINT_EVERY: u64 = 256;

/// Sums of the rows of each table whose rows change.
pub(crate) type RowSums = [u128; 7];
/// Those of versions 4 and 5, to which a table was added at the end.
type RowSums5 = [u128; 6];

/// The tree and the last checkpoint of the log, and the sums of the rows that change. It is sealed in the store, and never
/// computed from stored rows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct LogHead {
    pub(crate) rows: RowSums,
    pub(crate) tree: Tree,
    /// Entries under the last checkpoint, if there is one.
    pub(crate) signed: Option<u64>,
}

impl LogHead {
    /// Appends `draft` to the tree and returns its entry.
    pub(crate) fn append(&mut self, draft: &Draft, signer: &Signer) -> Result<StoredEntry, StoreError> {
        let seq = self.tree.size();
        let bytes = draft
            .seal(seq, signer.name())
            .map_err(|error| StoreError::new(StoreErrorKind::Invalid, error))?;
        let leaf = leaf_hash(&bytes);
        self.tree.append(leaf);
        Ok(StoredEntry { seq, leaf, bytes })
    }

    /// Whether a checkpoint follows the last entry.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        self.tree.size().is_multiple_of(CHECKPOINT_EVERY)
    }

    /// Signs the head, unless it is signed. Returns also the size of the checkpoint before.
    pub(crate) fn checkpoint(&mut self, signer: &Signer) -> Option<(StoredCheckpoint, Option<u64>)> {
        let size = self.tree.size();
        if self.signed == Some(size) {
            return None;
        }
        let previous = self.signed.replace(size);
        let note = signer.checkpoint(size, self.tree.root());
        Some((StoredCheckpoint { size, note }, previous))
    }

    /// Returns the sealed head.
    pub(crate) fn seal(&self, key: &SealKey) -> Vec<u8> {
        let mut plain = self.rows.map(u128::to_be_bytes).concat();
        plain.extend_from_slice(&self.tree.size().to_be_bytes());
        plain.extend_from_slice(&none_or(self.signed));
        for peak in self.tree.peaks() {
            plain.extend_from_slice(peak.as_bytes());
        }
        key.seal(HEAD, &plain)
    }

    /// Seals the head as versions 2 and 3 do.
    #[cfg(test)]
    pub(crate) fn seal_3(&self, key: &SealKey) -> Vec<u8> {
        let plain = key.open(HEAD, self.seal(key)).unwrap_or_default();
        key.seal(HEAD_3, &plain[size_of::<RowSums>()..])
    }

    /// Seals the head as versions 4 and 5 do.
    #[cfg(test)]
    pub(crate) fn seal_5(&self, key: &SealKey) -> Vec<u8> {
        let mut plain = key.open(HEAD, self.seal(key)).unwrap_or_default();
        plain.drain(size_of::<RowSums5>()..size_of::<RowSums>());
        key.seal(HEAD_5, &plain)
    }

    /// Opens a sealed head. `None` if it was altered or another key sealed it.
    pub(crate) fn open(key: &SealKey, sealed: Vec<u8>) -> Option<Self> {
        Self::parse_with_sums(&key.open(HEAD, sealed)?, size_of::<RowSums>())
    }

    /// Opens a head that version 4 or 5 sealed. The sum of the new table, which is empty, is 0.
    pub(crate) fn open_5(key: &SealKey, sealed: Vec<u8>) -> Option<Self> {
        Self::parse_with_sums(&key.open(HEAD_5, sealed)?, size_of::<RowSums5>())
    }

    fn parse_with_sums(plain: &[u8], length: usize) -> Option<Self> {
        let (sums, rest) = plain.split_at_checked(length)?;
        let mut rows = RowSums::default();
        for (row, sum) in rows.iter_mut().zip(sums.as_chunks().0) {
            *row = u128::from_be_bytes(*sum);
        }
        Self::parse(rows, rest)
    }

    /// Opens a head that version 2 or 3 sealed, which has no sums.
    pub(crate) fn open_3(key: &SealKey, sealed: Vec<u8>) -> Option<Self> {
        Self::parse(RowSums::default(), &key.open(HEAD_3, sealed)?)
    }

    fn parse(rows: RowSums, plain: &[u8]) -> Option<Self> {
        let (size, rest) = plain.split_first_chunk::<8>()?;
        let (signed, rest) = rest.split_first_chunk::<8>()?;
        let (peaks, []) = rest.as_chunks::<32>() else {
            return None;
        };
        let peaks = peaks.iter().map(|peak| Hash::from_bytes(*peak)).collect();
        let signed = u64::from_be_bytes(*signed);
        Some(Self {
            rows,
            tree: Tree::from_peaks(u64::from_be_bytes(*size), peaks)?,
            signed: (signed != u64::MAX).then_some(signed),
        })
    }
}

/// Associated data of the sealed head.
const HEAD: &str = "meta/head/value/6";
const HEAD_5: &str = "meta/head/value/4";
const HEAD_3: &str = "meta/head/value";

/// The key of an entry's subject in the index of the entries, and the entry's index among those of the subject, from 0.
pub(crate) type SubjectIndex<'a> = (&'a [u8], u64);

/// The keys of a subject in the index of the entries, that of new entries first: the prefix of the pseudonym, if it has
/// one, then the pseudonym. The entries of version 3 have no prefix.
pub(crate) fn subject_keys(subject: &Pseudonym) -> Vec<Vec<u8>> {
    let pseudonym = subject.as_bytes().as_slice();
    let prefixed = subject.prefix().map(|prefix| [&prefix, pseudonym].concat());
    prefixed.into_iter().chain([pseudonym.to_vec()]).collect()
}

/// The message whose MAC is in a row of `entries`.
pub(crate) fn entry_message(entry: &StoredEntry, subject: Option<SubjectIndex<'_>>) -> Vec<u8> {
    let mut message = Vec::with_capacity(64 + entry.bytes.len());
    message.extend_from_slice(b"entry");
    message.extend_from_slice(&entry.seq.to_be_bytes());
    message.push(match subject {
        None => 0,
        Some((subject, _)) if subject.len() == 32 => 1,
        Some(_) => 2,
    });
    if let Some((subject, index)) = subject {
        message.extend_from_slice(subject);
        message.extend_from_slice(&index.to_be_bytes());
    }
    message.extend_from_slice(&entry.bytes);
    message
}

/// The message whose MAC is in a row of `checkpoints`, the one after a checkpoint of `previous` entries.
pub(crate) fn checkpoint_message(checkpoint: &StoredCheckpoint, previous: Option<u64>) -> Vec<u8> {
    let (size, previous) = (checkpoint.size.to_be_bytes(), none_or(previous));
    [&b"checkpoint"[..], &size, &previous, checkpoint.note.as_bytes()].concat()
}

/// A size as bytes. `u64::MAX`, which no log reaches, means none.
fn none_or(size: Option<u64>) -> [u8; 8] {
    size.unwrap_or(u64::MAX).to_be_bytes()
}
