//! The head of the audit log.

use audit::{Draft, Pseudonym, Signer, Tree, leaf_hash};

use crate::{StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// Entries between two checkpoints. Our choice: the width of a tile of C2SP `tlog-tiles`.
const CHECKPOINT_EVERY: u64 = 256;

/// The tree and the last checkpoint of the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogHead {
    pub(crate) tree: Tree,
    /// Entries under the last checkpoint, if there is one.
    pub(crate) signed: Option<u64>,
}

/// A row of the log.
pub(crate) enum LogRow {
    Checkpoint(StoredCheckpoint),
    Entry(StoredEntry, Option<Pseudonym>),
}

impl LogHead {
    /// Appends `drafts`, and a checkpoint after every 256 entries.
    pub(crate) fn append(&mut self, drafts: &[Draft], signer: &Signer) -> Result<Vec<LogRow>, StoreError> {
        let mut records = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let seq = self.tree.size();
            let bytes = draft
                .seal(seq, signer.name())
                .map_err(|error| StoreError::new(StoreErrorKind::Invalid, error))?;
            let leaf = leaf_hash(&bytes);
            self.tree.append(leaf);
            records.push(LogRow::Entry(StoredEntry { seq, leaf, bytes }, draft.subject));
            if self.tree.size().is_multiple_of(CHECKPOINT_EVERY) {
                records.extend(self.checkpoint(signer).map(LogRow::Checkpoint));
            }
        }
        Ok(records)
    }

    /// Signs the current head, unless it is signed.
    pub(crate) fn checkpoint(&mut self, signer: &Signer) -> Option<StoredCheckpoint> {
        let size = self.tree.size();
        if self.signed == Some(size) {
            return None;
        }
        self.signed = Some(size);
        Some(StoredCheckpoint {
            size,
            note: signer.checkpoint(size, self.tree.root()),
        })
    }
}
