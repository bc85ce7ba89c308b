//! Ids and keys of a cloud, all derived from one seed, so that a run can be repeated.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use uuid::Uuid;

/// HMAC-SHA256 in counter mode: unpredictable without the seed.
pub(crate) struct SeededRng {
    key: hmac::Key,
    counter: u64,
}

impl SeededRng {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &seed),
            counter: 0,
        }
    }

    /// An independent sequence from the same seed.
    pub(crate) fn labeled(seed: [u8; 32], label: &str) -> Self {
        Self::new(Self::new(seed).tag(label.as_bytes()))
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.counter += 1;
        self.tag(&self.counter.to_be_bytes())
    }

    fn tag(&self, text: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.key, text);
        tag.as_ref().try_into().expect("a SHA-256 tag has 32 bytes")
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut half = [0; 16];
        half.copy_from_slice(&self.bytes()[..16]);
        uuid::Builder::from_random_bytes(half).into_uuid()
    }

    /// 32 hexadecimal digits, the form of Genesys' own message ids.
    pub(crate) fn hex(&mut self) -> String {
        self.uuid().simple().to_string()
    }

    pub(crate) fn secret(&mut self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_yields_the_same_sequence_without_repetition() {
        let (mut one, mut other) = (SeededRng::new([7; 32]), SeededRng::new([7; 32]));
        let first = one.uuid();
        assert_eq!(first, other.uuid());
        assert_ne!(first, one.uuid());
        assert_ne!(first, SeededRng::new([8; 32]).uuid());
        assert_eq!(first.get_version_num(), 4);
    }
}
