//! The server's rule for the rotation of refresh tokens.

use std::collections::VecDeque;

use genesys_api::IdempotencyKey;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::Pair;
use crate::pair::Bits;

/// Rotations whose idempotency keys are kept, and unused pairs that were replaced and are kept. Our choice: a duplicate that
/// arrives later than this many rotations after its original counts as a reuse.
const MAX_KEPT: usize = 4;

/// The token pairs of one session: a family, of which one pair is valid.
///
/// The server stores it with the session, and derives the tokens from it ([`PairKey`](crate::PairKey)). The rule for a
/// refresh token, with or without an `Idempotency-Key`:
///
/// | presented | pair that replaced it | outcome |
/// |---|---|---|
/// | the current token | | [`Rotated`](Rotation::Rotated): a new pair |
/// | the previous one with the key of its rotation | unused | [`Replayed`](Rotation::Replayed): the same pair |
/// | the previous one without that key | unused | [`Replaced`](Rotation::Replaced): another pair, the unused one is invalid |
/// | one of the last 4 with the key of its rotation | used | [`AlreadyUsed`](Rotation::AlreadyUsed): nothing changes |
/// | any other of the family | | [`Reused`](Rotation::Reused): revoke the family (RFC 9700 section 4.14.2) |
/// | another text | | [`Unknown`](Rotation::Unknown): nothing changes |
///
/// A pair is used once its access token or its refresh token was presented. A client therefore stores a pair before it
/// uses it, and a key before it sends it.
///
/// - A lost reply, a late duplicate or a crash does not harm a client that sends the key.
/// - If a refresh token was stolen, and both the client and the thief have rotated it, the first of them that presents a
///   token again after the other has revokes the family.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefreshTokenFamily {
    /// The valid pair.
    #[serde(flatten)]
    current: Pair,
    /// Salt of the pair that a rotation replaced by the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Bits>,
    used: bool,
    /// Hashes of the keys of the last rotations, newest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    keys: VecDeque<Option<Bits>>,
    /// Salts of the last pairs that were replaced while they were unused, newest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    replaced: VecDeque<Bits>,
}

impl RefreshTokenFamily {
    /// The family of a new session, with its first pair. `salt` is random.
    #[must_use]
    pub fn new(salt: [u8; 16]) -> Self {
        Self {
            current: Pair::new(1, salt),
            previous: None,
            used: false,
            keys: VecDeque::new(),
            replaced: VecDeque::new(),
        }
    }

    /// The family of a session whose tokens were issued in another way, `generation` pairs so far. The server recognizes
    /// these tokens itself.
    #[must_use]
    pub fn adopt(generation: u64) -> Self {
        Self {
            current: Pair::new(generation, [0; 16]),
            // a token that was invalid before must not become valid
            used: true,
            ..Self::new([0; 16])
        }
    }

    /// The valid pair.
    #[must_use]
    pub fn current(&self) -> Pair {
        self.current
    }

    /// Whether a token of the valid pair was presented.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// The relation of a presented refresh token to this family. `pair` is its pair, if it is a token of the family at all.
    #[must_use]
    pub fn classify(&self, pair: Option<Pair>) -> Presented {
        let Some(pair) = pair else {
            return Presented::Unknown;
        };
        let is_predecessor = pair.generation().checked_add(1) == Some(self.current.generation());
        match pair == self.current {
            true => Presented::Current,
            false if is_predecessor && self.previous == Some(pair.salt()) => Presented::Previous,
            false => Presented::Invalidated {
                generation: pair.generation(),
            },
        }
    }

    /// Applies the rule to a presented refresh token. `salt` is random: that of the new pair, if there is one.
    pub fn handle_refresh(
        &mut self,
        presented: Presented,
        key: Option<&IdempotencyKey>,
        salt: [u8; 16],
    ) -> Rotation {
        let key = key.map(hash);
        let generation = self.current.generation();
        let replaced = match presented {
            Presented::Unknown => return Rotation::Unknown,
            Presented::Current => {
                self.previous = Some(self.current.salt());
                self.current = Pair::new(generation.saturating_add(1), salt);
                self.used = false;
                push(&mut self.keys, key);
                return Rotation::Rotated;
            }
            Presented::Previous => generation.saturating_sub(1),
            Presented::Invalidated { generation } => generation,
        };
        // no key is known of a rotation before the family was adopted: this may be a late duplicate
        let is_adopted = self.keys.is_empty();
        let has_key_of_rotation = key.is_some() && self.key_of(replaced) == key;
        match presented {
            Presented::Previous if !self.used && has_key_of_rotation => Rotation::Replayed,
            Presented::Previous if !self.used => {
                push(&mut self.replaced, self.current.salt());
                self.current = Pair::new(generation, salt);
                if let Some(newest) = self.keys.front_mut() {
                    *newest = key;
                }
                Rotation::Replaced
            }
            _ if has_key_of_rotation || is_adopted => Rotation::AlreadyUsed,
            _ => Rotation::Reused,
        }
    }

