//! Proofs from the log of a store.

use std::ops::{Range, RangeInclusive};
use std::sync::{Mutex, MutexGuard, PoisonError};

use audit::proof::{ConsistencyProof, InclusionProof, consistency_subtrees, inclusion_subtrees};
use audit::{Hash, Tree};

use crate::store::PAGE;
use crate::{CheckpointQuery, EntryQuery, Store, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry};

/// Leaves of a block. A power of two.
const BLOCK: u64 = 256;

/// The roots of a log's blocks of 256 entries, from which proofs are made.
///
/// It holds 32 bytes per block, in memory. A proof reads fewer than 1,024 entries and hashes one root per block. The blocks that
/// are not known yet are read first, in O(n): [`observe`](Self::observe) avoids that if the caller reads the log anyway.
#[derive(Debug, Default)]
pub struct LogTree(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    roots: Vec<Hash>,
    /// The entries after the last complete block.
    rest: Tree,
}

impl Blocks {
    fn len(&self) -> u64 {
        self.roots.len() as u64 * BLOCK + self.rest.size()
    }
}

impl LogTree {
    /// Adds entries that were read from the log. Those that are known, or that do not follow the known ones, are ignored.
    pub fn observe(&self, entries: &[StoredEntry]) {
        let mut blocks = self.blocks();
        for entry in entries {
            if entry.seq == blocks.len() {
                blocks.rest.append(entry.leaf);
            }
            if blocks.rest.size() == BLOCK {
                let root = std::mem::take(&mut blocks.rest).root();
                blocks.roots.push(root);
            }
        }
    }

    /// Returns the checkpoint over `size` entries. Without `size` the store signs its head.
    ///
    /// # Errors
    /// [`ProveError::NoCheckpoint`], or the store's error.
    pub async fn checkpoint(store: &dyn Store, size: Option<u64>) -> Result<StoredCheckpoint, ProveError> {
        let Some(size) = size else {
            return Ok(store.checkpoint().await?);
        };
        let found = store
            .checkpoints(CheckpointQuery::From(size), 1)
            .await?
            .into_iter()
            .next();
        let found = found.filter(|checkpoint| checkpoint.size == size);
        found.ok_or(ProveError::NoCheckpoint { size })
    }

    /// Proves that entry `seq` is under the [`checkpoint`](Self::checkpoint) over `size` entries.
    ///
    /// # Errors
    /// [`ProveError::NoCheckpoint`], [`ProveError::OutOfRange`] if it is not under it, or the store's error, which names an altered entry.
    pub async fn prove_entry(
        &self,
        store: &dyn Store,
        seq: u64,
        size: Option<u64>,
    ) -> Result<InclusionProof, ProveError> {
        let checkpoint = Self::checkpoint(store, size).await?;
        let valid = 0..=checkpoint.size.saturating_sub(1);
        let subtrees = inclusion_subtrees(checkpoint.size, seq)
            .map_err(|_| ProveError::of(&checkpoint, "entry", seq, valid))?;
        let entries = store.entries(EntryQuery::From(seq), 1).await?;
        let entry = entries.first().ok_or_else(|| altered(checkpoint.size))?;
        let size = checkpoint.size;
        let proof = InclusionProof {
            extra: Vec::new(),
            index: seq,
            hashes: self.roots(store, size, subtrees).await?,
            checkpoint: checkpoint.note,
        };
        proof
            .check(&entry.bytes, store.verifier_key())
            .map_err(|_| altered(size))?;
        Ok(proof)
    }

