//! Tokens that are derived rather than stored.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// Length of the part of a token that names its pair, in bytes: the generation and the salt.
const NAME: usize = 8 + 16;

/// The name of a token pair within its family: its number, and a random salt.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pair {
    generation: u64,
    salt: Bits,
}

impl Pair {
    pub(crate) fn new(generation: u64, salt: [u8; 16]) -> Self {
        let salt = Bits(salt);
        Self { generation, salt }
    }

    /// Number of the pair, from 1. A pair that replaces an unused one has the same.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn salt(&self) -> Bits {
        self.salt
    }

    fn name(&self) -> [u8; NAME] {
        let mut name = [0; NAME];
        name[..8].copy_from_slice(&self.generation.to_be_bytes());
        name[8..].copy_from_slice(&self.salt.0);
        name
    }
}

/// The secret of one session, from which its tokens are derived. A token is recognized at any age, and none is stored.
///
/// A token is the name of its [`Pair`] and the HMAC-SHA256 of the name, in base64url: 75 characters. Without the key it
/// cannot be guessed. The comparison takes the same time for each wrong text.
#[derive(Clone)]
pub struct PairKey(hmac::Key);

impl PairKey {
    /// A key of 32 random bytes, of this session alone.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The access token of a pair.
    #[must_use]
    pub fn access_token(&self, pair: Pair) -> SecretString {
        self.token(Kind::Access, pair)
    }

    /// The refresh token of a pair.
    #[must_use]
    pub fn refresh_token(&self, pair: Pair) -> SecretString {
        self.token(Kind::Refresh, pair)
    }

    /// The pair of an access token. `None` for any other text.
    #[must_use]
    pub fn pair_of_access(&self, token: &SecretString) -> Option<Pair> {
        self.pair(Kind::Access, token)
    }

    /// The pair of a refresh token. `None` for any other text.
    #[must_use]
    pub fn pair_of_refresh(&self, token: &SecretString) -> Option<Pair> {
        self.pair(Kind::Refresh, token)
    }

    fn token(&self, kind: Kind, pair: Pair) -> SecretString {
        let name = pair.name();
        let tag = hmac::sign(&self.0, &message(kind, &name));
        URL_SAFE_NO_PAD.encode([&name, tag.as_ref()].concat()).into()
    }

    fn pair(&self, kind: Kind, token: &SecretString) -> Option<Pair> {
        let bytes = URL_SAFE_NO_PAD.decode(token.expose_secret()).ok()?;
        let (name, tag) = bytes.split_first_chunk::<NAME>()?;
        hmac::verify(&self.0, &message(kind, name), tag).ok()?;
        let (generation, salt) = name.split_first_chunk()?;
        Some(Pair::new(u64::from_be_bytes(*generation), salt.try_into().ok()?))
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairKey(redacted)")
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Access = 1,
    Refresh = 2,
}

fn message(kind: Kind, name: &[u8; NAME]) -> [u8; 1 + NAME] {
    let mut message = [kind as u8; 1 + NAME];
    message[1..].copy_from_slice(name);
    message
}

/// 128 bits, in base64url.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Bits(pub(crate) [u8; 16]);

impl From<Bits> for String {
    fn from(bits: Bits) -> Self {
        URL_SAFE_NO_PAD.encode(bits.0)
    }
}

impl TryFrom<String> for Bits {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let bits = bytes.and_then(|bytes| bytes.try_into().ok());
        bits.map(Self).ok_or("invalid bits: not 16 bytes in base64url")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_of_a_pair_are_recognized_by_their_own_key_and_kind_only() {
        let key = PairKey::new(&[1; 32]);
        for generation in [0, 1, 1 << 40, u64::MAX] {
            let pair = Pair::new(generation, [generation as u8; 16]);
            let (access, refresh) = (key.access_token(pair), key.refresh_token(pair));
            assert_ne!(access.expose_secret(), refresh.expose_secret());
            assert_eq!(access.expose_secret().len(), 75);
            assert_eq!(key.pair_of_access(&access), Some(pair));
            assert_eq!(key.pair_of_refresh(&refresh), Some(pair));
            assert_eq!(key.pair_of_access(&refresh), None);
            assert_eq!(key.pair_of_refresh(&access), None);
            assert_eq!(PairKey::new(&[2; 32]).pair_of_refresh(&refresh), None);
        }
        assert_eq!(format!("{key:?}"), "PairKey(redacted)");
    }

    proptest! {
        #[test]
        fn altered_token_is_not_recognized(
            generation in any::<u64>(), salt in any::<[u8; 16]>(), at in 0_usize..56, bit in 0_u32..8, cut in 0_usize..75,
        ) {
            let key = PairKey::new(&[1; 32]);
            let token = key.refresh_token(Pair::new(generation, salt));
            let mut bytes = URL_SAFE_NO_PAD.decode(token.expose_secret()).unwrap();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(key.pair_of_refresh(&URL_SAFE_NO_PAD.encode(bytes).into()), None);
            prop_assert_eq!(key.pair_of_refresh(&token.expose_secret()[..cut].into()), None);
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,100}") {
            prop_assert_eq!(PairKey::new(&[1; 32]).pair_of_access(&text.as_str().into()), None);
        }
    }
}
