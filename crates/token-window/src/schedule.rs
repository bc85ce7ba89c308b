//! The deadlines of many sessions.

use std::time::{Duration, Instant};

/// Resolution of a deadline.
const TICKS_PER_SECOND: u64 = 10;
const NANOS_PER_TICK: u32 = 1_000_000_000 / TICKS_PER_SECOND as u32;

/// Each level has one slot per value of a byte of the tick, the lowest byte first.
const LEVELS: usize = 4;
const SLOTS: usize = 256;
/// The list of keys that are due.
const DUE: usize = LEVELS * SLOTS;

/// No entry: the end of a list.
const NONE: u32 = u32::MAX;
/// The value of `previous` in an entry without a deadline.
const UNSET: u32 = u32::MAX - 1;

/// The deadlines of many sessions: a timer wheel. Each operation costs `O(1)`.
///
/// A key is a small number, such as the position of a session in a slab. The schedule stores 12 bytes for each number up
/// to the largest key so far, plus 5 KiB.
///
/// Deadlines have a resolution of 100 ms and are rounded up: none is early. The range is 13 years from the start.
#[derive(Clone, Debug)]
pub struct Schedule {
    capacity: usize,
    start: Instant,
    /// Ticks since the start. Each earlier deadline is in the list [`DUE`].
    now: u32,
    entries: Vec<Entry>,
    /// The first entry of each list.
    heads: Box<[u32]>,
    /// One bit for each slot with entries.
    occupied: [[u64; SLOTS / 64]; LEVELS],
}

/// The place of a key in its list.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// In ticks since the start.
    deadline: u32,
    next: u32,
    previous: u32,
}

impl Schedule {
    /// An empty schedule for keys below `capacity`, with deadlines from `start` on. Memory for keys is allocated as they
    /// are inserted.
    #[must_use]
    pub fn new(capacity: usize, start: Instant) -> Self {
        Self {
            capacity: capacity.min(UNSET as usize),
            start,
            now: 0,
            entries: Vec::new(),
            heads: vec![NONE; DUE + 1].into(),
            occupied: Default::default(),
        }
    }

    /// Sets the deadline of `key` and replaces an earlier one.
    ///
    /// # Errors
    /// If `key` is not below the capacity.
    pub fn insert(&mut self, key: u32, deadline: Instant) -> Result<(), Full> {
        let index = key as usize;
        if index >= self.capacity {
            return Err(Full {
                capacity: self.capacity,
            });
        }
        if index >= self.entries.len() {
            self.grow(index + 1);
        }
        self.remove(key);
        let offset = deadline.saturating_duration_since(self.start);
        self.entries[index].deadline = ticks(offset, NANOS_PER_TICK - 1);
        self.link(key);
        Ok(())
    }

    /// Sets the deadline of `key`, unless it has an earlier one.
    ///
    /// # Errors
    /// If `key` is not below the capacity.
    pub fn insert_earlier(&mut self, key: u32, deadline: Instant) -> Result<(), Full> {
        let offset = deadline.saturating_duration_since(self.start);
        match self.entries.get(key as usize) {
            Some(entry) if entry.previous != UNSET && entry.deadline <= ticks(offset, NANOS_PER_TICK - 1) => {
                Ok(())
            }
            _ => self.insert(key, deadline),
        }
    }

    /// Removes the deadline of `key`; `false` if it had none.
    pub fn remove(&mut self, key: u32) -> bool {
        let Some(&entry) = self.entries.get(key as usize) else {
            return false;
        };
        if entry.previous == UNSET {
            return false;
        }
        self.entries[key as usize].previous = UNSET;
        if entry.next != NONE {
            self.entries[entry.next as usize].previous = entry.previous;
        }
        if entry.previous == NONE {
            self.set_head(self.list_of(entry.deadline), entry.next);
        } else {
            self.entries[entry.previous as usize].next = entry.next;
        }
        true
    }