    /// Proves that the first `old` entries did not change until the [`checkpoint`](Self::checkpoint) over `size`.
    ///
    /// # Errors
    /// As [`prove_entry`](Self::prove_entry). `old` is from 1 to the size of the checkpoint.
    pub async fn prove_prefix(
        &self,
        store: &dyn Store,
        old: u64,
        size: Option<u64>,
    ) -> Result<ConsistencyProof, ProveError> {
        let checkpoint = Self::checkpoint(store, size).await?;
        let valid = 1..=checkpoint.size;
        let subtrees = consistency_subtrees(checkpoint.size, old)
            .map_err(|_| ProveError::of(&checkpoint, "old", old, valid))?;
        let size = checkpoint.size;
        let proof = ConsistencyProof {
            old,
            hashes: self.roots(store, size, subtrees).await?,
            checkpoint: checkpoint.note,
        };
        let old_root = self.root(store, 0..old).await?;
        proof
            .check(old_root, store.verifier_key())
            .map_err(|_| altered(size))?;
        Ok(proof)
    }

    /// The roots of subtrees of the first `size` entries.
    async fn roots(
        &self,
        store: &dyn Store,
        size: u64,
        subtrees: Vec<Range<u64>>,
    ) -> Result<Vec<Hash>, StoreError> {
        loop {
            let known = self.blocks().len();
            if known / BLOCK >= size / BLOCK {
                break;
            }
            let page = store.entries(EntryQuery::From(known), PAGE).await?;
            if page.is_empty() {
                return Err(altered(size));
            }
            self.observe(&page);
        }
        let mut roots = Vec::with_capacity(subtrees.len());
        for subtree in subtrees {
            roots.push(self.root(store, subtree).await?);
        }
        Ok(roots)
    }

    /// The root of a subtree, which is within one block or starts with one. Its blocks are known.
    async fn root(&self, store: &dyn Store, subtree: Range<u64>) -> Result<Hash, StoreError> {
        let rest = match subtree.end - subtree.start < BLOCK {
            true => subtree.start,
            false => subtree.end - subtree.end % BLOCK,
        };
        let mut nodes = self.known(subtree.start..rest);
        let count = usize::try_from(subtree.end - rest).unwrap_or(PAGE);
        let entries = store.entries(EntryQuery::From(rest), count).await?;
        if entries.len() != count {
            return Err(altered(subtree.end));
        }
        if count > 0 {
            nodes.push(entries.iter().map(|entry| entry.leaf).collect::<Tree>().root());
        }
        Ok(nodes.into_iter().collect::<Tree>().root())
    }

    /// The roots of the blocks in a range.
    fn known(&self, range: Range<u64>) -> Vec<Hash> {
        let blocks = self.blocks();
        let number = |leaf: u64| usize::try_from(leaf / BLOCK).unwrap_or(usize::MAX);
        let (start, end) = (number(range.start), number(range.end));
        blocks.roots.get(start..end).unwrap_or_default().to_vec()
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn altered(size: u64) -> StoreError {
    let source =
        format!("the audit log was altered: its entries do not match the checkpoint over {size} entries");
    StoreError::new(StoreErrorKind::Corrupt, source)
}

/// Errors of proving something about the log of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The checkpoint has no entries.
    #[error("invalid {parameter} {value}: the checkpoint is over an empty log, use one with entries")]
    Empty {
        /// `entry`, a sequence number, or `old`, a number of entries.
        parameter: &'static str,
        /// The value of the parameter.
        value: u64,
    },
    /// No checkpoint over this number of entries.
    #[error("invalid size {size}: no checkpoint has this number of entries, leave it out for the newest one")]
    NoCheckpoint {
        /// The size.
        size: u64,
    },
    /// No such entry, or no such older tree.
    #[error(
        "invalid {parameter} {value}: the checkpoint has another number of entries, use a number from {} to {}",
        valid.start(),
        valid.end()
    )]
    OutOfRange {
        /// `entry`, a sequence number, or `old`, a number of entries.
        parameter: &'static str,
        /// The value of the parameter.
        value: u64,
        /// The values that the checkpoint allows.
        valid: RangeInclusive<u64>,
    },
    /// The store cannot be read, or an entry was altered.
    #[error("cannot read the audit log")]
    Store(#[from] StoreError),
}

