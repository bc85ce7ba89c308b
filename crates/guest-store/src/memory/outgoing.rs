//! Webhooks, and what is waiting for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::WebhookId;
use time::OffsetDateTime;

use crate::outbox::{IN_FLIGHT, lease_end};
use crate::{
    Change, Conflict, Event, Leased, Limits, Settled, Settlement, StoreError, StoreErrorKind, Unit, Webhook,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    pub(super) webhooks: BTreeMap<WebhookId, Webhook>,
    /// When each webhook had its last turn.
    turns: BTreeMap<WebhookId, OffsetDateTime>,
    outbox: BTreeMap<String, Row>,
    /// How many deliveries there ever were, so that each has its place.
    deliveries: u64,
}

#[derive(Clone, Debug)]
struct Row {
    place: u64,
    webhook: WebhookId,
    event: Event,
    /// None once it was given up.
    due_at: Option<OffsetDateTime>,
    leased: bool,
    fence: u64,
    attempts: u32,
}

impl Outgoing {
    /// Does what the unit changes, and fans its events out. Gives the version of the webhook that it put, and how many
    /// deliveries were made and dropped. After an error this is of no more use.
    pub(super) fn commit(
        &mut self,
        unit: &Unit,
        limits: &Limits,
    ) -> Result<(Option<u64>, usize, usize), StoreError> {
        let version = match &unit.change {
            Some(Change::PutWebhook(webhook)) => Some(self.put(webhook, limits)?),
            Some(Change::RemoveWebhook(id)) => {
                self.webhooks.remove(id).ok_or(StoreErrorKind::NotFound)?;
                self.turns.remove(id);
                self.outbox.retain(|_, row| row.webhook != *id);
                None
            }
            _ => None,
        };
        let is_creation = matches!(unit.change, Some(Change::CreateSession(_)));
        let (mut made, mut dropped) = (0, 0);
        for event in &unit.events {
            let wants = |webhook: &&Webhook| {
                webhook.enabled && webhook.owner == event.owner && webhook.events.contains(&event.name)
            };
            let ids: Vec<WebhookId> = self
                .webhooks
                .values()
                .filter(wants)
                .map(|webhook| webhook.id.clone())
                .collect();
            for webhook in ids {
                let id = event.delivery_id(&webhook);
                if self.outbox.contains_key(&id) {
                    return Err(Conflict::EventIdInUse.into());
                }
                let has_room = self.has_room(event, limits);
                if is_creation && !has_room {
                    return Err(StoreErrorKind::OutboxFull.into());
                }
                self.insert(&id, webhook, event);
                if has_room {
                    made += 1;
                } else {
                    dropped += 1;
                    self.bury(|row| row == id, limits);
                }
            }
        }
        Ok((version, made, dropped))
    }

    fn put(&mut self, webhook: &Webhook, limits: &Limits) -> Result<u64, StoreError> {
        let of_owner = || {
            self.webhooks
                .values()
                .filter(|other| other.owner == webhook.owner)
        };
        match self.webhooks.get(&webhook.id) {
            Some(stored) if webhook.version == 0 || stored.owner != webhook.owner => {
                return Err(Conflict::IdInUse.into());
            }
            Some(stored) if stored.version != webhook.version => return Err(Conflict::VersionChanged.into()),
            Some(_) => {}
            None if webhook.version > 0 => return Err(StoreErrorKind::NotFound.into()),
            None if self.webhooks.len() as u64 >= limits.webhooks
                || of_owner().count() as u64 >= limits.owner_webhooks =>
            {
                return Err(StoreErrorKind::TooManyWebhooks.into());
            }
            None => {}
        }
        if of_owner().any(|other| other.id != webhook.id && other.name == webhook.name) {
            return Err(Conflict::WebhookNameInUse.into());
        }
        let mut webhook = webhook.clone();
        webhook.version += 1;
        let (id, version, enabled) = (webhook.id.clone(), webhook.version, webhook.enabled);
        self.webhooks.insert(id.clone(), webhook);
        if !enabled {
            self.bury_all(&id, limits);
        }
        Ok(version)
    }

    fn has_room(&self, event: &Event, limits: &Limits) -> bool {
        let (mut rows, mut bytes) = (1, event.body.len() as u64);
        let (mut owner_rows, mut owner_bytes) = (rows, bytes);
        for row in self.outbox.values().filter(|row| row.due_at.is_some()) {
            let size = row.event.body.len() as u64;
            (rows, bytes) = (rows + 1, bytes + size);
            if row.event.owner == event.owner {
                (owner_rows, owner_bytes) = (owner_rows + 1, owner_bytes + size);
            }
        }
        rows <= limits.outbox_rows
            && bytes <= limits.outbox_bytes
            && owner_rows <= limits.owner_outbox_rows
            && owner_bytes <= limits.owner_outbox_bytes
    }

    fn insert(&mut self, id: &str, webhook: WebhookId, event: &Event) {
        let row = Row {
            place: self.deliveries,
            webhook,
            due_at: Some(event.at),
            event: event.clone(),
            leased: false,
            fence: 0,
            attempts: 0,
        };
        self.deliveries += 1;
        self.outbox.insert(id.to_owned(), row);
    }

