//! Signed checkpoints: C2SP `tlog-checkpoint` in a `signed-note`, with Ed25519.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::Hash;
use crate::key::{ED25519_TYPE, KeyError, NamedKey};

/// The size and the root of a log at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree of these entries.
    pub root: Hash,
}

/// Signs the checkpoints of one log.
pub struct Signer {
    key: VerifierKey,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// A signer with the 32 secret random bytes of an Ed25519 key (RFC 8032 section 5.1.5).
    ///
    /// `name` is the name of the log, best a URL without scheme, as in `example.com/guest-audit`.
    ///
    /// # Errors
    /// [`KeyError::Name`] if the name is invalid.
    ///
    /// # Panics
    /// Never: any 32 bytes are an Ed25519 key.
    #[expect(clippy::unwrap_in_result, reason = "any 32 bytes are an Ed25519 key")]
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 key");
        let public = pair.public_key().as_ref();
        let key = NamedKey::new(name, public.try_into().expect("a public key has 32 bytes"))?;
        let key = VerifierKey(key);
        Ok(Self { key, pair })
    }

    /// The name of the log.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// The public key that verifies the checkpoints.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    /// Signs that the log has `size` entries, and their tree this `root`. Returns a signed note.
    #[must_use]
    pub fn checkpoint(&self, size: u64, root: Hash) -> String {
        self.note(&format!("{}\n{size}\n{}\n", self.name(), root.to_base64()))
    }

    pub(crate) fn note(&self, text: &str) -> String {
        let mut signature = self.key.0.id.to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n— {} {}\n", self.name(), STANDARD.encode(signature))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, redacted)", self.key)
    }
}

/// The public key of a log. Its text is the verifier key of C2SP `signed-note`: `name+0a1b2c3d+base64`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifierKey(NamedKey<ED25519_TYPE>);

impl VerifierKey {
    /// The name of the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Parses a signed note, and verifies its signature by this key. Signatures of others, such as witnesses, and lines
    /// after the root are ignored.
    ///
    /// # Errors
    /// If it is not a checkpoint of this log.
    pub fn open(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let note = Note::parse(note).ok_or(CheckpointError::Malformed)?;
        self.open_parsed(&note)
    }

    pub(crate) fn open_parsed(&self, note: &Note<'_>) -> Result<Checkpoint, CheckpointError> {
        self.check_signature(note)?;
        let checkpoint = parse_checkpoint(note.text).ok_or(CheckpointError::Malformed)?;
        if checkpoint.origin != self.name() {
            return Err(CheckpointError::OtherLog);
        }
        Ok(checkpoint)
    }

    fn check_signature(&self, note: &Note<'_>) -> Result<(), CheckpointError> {
        let ours = note
            .signatures
            .iter()
            .find_map(|signature| signature.by(&self.0))
            .ok_or(CheckpointError::NotSigned)?;
        if self.0.signed(note.text.as_bytes(), ours) {
            Ok(())
        } else {
            Err(CheckpointError::BadSignature)
        }
    }

    /// Whether a line of a note names this key.
    pub(crate) fn made(&self, signature: &Signature<'_>) -> bool {
        signature.by(&self.0).is_some()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        NamedKey::parse(text).map(Self)
    }
}

/// An invalid checkpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The signature does not match the text.
    #[error("invalid checkpoint: its signature does not match its text, one of them was changed")]
    BadSignature,
    /// Not the form of a checkpoint.
    #[error("invalid checkpoint: it has lines of origin, size and root, an empty line, and signatures")]
    Malformed,
    /// No signature by the key.
    #[error("invalid checkpoint: it is not signed by this key, compare the key with the log's")]
    NotSigned,
    /// The name of another log.
    #[error("invalid checkpoint: it belongs to another log")]
    OtherLog,
}

/// Maximum length of a note in bytes. Our choice: a checkpoint has about 200, and each signature of a witness 150.
const MAX_NOTE: usize = 16 * 1024;

/// A signed note in its parts.
pub(crate) struct Note<'a> {
    /// With its last line feed.
    pub(crate) text: &'a str,
    pub(crate) signatures: Vec<Signature<'a>>,
}

/// A signature line of a note.
pub(crate) struct Signature<'a> {
    pub(crate) name: &'a str,
    /// Id of the key, and the signature.
    bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    pub(crate) fn parse(note: &'a str) -> Option<Self> {
        if note.len() > MAX_NOTE || note.contains(|c| c < ' ' && c != '\n') {
            return None;
        }
        let end = note.rfind("\n\n")?;
        let (text, signatures) = (&note[..=end], &note[end + 2..]);
        let signatures = signatures.strip_suffix('\n')?.split('\n').map(|line| {
            let (name, bytes) = line.strip_prefix("— ")?.split_once(' ')?;
            let bytes = STANDARD.decode(bytes).ok()?;
            (!name.is_empty() && bytes.len() > 4).then_some(Signature { name, bytes })
        });
        let signatures = signatures.collect::<Option<_>>()?;
        Some(Self { text, signatures })
    }
}

impl Signature<'_> {
    /// The signature, if the line names `key`.
    pub(crate) fn by<const TYPE: u8>(&self, key: &NamedKey<TYPE>) -> Option<&[u8]> {
        let signature = self.bytes.strip_prefix(&key.id)?;
        (self.name == key.name).then_some(signature)
    }
}

