//! Sealing at rest: AES-256-GCM (NIST SP 800-38D).

use std::fmt;

use genesys_api::entropy;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// The key that seals secrets, documents and bodies at rest.
///
/// Keep it in a file or a vault apart from the store's file and its backups. Sealed values are lost without it. Nonces
/// are random, so one key may seal 2³² values (NIST SP 800-38D §8.3): 1,000 a second for 49 days.
pub struct SealKey(LessSafeKey);

impl SealKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("a key of AES-256 has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals `plain` with associated data: it opens with the same associated data only.
    pub(crate) fn seal(&self, aad: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = entropy::bytes();
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                &mut sealed[1 + NONCE_LEN..],
            )
            .expect("nothing that fits in memory is too long to seal");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens bytes that were sealed with this associated data.
    pub(crate) fn open(&self, aad: &str, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        if sealed.first() != Some(&VERSION) {
            return None;
        }
        let nonce: [u8; NONCE_LEN] = sealed.get(1..=NONCE_LEN)?.try_into().ok()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let start = 1 + NONCE_LEN;
        let length = self
            .0
            .open_within(nonce, Aad::from(aad), &mut sealed, start..)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(redacted)")
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_value_opens_with_same_key_and_associated_data_only() {
        let key = SealKey::new(&[1; 32]);
        for plain in [&b""[..], b"a secret", &[7; 5000]] {
            let sealed = key.seal("sessions/1/secrets", plain);
            assert_eq!(
                key.open("sessions/1/secrets", sealed.clone()).as_deref(),
                Some(plain)
            );
            assert_eq!(key.open("sessions/2/secrets", sealed.clone()), None);
            assert_eq!(
                SealKey::new(&[2; 32]).open("sessions/1/secrets", sealed.clone()),
                None
            );
            for at in 0..sealed.len().min(64) {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(key.open("sessions/1/secrets", changed), None, "byte {at}");
                assert_eq!(key.open("sessions/1/secrets", sealed[..at].to_vec()), None);
            }
        }
        assert_ne!(key.seal("p", b"x"), key.seal("p", b"x"));
    }
}
