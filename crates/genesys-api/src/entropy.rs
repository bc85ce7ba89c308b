//! The one place where randomness is drawn: the operating system's generator, fit for secrets.

use uuid::Uuid;

/// `N` random bytes.
///
/// # Panics
/// If the operating system has no randomness to give: nothing secret can be made on such a machine.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A random number, for jitter.
#[must_use]
pub fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}

/// A random UUID (version 4): 122 random bits, enough for a bearer secret.
#[must_use]
pub fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}
