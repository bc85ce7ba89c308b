//! Proofs in files: C2SP `tlog-proof`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{ProofError, check_consistency, check_inclusion};
use crate::{Checkpoint, CheckpointError, Hash, VerifierKey, leaf_hash};

/// A proof that an entry is in a log, which is checked without the log.
///
/// Its text is a file of C2SP `tlog-proof`, with the extension `.tlog-proof`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InclusionProof {
    /// Opaque bytes of the application. Nothing proves them.
    pub extra: Vec<u8>,
    /// Sequence number of the entry.
    pub index: u64,
    /// The proof, as [`inclusion`](super::inclusion) makes it.
    pub hashes: Vec<Hash>,
    /// The signed note of the checkpoint that the proof leads to.
    pub checkpoint: String,
}

impl InclusionProof {
    /// Checks that `entry` is in the log of `key`, byte for byte. Returns the checkpoint that proves it.
    ///
    /// # Errors
    /// If the checkpoint is not one of this log, or the proof does not lead to it.
    pub fn check(&self, entry: &[u8], key: &VerifierKey) -> Result<Checkpoint, ProofFileError> {
        let checkpoint = key.open(&self.checkpoint).map_err(ProofFileError::Checkpoint)?;
        let (size, root) = (checkpoint.size, checkpoint.root);
        check_inclusion(&self.hashes, leaf_hash(entry), self.index, size, root)
            .map_err(ProofFileError::Proof)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if !self.extra.is_empty() {
            writeln!(f, "{EXTRA}{}", STANDARD.encode(&self.extra))?;
        }
        writeln!(f, "{INDEX}{}", self.index)?;
        write_end(f, &self.hashes, &self.checkpoint)
    }
}

fn write_end(f: &mut fmt::Formatter<'_>, hashes: &[Hash], checkpoint: &str) -> fmt::Result {
    for hash in hashes {
        writeln!(f, "{}", hash.to_base64())?;
    }
    write!(f, "\n{checkpoint}")
}

/// A proof that the first `old` entries of a log were not changed until a checkpoint.
///
/// Its text is a request of C2SP `tlog-witness`: `old N`, the hashes, an empty line, and the checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsistencyProof {
    /// Number of entries of the older tree.
    pub old: u64,
    /// The proof, as [`consistency`](super::consistency) makes it.
    pub hashes: Vec<Hash>,
    /// The signed note of the checkpoint that the proof leads to.
    pub checkpoint: String,
}

impl ConsistencyProof {
    /// Checks that the log of `key` began with `old` entries of this root. Returns the checkpoint that proves it.
    ///
    /// # Errors
    /// If the checkpoint is not one of this log, or the proof does not lead to it.
    pub fn check(&self, old_root: Hash, key: &VerifierKey) -> Result<Checkpoint, ProofFileError> {
        let checkpoint = key.open(&self.checkpoint).map_err(ProofFileError::Checkpoint)?;
        check_consistency(&self.hashes, self.old, old_root, checkpoint.size, checkpoint.root)
            .map_err(ProofFileError::Proof)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{OLD}{}", self.old)?;
        write_end(f, &self.hashes, &self.checkpoint)
    }
}

impl FromStr for ConsistencyProof {
    type Err = ProofFileError;

    fn from_str(text: &str) -> Result<Self, ProofFileError> {
        let parse = || {
            let (head, checkpoint) = text.split_once("\n\n")?;
            let mut lines = head.split('\n');
            Some(Self {
                old: number(lines.next()?.strip_prefix(OLD)?)?,
                hashes: hashes(lines)?,
                checkpoint: checkpoint.to_owned(),
            })
        };
        parse().ok_or(ProofFileError::Malformed)
    }
}

impl FromStr for InclusionProof {
    type Err = ProofFileError;

    fn from_str(text: &str) -> Result<Self, ProofFileError> {
        parse(text).ok_or(ProofFileError::Malformed)
    }
}

fn parse(text: &str) -> Option<InclusionProof> {
    let (head, checkpoint) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let mut line = lines.next()?;
    let mut extra = Vec::new();
    if let Some(encoded) = line.strip_prefix(EXTRA) {
        extra = STANDARD.decode(encoded).ok().filter(|extra| !extra.is_empty())?;
        line = lines.next()?;
    }
    Some(InclusionProof {
        extra,
        index: number(line.strip_prefix(INDEX)?)?,
        hashes: hashes(lines)?,
        checkpoint: checkpoint.to_owned(),
    })
}

/// A decimal number without sign and leading zero.
fn number(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .filter(|number: &u64| number.to_string() == text)
}

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Hash>> {
    let hashes = lines.take(MAX_HASHES + 1).map(Hash::from_base64);
    let hashes: Vec<Hash> = hashes.collect::<Option<_>>()?;
    (hashes.len() <= MAX_HASHES).then_some(hashes)
}

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";
const OLD: &str = "old ";
/// Levels of the largest tree.
const MAX_HASHES: usize = 64;