    /// Marks the valid pair as used, if the access token of `pair` belongs to it. Store a change before the token is
    /// accepted.
    pub fn handle_access(&mut self, pair: Option<Pair>) -> AccessUse {
        match pair {
            Some(pair) if pair == self.current => match std::mem::replace(&mut self.used, true) {
                true => AccessUse::Valid,
                false => AccessUse::First,
            },
            Some(pair) if self.was_replaced(pair) => AccessUse::Reused,
            _ => AccessUse::Invalid,
        }
    }

    /// Whether a pair that is not valid was replaced while it was unused. If another generation is valid, this is known of
    /// the last such pairs.
    fn was_replaced(&self, pair: Pair) -> bool {
        pair.generation() == self.current.generation() || self.replaced.contains(&pair.salt())
    }

    /// The key of the rotation that replaced the pair of `generation`.
    fn key_of(&self, generation: u64) -> Option<Bits> {
        let rotations = self
            .current
            .generation()
            .checked_sub(generation)?
            .checked_sub(1)?;
        *self.keys.get(usize::try_from(rotations).ok()?)?
    }
}

/// The relation of a presented refresh token to a family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Presented {
    /// The valid token.
    Current,
    /// The token that the last rotation replaced.
    Previous,
    /// Another token of the family.
    Invalidated {
        /// Number of its pair.
        generation: u64,
    },
    /// No token of the family.
    Unknown,
}

/// The outcome of a presented refresh token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum Rotation {
    /// A rotation was repeated after its pair was used. Refuse it: nothing changed.
    AlreadyUsed,
    /// An unused pair was replaced by another one. Store the family, then issue its pair.
    Replaced,
    /// A rotation was repeated. Issue the pair again: nothing changed.
    Replayed,
    /// An invalid token was used, so that a token may be stolen. Revoke the family, audit that, and notify the owner.
    Reused,
    /// The pair was replaced by the next one. Store the family, then issue its pair.
    Rotated,
    /// No token of the family. Refuse it: nothing changed.
    Unknown,
}

/// The outcome of a presented access token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub enum AccessUse {
    /// The valid token for the first time. Store the family, then accept the token.
    First,
    /// A token of an earlier pair, which the client may still have, or no token of the family. Refuse it.
    Invalid,
    /// A token of a pair that was replaced while it was unused, so that a token may be stolen. Revoke the family.
    Reused,
    /// The valid token again. Accept it.
    Valid,
}

/// Adds an item in front, and drops the oldest above the limit.
fn push<T>(kept: &mut VecDeque<T>, item: T) {
    kept.push_front(item);
    kept.truncate(MAX_KEPT);
}

fn hash(key: &IdempotencyKey) -> Bits {
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest(&SHA256, key.as_str().as_bytes()).as_ref()[..16]);
    Bits(bits)
}

#[cfg(test)]
mod tests {
    //! Each row of the rule.

    use super::*;

    /// A family with the pairs that it had, one per salt.
    struct Server {
        family: RefreshTokenFamily,
        salt: u8,
    }

    impl Server {
        fn new() -> Self {
            let family = RefreshTokenFamily::new([0; 16]);
            Self { family, salt: 0 }
        }

        fn pair(&self) -> Pair {
            self.family.current()
        }

        fn refresh(&mut self, pair: Pair, key: &str) -> Rotation {
            self.salt += 1;
            let key = (!key.is_empty()).then(|| key.parse::<IdempotencyKey>().unwrap());
            let presented = self.family.classify(Some(pair));
            self.family
                .handle_refresh(presented, key.as_ref(), [self.salt; 16])
        }

