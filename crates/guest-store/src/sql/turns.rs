//! The order in which webhooks get leases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::SqlError;
use super::prepared::Prepared;
use super::rows::{integer, number};
use super::values::params;
use crate::{Limits, Pace};

/// Deliveries of a new webhook under lease at a time. Our choice. [`Pace`] changes it.
const FIRST_LIMIT: usize = 4;

/// The queues of all webhooks, as the writer holds them in memory: up to a kilobyte each.
///
/// A lease reads the rows of the webhooks that changed since the last one, and of those whose time has come. Its cost does
/// not grow with the number of webhooks.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    queues: HashMap<String, Queue>,
    owners: HashMap<String, Owner>,
    /// Leases of all owners.
    in_flight: usize,
    /// The owners with a ready queue and a free lease: fewest leases first, then the order of their first queue.
    order: BTreeSet<(usize, Place, String)>,
    /// When something of a queue can be leased next, past times included.
    due: BTreeSet<(i64, String)>,
    /// When a queue has to be read again.
    wakes: BTreeSet<(i64, String)>,
    /// Queues to be read again.
    stale: BTreeSet<String>,
    /// Queues that were read in the open transaction.
    read: Vec<String>,
    /// Time of the last lease.
    now: i64,
}

/// Position of a ready queue among those of its owner: fewest leases, longest ago turn, oldest due delivery, id.
type Place = (usize, Option<i64>, i64, String);

#[derive(Debug, Default)]
struct Owner {
    in_flight: usize,
    ready: BTreeSet<Place>,
}

/// The queue of a webhook.
#[derive(Clone, Debug)]
struct Queue {
    owner: String,
    /// Allowed number of leases.
    limit: usize,
    in_flight: usize,
    /// Due deliveries, at most `limit`. Zero while the webhook is disabled or rests.
    due: usize,
    last_turn: Option<i64>,
    oldest: i64,
    /// When something can be leased next.
    next: Option<i64>,
    /// When the counts above change by themselves.
    wake: Option<i64>,
}

impl Turns {
    /// The queues of all webhooks, to be read at the next lease.
    pub(crate) fn read(prepared: &mut Prepared<'_>) -> Result<Self, SqlError> {
        let webhooks = prepared.rows("SELECT id FROM webhooks", (), |row| row.get(0))?;
        Ok(Self {
            stale: webhooks.into_iter().collect(),
            ..Self::default()
        })
    }

    /// Handles a change of a queue: it is read again at the next lease.
    pub(crate) fn touch(&mut self, webhook: &str) {
        if !self.stale.contains(webhook) {
            self.stale.insert(webhook.to_owned());
        }
    }

    /// Keeps what was read in the transaction.
    pub(crate) fn commit(&mut self) {
        self.read.clear();
    }

    /// Reads again what was read in the transaction.
    pub(crate) fn roll_back(&mut self) {
        self.stale.extend(self.read.drain(..));
    }

    /// Changes the number of leases that a webhook may have, after the outcome of a delivery.
    pub(crate) fn set_pace(&mut self, webhook: &str, pace: Pace, limits: &Limits) {
        let Some(queue) = self.queues.get_mut(webhook) else {
            return;
        };
        let limit = match pace {
            Pace::Same => return,
            Pace::Faster => queue.limit + 1,
            Pace::Slower => queue.limit / 2,
            Pace::Stopped => 1,
        };
        queue.limit = limit.clamp(1, limits.webhook_leases.max(1));
    }

    /// The time of the next lease, past ones included.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Reads the queues that changed, or whose time has come.
    pub(crate) fn refresh(
        &mut self,
        prepared: &mut Prepared<'_>,
        limits: &Limits,
        now: i64,
    ) -> Result<(), SqlError> {
        if now < self.now {
            self.stale.extend(self.queues.keys().cloned());
        }
        self.now = now;
        while let Some((at, _)) = self.wakes.first()
            && *at <= now
            && let Some((_, webhook)) = self.wakes.pop_first()
        {
            self.stale.insert(webhook);
        }
        while let Some(webhook) = self.stale.first().cloned() {
            let known = self.queues.get(&webhook).map(|queue| queue.limit);
            let limit = known.unwrap_or(FIRST_LIMIT).min(limits.webhook_leases.max(1));
            let queue = read(prepared, &webhook, limit, now)?;
            self.remove(&webhook, limits);
            if let Some(queue) = queue {
                self.insert(&webhook, queue, limits);
            }
            self.stale.remove(&webhook);
            self.read.push(webhook);
        }
        Ok(())
    }

    /// Distributes up to `count` leases. Returns the number of each webhook.
    pub(crate) fn take(&mut self, count: usize, limits: &Limits) -> BTreeMap<String, usize> {
        let mut taken = BTreeMap::new();
        for _ in 0..count {
            // an owner leaves as many leases free as it has, so that hanging endpoints never take the last ones
            let free = limits.leases.saturating_sub(self.in_flight);
            let next = self.order.first().filter(|(of_owner, ..)| *of_owner < free);
            let Some((_, (.., webhook), _)) = next.cloned() else {
                break;
            };
            if let Some(mut queue) = self.remove(&webhook, limits) {
                queue.in_flight += 1;
                queue.due -= 1;
                self.insert(&webhook, queue, limits);
            }
            self.touch(&webhook);
            *taken.entry(webhook).or_default() += 1;
        }
        taken
    }

