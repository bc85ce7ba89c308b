//! The deadlines of many sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The next deadline of each of many sessions, earliest first.
///
/// One deadline per key, at most `capacity` keys. Each operation costs `O(log n)`.
#[derive(Clone, Debug)]
pub struct Schedule<K> {
    capacity: usize,
    order: BTreeSet<(Instant, K)>,
    deadlines: BTreeMap<K, Instant>,
}

impl<K: Clone + Ord> Schedule<K> {
    /// An empty schedule for at most `capacity` keys. Nothing is allocated in advance.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: BTreeSet::new(),
            deadlines: BTreeMap::new(),
        }
    }

    /// Sets the deadline of `key` and replaces an earlier one.
    ///
    /// # Errors
    /// If `key` is new and the schedule is full.
    pub fn insert(&mut self, key: K, deadline: Instant) -> Result<(), Full> {
        let capacity = self.capacity;
        if !self.remove(&key) && self.deadlines.len() >= capacity {
            return Err(Full { capacity });
        }
        self.order.insert((deadline, key.clone()));
        self.deadlines.insert(key, deadline);
        Ok(())
    }

    /// Removes `key`; `false` if it had no deadline.
    pub fn remove(&mut self, key: &K) -> bool {
        match self.deadlines.remove_entry(key) {
            Some((key, deadline)) => self.order.remove(&(deadline, key)),
            None => false,
        }
    }

    /// Removes and returns the key with the earliest deadline that has passed. Call it until it returns `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next_deadline()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.deadlines.remove(&key);
        Some(key)
    }

    /// The earliest deadline, at which to call [`Schedule::pop_due`] next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.order.first().map(|(deadline, _)| *deadline)
    }
}

/// The schedule is at capacity.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "cannot schedule another session: all {capacity} slots are in use, remove a key or raise the capacity"
)]
#[non_exhaustive]
pub struct Full {
    /// Maximum number of keys.
    pub capacity: usize,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::tokens::tests::epoch;

    #[test]
    fn full_schedule_rejects_new_keys_and_moves_known_ones() {
        let start = epoch();
        let mut schedule = Schedule::new(2);
        assert_eq!(schedule.insert("a", start), Ok(()));
        assert_eq!(schedule.insert("b", start), Ok(()));
        assert_eq!(schedule.insert("c", start), Err(Full { capacity: 2 }));
        assert_eq!(schedule.insert("a", start + Duration::from_secs(1)), Ok(()));
        assert_eq!(schedule.deadlines.len(), 2);
        assert_eq!(schedule.pop_due(start), Some("b"));
        assert_eq!(schedule.pop_due(start), None, "a was moved");
        assert_eq!(schedule.next_deadline(), Some(start + Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn schedule_matches_sorted_list(steps in proptest::collection::vec((0_u8..4, 0_u8..12, 0_u64..100), 1..300)) {
            let start = epoch();
            let mut schedule = Schedule::new(8);
            let mut list: Vec<(Instant, u8)> = Vec::new();
            for (action, key, offset) in steps {
                let at = start + Duration::from_secs(offset);
                match action {
                    0 | 1 => {
                        let known = list.iter().any(|(_, other)| *other == key);
                        prop_assert_eq!(schedule.insert(key, at).is_ok(), known || list.len() < 8);
                        if known || list.len() < 8 {
                            list.retain(|(_, other)| *other != key);
                            list.push((at, key));
                        }
                    }
                    2 => {
                        prop_assert_eq!(schedule.remove(&key), list.iter().any(|(_, other)| *other == key));
                        list.retain(|(_, other)| *other != key);
                    }
                    _ => {
                        let due = list.iter().min().copied().filter(|(deadline, _)| *deadline <= at);
                        prop_assert_eq!(schedule.pop_due(at), due.map(|(_, key)| key));
                        list.retain(|entry| Some(*entry) != due);
                    }
                }
                prop_assert_eq!(schedule.deadlines.len(), list.len());
                prop_assert_eq!(schedule.next_deadline(), list.iter().map(|(deadline, _)| *deadline).min());
            }
        }
    }
}
