//! The order of new connections under a rate limit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesys_api::{Gcra, Rate};

/// Connections of several owners that wait for one rate limit. It has no clock and no task.
///
/// The owners take turns, and the connections of one owner keep their order. So an owner waits for at most one slot of each
/// other owner, however many connections of theirs wait.
#[derive(Debug)]
pub struct ConnectQueue<W> {
    rate: Gcra,
    capacity: usize,
    /// The owners of waiting connections, in the order of their turns.
    owners: VecDeque<Owner<W>>,
    tickets: u64,
}

#[derive(Debug)]
struct Owner<W> {
    name: Arc<str>,
    /// Never empty.
    waiting: BTreeMap<u64, W>,
}

/// A waiting connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ticket {
    owner: Arc<str>,
    number: u64,
}

/// The error of a connection whose owner has too many waiting ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{waiting} connections wait for the limit of new connections: connect again in {retry_after:?}")]
#[non_exhaustive]
pub struct QueueFull {
    /// Connections of the owner that wait.
    pub waiting: usize,
    /// Time until those have their slots.
    pub retry_after: Duration,
}

impl<W> ConnectQueue<W> {
    /// An empty queue for this rate. At most `capacity` connections of each owner wait.
    #[must_use]
    pub fn new(rate: Rate, capacity: usize) -> Self {
        Self {
            rate: Gcra::new(rate),
            capacity,
            owners: VecDeque::new(),
            tickets: 0,
        }
    }

    /// Adds a connection of an owner. Its `waiter` is returned with its slot.
    ///
    /// # Errors
    /// If too many connections of the owner wait.
    pub fn enqueue(&mut self, owner: &Arc<str>, waiter: W, now: Instant) -> Result<Ticket, QueueFull> {
        let number = self.tickets;
        self.tickets += 1;
        let ticket = Ticket {
            owner: Arc::clone(owner),
            number,
        };
        let Some(at) = self.owners.iter().position(|known| known.name == *owner) else {
            self.owners.push_back(Owner {
                name: Arc::clone(owner),
                waiting: BTreeMap::from([(number, waiter)]),
            });
            return Ok(ticket);
        };
        let waiting = self.owners[at].waiting.len();
        if waiting >= self.capacity {
            let slot = self.rate.slot_after(self.ahead(at, waiting), now);
            return Err(QueueFull {
                waiting,
                retry_after: slot.saturating_duration_since(now),
            });
        }
        self.owners[at].waiting.insert(number, waiter);
        Ok(ticket)
    }

    /// Removes a connection that is no longer wanted.
    pub fn cancel(&mut self, ticket: &Ticket) {
        if let Some(at) = self.position(ticket) {
            self.owners[at].waiting.remove(&ticket.number);
            if self.owners[at].waiting.is_empty() {
                self.owners.remove(at);
            }
        }
    }

    /// Takes the next connection, if there is a slot for it, and returns its waiter.
    pub fn poll_slot(&mut self, now: Instant) -> Option<W> {
        if self.owners.is_empty() || self.rate.try_acquire(now).is_err() {
            return None;
        }
        let mut owner = self.owners.pop_front()?;
        let (_, waiter) = owner.waiting.pop_first()?;
        if !owner.waiting.is_empty() {
            self.owners.push_back(owner);
        }
        Some(waiter)
    }

    /// The waiter of the next connection.
    #[must_use]
    pub fn peek(&self) -> Option<&W> {
        let owner = self.owners.front()?;
        owner.waiting.first_key_value().map(|(_, waiter)| waiter)
    }

    /// Returns the time at which a connection gets its slot, if no other owner joins and none is canceled. `None` if it no
    /// longer waits.
    #[must_use]
    pub fn expected(&self, ticket: &Ticket, now: Instant) -> Option<Instant> {
        let at = self.position(ticket)?;
        let before = self.owners[at].waiting.range(..ticket.number).count();
        Some(self.rate.slot_after(self.ahead(at, before), now))
    }

