//! Public keys by name: the verifier keys of C2SP `signed-note`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// C2SP `signed-note`: the type of an Ed25519 signature.
pub(crate) const ED25519_TYPE: u8 = 1;
/// C2SP `tlog-cosignature`: the type of a timestamped Ed25519 cosignature.
pub(crate) const COSIGNATURE_TYPE: u8 = 4;
/// Maximum length of a name in bytes. Our choice.
const MAX_NAME: usize = 128;

/// An Ed25519 key whose signatures have the type `TYPE`. Its text is `name+0a1b2c3d+base64`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NamedKey<const TYPE: u8> {
    pub(crate) name: String,
    pub(crate) id: [u8; 4],
    public: [u8; 32],
}

impl<const TYPE: u8> NamedKey<TYPE> {
    pub(crate) fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        let is_forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if !(1..=MAX_NAME).contains(&name.len()) || name.contains(is_forbidden) {
            return Err(KeyError::Name);
        }
        let hash = digest(&SHA256, &[name.as_bytes(), b"\n", &[TYPE], &public].concat());
        Ok(Self {
            name: name.to_owned(),
            id: *hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes"),
            public,
        })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(typed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let typed = STANDARD.decode(typed).map_err(|_| KeyError::Form)?;
        let (found, public) = typed
            .split_first()
            .ok_or(KeyError::Algorithm { expected: TYPE })?;
        if *found != TYPE {
            return Err(KeyError::Algorithm { expected: TYPE });
        }
        let public = public.try_into().map_err(|_| KeyError::Form)?;
        let key = Self::new(name, public)?;
        if id == key.id_text() {
            Ok(key)
        } else {
            Err(KeyError::Id)
        }
    }

    /// Whether `signature` is one of this key over `message`.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public)
            .verify(message, signature)
            .is_ok()
    }

    /// The id as in the text form.
    fn id_text(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id))
    }
}

impl<const TYPE: u8> fmt::Display for NamedKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[TYPE][..], &self.public].concat();
        write!(f, "{}+{}+{}", self.name, self.id_text(), STANDARD.encode(typed))
    }
}

/// An invalid key of a log or of a witness, or an invalid name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key of another kind.
    #[error(
        "invalid verifier key: its type is not {expected}, and 1 is the Ed25519 key of a log, 4 that of a witness, use the other one"
    )]
    Algorithm {
        /// The required type of C2SP `signed-note`.
        expected: u8,
    },
    /// Not `name+id+base64`.
    #[error("invalid verifier key: it reads name+id+base64, copy all of it")]
    Form,
    /// The id in the text is not that of the key.
    #[error("invalid verifier key: its id does not match its name and key, copy it again")]
    Id,
    /// An empty or long name, or one with white space, a control character or a plus sign.
    #[error("invalid name of a log: it has 1 to 128 bytes, without white space and plus signs")]
    Name,
}