    /// Removes and returns a key whose deadline has passed, earlier ticks first. Call it until it returns `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let target = ticks(now.saturating_duration_since(self.start), 0);
        while self.heads[DUE] == NONE {
            let Some((list, tick)) = self.next_list().filter(|(_, tick)| *tick <= target) else {
                self.now = self.now.max(target);
                return None;
            };
            self.now = tick;
            let mut key = self.heads[list];
            self.set_head(list, NONE);
            if list < SLOTS {
                // all entries of a slot of the lowest level have this deadline
                self.heads[DUE] = key;
                break;
            }
            while key != NONE {
                let next = self.entries[key as usize].next;
                self.link(key);
                key = next;
            }
        }
        let key = self.heads[DUE];
        self.remove(key);
        Some(key)
    }

    /// The time at which to call [`Schedule::pop_due`] next. It is not after the earliest deadline by more than the
    /// resolution, and up to three times before it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let tick = match self.heads[DUE] {
            NONE => self.next_list()?.1,
            _ => self.now,
        };
        let tick = u64::from(tick);
        let nanos = (tick % TICKS_PER_SECOND) as u32 * NANOS_PER_TICK;
        Some(self.start + Duration::new(tick / TICKS_PER_SECOND, nanos))
    }

    /// In steps of a sixteenth: doubling would leave up to half of the memory unused.
    #[cold]
    fn grow(&mut self, len: usize) {
        let missing = len - self.entries.len();
        let spare = (self.entries.len() / 16).min(self.capacity - len);
        self.entries.reserve_exact(missing + spare);
        let unset = Entry {
            deadline: 0,
            next: NONE,
            previous: UNSET,
        };
        self.entries.resize(len, unset);
    }

    /// The list of a deadline. The highest byte in which it differs from the present tick is the level. An entry moves to
    /// a lower level when that byte has become equal.
    fn list_of(&self, deadline: u32) -> usize {
        if deadline <= self.now {
            return DUE;
        }
        let level = (deadline ^ self.now).ilog2() as usize / 8;
        level * SLOTS + (deadline >> (8 * level)) as usize % SLOTS
    }

    fn link(&mut self, key: u32) {
        let list = self.list_of(self.entries[key as usize].deadline);
        let next = self.heads[list];
        if next != NONE {
            self.entries[next as usize].previous = key;
        }
        let entry = &mut self.entries[key as usize];
        (entry.next, entry.previous) = (next, NONE);
        self.set_head(list, key);
    }

    fn set_head(&mut self, list: usize, key: u32) {
        self.heads[list] = key;
        if let Some(level) = self.occupied.get_mut(list / SLOTS) {
            let (word, bit) = (list % SLOTS / 64, 1 << (list % 64));
            match key {
                NONE => level[word] &= !bit,
                _ => level[word] |= bit,
            }
        }
    }

    /// The occupied slot with the earliest deadlines, and its first tick. The slots of a lower level are earlier.
    fn next_list(&self) -> Option<(usize, u32)> {
        self.occupied.iter().enumerate().find_map(|(level, words)| {
            let shift = 8 * level;
            let present = (self.now >> shift) as usize % SLOTS;
            let slot = next_bit(words, present + 1)?;
            // the slot replaces the present one, and lower bytes are zero
            let tick = (self.now >> shift) - present as u32 + slot as u32;
            Some((level * SLOTS + slot, tick << shift))
        })
    }
}

