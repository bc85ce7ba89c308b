//! Deduplication by id.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// The ids of the last 512 messages, to drop duplicates in constant time. Only hashes are kept.
///
/// A message of the guest has two ids, and a recovery reads 200 entries of the history: an id that was emitted must
/// outlive that.
#[derive(Debug, Default)]
pub(crate) struct RecentIds {
    order: VecDeque<u64>,
    known: HashSet<u64>,
    hasher: RandomState,
}

impl RecentIds {
    const LIMIT: usize = 512;

    /// Inserts an id. Returns whether it was new; an empty id always is.
    pub(crate) fn insert(&mut self, id: &str) -> bool {
        if id.is_empty() {
            return true;
        }
        let hash = self.hasher.hash_one(id);
        if !self.known.insert(hash) {
            return false;
        }
        if self.order.len() == Self::LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }

    /// Whether the id was inserted lately.
    pub(crate) fn contains(&self, id: &str) -> bool {
        !id.is_empty() && self.known.contains(&self.hasher.hash_one(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_ids_keep_the_last_512() {
        let mut ids = RecentIds::default();
        assert!(ids.insert("") && ids.insert(""));
        for n in 0..=RecentIds::LIMIT {
            assert!(ids.insert(&n.to_string()));
        }
        assert!(ids.contains("1") && !ids.insert("1"));
        assert!(ids.insert("0"), "the oldest was dropped");
        assert_eq!(
            (ids.order.len(), ids.known.len()),
            (RecentIds::LIMIT, RecentIds::LIMIT)
        );
    }
}
