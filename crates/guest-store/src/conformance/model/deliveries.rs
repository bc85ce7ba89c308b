//! Deliveries of the model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Delivery, LIMITS, Model, owner};
use crate::{Leased, Settled, StoreErrorKind};

impl Model {
    pub(super) fn is_too_full(&self, of: &str) -> bool {
        let waiting = |own: bool| {
            let pending = self.outbox.iter().filter(|delivery| delivery.due.is_some());
            let counted = pending.filter(|delivery| !own || owner(delivery.webhook) == of);
            counted.fold((0, 0), |(rows, bytes), delivery| {
                (rows + 1, bytes + delivery.bytes)
            })
        };
        let (all, own) = (waiting(false), waiting(true));
        all.0 > LIMITS.outbox_rows
            || all.1 > LIMITS.outbox_bytes
            || own.0 > LIMITS.owner_outbox_rows
            || own.1 > LIMITS.owner_outbox_bytes
    }

    /// Gives up a delivery, and forgets the oldest that was given up if there are too many.
    pub(super) fn dead_letter(&mut self, index: usize) {
        let delivery = &mut self.outbox[index];
        (delivery.due, delivery.bytes) = (None, 0);
        let dead = |delivery: &Delivery| delivery.due.is_none();
        if self.outbox.iter().filter(|delivery| dead(delivery)).count() as u64 > LIMITS.outbox_dead {
            let oldest = self.outbox.iter().position(dead).expect("there is one");
            self.outbox.remove(oldest);
        }
    }

    pub(super) fn dead_letter_all(&mut self, webhook: u8) {
        let waits = |delivery: &Delivery| delivery.webhook == webhook && delivery.due.is_some();
        while let Some(index) = self.outbox.iter().position(waits) {
            self.dead_letter(index);
        }
    }

    /// Checks what was leased: what comes next is of the webhook with the fewest under lease, then of the one with the
    /// longest ago turn, then of the one that waits the longest.
    pub(super) fn lease(&mut self, leased: &[Leased], limit: usize, seconds: u64) {
        let now = self.now;
        let mut turns = BTreeMap::new();
        for (id, webhook) in &self.webhooks {
            let of_it = || self.outbox.iter().filter(|delivery| delivery.webhook == *id);
            let under_lease = of_it().filter(|delivery| delivery.is_leased && delivery.due > Some(now));
            let mut due: Vec<_> = of_it()
                .filter(|delivery| delivery.due.is_some_and(|due| due <= now))
                .collect();
            due.sort_by_key(|delivery| delivery.due);
            if webhook.is_on && webhook.rest_until.is_none_or(|until| until <= now) && !due.is_empty() {
                let ids: VecDeque<_> = due.iter().map(|delivery| delivery.id.clone()).collect();
                turns.insert(*id, (under_lease.count(), webhook.last_turn, due[0].due, ids));
            }
        }
        let mut expected = BTreeSet::new();
        while expected.len() < limit {
            let waits =
                |turn: &(usize, Option<i64>, Option<i64>, VecDeque<String>)| turn.0 < 4 && !turn.3.is_empty();
            let next = turns.iter_mut().filter(|(_, turn)| waits(turn));
            let Some((id, turn)) = next.min_by_key(|(id, turn)| (turn.0, turn.1, turn.2, **id)) else {
                break;
            };
            turn.0 += 1;
            expected.extend(turn.3.pop_front());
            self.webhooks.get_mut(id).expect("it is there").last_turn = Some(now);
        }
        let ids: BTreeSet<_> = leased.iter().map(|lease| lease.id.clone()).collect();
        assert_eq!((&ids, ids.len()), (&expected, leased.len()));
        for lease in leased {
            let mut of_that_id = self.outbox.iter_mut().filter(|delivery| delivery.id == lease.id);
            let delivery = of_that_id.next().expect("it is in the outbox");
            delivery.attempt += 1;
            assert_eq!(lease.attempt, delivery.attempt);
            assert!(lease.fence > delivery.fence);
            delivery.fence = lease.fence;
            delivery.is_leased = true;
            delivery.due = Some(now + i64::try_from(seconds).expect("a few"));
        }
    }

    pub(super) fn settle(
        &mut self,
        lease: &Leased,
        settled: Settled,
        rest: Option<i64>,
        disable: bool,
    ) -> Result<(), StoreErrorKind> {
        let now = self.now;
        let found = self.outbox.iter().position(|delivery| {
            delivery.id == lease.id && delivery.fence == lease.fence && delivery.due.is_some()
        });
        let index = found.ok_or(StoreErrorKind::Fenced)?;
        let delivery = &mut self.outbox[index];
        // the next lease has a higher one
        delivery.fence += 1;
        delivery.is_leased = false;
        let id = delivery.webhook;
        match settled {
            Settled::Delivered => drop(self.outbox.remove(index)),
            Settled::RetryAt(_) => delivery.due = Some(now + 50),
            Settled::Dead => self.dead_letter(index),
        }
        let webhook = self.webhooks.get_mut(&id).expect("it outlives its deliveries");
        if settled == Settled::Delivered {
            (webhook.failing_since, webhook.failures) = (None, 0);
        } else {
            webhook.failing_since.get_or_insert(now);
            webhook.failures += 1;
        }
        webhook.rest_until = webhook.rest_until.max(rest.map(|seconds| now + seconds));
        if disable {
            (webhook.is_on, webhook.version) = (false, webhook.version + 1);
            self.dead_letter_all(id);
        }
        self.entries += 1;
        Ok(())
    }
}
