//! Deliveries of the model.

use std::collections::BTreeMap;

use super::{Delivery, Kind, LIMITS, Model, at, owner, webhook_id};
use crate::{
    DeliveryKind, DeliveryQuery, DeliverySelect, DeliveryState, Leased, Payload, Settled, Store,
    StoreErrorKind,
};

impl Model {
    /// Whether the event is queued. Otherwise it joins the snapshot of its session.
    pub(super) fn queue_event(&mut self, webhook: u8, id: String, session: String) -> bool {
        let is_ordered = self.webhooks[&webhook].is_ordered;
        let has_room = (self.pending(webhook) as u64) < LIMITS.webhook_queue_rows;
        let delivery = Delivery {
            id,
            webhook,
            session,
            kind: Kind::Event,
            range: (self.sequence, self.sequence),
            at: self.now,
            due: (!is_ordered).then_some(self.now),
            waits: is_ordered,
            is_leased: false,
            fence: 0,
            attempt: 0,
        };
        let session = delivery.session.clone();
        if has_room {
            self.outbox.push(delivery);
            self.order(webhook, &session);
            return true;
        }
        self.join_snapshot(&delivery);
        self.order(webhook, &session);
        self.release_if_idle(webhook);
        false
    }

    /// Number of pending events of a webhook.
    fn pending(&self, webhook: u8) -> usize {
        let of_it = self.outbox.iter().filter(|delivery| delivery.webhook == webhook);
        of_it.filter(|delivery| delivery.kind == Kind::Event).count()
    }

    fn join_snapshot(&mut self, lost: &Delivery) {
        let is_its = |delivery: &&mut Delivery| {
            delivery.kind == Kind::Snapshot
                && (delivery.webhook, &delivery.session) == (lost.webhook, &lost.session)
        };
        if let Some(snapshot) = self.outbox.iter_mut().find(is_its) {
            let (first, last) = snapshot.range;
            snapshot.range = (first.min(lost.range.0), last.max(lost.range.1));
            let is_released = snapshot.due == Some(snapshot.at);
            snapshot.at = snapshot.at.min(lost.at);
            if is_released {
                snapshot.due = Some(snapshot.at);
            }
        } else {
            self.outbox.push(Delivery {
                id: String::new(),
                kind: Kind::Snapshot,
                due: None,
                waits: false,
                is_leased: false,
                fence: 0,
                attempt: 0,
                ..lost.clone()
            });
        }
    }

    /// Makes all that waits for a webhook due that is enabled again.
    pub(super) fn resume(&mut self, webhook: u8) {
        let is_free = |delivery: &&mut Delivery| delivery.webhook == webhook && !delivery.is_leased;
        for delivery in self.outbox.iter_mut().filter(is_free) {
            if delivery.kind == Kind::Event {
                (delivery.due, delivery.attempt) = ((!delivery.waits).then_some(delivery.at), 0);
            } else if delivery.due.take().is_some() {
                delivery.attempt = 0;
            }
        }
        self.release(webhook);
    }

    /// Makes the next event of a session due, if none is, and its snapshot wait for the events before the end of its range.
    fn order(&mut self, webhook: u8, session: &str) {
        if !self.webhooks[&webhook].is_ordered {
            return;
        }
        let is_its = |delivery: &&mut Delivery| (delivery.webhook, &*delivery.session) == (webhook, session);
        let of_it = self.outbox.iter_mut().filter(is_its);
        let (mut events, rest): (Vec<_>, Vec<_>) = of_it.partition(|delivery| delivery.kind == Kind::Event);
        events.sort_by_key(|event| event.range);
        if events.iter().all(|event| event.waits)
            && let Some(next) = events.first_mut()
        {
            (next.waits, next.due) = (false, Some(next.at));
        }
        let is_free = |delivery: &&mut Delivery| delivery.kind == Kind::Snapshot && !delivery.is_leased;
        for snapshot in rest.into_iter().filter(is_free) {
            let waits = events
                .first()
                .is_some_and(|event| event.range < (snapshot.range.1, 0));
            if waits != snapshot.waits {
                snapshot.waits = waits;
                snapshot.due = snapshot.due.filter(|due| *due > snapshot.at);
            }
        }
    }

    /// Begins or ends the order of a webhook.
    pub(super) fn set_order(&mut self, webhook: u8) {
        let is_ordered = self.webhooks[&webhook].is_ordered;
        let mut sessions = Vec::new();
        for delivery in self
            .outbox
            .iter_mut()
            .filter(|delivery| delivery.webhook == webhook)
        {
            let is_event = delivery.kind == Kind::Event;
            if is_ordered && is_event && delivery.attempt == 0 {
                (delivery.waits, delivery.due) = (true, None);
            } else if !is_ordered && delivery.waits {
                delivery.waits = false;
                delivery.due = if is_event { Some(delivery.at) } else { delivery.due };
            }
            sessions.push(delivery.session.clone());
        }
        for session in sessions {
            self.order(webhook, &session);
        }
    }