    /// Connections that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.owners.iter().map(|owner| owner.waiting.len()).sum()
    }

    /// The slots before that of a connection which has `before` others of the same owner, the one `at` this position.
    fn ahead(&self, at: usize, before: usize) -> u32 {
        let turns = self.owners.iter().enumerate().map(|(position, owner)| {
            let turns = before + usize::from(position < at);
            turns.min(owner.waiting.len())
        });
        u32::try_from(turns.sum::<usize>()).unwrap_or(u32::MAX)
    }

    fn position(&self, ticket: &Ticket) -> Option<usize> {
        let is_waiting =
            |owner: &Owner<W>| owner.name == ticket.owner && owner.waiting.contains_key(&ticket.number);
        self.owners.iter().position(is_waiting)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        limit: 900,
        period: Duration::from_secs(60),
        burst: 15,
    };
    /// The time between two slots, rounded up.
    const SLOT: Duration = Duration::from_millis(67);

    fn epoch() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can be had from nowhere else"
        )]
        Instant::now()
    }

    /// Takes all slots until the queue is empty. Returns each waiter with its wait.
    fn drain<W>(queue: &mut ConnectQueue<W>, start: Instant) -> Vec<(W, Duration)> {
        let (mut now, mut slots) = (start, Vec::new());
        while queue.waiting() > 0 {
            match queue.poll_slot(now) {
                Some(waiter) => slots.push((waiter, now - start)),
                None => now = queue.rate.check(now).unwrap_err(),
            }
        }
        slots
    }

    #[test]
    fn guest_of_another_client_waits_for_one_slot_behind_four_hundred() {
        let (start, crowd, other) = (epoch(), "crowd".into(), "other".into());
        let mut queue = ConnectQueue::new(RATE, 900);
        for number in 0..400 {
            queue.enqueue(&crowd, number, start).unwrap();
        }
        // the burst is used up
        for number in 0..15 {
            assert_eq!(queue.poll_slot(start), Some(number));
        }
        let ticket = queue.enqueue(&other, 1_000, start).unwrap();
        let expected = queue.expected(&ticket, start).unwrap() - start;
        let slots = drain(&mut queue, start);
        let (_, wait) = slots.iter().find(|(waiter, _)| *waiter == 1_000).unwrap();
        assert!(*wait <= 2 * SLOT, "{wait:?}");
        assert!(wait.abs_diff(expected) <= Duration::from_millis(1));
        let last = slots.last().unwrap().1;
        assert!(last.abs_diff(386 * SLOT) < Duration::from_secs(1), "{last:?}");
    }

    #[test]
    fn canceled_connections_take_no_slot() {
        let (start, owner) = (epoch(), "shop".into());
        let mut queue = ConnectQueue::new(RATE, 900);
        let tickets: Vec<_> = (0..400)
            .map(|number| queue.enqueue(&owner, number, start).unwrap())
            .collect();
        for ticket in &tickets[15..399] {
            queue.cancel(ticket);
            queue.cancel(ticket);
        }
        assert_eq!(queue.waiting(), 16);
        let slots = drain(&mut queue, start);
        let (waiter, wait) = *slots.last().unwrap();
        assert_eq!(waiter, 399);
        assert!(wait <= SLOT, "{wait:?}");
        assert_eq!(queue.expected(&tickets[399], start), None);
    }

    #[test]
    fn full_queue_of_an_owner_refuses_only_that_owner_and_says_how_long() {
        let (start, crowd, other) = (epoch(), "crowd".into(), "other".into());
        let mut queue = ConnectQueue::new(RATE, 315);
        for number in 0..315 {
            queue.enqueue(&crowd, number, start).unwrap();
        }
        let full = queue.enqueue(&crowd, 315, start).unwrap_err();
        assert_eq!(full.waiting, 315);
        assert!(full.retry_after.abs_diff(301 * SLOT) < Duration::from_secs(1));
        queue.enqueue(&other, 1_000, start).unwrap();
        assert!(
            drain(&mut queue, start)
                .iter()
                .any(|(waiter, _)| *waiter == 1_000)
        );
        assert!(
            queue.owners.is_empty(),
            "an owner without connections is forgotten"
        );
    }

    proptest! {
        #[test]
        fn connections_keep_their_order_and_the_limit_and_get_the_expected_slot(
            counts in proptest::collection::vec(1_usize..60, 1..6),
            burst in 1_u32..30,
        ) {
            let start = epoch();
            let rate = Rate { burst, ..RATE };
            let mut queue = ConnectQueue::new(rate, 900);
            let mut expected = HashMap::new();
            let mut tickets = Vec::new();
            for (owner, count) in counts.iter().enumerate() {
                let name: Arc<str> = owner.to_string().into();
                for number in 0..*count {
                    tickets.push(((owner, number), queue.enqueue(&name, (owner, number), start).unwrap()));
                }
            }
            for (waiter, ticket) in tickets {
                expected.insert(waiter, queue.expected(&ticket, start).unwrap() - start);
            }
            let slots = drain(&mut queue, start);
            let mut last = vec![None; counts.len()];
            for (at, ((owner, number), wait)) in slots.iter().enumerate() {
                prop_assert!(last[*owner].replace(*number) < Some(*number));
                prop_assert!(wait.abs_diff(expected[&(*owner, *number)]) <= Duration::from_millis(2));
                let in_minute = slots[..=at].iter().filter(|(_, other)| *other + rate.period > *wait).count();
                prop_assert!(in_minute < (rate.limit + rate.burst) as usize);
            }
        }
    }
}
