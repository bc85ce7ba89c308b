//! Sealing at rest: AES-256-GCM (NIST SP 800-38D).

use std::fmt;

use genesys_api::{GuestId, IdempotencyKey, SessionId, entropy};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use crate::secrets::uuid_v7_time;

/// The key that seals secrets, documents and bodies at rest, and from which the keys of the look-up hashes are derived.
///
/// Keep it in a file or a vault apart from the store's file and its backups. Sealed values are lost without it. Nonces
/// are random, so one key may seal 2³² values (NIST SP 800-38D §8.3): 1,000 a second for 49 days.
pub struct SealKey {
    aead: Aead,
    lookup: hmac::Key,
    mac: hmac::Key,
    rows: hmac::Key,
}

impl SealKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        let derived = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, &derive(bytes, purpose));
        Self {
            aead: Aead::new(bytes),
            lookup: derived(b"guest-store/lookup"),
            mac: derived(b"guest-store/mac"),
            rows: derived(b"guest-store/rows"),
        }
    }

    /// The HMAC-SHA256 of `message` under a key derived from this one.
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&self.mac, message).as_ref());
        mac
    }

    /// Whether `mac` is the [`mac`](Self::mac) of `message`, compared in constant time.
    pub(crate) fn has_mac(&self, message: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.mac, message, mac).is_ok()
    }

    /// The key of the MACs of rows whose sums are in the head of the log.
    pub(crate) fn row_key(&self) -> &hmac::Key {
        &self.rows
    }

    /// Seals `plain` with associated data: it opens with the same associated data only.
    pub(crate) fn seal(&self, aad: impl AsRef<[u8]>, plain: &[u8]) -> Vec<u8> {
        self.aead.seal(aad, plain)
    }

    /// Opens bytes that were sealed with this associated data.
    pub(crate) fn open(&self, aad: impl AsRef<[u8]>, sealed: Vec<u8>) -> Option<Vec<u8>> {
        self.aead.open(aad, sealed)
    }

    /// The key of a session's row, in place of its id: the time of a UUID of version 7 (RFC 9562 §5.7), then a keyed
    /// hash. New keys are therefore neighbors, and the hash alone identifies the session.
    pub(crate) fn session_key(&self, id: &SessionId) -> LookupHash {
        let mut key = self.hash(b"session", &[id.as_str().as_bytes()]);
        key[..6].copy_from_slice(&uuid_v7_time(id.as_str()).unwrap_or_default());
        key
    }

    /// The keyed hash by which the live session of a guest is found.
    pub(crate) fn guest_hash(&self, owner: &str, guest: &GuestId) -> LookupHash {
        self.hash(b"guest", &[owner.as_bytes(), guest.as_str().as_bytes()])
    }

    /// The keyed hash by which a request is found.
    pub(crate) fn request_hash(&self, owner: &str, key: &IdempotencyKey) -> LookupHash {
        self.hash(b"request", &[owner.as_bytes(), key.as_str().as_bytes()])
    }

    /// HMAC-SHA256, truncated to 128 bits. Ids hold no zero byte.
    fn hash(&self, kind: &[u8], parts: &[&[u8]]) -> LookupHash {
        let mut context = hmac::Context::with_key(&self.lookup);
        context.update(kind);
        for part in parts {
            context.update(&[0]);
            context.update(part);
        }
        let mut hash = LookupHash::default();
        hash.copy_from_slice(&context.sign().as_ref()[..16]);
        hash
    }
}

/// A keyed hash that replaces an id in an index.
pub(crate) type LookupHash = [u8; 16];

/// Seals values with one key.
pub(crate) struct Aead(LessSafeKey);

impl Aead {
    fn new(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("a key of AES-256 has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// The key that seals the personal data of a subject. It is lost with the subject key.
    pub(crate) fn of_subject(subject_key: &[u8; 32]) -> Self {
        Self::new(&derive(subject_key, b"guest-store/personal"))
    }

    pub(crate) fn seal(&self, aad: impl AsRef<[u8]>, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = entropy::bytes();
        let mut sealed = Vec::with_capacity(plain.len() + SEAL_OVERHEAD);
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad.as_ref()),
                &mut sealed[1 + NONCE_LEN..],
            )
            .expect("nothing that fits in memory is too long to seal");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    pub(crate) fn open(&self, aad: impl AsRef<[u8]>, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        if sealed.first() != Some(&VERSION) {
            return None;
        }
        let nonce: [u8; NONCE_LEN] = sealed.get(1..=NONCE_LEN)?.try_into().ok()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let start = 1 + NONCE_LEN;
        let length = self
            .0
            .open_within(nonce, Aad::from(aad.as_ref()), &mut sealed, start..)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

/// A key for one purpose (HMAC-SHA256 of its name).
fn derive(key: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let mut derived = [0; 32];
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    derived.copy_from_slice(hmac::sign(&key, purpose).as_ref());
    derived
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(redacted)")
    }
}

const VERSION: u8 = 1;

/// Bytes that sealing adds: the version, the nonce and the tag.
pub(crate) const SEAL_OVERHEAD: usize = 1 + NONCE_LEN + 16;

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
        assert_eq!(key.seal("p", b"x").len(), 1 + SEAL_OVERHEAD);
    }

    #[test]
    fn session_keys_follow_time_and_hide_the_id() {
        let (one, other) = (SealKey::new(&[1; 32]), SealKey::new(&[2; 32]));
        let id = |text: &str| text.parse::<SessionId>().unwrap();
        let first = id("0193fbb5-c5f6-7000-8000-0123456789ab");
        let second = id("0193fbb5-c5f7-7000-8000-0023456789ab");
        assert!(one.session_key(&first) < one.session_key(&second));
        assert_eq!(one.session_key(&first)[..6], [0x01, 0x93, 0xfb, 0xb5, 0xc5, 0xf6]);
        assert_ne!(one.session_key(&first), other.session_key(&first));
        for random in [
            "0193fbb5-c5f6-4000-8000-0123456789ab",
            "s-1",
            "0193fbb5.c5f6-7000-8000-0123456789ab",
        ] {
            assert_eq!(one.session_key(&id(random))[..6], [0; 6], "{random}");
        }
    }

    #[test]
    fn guest_hash_depends_on_owner_and_key() {
        let guest: GuestId = "g-1".parse().unwrap();
        let key = SealKey::new(&[1; 32]);
        assert_eq!(key.guest_hash("o", &guest), key.guest_hash("o", &guest));
        assert_ne!(key.guest_hash("o", &guest), key.guest_hash("p", &guest));
        assert_ne!(
            key.guest_hash("o", &guest),
            SealKey::new(&[2; 32]).guest_hash("o", &guest)
        );
    }
}
