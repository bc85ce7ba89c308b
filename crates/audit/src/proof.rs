//! Proofs about the tree: an entry is in it, and an older tree is a prefix of it. Pure functions.
//!
//! A proof is made from the leaf hashes `0..size` in O(size) hashes. A check costs O(log size) and needs the root only
//! (RFC 6962 sections 2.1.1 and 2.1.2; the checks are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2).

use crate::hash::node_hash;
use crate::{Hash, Tree};

/// Proves that leaf `index` is in the tree of `leaves`.
///
/// # Errors
/// [`ProofError::OutOfRange`] if there is no such leaf.
pub fn inclusion(leaves: &[Hash], index: u64) -> Result<Vec<Hash>, ProofError> {
    let size = leaves.len() as u64;
    match descend(leaves, index, |_, size| size == 1) {
        Some((proof, _)) => Ok(proof),
        None => Err(ProofError::OutOfRange { index, size }),
    }
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
    let size = leaves.len() as u64;
    let found = old
        .checked_sub(1)
        .and_then(|last| descend(leaves, last, |last, size| last + 1 == size));
    let Some((mut proof, shared)) = found else {
        return Err(ProofError::OutOfRange { index: old, size });
    };
    // the root of the shared subtree is known if it is the old root
    if shared.len() as u64 != old {
        proof.insert(0, root(shared));
    }
    Ok(proof)
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

/// Descends from the root to the subtree that holds leaf `index` and for which `is_end` holds, given the index within
/// it and its size. Returns the roots of the siblings on the way, lowest first, and the leaves of the subtree.
fn descend(
    leaves: &[Hash],
    index: u64,
    is_end: impl Fn(usize, usize) -> bool,
) -> Option<(Vec<Hash>, &[Hash])> {
    let mut index = usize::try_from(index)
        .ok()
        .filter(|index| *index < leaves.len())?;
    let mut siblings = Vec::new();
    let mut rest = leaves;
    while !is_end(index, rest.len()) {
        // the left subtree has the largest power of two below the size
        let (left, right) = rest.split_at(1 << (rest.len() - 1).ilog2());
        if index < left.len() {
            siblings.push(root(right));
            rest = left;
        } else {
            siblings.push(root(left));
            index -= left.len();
            rest = right;
        }
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

fn root(leaves: &[Hash]) -> Hash {
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
mod tests {
    use super::*;
    use crate::leaf_hash;

    fn leaves(size: u32) -> Vec<Hash> {
        (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    /// Every proof made from `proof` by changing, dropping or adding one hash.
    fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
        let mut mutations = vec![[proof, &[leaf_hash(b"more")]].concat()];
        for at in 0..proof.len() {
            let mut changed = proof.to_vec();
            changed[at] = leaf_hash(b"other");
            mutations.push(changed);
            let mut shorter = proof.to_vec();
            shorter.remove(at);
            mutations.push(shorter);
        }
        mutations
    }

    #[test]
    fn inclusion_proofs_hold_up_to_64_leaves() {
        let all = leaves(64);
        for size in 1..=64 {
            let leaves = &all[..size];
            let (size, root) = (size as u64, root(leaves));
            for (index, leaf) in leaves.iter().enumerate() {
                let index = index as u64;
                let proof = inclusion(leaves, index).unwrap();
                assert_eq!(
                    check_inclusion(&proof, *leaf, index, size, root),
                    Ok(()),
                    "{index} of {size}"
                );
                for wrong in mutations(&proof) {
                    assert!(check_inclusion(&wrong, *leaf, index, size, root).is_err());
                }
                let other = leaf_hash(b"other");
                assert_eq!(
                    check_inclusion(&proof, other, index, size, root),
                    Err(ProofError::Root)
                );
                if size > 1 {
                    let elsewhere = (index + 1) % size;
                    assert!(check_inclusion(&proof, *leaf, elsewhere, size, root).is_err());
                }
            }
            assert!(inclusion(leaves, size).is_err());
        }
    }

    #[test]
    fn consistency_proofs_hold_up_to_64_leaves() {
        let all = leaves(64);
        for new in 1..=64_usize {
            let new_root = root(&all[..new]);
            for old in 1..=new {
                let old_root = root(&all[..old]);
                let proof = consistency(&all[..new], old as u64).unwrap();
                let check = |proof: &[Hash], a, b| check_consistency(proof, old as u64, a, new as u64, b);
                assert_eq!(check(&proof, old_root, new_root), Ok(()), "{old} in {new}");
                for wrong in mutations(&proof) {
                    assert!(check(&wrong, old_root, new_root).is_err(), "{old} in {new}");
                }
                let other = leaf_hash(b"other");
                assert!(check(&proof, other, new_root).is_err());
                assert!(check(&proof, old_root, other).is_err());
            }
        }
    }

    #[test]
    fn proof_checks_of_largest_tree_do_not_overflow() {
        let hash = leaf_hash(b"");
        for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
            for length in 0..70 {
                let proof = vec![hash; length];
                assert!(check_inclusion(&proof, hash, index, u64::MAX, hash).is_err());
                assert!(check_consistency(&proof, index, hash, u64::MAX, hash).is_err());
            }
        }
        assert!(check_inclusion(&[], hash, 0, 0, hash).is_err());
        assert!(check_consistency(&[], 0, hash, 5, hash).is_err());
    }

    #[test]
    fn proofs_match_reference_implementation() {
        // tree of 8 leaves of the reference implementation of RFC 6962
        let data: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let leaves: Vec<Hash> = data.iter().map(|data| leaf_hash(data)).collect();
        let text = |proof: Vec<Hash>| proof.iter().map(Hash::to_string).collect::<Vec<_>>();
        assert_eq!(
            text(inclusion(&leaves, 0).unwrap()),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            text(consistency(&leaves, 6).unwrap()),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }
}
