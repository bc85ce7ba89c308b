//! The writing side of a log.

use crate::{Draft, DraftError, Line, Signer, Tree, VerifierKey, leaf_hash};

/// Makes the lines of a log: numbers the entries, extends the tree and signs checkpoints. The caller stores the lines.
#[derive(Debug)]
pub struct Log {
    signer: Signer,
    tree: Tree,
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new(signer: Signer) -> Self {
        let tree = Tree::new();
        Self { signer, tree }
    }

    /// A log with these entries.
    #[cfg(feature = "client")]
    pub(crate) fn resume(signer: Signer, tree: Tree) -> Self {
        Self { signer, tree }
    }

    /// The tree of the entries.
    #[cfg(feature = "client")]
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Forgets the entries beyond `tree`.
    #[cfg(feature = "client")]
    pub(crate) fn reset(&mut self, tree: Tree) {
        self.tree = tree;
    }

    /// Returns the line of a signed checkpoint over the entries of `tree`, and its note.
    #[cfg(feature = "client")]
    pub(crate) fn checkpoint_over(&self, tree: &Tree) -> (Vec<u8>, String) {
        let note = self.signer.checkpoint(tree.size(), tree.root());
        (Line::Checkpoint(&note).to_bytes(), note)
    }

    /// Returns the line of the next entry.
    ///
    /// # Errors
    /// If the draft has no canonical form or is too long. The log is unchanged then.
    pub fn append(&mut self, draft: &Draft) -> Result<Vec<u8>, DraftError> {
        let bytes = draft.seal(self.tree.size(), self.signer.name())?;
        let leaf = leaf_hash(&bytes);
        self.tree.append(leaf);
        Ok(Line::Entry { leaf, bytes: &bytes }.to_bytes())
    }

    /// Returns the line of a signed checkpoint over all entries.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        let note = self.signer.checkpoint(self.tree.size(), self.tree.root());
        Line::Checkpoint(&note).to_bytes()
    }

    /// Returns the key that verifies the log.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        self.signer.verifier_key()
    }
}
