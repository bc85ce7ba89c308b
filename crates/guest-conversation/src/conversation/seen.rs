//! What came already.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// The names of the last 512 messages, to recognise one that comes twice. Eight bytes each. A message of the guest has
/// two, and a recovery reads 200 entries back: none of them that was told may be forgotten.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hashes: VecDeque<u64>,
}

impl Seen {
    const LIMIT: usize = 512;

    /// Whether nothing of this name was seen lately; it has been now. What has no name is always new.
    pub(super) fn is_new(&mut self, name: &str) -> bool {
        if name.is_empty() {
            return true;
        }
        let hash = hash(name);
        if self.hashes.contains(&hash) {
            return false;
        }
        if self.hashes.len() == Self::LIMIT {
            self.hashes.pop_front();
        }
        self.hashes.push_back(hash);
        true
    }

    /// Whether something of this name was seen lately.
    pub(super) fn knows(&self, name: &str) -> bool {
        !name.is_empty() && self.hashes.contains(&hash(name))
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_the_last_512() {
        let mut seen = Seen::default();
        assert!(seen.is_new("") && seen.is_new(""));
        for n in 0..=Seen::LIMIT {
            assert!(seen.is_new(&n.to_string()));
        }
        assert!(!seen.is_new("1"));
        assert!(seen.is_new("0"), "the oldest was forgotten");
        assert_eq!(seen.hashes.len(), Seen::LIMIT);
    }
}