    pub(super) fn lease(&mut self, now: OffsetDateTime, lease: Duration, limit: usize) -> Vec<Leased> {
        let mut slots = Vec::new();
        for webhook in self.webhooks.values() {
            if !webhook.enabled || webhook.rest_until.is_some_and(|until| until > now) {
                continue;
            }
            let of_it = || self.outbox.iter().filter(|(_, row)| row.webhook == webhook.id);
            let in_flight = of_it()
                .filter(|(_, row)| row.leased && row.due_at.is_some_and(|end| end > now))
                .count();
            let mut due: Vec<_> = of_it()
                .filter_map(|(id, row)| Some((row.due_at.filter(|due_at| *due_at <= now)?, row.place, id)))
                .collect();
            due.sort_unstable();
            let turn = self.turns.get(&webhook.id);
            for (rank, (_, _, id)) in (in_flight..IN_FLIGHT).zip(&due) {
                slots.push(((rank, turn, due[0].0, &webhook.id), (*id).clone()));
            }
        }
        slots.sort_by_key(|(slot, _)| *slot);
        slots.truncate(limit);
        let ids: Vec<String> = slots.into_iter().map(|(_, id)| id).collect();
        ids.into_iter()
            .filter_map(|id| self.take(id, now, lease))
            .collect()
    }

    fn take(&mut self, id: String, now: OffsetDateTime, lease: Duration) -> Option<Leased> {
        let row = self.outbox.get_mut(&id)?;
        let webhook = self.webhooks.get(&row.webhook)?.clone();
        self.turns.insert(webhook.id.clone(), now);
        row.due_at = Some(lease_end(now, lease));
        row.leased = true;
        row.fence += 1;
        row.attempts += 1;
        Some(Leased {
            id,
            fence: row.fence,
            attempt: row.attempts,
            webhook: Arc::new(webhook),
            event: row.event.name.clone(),
            body: row.event.body.clone(),
            at: row.event.at,
        })
    }

    pub(super) fn check_fence(&self, settlement: &Settlement) -> Result<(), StoreError> {
        let is_current =
            |row: &Row| row.attempts > 0 && row.due_at.is_some() && row.fence == settlement.fence;
        match self.outbox.get(&settlement.delivery) {
            Some(row) if is_current(row) => Ok(()),
            _ => Err(StoreErrorKind::Fenced.into()),
        }
    }

    /// Does what `check_fence` has allowed.
    pub(super) fn settle(&mut self, settlement: &Settlement, limits: &Limits) {
        let Some(row) = self.outbox.get_mut(&settlement.delivery) else {
            return;
        };
        let id = row.webhook.clone();
        match settlement.settled {
            Settled::Delivered => drop(self.outbox.remove(&settlement.delivery)),
            Settled::Dead => self.bury(|row| row == settlement.delivery, limits),
            Settled::RetryAt(time) => {
                row.due_at = Some(time);
                row.leased = false;
                row.fence += 1;
            }
        }
        let Some(webhook) = self.webhooks.get_mut(&id) else {
            return;
        };
        if settlement.settled == Settled::Delivered {
            (webhook.failing_since, webhook.failures) = (None, 0);
        } else {
            webhook.failing_since.get_or_insert(settlement.at);
            webhook.failures = webhook.failures.saturating_add(1);
        }
        webhook.rest_until = webhook.rest_until.max(settlement.rest_until);
        if settlement.disable_webhook {
            webhook.enabled = false;
            webhook.version += 1;
            self.bury_all(&id, limits);
        }
    }

    fn bury_all(&mut self, webhook: &WebhookId, limits: &Limits) {
        let ids: Vec<String> = self
            .outbox
            .iter()
            .filter(|(_, row)| row.webhook == *webhook)
            .map(|(id, _)| id.clone())
            .collect();
        self.bury(|id| ids.iter().any(|other| other == id), limits);
    }

    /// Gives up some deliveries, and forgets the oldest of all that were given up if they are too many.
    fn bury(&mut self, which: impl Fn(&str) -> bool, limits: &Limits) {
        for (_, row) in self.outbox.iter_mut().filter(|(id, _)| which(id)) {
            row.due_at = None;
            row.leased = false;
            row.event.body.clear();
        }
        let dead = self.outbox.iter().filter(|(_, row)| row.due_at.is_none());
        let mut dead: Vec<_> = dead.map(|(id, row)| (row.place, id.clone())).collect();
        dead.sort_unstable();
        let excess = dead
            .len()
            .saturating_sub(usize::try_from(limits.outbox_dead).unwrap_or(usize::MAX));
        for (_, id) in dead.drain(..excess) {
            self.outbox.remove(&id);
        }
    }

    /// When the event of each delivery that is still to be made happened, and the bytes of its body.
    pub(super) fn pending(&self) -> impl Iterator<Item = (OffsetDateTime, u64)> {
        let pending = self.outbox.values().filter(|row| row.due_at.is_some());
        pending.map(|row| (row.event.at, row.event.body.len() as u64))
    }

    pub(super) fn dead(&self) -> usize {
        self.outbox.values().filter(|row| row.due_at.is_none()).count()
    }
}
