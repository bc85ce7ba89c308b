//! The random source of the process: the operating system's generator, fit for secrets.

use std::cell::RefCell;

use time::OffsetDateTime;
use uuid::Uuid;

/// Bytes that one system call draws for the later requests of a thread.
const POOL: usize = 256;

struct Pool {
    bytes: [u8; POOL],
    used: usize,
    /// The process that drew the bytes. A forked one has the same.
    process: u32,
}

thread_local! {
    static RANDOM: RefCell<Pool> = const {
        RefCell::new(Pool {
            bytes: [0; POOL],
            used: POOL,
            process: 0,
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
        let process = std::process::id();
        if POOL - pool.used < N || pool.process != process {
            getrandom::fill(&mut pool.bytes).expect("the operating system provides randomness");
            pool.used = 0;
            pool.process = process;
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

/// Returns a UUID of version 7 (RFC 9562 §5.7): 48 bits of time in milliseconds, then 74 random bits.
///
/// As keys such UUIDs are neighbors in an index. They reveal the time of their creation: no secret is derived from one.
/// A time before 1970 counts as 1970.
#[must_use]
pub fn ordered_uuid(now: OffsetDateTime) -> Uuid {
    let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn bytes_of_another_process_are_not_used() {
        let _first: [u8; 8] = bytes();
        let left = RANDOM.with_borrow_mut(|pool| {
            // as it is after a fork
            pool.process ^= 1;
            pool.bytes[pool.used..].to_vec()
        });
        let next: [u8; 8] = bytes();
        assert_ne!(next, left[..8]);
    }

    #[test]
    fn ordered_uuids_follow_time() {
        let time = |millis: i64| OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(millis);
        let one = ordered_uuid(time(0x0193_fbb5_c5f6));
        assert!(one.to_string().starts_with("0193fbb5-c5f6-7"), "{one}");
        assert!(one < ordered_uuid(time(0x0193_fbb5_c5f7)));
        assert_ne!(one, ordered_uuid(time(0x0193_fbb5_c5f6)));
        assert!(ordered_uuid(time(-1)).to_string().starts_with("00000000-0000-7"));
    }

    #[test]
    fn bytes_never_repeat_across_pool_refills() {
        let drawn: HashSet<[u8; 24]> = std::iter::repeat_with(bytes).take(1_000).collect();
        assert_eq!(drawn.len(), 1_000);
        RANDOM.with_borrow(|pool| assert!(pool.bytes[..pool.used].iter().all(|byte| *byte == 0)));
    }
}
