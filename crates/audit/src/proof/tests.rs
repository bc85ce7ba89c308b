//! Tests of proofs.

use std::collections::HashMap;

use super::*;
use crate::effort::{self, Random};
use crate::leaf_hash;

fn leaves(size: u32) -> Vec<Hash> {
    (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

/// The roots of the subtrees of one list of leaves, each computed once.
struct Roots {
    leaves: Vec<Hash>,
    known: HashMap<Range<u64>, Hash>,
}

impl Roots {
    fn new(size: u32) -> Self {
        let (leaves, known) = (leaves(size), HashMap::new());
        Self { leaves, known }
    }

    fn of(&mut self, range: Range<u64>) -> Hash {
        *self
            .known
            .entry(range.clone())
            .or_insert_with(|| root(&self.leaves, range))
    }

    fn all(&mut self, ranges: Result<Vec<Range<u64>>, ProofError>) -> Vec<Hash> {
        ranges.unwrap().into_iter().map(|range| self.of(range)).collect()
    }
}

/// The sizes up to `last`: all in a deep run, every ninth in the test command.
fn sizes(last: u64) -> impl Iterator<Item = u64> {
    (1..=last)
        .rev()
        .step_by(usize::try_from(9 / effort::cases(1).min(9)).unwrap())
}

#[test]
fn inclusion_proofs_hold_up_to_1024_leaves() {
    let mut roots = Roots::new(1024);
    for size in sizes(1024) {
        let root = roots.of(0..size);
        for index in 0..size {
            let proof = roots.all(inclusion_subtrees(size, index));
            let leaf = roots.leaves[usize::try_from(index).unwrap()];
            let result = check_inclusion(&proof, leaf, index, size, root);
            assert_eq!(result, Ok(()), "{index} of {size}");
        }
        assert!(inclusion_subtrees(size, size).is_err());
    }
}

#[test]
fn consistency_proofs_hold_up_to_512_leaves() {
    let mut roots = Roots::new(512);
    for new in sizes(512) {
        for old in 1..=new {
            let proof = roots.all(consistency_subtrees(new, old));
            let result = check_consistency(&proof, old, roots.of(0..old), new, roots.of(0..new));
            assert_eq!(result, Ok(()), "{old} in {new}");
        }
        assert!(consistency_subtrees(new, 0).is_err());
        assert!(consistency_subtrees(new, new + 1).is_err());
    }
}

#[test]
fn proofs_of_leaves_are_those_of_the_paths() {
    let mut roots = Roots::new(40);
    let leaves = roots.leaves.clone();
    for size in 1..=40 {
        let leaves = &leaves[..usize::try_from(size).unwrap()];
        for index in 0..size {
            let (old, path) = (index + 1, inclusion_subtrees(size, index));
            assert_eq!(inclusion(leaves, index).unwrap(), roots.all(path));
            assert_eq!(
                consistency(leaves, old).unwrap(),
                roots.all(consistency_subtrees(size, old))
            );
        }
        assert!(inclusion(leaves, size).is_err());
        assert!(consistency(leaves, size + 1).is_err());
        assert!(consistency(leaves, 0).is_err());
    }
}

/// Changes a proof at random: a bit, a missing, added, repeated or moved hash.
fn mutate(proof: &mut Vec<Hash>, random: &mut Random) {
    let at = random.below(proof.len() + 1);
    match random.below(5) {
        0 if at < proof.len() => drop(proof.remove(at)),
        1 if at < proof.len() => proof.insert(at, proof[at]),
        2 if proof.len() > 1 => {
            let (at, other) = (at % proof.len(), random.below(proof.len()));
            proof.swap(at, other);
        }
        3 => proof.insert(at, leaf_hash(b"more")),
        _ if proof.is_empty() => proof.push(leaf_hash(b"more")),
        _ => {
            let at = at % proof.len();
            proof[at] = flip(proof[at], random);
        }
    }
}

/// The hash with another bit.
fn flip(hash: Hash, random: &mut Random) -> Hash {
    let (mut bytes, bit) = (*hash.as_bytes(), random.below(256));
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}

#[test]
fn mutated_proofs_are_refused() {
    let mut roots = Roots::new(1024);
    let mut random = effort::random();
    let mut tried = 0;
    while tried < effort::cases(10_000) {
        let size = 1 + random.below(1024) as u64;
        let index = random.below(usize::try_from(size).unwrap()) as u64;
        let (leaf, root) = (roots.leaves[usize::try_from(index).unwrap()], roots.of(0..size));
        let proof = roots.all(inclusion_subtrees(size, index));
        let (mut wrong, old) = (proof.clone(), index + 1);
        mutate(&mut wrong, &mut random);
        let other = (index + 1 + random.below(usize::try_from(size).unwrap()) as u64) % size;
        let accepted = [
            wrong != proof && check_inclusion(&wrong, leaf, index, size, root).is_ok(),
            other != index && check_inclusion(&proof, leaf, other, size, root).is_ok(),
            check_inclusion(&proof, flip(leaf, &mut random), index, size, root).is_ok(),
            check_inclusion(&proof, leaf, index, size, flip(root, &mut random)).is_ok(),
        ];
        assert_eq!(accepted, [false; 4], "{index} of {size}: {wrong:?}");

        let proof = roots.all(consistency_subtrees(size, old));
        let mut wrong = proof.clone();
        mutate(&mut wrong, &mut random);
        let old_root = roots.of(0..old);
        let check =
            |proof: &[Hash], old_root, root| check_consistency(proof, old, old_root, size, root).is_ok();
        let accepted = [
            wrong != proof && check(&wrong, old_root, root),
            check(&proof, flip(old_root, &mut random), root),
            check(&proof, old_root, flip(root, &mut random)),
        ];
        assert_eq!(accepted, [false; 3], "{old} in {size}: {wrong:?}");
        tried += 7;
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