/// Errors of a proof in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFileError {
    /// The checkpoint is invalid.
    #[error("invalid proof: its checkpoint does not verify")]
    Checkpoint(#[source] CheckpointError),
    /// Not the form of a proof.
    #[error("invalid proof: not a file of c2sp.org/tlog-proof@v1, or not a request of c2sp.org/tlog-witness")]
    Malformed,
    /// The proof does not prove the entry or the older tree.
    #[error("invalid proof: it does not prove the entry or the older tree")]
    Proof(#[source] ProofError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Signer, Tree, proof};

    fn signer() -> Signer {
        Signer::from_seed("example.com/log", &[7; 32]).unwrap()
    }

    fn proof_of(index: u64, size: u32) -> InclusionProof {
        let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let root = leaves.iter().copied().collect::<Tree>().root();
        InclusionProof {
            extra: Vec::new(),
            index,
            hashes: proof::inclusion(&leaves, index).unwrap(),
            checkpoint: signer().checkpoint(size.into(), root),
        }
    }

    #[test]
    fn proof_file_reads_back_and_proves_its_entry() {
        let key = signer().verifier_key().clone();
        for (index, size) in [(0, 1), (0, 2), (5, 7), (99, 100)] {
            let mut proof = proof_of(index, size);
            let entry = u32::try_from(index).unwrap().to_be_bytes();
            for extra in ["", "some data"] {
                proof.extra = extra.into();
                let read: InclusionProof = proof.to_string().parse().unwrap();
                assert_eq!(read, proof);
                assert_eq!(read.check(&entry, &key).unwrap().size, u64::from(size));
                let other = read.check(b"other", &key);
                assert_eq!(other, Err(ProofFileError::Proof(ProofError::Root)));
            }
        }
        let other_key = Signer::from_seed("example.com/log", &[8; 32]).unwrap();
        assert_eq!(
            proof_of(5, 7).check(&5_u32.to_be_bytes(), other_key.verifier_key()),
            Err(ProofFileError::Checkpoint(CheckpointError::NotSigned))
        );
    }

    #[test]
    fn proof_file_has_the_form_of_c2sp() {
        let mut proof = proof_of(2, 3);
        proof.extra = vec![1, 2, 3];
        let sibling = proof.hashes[0].to_base64();
        assert_eq!(
            proof.to_string(),
            format!(
                "c2sp.org/tlog-proof@v1\nextra AQID\nindex 2\n{sibling}\n\n{}",
                proof.checkpoint
            )
        );
        // the example of the specification, whose base64 of `extra` is cut there
        let example = "c2sp.org/tlog-proof@v1\nindex 73894\n\
            gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nB95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\
            \nexample.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n\
            — example.com/fancylog hI2DJw==\n";
        let read: InclusionProof = example.parse().unwrap();
        assert_eq!((read.index, read.hashes.len()), (73_894, 2));
        assert_eq!(read.to_string(), example);
    }

    #[test]
    fn consistency_proof_reads_back_and_proves_the_older_tree() {
        let leaves: Vec<Hash> = (0..100_u8).map(|n| leaf_hash(&[n])).collect();
        let root = |size: usize| leaves[..size].iter().copied().collect::<Tree>().root();
        for old in [1, 64, 77, 100] {
            let proof = ConsistencyProof {
                old: old as u64,
                hashes: proof::consistency(&leaves, old as u64).unwrap(),
                checkpoint: signer().checkpoint(100, root(100)),
            };
            let text = proof.to_string();
            assert_eq!(text.parse(), Ok(proof.clone()));
            assert_eq!(proof.check(root(old), signer().verifier_key()).unwrap().size, 100);
            let wrong = proof.check(root(old - 1), signer().verifier_key());
            assert_eq!(wrong, Err(ProofFileError::Proof(ProofError::Root)));
            for (from, to) in [("old ", "old 0"), ("old ", ""), ("\n\n", "\n")] {
                let altered = text.replace(from, to).parse::<ConsistencyProof>();
                assert_eq!(altered, Err(ProofFileError::Malformed), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn malformed_proof_file_is_refused() {
        let text = proof_of(2, 3).to_string();
        for (from, to) in [
            ("@v1", "@v2"),
            ("index 2", "index 02"),
            ("index 2", "index +2"),
            ("index 2", "extra \nindex 2"),
            ("index 2", "extra A\nindex 2"),
            ("index 2\n", ""),
            ("=\n\n", "\n\n"),
            ("\n\n", "\n"),
            ("index 2", "index 2\r"),
        ] {
            let altered = text.replace(from, to);
            let read = altered.parse::<InclusionProof>();
            assert_eq!(read, Err(ProofFileError::Malformed), "{from:?} to {to:?}");
        }
        let long = text.replace(
            "index 2\n",
            &format!(
                "index 2\n{}",
                format!("{}\n", leaf_hash(b"").to_base64()).repeat(64)
            ),
        );
        assert_eq!(long.parse::<InclusionProof>(), Err(ProofFileError::Malformed));
    }
}
