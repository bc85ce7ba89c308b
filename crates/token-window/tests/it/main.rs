//! The machines of client and server together, in virtual time, with faults of the network and crashes of either side.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod faults;
mod lease;
mod theft;

use std::time::Instant;

use secrecy::SecretString;
use token_window::{AccessUse, IdempotencyKey, PairKey, RefreshTokenFamily, Rotation};

/// The token pairs of one session, as a server stores them.
#[derive(Clone, Debug)]
struct Server {
    key: PairKey,
    family: RefreshTokenFamily,
    revoked: bool,
    salts: Random,
}

/// A reply to a refresh.
#[derive(Clone, Debug)]
enum Reply {
    Issued {
        access: SecretString,
        refresh: SecretString,
    },
    Refused,
}

impl Server {
    fn new(random: &mut Random) -> Self {
        Self {
            key: PairKey::new(&random.bytes()),
            family: RefreshTokenFamily::new(random.bytes()),
            revoked: false,
            salts: Random(random.next()),
        }
    }

    fn issue(&self) -> Reply {
        let pair = self.family.current();
        Reply::Issued {
            access: self.key.access_token(pair),
            refresh: self.key.refresh_token(pair),
        }
    }

    fn refresh(&mut self, token: &SecretString, key: Option<&IdempotencyKey>) -> Reply {
        let presented = self.family.classify(self.key.pair_of_refresh(token));
        if self.revoked {
            return Reply::Refused;
        }
        match self.family.handle_refresh(presented, key, self.salts.bytes()) {
            Rotation::Rotated | Rotation::Replaced | Rotation::Replayed => self.issue(),
            Rotation::Reused => {
                self.revoked = true;
                Reply::Refused
            }
            _ => Reply::Refused,
        }
    }

    /// Returns whether the token is accepted.
    fn open(&mut self, token: &SecretString) -> bool {
        match self.family.handle_access(self.key.pair_of_access(token)) {
            AccessUse::First | AccessUse::Valid => !self.revoked,
            AccessUse::Reused => {
                self.revoked = true;
                false
            }
            _ => false,
        }
    }
}

/// Deterministic random numbers (`SplitMix64`).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True in `percent` of 100 calls.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next().to_le_bytes()[0])
    }

    fn key(&mut self) -> IdempotencyKey {
        format!("{:016x}{:016x}", self.next(), self.next())
            .parse()
            .expect("it has 32 characters")
    }
}

fn epoch() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    Instant::now()
}

/// The number in an environment variable, or the default.
fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok().and_then(|value| value.parse().ok());
    value.unwrap_or(default)
}