fn parse_checkpoint(text: &str) -> Option<Checkpoint> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    if origin.is_empty() || lines.any(str::is_empty) {
        return None;
    }
    Some(Checkpoint {
        origin: origin.to_owned(),
        // no sign and no leading zero
        size: size
            .parse()
            .ok()
            .filter(|number: &u64| number.to_string() == size)?,
        root: Hash::from_base64(root)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tree, leaf_hash};

    /// The example of Go's `golang.org/x/mod/sumdb/note`, the first implementation of signed notes.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer() -> Signer {
        Signer::from_seed("example.com/log", &[7; 32]).unwrap()
    }

    fn root() -> Hash {
        [leaf_hash(b"a"), leaf_hash(b"b")]
            .into_iter()
            .collect::<Tree>()
            .root()
    }

    #[test]
    fn note_matches_go_library() {
        let key: VerifierKey = GO_KEY.parse().unwrap();
        let (text, _) = GO_NOTE.split_at(GO_NOTE.find("\n\n").unwrap() + 1);
        let note = Note::parse(GO_NOTE).unwrap();
        assert_eq!((note.text, key.check_signature(&note)), (text, Ok(())));
        let seed: [u8; 32] = STANDARD.decode(GO_SECRET).unwrap()[1..].try_into().unwrap();
        let signer = Signer::from_seed("PeterNeumann", &seed).unwrap();
        assert_eq!(signer.verifier_key().to_string(), GO_KEY);
        assert_eq!(signer.note(text), GO_NOTE);
        assert_eq!(key.open(GO_NOTE), Err(CheckpointError::Malformed));
    }

    #[test]
    fn checkpoint_reads_back() {
        let signer = signer();
        let note = signer.checkpoint(2, root());
        let key: VerifierKey = signer.verifier_key().to_string().parse().unwrap();
        assert_eq!(&key, signer.verifier_key());
        assert_eq!(
            key.open(&note),
            Ok(Checkpoint {
                origin: "example.com/log".to_owned(),
                size: 2,
                root: root()
            })
        );
        let text = note.split_once("\n\n").unwrap().0;
        assert_eq!(text, format!("example.com/log\n2\n{}", root().to_base64()));
    }

    #[test]
    fn checkpoint_with_flipped_bit_is_rejected() {
        let (signer, note) = (signer(), signer().checkpoint(2, root()));
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                if let Ok(changed) = String::from_utf8(bytes) {
                    assert!(
                        signer.verifier_key().open(&changed).is_err(),
                        "byte {at}, bit {bit}"
                    );
                }
            }
        }
    }

    #[test]
    fn checkpoint_with_other_signatures_is_accepted() {
        let (signer, note) = (signer(), signer().checkpoint(2, root()));
        let witness = Signer::from_seed("witness.example", &[8; 32]).unwrap();
        let (text, ours) = note.split_once("\n\n").unwrap();
        let cosigned = witness.note(&format!("{text}\n"));
        let both = format!("{cosigned}{ours}");
        assert_eq!(signer.verifier_key().open(&both).unwrap().size, 2);
        assert_eq!(
            signer.verifier_key().open(&cosigned),
            Err(CheckpointError::NotSigned)
        );
        assert_eq!(
            witness.verifier_key().open(&both),
            Err(CheckpointError::OtherLog),
            "a witness is not the log"
        );
    }

    #[test]
    fn checkpoint_text_is_exact() {
        let signer = signer();
        let root = root().to_base64();
        let open = |text: String| signer.verifier_key().open(&signer.note(&text));
        assert!(open(format!("example.com/log\n2\n{root}\nextension\n")).is_ok());
        for text in [
            format!("example.com/log\n02\n{root}\n"),
            format!("example.com/log\n+2\n{root}\n"),
            format!("example.com/log\n-2\n{root}\n"),
            format!("example.com/log\n18446744073709551616\n{root}\n"),
            format!("example.com/log\n2\n{}\n", &root[4..]),
            "example.com/log\n2\n".to_owned(),
            format!("\n2\n{root}\n"),
        ] {
            assert_eq!(open(text.clone()), Err(CheckpointError::Malformed), "{text}");
        }
        let key = signer.verifier_key();
        for note in [
            "",
            "\n\n",
            "a\n\n",
            "a\n\n— b\n",
            "a\r\n\n— b AAAAAAAA\n",
            "a\n\n— b AAAA\n",
        ] {
            assert_eq!(key.open(note), Err(CheckpointError::Malformed), "{note:?}");
        }
        assert_eq!(key.open("a\n\n— b AAAAAAAA\n"), Err(CheckpointError::NotSigned));
    }

    #[test]
    fn verifier_key_rejects_malformed_text() {
        let key = |text: &str| text.parse::<VerifierKey>().unwrap_err();
        assert_eq!(key(""), KeyError::Form);
        assert_eq!(key("a+b"), KeyError::Form);
        assert_eq!(key("a+00000000+!"), KeyError::Form);
        assert_eq!(key("a+00000000+AQ=="), KeyError::Form);
        assert_eq!(
            key(&GO_KEY.replace("+AR", "+BR")),
            KeyError::Algorithm { expected: 1 }
        );
        assert_eq!(key(&GO_KEY.replace("c74f20a3", "c74f20a4")), KeyError::Id);
        assert_eq!(key(&GO_KEY.replace("c74f20a3", "C74F20A3")), KeyError::Id);
        assert_eq!(key(&GO_KEY.replace("Peter", "Petra")), KeyError::Id);
        for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", &"n".repeat(129)] {
            assert_eq!(
                Signer::from_seed(name, &[0; 32]).unwrap_err(),
                KeyError::Name,
                "{name:?}"
            );
        }
    }

    #[test]
    fn signer_debug_output_is_redacted() {
        assert!(format!("{:?}", signer()).contains("redacted"));
    }
}