/// The position of the first bit that is set, from `first` on.
fn next_bit(words: &[u64; SLOTS / 64], first: usize) -> Option<usize> {
    (first / 64..words.len()).find_map(|word| {
        let skipped = first.saturating_sub(word * 64) as u32;
        let bits = words[word].checked_shr(skipped)? << skipped;
        (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
    })
}

/// Ticks in a duration, with `rounding` nanoseconds added. A longer one counts as the end of the range.
fn ticks(offset: Duration, rounding: u32) -> u32 {
    let partial = (offset.subsec_nanos() + rounding) / NANOS_PER_TICK;
    let ticks = offset.as_secs().saturating_mul(TICKS_PER_SECOND) + u64::from(partial);
    u32::try_from(ticks).unwrap_or(u32::MAX)
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
    //! Comparison with a sorted list, over all levels of the wheel.

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::tokens::tests::epoch;

    #[test]
    fn full_schedule_rejects_new_keys_and_moves_known_ones() {
        let start = epoch();
        let mut schedule = Schedule::new(2, start);
        assert_eq!(schedule.insert(0, start), Ok(()));
        assert_eq!(schedule.insert(1, start), Ok(()));
        assert_eq!(schedule.insert(2, start), Err(Full { capacity: 2 }));
        assert_eq!(schedule.insert(0, start + Duration::from_secs(1)), Ok(()));
        assert_eq!(schedule.pop_due(start), Some(1));
        assert_eq!(schedule.pop_due(start), None, "0 was moved");
        assert_eq!(schedule.next_deadline(), Some(start + Duration::from_secs(1)));
        assert!(schedule.remove(0) && !schedule.remove(0) && !schedule.remove(9));
        assert_eq!(schedule.next_deadline(), None);
    }

    #[test]
    fn earlier_deadline_is_kept() {
        let start = epoch();
        let second = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::new(1, start);
        for (deadline, next) in [(2, 2), (3, 2), (1, 1), (2, 1)] {
            schedule.insert_earlier(0, second(deadline)).unwrap();
            assert_eq!(schedule.next_deadline(), Some(second(next)));
        }
        assert_eq!(schedule.pop_due(second(1)), Some(0));
        schedule.insert_earlier(0, second(3)).unwrap();
        assert_eq!(schedule.next_deadline(), Some(second(3)));
        assert!(schedule.insert_earlier(1, start).is_err());
    }

    #[test]
    fn deadline_is_never_early_and_at_most_a_tick_late() {
        let start = epoch();
        let mut schedule = Schedule::new(1, start);
        let deadline = start + Duration::from_millis(12_345);
        schedule.insert(0, deadline).unwrap();
        assert_eq!(schedule.pop_due(deadline), None);
        assert_eq!(schedule.pop_due(start + Duration::from_millis(12_400)), Some(0));
        // a later clock is no later than its time
        schedule.insert(0, start).unwrap();
        assert_eq!(schedule.pop_due(start), Some(0));
    }

    #[test]
    fn deadline_of_ten_years_needs_at_most_four_wakes() {
        let start = epoch();
        let mut schedule = Schedule::new(1, start);
        let deadline = start + Duration::from_secs(315_360_000) + Duration::from_millis(700);
        schedule.insert(0, deadline).unwrap();
        let mut wakes = 0;
        loop {
            let at = schedule.next_deadline().unwrap();
            wakes += 1;
            if schedule.pop_due(at).is_some() {
                assert_eq!((at, wakes), (deadline, 4));
                return;
            }
        }
    }

    #[test]
    fn session_takes_at_most_16_bytes() {
        let start = epoch();
        let mut schedule = Schedule::new(usize::MAX, start);
        for key in 0..1_000_000 {
            schedule.insert(key, start).unwrap();
        }
        let bytes = schedule.entries.capacity() * size_of::<Entry>() + schedule.heads.len() * 4;
        assert!(bytes <= 13 * 1_000_000, "{bytes}");
    }

    proptest! {
        #[test]
        fn schedule_matches_sorted_list(
            steps in proptest::collection::vec((0_u8..6, 0_u32..12, 0_u32..28, any::<u64>()), 1..300),
        ) {
            let start = epoch();
            let mut now = start;
            let mut schedule = Schedule::new(10, start);
            let mut list: BTreeMap<u32, u32> = BTreeMap::new();
            for (action, key, magnitude, random) in steps {
                let offset = Duration::from_millis(100 * (random % (1 << magnitude)));
                match action {
                    0..3 => {
                        let at = now + offset;
                        let inserted = schedule.insert(key, at);
                        prop_assert_eq!(inserted.is_ok(), key < 10);
                        if inserted.is_ok() {
                            list.insert(key, ticks(at - start, 0));
                        }
                    }
                    3 => prop_assert_eq!(schedule.remove(key), list.remove(&key).is_some()),
                    _ => {
                        if action == 4 {
                            now += offset;
                        } else if let Some(at) = schedule.next_deadline() {
                            now = now.max(at);
                        }
                        let present = ticks(now - start, 0);
                        let mut earliest = 0;
                        while let Some(key) = schedule.pop_due(now) {
                            let due = list.remove(&key);
                            prop_assert!(due.is_some_and(|due| due >= earliest && due <= present));
                            earliest = due.unwrap_or_default();
                        }
                        prop_assert!(list.values().all(|due| *due > present));
                    }
                }
                let first = list.values().min();
                let next = schedule.next_deadline().map(|at| ticks(at - start, 0));
                prop_assert_eq!(first.is_some(), next.is_some());
                prop_assert!(next.zip(first).is_none_or(|(next, first)| next <= *first));
            }
        }
    }
}
