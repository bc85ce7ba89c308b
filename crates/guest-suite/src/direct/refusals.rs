//! Identical refusals, which are counted so that they do not fill the audit log.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit::Draft;
use genesys_api::SessionId;
use guest_store::Unit;

use super::Direct;
use crate::Error;

/// Time in which identical refusals become one entry. Our choice.
const INTERVAL: Duration = Duration::from_secs(60);
/// Largest number of different refusals that are counted at a time. Our choice.
const MAX_COUNTED: usize = 10_000;
/// Largest number of entries of a unit. Our choice.
const MAX_ENTRIES: usize = 1_000;

/// Refusals with equal fields are identical.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Refusal {
    pub(super) session: SessionId,
    pub(super) action: &'static str,
    /// Generation of the refresh tokens that the request did not match.
    pub(super) generation: i64,
}

/// Counts of identical refusals.
#[derive(Debug, Default)]
pub(super) struct RefusalCounter(HashMap<Refusal, Counted>);

#[derive(Clone, Debug)]
struct Counted {
    /// The entry of the last refusal.
    entry: Draft,
    /// Number of refusals that are not logged.
    count: u64,
    until: Instant,
}

impl Counted {
    /// The entry of all counted refusals.
    fn into_entry(self) -> Draft {
        self.entry.detail("count", self.count)
    }

    /// The entry of a refusal that is logged at once, with those that were counted before it.
    fn into_immediate_entry(self) -> Draft {
        match self.count {
            1 => self.entry,
            _ => self.into_entry(),
        }
    }
}

impl RefusalCounter {
    /// Returns the refusals to log at once, or counts the refusal. The first of identical refusals is logged at once, as
    /// is one that exceeds the bound.
    fn count(&mut self, refusal: &Refusal, entry: Draft, now: Instant) -> Option<Counted> {
        if let Some(counted) = self.0.get_mut(refusal) {
            let (is_over, count) = (counted.until <= now, counted.count + 1);
            if !is_over {
                (counted.entry, counted.count) = (entry, count);
                return None;
            }
            // nothing wrote the count yet: this refusal is part of it
            (counted.count, counted.until) = (0, now + INTERVAL);
            let until = now;
            return Some(Counted { entry, count, until });
        }
        if self.0.len() >= MAX_COUNTED {
            self.0
                .retain(|_, counted| counted.count > 0 || counted.until > now);
        }
        if self.0.len() < MAX_COUNTED {
            let counted = Counted {
                entry: entry.clone(),
                count: 0,
                until: now + INTERVAL,
            };
            self.0.insert(refusal.clone(), counted);
        }
        Some(Counted {
            entry,
            count: 1,
            until: now,
        })
    }

    /// Takes the counts whose interval ended at `due` or before, or all.
    fn take(&mut self, due: Option<Instant>) -> Vec<(Refusal, Counted)> {
        let is_due = |_: &Refusal, counted: &mut Counted| due.is_none_or(|due| counted.until <= due);
        let taken = self.0.extract_if(is_due);
        taken.filter(|(_, counted)| counted.count > 0).collect()
    }

    /// Returns counts that could not be logged. They are due again at once.
    fn restore(&mut self, taken: impl IntoIterator<Item = (Refusal, Counted)>) {
        for (refusal, counted) in taken {
            let (count, until) = (counted.count, counted.until);
            self.0
                .entry(refusal)
                .and_modify(|newer| (newer.count, newer.until) = (newer.count + count, until))
                .or_insert(counted);
        }
    }
}

impl Direct {
    /// Logs a refusal at once, or counts it.
    pub(super) async fn log_refusal(&self, refusal: &Refusal, entry: Draft) -> Result<(), Error> {
        let now = self.clock().now().instant;
        let Some(counted) = self.refusals().count(refusal, entry, now) else {
            return Ok(());
        };
        let entry = counted.clone().into_immediate_entry();
        let logged = self.commit(entry.into()).await;
        if logged.is_err() {
            let mut refusals = self.refusals();
            // a first refusal over the bound is not counted, but its caller gets the error
            if counted.count > 1 || refusals.0.contains_key(refusal) {
                refusals.restore([(refusal.clone(), counted)]);
            }
        }
        logged
    }

    /// Logs the counted refusals. Call it before the process stops. Identical refusals of one session within a minute are
    /// one audit entry with their `count`, but for the first, which has its own; the background tasks log it when the
    /// minute is over.
    ///
    /// # Errors
    /// The store's. The counts are then kept.
    pub async fn log_refusals(&self) -> Result<(), Error> {
        self.log_refusals_until(None).await
    }