        fn open(&mut self, pair: Pair) -> AccessUse {
            self.family.handle_access(Some(pair))
        }
    }

    #[test]
    fn current_token_rotates_and_its_rotation_replays_until_the_pair_is_used() {
        let mut server = Server::new();
        let first = server.pair();
        assert_eq!(server.refresh(first, "k1"), Rotation::Rotated);
        let second = server.pair();
        assert_eq!((second.generation(), server.family.is_used()), (2, false));
        for _ in 0..3 {
            assert_eq!(server.refresh(first, "k1"), Rotation::Replayed);
            assert_eq!(server.pair(), second);
        }
        assert_eq!(server.open(second), AccessUse::First);
        assert_eq!(server.open(second), AccessUse::Valid);
        let before = server.family.clone();
        assert_eq!(server.refresh(first, "k1"), Rotation::AlreadyUsed);
        assert_eq!(server.family, before);
    }

    #[test]
    fn previous_token_without_its_key_replaces_an_unused_pair() {
        for key in ["", "k2"] {
            let mut server = Server::new();
            let first = server.pair();
            assert_eq!(server.refresh(first, "k1"), Rotation::Rotated);
            let unused = server.pair();
            assert_eq!(server.refresh(first, key), Rotation::Replaced);
            let valid = server.pair();
            assert_eq!((valid.generation(), valid == unused), (2, false));
            assert_eq!(server.open(unused), AccessUse::Reused);
            assert_eq!(server.refresh(unused, "k3"), Rotation::Reused);
            assert_eq!(server.open(valid), AccessUse::First);
            assert_eq!(server.refresh(valid, "k4"), Rotation::Rotated);
            assert_eq!(server.open(unused), AccessUse::Reused);
            assert_eq!(server.open(valid), AccessUse::Invalid);
            assert_eq!(server.refresh(first, "k1"), Rotation::Reused);
        }
    }

    #[test]
    fn previous_token_without_its_key_after_use_is_a_reuse() {
        for key in ["", "k2"] {
            let mut server = Server::new();
            let first = server.pair();
            assert_eq!(server.refresh(first, "k1"), Rotation::Rotated);
            assert_eq!(server.open(server.pair()), AccessUse::First);
            assert_eq!(server.refresh(first, key), Rotation::Reused);
        }
    }

    #[test]
    fn older_token_is_a_reuse_unless_it_is_a_late_duplicate() {
        let mut server = Server::new();
        let mut pairs = Vec::new();
        for n in 0..20 {
            pairs.push(server.pair());
            assert_eq!(server.refresh(pairs[n], &format!("k{n}")), Rotation::Rotated);
        }
        for (n, pair) in pairs.iter().enumerate().take(19) {
            let duplicate = match n < 16 {
                true => Rotation::Reused,
                false => Rotation::AlreadyUsed,
            };
            assert_eq!(server.refresh(*pair, &format!("k{n}")), duplicate, "{n}");
            assert_eq!(server.refresh(*pair, ""), Rotation::Reused, "{n}");
            assert_eq!(server.refresh(*pair, "k99"), Rotation::Reused, "{n}");
            assert_eq!(server.open(*pair), AccessUse::Invalid, "{n}");
        }
        assert_eq!(server.refresh(pairs[19], "k19"), Rotation::Replayed);
    }

    #[test]
    fn unknown_token_changes_nothing() {
        let mut family = RefreshTokenFamily::new([1; 16]);
        let before = family.clone();
        let presented = family.classify(None);
        assert_eq!(family.handle_refresh(presented, None, [2; 16]), Rotation::Unknown);
        assert_eq!(family.handle_access(None), AccessUse::Invalid);
        assert_eq!(family, before);
    }

    #[test]
    fn adopted_family_does_not_make_earlier_tokens_valid() {
        let mut family = RefreshTokenFamily::adopt(7);
        let key = "k".parse().unwrap();
        let previous = family.handle_refresh(Presented::Previous, Some(&key), [1; 16]);
        assert_eq!(previous, Rotation::AlreadyUsed);
        let rotated = family.handle_refresh(Presented::Current, Some(&key), [1; 16]);
        assert_eq!((rotated, family.current().generation()), (Rotation::Rotated, 8));
        let again = family.handle_refresh(Presented::Previous, Some(&key), [2; 16]);
        assert_eq!(again, Rotation::Replayed);
    }
}
