//! The memory of received deliveries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime};

/// The ids of received deliveries, so that each is processed once: a sender repeats a delivery whose answer it did not get.
///
/// [`begin`](Self::begin) the processing of a verified delivery, then [`complete`](Self::complete) or
/// [`abort`](Self::abort) it. The ids are in memory: a receiver that must not process a delivery twice after a restart keeps
/// them in its database, in the transaction of the processing.
#[derive(Clone, Debug)]
pub struct ReplayCache {
    capacity: usize,
    retention: Duration,
    entries: BTreeMap<Arc<str>, Entry>,
    by_expiry: BTreeSet<(OffsetDateTime, Arc<str>)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    expiry: OffsetDateTime,
    is_processed: bool,
}

impl ReplayCache {
    /// A cache of at most `capacity` ids, each for `retention`. Two days are longer than the gateway repeats a delivery by
    /// its default schedule.
    ///
    /// An id takes about 200 bytes of memory and twice its length.
    #[must_use]
    pub fn new(capacity: usize, retention: Duration) -> Self {
        Self {
            capacity,
            retention,
            entries: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
        }
    }

    /// Records that the processing of a delivery begins. `now` is `SystemTime::now()` or an `OffsetDateTime`.
    ///
    /// # Errors
    /// If the delivery was or is processed, or the cache is full: then do not process it.
    pub fn begin(&mut self, id: &str, now: impl Into<OffsetDateTime>) -> Result<(), ReplayError> {
        let now = now.into();
        while self.by_expiry.first().is_some_and(|(expiry, _)| *expiry <= now) {
            let first = self.by_expiry.pop_first();
            self.entries
                .remove(first.map(|(_, id)| id).as_deref().unwrap_or_default());
        }
        match self.entries.get(id) {
            Some(Entry {
                is_processed: true, ..
            }) => return Err(ReplayError::Processed),
            Some(_) => return Err(ReplayError::InProgress),
            None => {}
        }
        if self.entries.len() >= self.capacity {
            let first = self.by_expiry.first();
            let wait = first.and_then(|(expiry, _)| (*expiry - now).try_into().ok());
            let retry_after = wait.unwrap_or(self.retention);
            return Err(ReplayError::Full { retry_after });
        }
        let retention = self.retention.try_into().unwrap_or(time::Duration::MAX);
        let expiry = now
            .checked_add(retention)
            .unwrap_or(PrimitiveDateTime::MAX.assume_utc());
        let id: Arc<str> = id.into();
        self.by_expiry.insert((expiry, Arc::clone(&id)));
        let is_processed = false;
        self.entries.insert(id, Entry { expiry, is_processed });
        Ok(())
    }

    /// Records that a delivery was processed.
    pub fn complete(&mut self, id: &str) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.is_processed = true;
        }
    }

    /// Forgets a delivery that could not be processed, so that the next attempt of its sender is.
    pub fn abort(&mut self, id: &str) {
        if let Some((id, entry)) = self.entries.remove_entry(id) {
            self.by_expiry.remove(&(entry.expiry, id));
        }
    }
}

/// The reason that a delivery is not processed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The cache is full of ids that have not expired.
    #[error(
        "cannot store the id of the delivery: the replay cache is full, answer 503 with Retry-After: {}",
        retry_after.as_secs() + 1
    )]
    Full {
        /// Time until the next id expires.
        retry_after: Duration,
    },
    /// An earlier attempt of the delivery is being processed.
    #[error("cannot process the delivery now: an earlier attempt is in progress, answer 409")]
    InProgress,
    /// The delivery was processed.
    #[error("repeated delivery: it was processed, answer 200")]
    Processed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    fn cache(capacity: usize) -> ReplayCache {
        ReplayCache::new(capacity, Duration::from_secs(600))
    }

    #[test]
    fn delivery_is_processed_once_within_the_retention() {
        let mut cache = cache(10);
        assert_eq!(cache.begin("a", at(0)), Ok(()));
        assert_eq!(cache.begin("a", at(1)), Err(ReplayError::InProgress));
        cache.complete("a");
        assert_eq!(cache.begin("a", at(599)), Err(ReplayError::Processed));
        assert_eq!(cache.begin("b", at(599)), Ok(()));
        assert_eq!(cache.begin("a", at(600)), Ok(()));
    }

    #[test]
    fn failed_delivery_is_processed_at_the_next_attempt() {
        let mut cache = cache(1);
        for _ in 0..1_000 {
            assert_eq!(cache.begin("a", at(0)), Ok(()));
            cache.abort("a");
        }
        assert_eq!((cache.entries.len(), cache.by_expiry.len()), (0, 0));
        cache.abort("unknown");
        cache.complete("unknown");
        assert_eq!(cache.begin("a", at(0)), Ok(()));
    }

    #[test]
    fn full_cache_forgets_no_id_before_its_time() {
        let mut cache = cache(3);
        for (id, second) in [("a", 0), ("b", 100), ("c", 200)] {
            assert_eq!(cache.begin(id, at(second)), Ok(()));
            cache.complete(id);
        }
        let retry_after = Duration::from_secs(300);
        let full = cache.begin("d", at(300)).unwrap_err();
        assert_eq!(full, ReplayError::Full { retry_after });
        assert!(full.to_string().ends_with("Retry-After: 301"), "{full}");
        for id in ["a", "b", "c"] {
            assert_eq!(cache.begin(id, at(300)), Err(ReplayError::Processed), "{id}");
        }
        assert_eq!(cache.begin("d", at(600)), Ok(()));
        assert_eq!(cache.entries.len(), 3);
    }

    #[test]
    fn cache_is_exact_when_the_clock_moves_back() {
        let mut cache = cache(2);
        assert_eq!(cache.begin("a", at(1_000)), Ok(()));
        assert_eq!(cache.begin("b", at(0)), Ok(()));
        assert_eq!(cache.begin("a", at(700)), Err(ReplayError::InProgress));
        assert_eq!(cache.begin("b", at(700)), Ok(()));
    }

    #[test]
    fn limits_of_time_and_capacity_do_not_panic() {
        let mut endless = ReplayCache::new(1, Duration::MAX);
        assert_eq!(endless.begin("a", at(0)), Ok(()));
        let mut none = cache(0);
        let retry_after = Duration::from_secs(600);
        assert_eq!(none.begin("a", at(0)), Err(ReplayError::Full { retry_after }));
    }
}