    /// Compares when the events of the queues are due, and what they wait for.
    pub(super) async fn compare_queues(&self, store: &dyn Store, after: &str) {
        for webhook in self.webhooks.keys().copied() {
            let query = DeliveryQuery {
                webhook: webhook_id(webhook),
                select: DeliverySelect::State(DeliveryState::Waiting, None),
            };
            let found = store.deliveries(query, 100).await.expect("readable").into_iter();
            let mut found: Vec<_> = found
                .filter(|delivery| matches!(delivery.kind, DeliveryKind::Event(_)))
                .map(|delivery| (delivery.id, delivery.due_at, delivery.waits_for))
                .collect();
            found.sort_unstable();
            let events = || {
                let of_it = self.outbox.iter().filter(|delivery| delivery.webhook == webhook);
                of_it.filter(|delivery| delivery.kind == Kind::Event)
            };
            let expected = events().map(|event| {
                let first = events().filter(|other| other.session == event.session && !other.waits);
                let first = first.min_by_key(|other| other.range).filter(|_| event.waits);
                let waits_for = first.map(|first| first.id.clone());
                (event.id.clone(), event.due.map(at), waits_for)
            });
            let mut expected: Vec<_> = expected.collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "after {after}");
        }
    }

    pub(super) fn announce_erasure(&mut self, session: &str, sequence: u64) {
        let webhooks = self.webhooks.keys().copied();
        for webhook in webhooks
            .filter(|webhook| owner(*webhook) == "o")
            .collect::<Vec<_>>()
        {
            let mut range = (sequence, sequence);
            self.outbox.retain(|delivery| {
                let is_of_it = delivery.kind != Kind::Erasure
                    && (delivery.webhook, delivery.session.as_str()) == (webhook, session);
                if is_of_it {
                    range = (range.0.min(delivery.range.0), range.1.max(delivery.range.1));
                }
                !is_of_it
            });
            self.outbox.push(Delivery {
                id: String::new(),
                webhook,
                session: session.to_owned(),
                kind: Kind::Erasure,
                range,
                at: self.now,
                due: None,
                waits: false,
                is_leased: false,
                fence: 0,
                attempt: 0,
            });
            self.release_if_idle(webhook);
        }
    }

    /// Makes snapshots due until four are due or under lease and have not failed.
    pub(super) fn release(&mut self, webhook: u8) {
        if !self.webhooks[&webhook].is_on {
            return;
        }
        let mut active = 0;
        for delivery in self.outbox.iter().filter(|delivery| delivery.webhook == webhook) {
            let is_fresh = delivery.is_leased || delivery.due == Some(delivery.at);
            active += usize::from(delivery.kind != Kind::Event && is_fresh);
        }
        let waits = |delivery: &&mut Delivery| {
            delivery.webhook == webhook && delivery.due.is_none() && !delivery.waits
        };
        let waiting = self.outbox.iter_mut().filter(waits);
        for delivery in waiting.take(4_usize.saturating_sub(active)) {
            delivery.due = Some(delivery.at);
        }
    }

    fn release_if_idle(&mut self, webhook: u8) {
        if self.pending(webhook) == 0 {
            self.release(webhook);
        }
    }

    /// Checks what was leased: what comes next is of the owner with the fewest under lease, then of the webhook with the
    /// fewest, then of the one with the longest ago turn, then of the one that waits the longest.
    pub(super) fn lease(&mut self, leased: &[Leased], limit: usize, seconds: u64) {
        let now = self.now;
        let mut turns = BTreeMap::new();
        let mut of_owners = BTreeMap::<_, usize>::new();
        for (id, webhook) in &self.webhooks {
            let of_it = || self.outbox.iter().filter(|delivery| delivery.webhook == *id);
            let under_lease = of_it().filter(|delivery| delivery.is_leased && delivery.due > Some(now));
            *of_owners.entry(owner(*id)).or_default() += under_lease.clone().count();
            let due = of_it()
                .filter(|delivery| !delivery.waits)
                .filter_map(|delivery| delivery.due);
            let due: Vec<_> = due.filter(|due| *due <= now).collect();
            let is_awake = webhook.is_on && webhook.rest_until.is_none_or(|until| until <= now);
            if let (true, Some(oldest)) = (is_awake, due.iter().min()) {
                turns.insert(*id, (under_lease.count(), webhook.last_turn, *oldest, due.len()));
            }
        }
        let mut expected = BTreeMap::<u8, usize>::new();
        for _ in 0..limit {
            let next = turns.iter_mut().filter(|(_, turn)| turn.0 < 4 && turn.3 > 0);
            let Some((id, turn)) =
                next.min_by_key(|(id, turn)| (of_owners[owner(**id)], turn.0, turn.1, turn.2, **id))
            else {
                break;
            };
            (turn.0, turn.3) = (turn.0 + 1, turn.3 - 1);
            *of_owners.entry(owner(*id)).or_default() += 1;
            *expected.entry(*id).or_default() += 1;
            self.webhooks.get_mut(id).expect("it is there").last_turn = Some(now);
        }
        assert_eq!(expected.values().sum::<usize>(), leased.len());
        for (webhook, count) in expected {
            let is_due = |delivery: &&mut Delivery| {
                delivery.webhook == webhook && !delivery.waits && delivery.due.is_some_and(|due| due <= now)
            };
            let mut due: Vec<_> = self.outbox.iter_mut().filter(is_due).collect();
            due.sort_by_key(|delivery| delivery.due);
            let of_it = |lease: &&Leased| lease.webhook.id.as_str() == webhook.to_string();
            let leased: Vec<_> = leased.iter().filter(of_it).collect();
            assert_eq!(leased.len(), count);
            for (delivery, lease) in due.into_iter().zip(leased) {
                delivery.take_lease(lease, now + i64::try_from(seconds).expect("a few"));
            }
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
        let mut delivery = self.outbox.remove(found.ok_or(StoreErrorKind::Fenced)?);
        let (id, session) = (delivery.webhook, delivery.session.clone());
        let has_grown = delivery.payload_range(lease) != Some(delivery.range);
        // the next lease has a higher one
        delivery.fence += 1;
        delivery.is_leased = false;
        match (settled, delivery.kind) {
            (Settled::Delivered | Settled::Unwanted, Kind::Snapshot) if has_grown => {
                self.join_snapshot(&delivery)
            }
            (Settled::Delivered | Settled::Unwanted, _) => {}
            (Settled::Dead, Kind::Event) => self.join_snapshot(&delivery),
            (Settled::Dead, _) => {
                (delivery.due, delivery.attempt) = (None, 0);
                self.outbox.insert(found.expect("it was found"), delivery);
            }
            (Settled::RetryAt(_) | Settled::NotSent(_), _) => {
                delivery.due = Some(now + 50);
                self.outbox.insert(found.expect("it was found"), delivery);
            }
        }
        self.order(id, &session);
        let webhook = self.webhooks.get_mut(&id).expect("it outlives its deliveries");
        match settled {
            Settled::Delivered => (webhook.failing_since, webhook.failures) = (None, 0),
            Settled::NotSent(_) | Settled::Unwanted => {}
            Settled::Dead | Settled::RetryAt(_) => {
                webhook.failing_since.get_or_insert(now);
                webhook.failures += 1;
            }
        }
        webhook.rest_until = webhook.rest_until.max(rest.map(|seconds| now + seconds));
        self.entries += 1;
        if disable {
            (webhook.is_on, webhook.version) = (false, webhook.version + 1);
            return Ok(());
        }
        match settled {
            Settled::Delivered | Settled::NotSent(_) => self.release(id),
            Settled::Dead | Settled::Unwanted => self.release_if_idle(id),
            Settled::RetryAt(_) => {}
        }
        Ok(())
    }
}

