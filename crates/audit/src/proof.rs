//! Proofs about the tree: that an entry is in it, and that it only ever grew. Pure functions.
//!
//! A proof is made from the leaf hashes `0..size` and costs O(size) hashes; to check one costs O(log size) and needs
//! the root only (RFC 6962 §2.1.1 and §2.1.2; the checks are those of RFC 9162 §2.1.3.2 and §2.1.4.2).

use crate::hash::node_hash;
use crate::{Hash, Tree};

/// Proves that leaf `index` is in the tree of `leaves`.
///
/// # Errors
/// [`ProofError::OutOfRange`] if there is no such leaf.
pub fn inclusion(leaves: &[Hash], index: u64) -> Result<Vec<Hash>, ProofError> {
    let size = leaves.len() as u64;
    let at = usize::try_from(index).ok().filter(|at| *at < leaves.len());
    let Some(mut at) = at else {
        return Err(ProofError::OutOfRange { index, size });
    };
    let mut proof = Vec::new();
    let mut rest = leaves;
    while rest.len() > 1 {
        let (left, right) = rest.split_at(split(rest.len()));
        if at < left.len() {
            proof.push(root(right));
            rest = left;
        } else {
            proof.push(root(left));
            at -= left.len();
            rest = right;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is number `index` of the tree with `size` leaves and this `root`.
///
/// # Errors
/// A [`ProofError`], if it is not, or the proof is no proof of it.
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
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(*sibling, hash);
            let up = node.trailing_zeros();
            // at the right edge, levels without a left sibling have no hash of their own
            (node, last) = (
                node.checked_shr(up).unwrap_or(0),
                last.checked_shr(up).unwrap_or(0),
            );
        } else {
            hash = node_hash(hash, *sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
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
    let at = usize::try_from(old)
        .ok()
        .filter(|at| (1..=leaves.len()).contains(at));
    let Some(mut at) = at else {
        return Err(ProofError::OutOfRange { index: old, size });
    };
    let mut proof = Vec::new();
    let mut rest = leaves;
    let mut whole = true;
    while at < rest.len() {
        let (left, right) = rest.split_at(split(rest.len()));
        if at <= left.len() {
            proof.push(root(right));
            rest = left;
        } else {
            proof.push(root(left));
            at -= left.len();
            rest = right;
            whole = false;
        }
    }
    // the subtree that both trees share is known to the holder of the old root, if it is that root
    if !whole {
        proof.push(root(rest));
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the tree with `old` leaves and `old_root` is a prefix of the one with `new` leaves and `new_root`.
///
/// # Errors
/// A [`ProofError`], if it is not, or the proof is no proof of it.
pub fn check_consistency(
    proof: &[Hash],
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
) -> Result<(), ProofError> {
    if old == 0 || old > new {
        return Err(ProofError::OutOfRange {
            index: old,
            size: new,
        });
    }
    if old == new {
        return match (proof.is_empty(), old_root == new_root) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let mut hashes = proof.iter().copied();
    let shared = if old.is_power_of_two() {
        Some(old_root)
    } else {
        hashes.next()
    };
    let Some(shared) = shared else {
        return Err(ProofError::Length);
    };
    let up = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> up, (new - 1) >> up);
    let (mut of_old, mut of_new) = (shared, shared);
    for sibling in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            of_old = node_hash(sibling, of_old);
            of_new = node_hash(sibling, of_new);
            let up = node.trailing_zeros();
            (node, last) = (
                node.checked_shr(up).unwrap_or(0),
                last.checked_shr(up).unwrap_or(0),
            );
        } else {
            of_new = node_hash(of_new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if of_old == old_root && of_new == new_root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// The largest power of two below `size`, for a size of two or more.
fn split(size: usize) -> usize {
    1 << (size - 1).ilog2()
}

fn root(leaves: &[Hash]) -> Hash {
    leaves.iter().copied().collect::<Tree>().root()
}

/// Errors of making or checking a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// It has too few or too many hashes.
    #[error("the proof has too few or too many hashes for a tree of this size")]
    Length,
    /// There is no such leaf, or no such older tree.
    #[error("{index} is out of range for a tree of {size} leaves")]
    OutOfRange {
        /// The index asked for.
        index: u64,
        /// Number of leaves.
        size: u64,
    },
    /// It leads to another root.
    #[error("the proof leads to another root: the entry or the tree was changed")]
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
    fn every_inclusion_up_to_64() {
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
    fn every_consistency_up_to_64() {
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
    fn the_longest_trees_do_not_overflow() {
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
    fn the_published_proofs() {
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
