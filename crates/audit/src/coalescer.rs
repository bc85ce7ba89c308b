//! Identical entries, which are counted so that they do not fill the log.

use std::collections::HashMap;
use std::collections::hash_map;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::{ActorKind, Draft, Value};

/// Time in which identical entries become one. Our choice.
const INTERVAL: Duration = Duration::from_secs(60);
/// Largest number of different entries that are counted at a time. Our choice.
const MAX_COUNTED: usize = 10_000;
/// The detail with the number of identical entries.
const COUNT: &str = "count";
/// The detail of an entry that stands for several subjects, and the id of its actor if those are guests.
const VARIOUS: &str = "various";

/// Counts identical entries, such as refusals that an attacker can repeat.
///
/// Entries are identical if they differ in their time only. The first one is appended at once. Those of the minute after
/// it become one entry with their number as the detail `count`, at the time of the last one.
///
/// At most 10,000 different entries are counted at a time, until [`poll_entries`](Self::poll_entries) takes them. Further
/// ones lose their subject and details, and get the detail `various`. The id of a guest's actor becomes `various`: there is
/// one entry of each action and outcome for all guests, and one for each other actor.
///
/// The counts are in memory. The process appends those of [`drain`](Self::drain) before it stops. One that is killed
/// loses the counts of a minute.
#[derive(Debug, Default)]
pub struct Coalescer {
    /// By their draft at [`OffsetDateTime::UNIX_EPOCH`].
    counted: HashMap<Draft, Counted>,
}

#[derive(Debug)]
struct Counted {
    /// Time of the last identical entry.
    at: OffsetDateTime,
    /// Number of entries that are not appended.
    count: u64,
    until: Instant,
}

impl Coalescer {
    /// Returns the entry to append at once, or counts it.
    #[must_use]
    pub fn handle_entry(&mut self, entry: Draft, now: Instant) -> Option<Draft> {
        let (at, key) = self.key(entry);
        let until = now + INTERVAL;
        match self.counted.entry(key) {
            hash_map::Entry::Occupied(mut known) => {
                let counted = known.get_mut();
                (counted.at, counted.count) = (at, counted.count + 1);
                if now < counted.until {
                    return None;
                }
                // nothing has appended the count yet: this entry is part of it
                counted.until = until;
                let count = std::mem::take(&mut counted.count);
                Some(with_count(known.key().clone(), at, count))
            }
            hash_map::Entry::Vacant(new) => {
                let entry = Draft {
                    at,
                    ..new.key().clone()
                };
                let count = 0;
                new.insert(Counted { at, count, until });
                Some(entry)
            }
        }
    }

    /// Takes the counted entries whose minute is over.
    pub fn poll_entries(&mut self, now: Instant) -> Vec<Draft> {
        self.take(|counted| counted.until <= now)
    }

    /// Takes all counted entries.
    pub fn drain(&mut self) -> Vec<Draft> {
        self.take(|_| true)
    }

    /// Counts entries again that could not be appended. They are due at once.
    pub fn restore(&mut self, entries: impl IntoIterator<Item = Draft>, now: Instant) {
        for mut entry in entries {
            let restored = match entry.detail.remove(COUNT) {
                Some(Value::Integer(count)) => count.unsigned_abs(),
                _ => 1,
            };
            let (at, key) = self.key(entry);
            let counted = self.counted.entry(key).or_insert(Counted {
                at,
                count: 0,
                until: now,
            });
            (counted.count, counted.until) = (counted.count + restored, now);
        }
    }

    fn take(&mut self, is_due: impl Fn(&Counted) -> bool) -> Vec<Draft> {
        let taken = self.counted.extract_if(|_, counted| is_due(counted));
        let taken = taken.filter(|(_, counted)| counted.count > 0);
        taken
            .map(|(key, counted)| with_count(key, counted.at, counted.count))
            .collect()
    }

    /// The time of an entry, and the key under which it is counted.
    fn key(&self, mut entry: Draft) -> (OffsetDateTime, Draft) {
        let at = std::mem::replace(&mut entry.at, OffsetDateTime::UNIX_EPOCH);
        if self.counted.len() >= MAX_COUNTED && !self.counted.contains_key(&entry) {
            entry.subject = None;
            entry.detail = [(VARIOUS.to_owned(), true.into())].into();
            if entry.actor.kind == ActorKind::Guest {
                entry.actor.id = VARIOUS.to_owned();
            }
        }
        (at, entry)
    }
}

/// The entry of identical ones at the time of the last.
fn with_count(entry: Draft, at: OffsetDateTime, count: u64) -> Draft {
    let entry = Draft { at, ..entry };
    match count {
        1 => entry,
        _ => entry.detail(COUNT, count),
    }
}

#[cfg(test)]
mod tests {
    //! Counting, its interval and its bound.

