//! The random source of the process: the operating system's generator, fit for secrets.

use std::cell::RefCell;

use uuid::Uuid;

/// Bytes that one system call draws for the later requests of a thread.
const POOL: usize = 256;

struct Pool {
    bytes: [u8; POOL],
    used: usize,
}

thread_local! {
    static RANDOM: RefCell<Pool> = const {
        RefCell::new(Pool {
            bytes: [0; POOL],
            used: POOL,
        })
    };
}

/// Returns `N` random bytes.
///
/// # Panics
/// If the operating system has no randomness. No secret can be made on such a machine.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= POOL) };
    RANDOM.with_borrow_mut(|pool| {
        if POOL - pool.used < N {
            getrandom::fill(&mut pool.bytes).expect("the operating system provides randomness");
            pool.used = 0;
        }
        let source = &mut pool.bytes[pool.used..pool.used + N];
        let mut bytes = [0; N];
        bytes.copy_from_slice(source);
        // no copy of a secret stays in the pool
        source.fill(0);
        pool.used += N;
        bytes
    })
}

/// Returns a random number, for jitter.
#[must_use]
pub fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}

/// Returns a random UUID (version 4): 122 random bits, enough for a bearer secret.
#[must_use]
pub fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn bytes_never_repeat_across_pool_refills() {
        let drawn: HashSet<[u8; 24]> = std::iter::repeat_with(bytes).take(1_000).collect();
        assert_eq!(drawn.len(), 1_000);
        RANDOM.with_borrow(|pool| assert!(pool.bytes[..pool.used].iter().all(|byte| *byte == 0)));
    }
}