impl Delivery {
    fn take_lease(&mut self, lease: &Leased, until: i64) {
        self.attempt += 1;
        assert_eq!((lease.attempt, lease.at), (self.attempt, at(self.at)), "{self:?}");
        assert!(lease.fence > self.fence);
        match self.kind {
            Kind::Event => {
                let expected = Payload::Event {
                    session: self.session.parse().expect("a valid id"),
                    name: "created".to_owned(),
                    sequence: self.range.0,
                };
                assert_eq!((&lease.id, &lease.payload), (&self.id, &expected));
            }
            Kind::Erasure | Kind::Snapshot => {
                assert_eq!(self.payload_range(lease), Some(self.range), "{self:?}");
                lease.id.clone_into(&mut self.id);
            }
        }
        self.fence = lease.fence;
        self.is_leased = true;
        self.due = Some(until);
    }

    /// The range in the payload of a lease, if it is of this kind and session.
    fn payload_range(&self, lease: &Leased) -> Option<(u64, u64)> {
        let (kind, session, range) = match &lease.payload {
            Payload::Event { .. } => return None,
            Payload::Erased { session, range } => (Kind::Erasure, session, range),
            Payload::Snapshot { session, range } => (Kind::Snapshot, session, range),
        };
        let is_of_it = (kind, session.as_str()) == (self.kind, &self.session);
        is_of_it.then_some((*range.start(), *range.end()))
    }
}