impl ProveError {
    /// The error of a value that is not one of the `valid` ones.
    fn of(
        checkpoint: &StoredCheckpoint,
        parameter: &'static str,
        value: u64,
        valid: RangeInclusive<u64>,
    ) -> Self {
        match checkpoint.size {
            0 => Self::Empty { parameter, value },
            _ => Self::OutOfRange {
                parameter,
                value,
                valid,
            },
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    //! Proofs of a log of several blocks, from any known part of the tree.

    use audit::{Actor, Draft, proof};
    use time::OffsetDateTime;

    use super::*;
    use crate::{Keys, Limits, SqliteStore, Unit};

    /// A store whose log grew to these sizes, each with a checkpoint.
    async fn grown(sizes: &[u64]) -> SqliteStore {
        let store = SqliteStore::open(":memory:", Keys::ephemeral(), Limits::default()).expect("it opens");
        let mut logged = 0;
        for size in sizes {
            let entry = |seq: u64| {
                Draft::new(OffsetDateTime::UNIX_EPOCH, Actor::system("test"), "test.entry").detail("seq", seq)
            };
            let unit = Unit {
                entries: (logged..*size).map(entry).collect(),
                ..Unit::default()
            };
            store.commit(unit).await.expect("it is stored");
            store.checkpoint().await.expect("it is signed");
            logged = *size;
        }
        store
    }

    #[tokio::test]
    async fn proofs_equal_those_of_all_leaves() {
        let sizes = [1, 2, 255, 256, 257, 511, 600, 1_023, 1_300];
        let store = grown(&sizes).await;
        let mut leaves = Vec::new();
        while leaves.len() < 1_300 {
            let page = store
                .entries(EntryQuery::From(leaves.len() as u64), PAGE)
                .await
                .unwrap();
            leaves.extend(page.iter().map(|entry| entry.leaf));
        }
        let tree = LogTree::default();
        for size in sizes {
            let leaves = &leaves[..usize::try_from(size).unwrap()];
            for index in [0, 1, 254, 255, 256, 299, 512, 1_022, 1_299] {
                let proved = tree.prove_entry(&store, index, Some(size)).await;
                match proof::inclusion(leaves, index) {
                    Ok(hashes) => assert_eq!(proved.unwrap().hashes, hashes, "{index} of {size}"),
                    Err(_) => assert!(matches!(proved, Err(ProveError::OutOfRange { .. }))),
                }
                let proved = tree.prove_prefix(&store, index, Some(size)).await;
                match proof::consistency(leaves, index) {
                    Ok(hashes) => assert_eq!(proved.unwrap().hashes, hashes, "{index} of {size}"),
                    Err(_) => assert!(matches!(proved, Err(ProveError::OutOfRange { .. }))),
                }
            }
        }
        let none = LogTree::checkpoint(&store, Some(3)).await;
        assert!(matches!(none, Err(ProveError::NoCheckpoint { size: 3 })));
    }

    #[tokio::test]
    async fn observed_entries_are_added_once_and_in_order() {
        let store = grown(&[700]).await;
        let page = store.entries(EntryQuery::From(0), PAGE).await.unwrap();
        let tree = LogTree::default();
        tree.observe(&page[300..]);
        assert_eq!(tree.blocks().len(), 0);
        tree.observe(&page[..300]);
        tree.observe(&page[200..]);
        assert_eq!(tree.blocks().len(), 700);
        tree.prove_entry(&store, 699, None).await.unwrap();
    }

    #[tokio::test]
    async fn proof_of_an_empty_log_is_refused_as_such() {
        let store = grown(&[]).await;
        let tree = LogTree::default();
        let entry = tree.prove_entry(&store, 0, None).await;
        let prefix = tree.prove_prefix(&store, 1, None).await;
        for error in [entry.map(drop).unwrap_err(), prefix.map(drop).unwrap_err()] {
            assert!(matches!(error, ProveError::Empty { .. }), "{error}");
            assert!(error.to_string().contains("empty log"), "{error}");
        }
    }
}