    /// Logs the refusals whose minute is over.
    pub(super) async fn log_due_refusals(&self) -> Result<(), Error> {
        self.log_refusals_until(Some(self.clock().now().instant)).await
    }

    fn refusals(&self) -> MutexGuard<'_, RefusalCounter> {
        let counter = self.shared.refusals.lock();
        counter.unwrap_or_else(PoisonError::into_inner)
    }

    async fn log_refusals_until(&self, due: Option<Instant>) -> Result<(), Error> {
        let mut taken = self.refusals().take(due);
        while !taken.is_empty() {
            let page = taken.split_off(taken.len().saturating_sub(MAX_ENTRIES));
            let entries = page.iter().map(|(_, counted)| counted.clone().into_entry());
            let unit = Unit {
                entries: entries.collect(),
                ..Unit::default()
            };
            if let Err(error) = self.store().commit(unit).await {
                let mut refusals = self.refusals();
                refusals.restore(page);
                refusals.restore(taken);
                return Err(error.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! Counting, its interval and its bound.

    use audit::Actor;
    use genesys_api::Clock;
    use time::OffsetDateTime;

    use super::*;

    const ACTION: &str = "token.reuse_detected";

    fn refusal(session: &str, generation: i64) -> Refusal {
        Refusal {
            session: session.parse().unwrap(),
            action: ACTION,
            generation,
        }
    }

    fn entry() -> Draft {
        Draft::new(OffsetDateTime::UNIX_EPOCH, Actor::client("spa"), ACTION)
    }

    fn entries(taken: Vec<(Refusal, Counted)>) -> Vec<Draft> {
        taken
            .into_iter()
            .map(|(_, counted)| counted.into_entry())
            .collect()
    }

    /// Counts a refusal, and returns the entry to log at once.
    fn logged(counter: &mut RefusalCounter, refusal: &Refusal, now: Instant) -> Option<Draft> {
        let counted = counter.count(refusal, entry(), now);
        counted.map(Counted::into_immediate_entry)
    }

    #[test]
    fn identical_refusals_of_a_minute_become_one_counted_entry() {
        let (mut counter, start) = (RefusalCounter::default(), Clock::system().now().instant);
        let one = refusal("s-1", 1);
        assert_eq!(logged(&mut counter, &one, start), Some(entry()));
        for _ in 0..1_000 {
            assert_eq!(logged(&mut counter, &one, start), None);
        }
        for other in [refusal("s-1", 2), refusal("s-2", 1)] {
            assert_eq!(logged(&mut counter, &other, start), Some(entry()), "{other:?}");
        }
        assert!(counter.take(Some(start)).is_empty());
        let taken = counter.take(Some(start + INTERVAL));
        assert_eq!(entries(taken), [entry().detail("count", 1_000_u64)]);
        assert!(counter.0.is_empty());
        assert_eq!(logged(&mut counter, &one, start + INTERVAL), Some(entry()));
    }

    #[test]
    fn overdue_count_is_logged_with_the_next_refusal() {
        let (mut counter, start) = (RefusalCounter::default(), Clock::system().now().instant);
        let one = refusal("s-1", 1);
        logged(&mut counter, &one, start);
        assert_eq!(logged(&mut counter, &one, start + INTERVAL), Some(entry()));
        logged(&mut counter, &one, start + INTERVAL);
        let logged = logged(&mut counter, &one, start + INTERVAL * 2);
        assert_eq!(logged, Some(entry().detail("count", 2_u64)));
        assert!(counter.take(None).is_empty());
    }

    #[test]
    fn restored_count_is_not_lost() {
        let (mut counter, start) = (RefusalCounter::default(), Clock::system().now().instant);
        let one = refusal("s-1", 1);
        (0..3).for_each(|_| drop(logged(&mut counter, &one, start)));
        let taken = counter.take(None);
        (0..3).for_each(|_| drop(logged(&mut counter, &one, start)));
        counter.restore(taken);
        assert_eq!(entries(counter.take(None)), [entry().detail("count", 4_u64)]);
    }

    #[test]
    fn refusal_over_the_bound_is_logged_at_once() {
        let (mut counter, start) = (RefusalCounter::default(), Clock::system().now().instant);
        for generation in 0..10_000 {
            logged(&mut counter, &refusal("s-1", generation), start);
        }
        let one = refusal("s-2", 1);
        for _ in 0..2 {
            assert_eq!(logged(&mut counter, &one, start), Some(entry()));
        }
        assert_eq!(counter.0.len(), MAX_COUNTED);
        // a count that is over and logged leaves its room
        let later = start + INTERVAL;
        assert_eq!(logged(&mut counter, &one, later), Some(entry()));
        assert_eq!(logged(&mut counter, &one, later), None);
    }
}