    use super::*;
    use crate::{Actor, Pseudonym};

    fn entry(session: &str) -> Draft {
        let entry = Draft::new(
            OffsetDateTime::UNIX_EPOCH,
            Actor::client("spa"),
            "token.reuse_detected",
        );
        entry
            .subject(Pseudonym::of(&[0; 32], session))
            .detail("generation", 1_u64)
    }

    fn later(entry: Draft, seconds: i64) -> Draft {
        Draft {
            at: OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds),
            ..entry
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    fn start() -> (Coalescer, Instant) {
        (Coalescer::default(), Instant::now())
    }

    #[test]
    fn identical_entries_of_a_minute_become_one_counted_entry() {
        let (mut counter, start) = start();
        let one = entry("s-1");
        assert_eq!(counter.handle_entry(one.clone(), start), Some(one.clone()));
        for second in 1..=1_000 {
            assert_eq!(counter.handle_entry(later(one.clone(), second), start), None);
        }
        for other in [entry("s-2"), entry("s-1").detail("generation", 2_u64)] {
            assert_eq!(counter.handle_entry(other.clone(), start), Some(other));
        }
        assert!(counter.poll_entries(start).is_empty());
        let counted = later(one.clone(), 1_000).detail("count", 1_000_u64);
        assert_eq!(counter.poll_entries(start + INTERVAL), [counted]);
        assert!(counter.counted.is_empty());
        assert_eq!(counter.handle_entry(one.clone(), start + INTERVAL), Some(one));
    }

    #[test]
    fn overdue_count_is_returned_with_the_next_entry() {
        let (mut counter, start) = start();
        let one = entry("s-1");
        let mut handle = |now| counter.handle_entry(one.clone(), now);
        assert_eq!(handle(start), Some(one.clone()));
        assert_eq!(handle(start + INTERVAL), Some(one.clone()));
        assert_eq!(handle(start + INTERVAL), None);
        let counted = one.clone().detail("count", 2_u64);
        assert_eq!(handle(start + INTERVAL * 2), Some(counted));
        assert!(counter.drain().is_empty());
    }

    #[test]
    fn restored_count_is_not_lost() {
        let (mut counter, start) = start();
        let one = entry("s-1");
        let count_three = |counter: &mut Coalescer| {
            (0..3)
                .filter_map(|_| counter.handle_entry(one.clone(), start))
                .count()
        };
        assert_eq!(count_three(&mut counter), 1);
        let taken = counter.drain();
        assert_eq!(count_three(&mut counter), 1);
        counter.restore(taken, start);
        // a first entry that was not appended is part of the count
        counter.restore([one.clone()], start);
        let counted = one.clone().detail("count", 5_u64);
        assert_eq!(counter.poll_entries(start), [counted]);
    }

    #[test]
    fn entries_over_the_bound_are_counted_without_subject() {
        let (mut counter, start) = start();
        for session in 0..MAX_COUNTED {
            assert!(
                counter
                    .handle_entry(entry(&format!("s-{session}")), start)
                    .is_some()
            );
        }
        let various = Draft {
            subject: None,
            detail: [(VARIOUS.to_owned(), true.into())].into(),
            ..entry("s")
        };
        assert_eq!(counter.handle_entry(entry("x-1"), start), Some(various.clone()));
        for session in 2..=4 {
            assert_eq!(counter.handle_entry(entry(&format!("x-{session}")), start), None);
        }
        assert_eq!(counter.handle_entry(entry("s-1"), start), None);
        assert_eq!(counter.counted.len(), MAX_COUNTED + 1);
        // entries that are over leave their room
        let later = start + INTERVAL;
        let counted = counter.poll_entries(later);
        assert_eq!(counted.len(), 2);
        assert!(counted.contains(&various.detail("count", 3_u64)));
        assert!(counted.contains(&entry("s-1")));
        assert_eq!(counter.handle_entry(entry("x-1"), later), Some(entry("x-1")));
    }

    #[test]
    fn guests_over_the_bound_are_counted_as_one_actor() {
        let (mut counter, start) = start();
        let opened = |guest: usize| {
            let guest = Pseudonym::of(&[0; 32], &guest.to_string());
            Draft::new(OffsetDateTime::UNIX_EPOCH, Actor::guest(guest), "ws.opened").subject(guest)
        };
        for guest in 0..MAX_COUNTED {
            assert!(counter.handle_entry(opened(guest), start).is_some());
        }
        let first = counter.handle_entry(opened(MAX_COUNTED), start).unwrap();
        assert_eq!((first.actor.id.as_str(), first.subject), (VARIOUS, None));
        for guest in 1..=100 {
            assert_eq!(counter.handle_entry(opened(MAX_COUNTED + guest), start), None);
        }
        assert_eq!(counter.counted.len(), MAX_COUNTED + 1);
    }
}
