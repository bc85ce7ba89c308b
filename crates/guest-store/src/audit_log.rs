//! The head of the audit log, and the authentication of its rows.

use audit::{Draft, Hash, Signer, Tree, leaf_hash};

use crate::{SealKey, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// Entries between two checkpoints. Our choice: the width of a tile of C2SP `tlog-tiles`.
const CHECKPOINT_EVERY: u64 = 256;

/// The tree and the last checkpoint of the log. It is sealed in the store, and never computed from stored rows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct LogHead {
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
        let mut plain = self.tree.size().to_be_bytes().to_vec();
        plain.extend_from_slice(&none_or(self.signed));
        for peak in self.tree.peaks() {
            plain.extend_from_slice(peak.as_bytes());
        }
        key.seal(HEAD, &plain)
    }

    /// Opens a sealed head. `None` if it was altered or another key sealed it.
    pub(crate) fn open(key: &SealKey, sealed: Vec<u8>) -> Option<Self> {
        let plain = key.open(HEAD, sealed)?;
        let (size, rest) = plain.split_first_chunk::<8>()?;
        let (signed, rest) = rest.split_first_chunk::<8>()?;
        let (peaks, []) = rest.as_chunks::<32>() else {
            return None;
        };
        let peaks = peaks.iter().map(|peak| Hash::from_bytes(*peak)).collect();
        let signed = u64::from_be_bytes(*signed);
        Some(Self {
            tree: Tree::from_peaks(u64::from_be_bytes(*size), peaks)?,
            signed: (signed != u64::MAX).then_some(signed),
        })
    }
}

/// Associated data of the sealed head.
const HEAD: &str = "meta/head/value";

/// The pseudonym of an entry's subject, and the entry's index among those of the subject, from 0.
pub(crate) type SubjectIndex = ([u8; 32], u64);

/// The message whose MAC is in a row of `entries`.
pub(crate) fn entry_message(entry: &StoredEntry, subject: Option<SubjectIndex>) -> Vec<u8> {
    let mut message = Vec::with_capacity(64 + entry.bytes.len());
    message.extend_from_slice(b"entry");
    message.extend_from_slice(&entry.seq.to_be_bytes());
    message.push(subject.is_some().into());
    if let Some((subject, index)) = subject {
        message.extend_from_slice(&subject);
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
