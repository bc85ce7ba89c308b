//! The head of the audit log, as every store keeps it.

use audit::{Draft, Pseudonym, Signer, Tree, leaf_hash};

use crate::{StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// Signs itself after so many entries. Our choice: the width of a tile of C2SP `tlog-tiles`.
const CHECKPOINT_EVERY: u64 = 256;

/// Where the log stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) tree: Tree,
    /// Over how many entries its last checkpoint is, if there is one.
    pub(crate) signed: Option<u64>,
}

/// What is to be stored, in this order.
pub(crate) enum Record {
    Checkpoint(StoredCheckpoint),
    Entry(StoredEntry, Option<Pseudonym>),
}

impl Journal {
    /// Appends `drafts`, and a checkpoint whenever one is due.
    pub(crate) fn append(&mut self, drafts: &[Draft], signer: &Signer) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let seq = self.tree.size();
            let bytes = draft
                .seal(seq, signer.name())
                .map_err(|error| StoreError::new(StoreErrorKind::Invalid, error))?;
            let leaf = leaf_hash(&bytes);
            self.tree.append(leaf);
            records.push(Record::Entry(StoredEntry { seq, leaf, bytes }, draft.subject));
            if self.tree.size().is_multiple_of(CHECKPOINT_EVERY) {
                records.extend(self.checkpoint(signer).map(Record::Checkpoint));
            }
        }
        Ok(records)
    }

    /// Signs the log as it stands, unless that is done.
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
