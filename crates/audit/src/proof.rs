//! Proofs about the tree: an entry is in it, and an older tree is a prefix of it. Pure functions.
//!
//! A proof is made from the leaf hashes `0..size` in O(size) hashes, or from the roots of O(log size) subtrees that the
//! caller knows. A check costs O(log size) and needs the root only (RFC 6962 sections 2.1.1 and 2.1.2; the checks are those
//! of RFC 9162 sections 2.1.3.2 and 2.1.4.2).

mod file;

use std::ops::Range;

use crate::hash::node_hash;
use crate::{Hash, Tree};

pub use file::{ConsistencyProof, InclusionProof, ProofFileError};

/// Proves that leaf `index` is in the tree of `leaves`.
///
/// # Errors
/// [`ProofError::OutOfRange`] if there is no such leaf.
pub fn inclusion(leaves: &[Hash], index: u64) -> Result<Vec<Hash>, ProofError> {
    let path = inclusion_subtrees(leaves.len() as u64, index)?;
    Ok(path.into_iter().map(|range| root(leaves, range)).collect())
}

/// Checks that `leaf` is number `index` of the tree with `size` leaves and this `root`.
///
/// # Errors
/// If it is not, or `proof` does not prove it.
pub fn check_inclusion(
    proof: &[Hash],
    leaf: Hash,
    index: u64,
    size: u64,
    root: Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { index, size });
    }
    let mut hash = leaf;
    ascend(proof, index, size - 1, |side, sibling| {
        hash = match side {
            Side::Left => node_hash(sibling, hash),
            Side::Right => node_hash(hash, sibling),
        };
    })?;
    if hash == root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// Proves that the tree of the first `old` leaves is a prefix of the tree of all `leaves`.
///
/// # Errors
/// [`ProofError::OutOfRange`] if `old` is zero or more than there are leaves.
pub fn consistency(leaves: &[Hash], old: u64) -> Result<Vec<Hash>, ProofError> {
    let path = consistency_subtrees(leaves.len() as u64, old)?;
    Ok(path.into_iter().map(|range| root(leaves, range)).collect())
}

/// Checks that the tree with `old` leaves and `old_root` is a prefix of the one with `new` leaves and `new_root`.
///
/// # Errors
/// If it is not, or `proof` does not prove it.
pub fn check_consistency(
    proof: &[Hash],
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
) -> Result<(), ProofError> {
    if old == 0 || old > new {
        let (index, size) = (old, new);
        return Err(ProofError::OutOfRange { index, size });
    }
    if old == new {
        return match proof {
            [] if old_root == new_root => Ok(()),
            [] => Err(ProofError::Root),
            _ => Err(ProofError::Length),
        };
    }
    let (shared, proof) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(ProofError::Length)?;
        (*first, rest)
    };
    let levels = (old - 1).trailing_ones();
    let (mut of_old, mut of_new) = (shared, shared);
    ascend(
        proof,
        (old - 1) >> levels,
        (new - 1) >> levels,
        |side, sibling| match side {
            Side::Left => {
                of_old = node_hash(sibling, of_old);
                of_new = node_hash(sibling, of_new);
            }
            Side::Right => of_new = node_hash(of_new, sibling),
        },
    )?;
    if (of_old, of_new) == (old_root, new_root) {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// Side of a sibling.
enum Side {
    Left,
    Right,
}

/// Returns the subtrees whose roots, in this order, prove that leaf `index` is in a tree of `size` leaves. Each is the
/// range of its leaves, and starts at a multiple of the next power of two of its length.
///
/// # Errors
/// [`ProofError::OutOfRange`] if there is no such leaf.
pub fn inclusion_subtrees(size: u64, index: u64) -> Result<Vec<Range<u64>>, ProofError> {
    let path = descend(size, index, |_, leaves| leaves == 1);
    let (siblings, _) = path.ok_or(ProofError::OutOfRange { index, size })?;
    Ok(siblings)
}

/// Returns the subtrees whose roots prove that a tree of `old` leaves is a prefix of one of `size` leaves, as
/// [`inclusion_subtrees`] does.
///
/// # Errors
/// [`ProofError::OutOfRange`] if `old` is zero or more than `size`.
pub fn consistency_subtrees(size: u64, old: u64) -> Result<Vec<Range<u64>>, ProofError> {
    let last = old.checked_sub(1);
    let path = last.and_then(|last| descend(size, last, |last, leaves| last + 1 == leaves));
    let (mut path, shared) = path.ok_or(ProofError::OutOfRange { index: old, size })?;
    // the root of the shared subtree is known if it is the old root
    if shared != (0..old) {
        path.insert(0, shared);
    }
    Ok(path)
}

/// Descends from the root to the subtree that holds leaf `index` and for which `is_end` holds, given the index within
/// it and its size. Returns the siblings on the way, lowest first, and the subtree.
fn descend(
    size: u64,
    index: u64,
    is_end: impl Fn(u64, u64) -> bool,
) -> Option<(Vec<Range<u64>>, Range<u64>)> {
    if index >= size {
        return None;
    }
    let mut siblings = Vec::new();
    let mut rest = 0..size;
    while !is_end(index - rest.start, rest.end - rest.start) {
        // the left subtree has the largest power of two below the size
        let middle = rest.start + (1 << (rest.end - rest.start - 1).ilog2());
        let (left, right) = (rest.start..middle, middle..rest.end);
        let sibling;
        (rest, sibling) = if index < middle {
            (left, right)
        } else {
            (right, left)
        };
        siblings.push(sibling);
    }
    siblings.reverse();
    Some((siblings, rest))
}

/// Ascends from `node`, at a level whose last node is `last`, to the root, and passes each sibling to `join`.
fn ascend(
    siblings: &[Hash],
    mut node: u64,
    mut last: u64,
    mut join: impl FnMut(Side, Hash),
) -> Result<(), ProofError> {
    for sibling in siblings {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            join(Side::Left, *sibling);
            // at the right edge, levels without a left sibling have no hash of their own
            let levels = node.trailing_zeros();
            (node, last) = (node >> levels, last >> levels);
        } else {
            join(Side::Right, *sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 {
        Ok(())
    } else {
        Err(ProofError::Length)
    }
}

fn root(leaves: &[Hash], range: Range<u64>) -> Hash {
    // the ends are at most the number of leaves, which is a `usize`
    let leaves = &leaves[range.start as usize..range.end as usize];
    leaves.iter().copied().collect::<Tree>().root()
}

/// Errors of making or checking a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Too few or too many hashes.
    #[error("invalid proof: too few or too many hashes for a tree of this size")]
    Length,
    /// There is no such leaf, or no such older tree.
    #[error("invalid index {index}: the tree has {size} leaves")]
    OutOfRange {
        /// The requested index.
        index: u64,
        /// Number of leaves.
        size: u64,
    },
    /// Another root.
    #[error("invalid proof: it leads to another root, the entry or the tree was changed")]
    Root,
}

#[cfg(test)]
mod tests;