    fn remove(&mut self, webhook: &str, limits: &Limits) -> Option<Queue> {
        let queue = self.queues.remove(webhook)?;
        let id = || webhook.to_owned();
        self.due.remove(&(queue.next.unwrap_or_default(), id()));
        self.wakes.remove(&(queue.wake.unwrap_or_default(), id()));
        self.in_flight -= queue.in_flight;
        self.change_owner(&queue.owner, limits, |owner| {
            owner.in_flight -= queue.in_flight;
            owner.ready.remove(&queue.place(webhook));
        });
        Some(queue)
    }

    fn insert(&mut self, webhook: &str, queue: Queue, limits: &Limits) {
        let timed = |at: i64| (at, webhook.to_owned());
        self.due.extend(queue.next.map(timed));
        self.wakes.extend(queue.wake.map(timed));
        self.in_flight += queue.in_flight;
        self.change_owner(&queue.owner, limits, |owner| {
            owner.in_flight += queue.in_flight;
            if queue.due > 0 && queue.in_flight < queue.limit {
                owner.ready.insert(queue.place(webhook));
            }
        });
        self.queues.insert(webhook.to_owned(), queue);
    }

    fn change_owner(&mut self, name: &str, limits: &Limits, change: impl FnOnce(&mut Owner)) {
        let mut owner = self.owners.remove(name).unwrap_or_default();
        let entry = |owner: &Owner| {
            let first = owner.ready.first()?.clone();
            (owner.in_flight < limits.owner_leases.max(1)).then(|| (owner.in_flight, first, name.to_owned()))
        };
        if let Some(entry) = entry(&owner) {
            self.order.remove(&entry);
        }
        change(&mut owner);
        self.order.extend(entry(&owner));
        if owner.in_flight > 0 || !owner.ready.is_empty() {
            self.owners.insert(name.to_owned(), owner);
        }
    }
}

impl Queue {
    fn place(&self, webhook: &str) -> Place {
        (self.in_flight, self.last_turn, self.oldest, webhook.to_owned())
    }
}

/// Reads the queue of a webhook. `None` if there is no such webhook.
fn read(
    prepared: &mut Prepared<'_>,
    webhook: &str,
    limit: usize,
    now: i64,
) -> Result<Option<Queue>, SqlError> {
    let params = params![webhook, now, integer(limit as u64)?];
    let mut found = prepared.rows(QUEUE, params, |row| {
        let (is_enabled, rest_until): (bool, Option<i64>) = (row.get(1)?, row.get(2)?);
        // of a retry, or the end of a lease
        let (oldest, later): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
        let next = oldest
            .filter(|_| is_enabled)
            .map(|due| rest_until.map_or(due, |until| until.max(due)));
        let is_awake = next.is_some_and(|next| next <= now);
        let times = [next.filter(|at| *at > now), later];
        Ok(Queue {
            owner: row.get(0)?,
            limit,
            in_flight: number(row, 6)?,
            due: if is_awake { number(row, 7)? } else { 0 },
            last_turn: row.get(3)?,
            oldest: oldest.unwrap_or_default(),
            next,
            wake: times.into_iter().flatten().min(),
        })
    })?;
    Ok(found.pop())
}

/// The queue of a webhook. Its cost does not grow with the number of webhooks, or of their deliveries.
const QUEUE: &str = "SELECT owner, enabled, rest_until, last_turn,
    (SELECT min(due_at) FROM outbox WHERE webhook = ?1),
    (SELECT min(due_at) FROM outbox WHERE webhook = ?1 AND due_at > ?2),
    (SELECT count(*) FROM outbox WHERE webhook = ?1 AND leased = 1 AND due_at > ?2),
    (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE webhook = ?1 AND due_at <= ?2 LIMIT ?3) AS due)
    FROM webhooks WHERE id = ?1";

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use rusqlite::params;

    use super::QUEUE;
    use crate::sqlite::schema;

    #[test]
    fn queue_is_read_by_indexes_of_its_webhook() {
        let connection = schema::open_in_memory().unwrap();
        schema::create_tables(&connection).unwrap();
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {QUEUE}"))
            .unwrap();
        let plan: Vec<String> = statement
            .query_map(params!["w", 0, 4], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let reads: Vec<&String> = plan
            .iter()
            .filter(|step| step.contains("outbox") || step.contains("webhooks"))
            .collect();
        assert_eq!(reads.len(), 5, "{plan:?}");
        for step in reads {
            assert!(step.starts_with("SEARCH"), "{step}");
            assert!(step.contains("(webhook=?") || step.contains("(id=?"), "{step}");
        }
    }
}
