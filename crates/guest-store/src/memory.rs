//! A store in memory, for tests.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use audit::{Pseudonym, Signer, VerifierKey};
use genesys_api::{SessionId, WebhookId};
use time::OffsetDateTime;

use crate::journal::{Journal, Record};
use crate::outbox::lease_end;
use crate::store::PAGE;
use crate::{
    Answer, Change, Committed, Conflict, Event, Leased, Limits, Session, SessionQuery, Settled, Settlement,
    Stats, Store, StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry, Unit, Webhook,
};

/// A store in memory, for tests: it forgets, and a commit takes the longer the more it holds.
#[derive(Debug)]
pub struct MemoryStore {
    signer: Signer,
    limits: Limits,
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store whose log has the name of `signer`.
    #[must_use]
    pub fn new(signer: Signer, limits: Limits) -> Self {
        Self {
            signer,
            limits,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // nothing below panics half way through a change
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn commit(&self, unit: Unit) -> Answer<'_, Committed> {
        Box::pin(ready(self.state().commit(unit, &self.signer, &self.limits)))
    }

    fn session(&self, id: &SessionId) -> Answer<'_, Option<Session>> {
        Box::pin(ready(Ok(self.state().sessions.get(id).cloned())))
    }

    fn sessions(&self, query: SessionQuery) -> Answer<'_, Vec<Session>> {
        Box::pin(ready(Ok(self.state().find_sessions(&query))))
    }

    fn webhooks(&self) -> Answer<'_, Vec<Webhook>> {
        Box::pin(ready(Ok(self.state().webhooks.values().cloned().collect())))
    }

    fn lease_deliveries(
        &self,
        now: OffsetDateTime,
        lease: Duration,
        limit: usize,
    ) -> Answer<'_, Vec<Leased>> {
        Box::pin(ready(Ok(self.state().lease(now, lease, limit.min(PAGE)))))
    }

    fn settle_delivery(&self, settlement: Settlement) -> Answer<'_, ()> {
        Box::pin(ready(self.state().settle(
            &settlement,
            &self.signer,
            &self.limits,
        )))
    }

    fn audit_lines(
        &self,
        from: u64,
        limit: usize,
        subject: Option<&Pseudonym>,
    ) -> Answer<'_, Vec<StoredEntry>> {
        let state = self.state();
        let from = usize::try_from(from)
            .unwrap_or(usize::MAX)
            .min(state.entries.len());
        let lines = state.entries[from..]
            .iter()
            .filter(|(_, of)| subject.is_none_or(|subject| of.as_ref() == Some(subject)))
            .take(limit.min(PAGE))
            .map(|(entry, _)| entry.clone());
        Box::pin(ready(Ok(lines.collect())))
    }

    fn checkpoint(&self) -> Answer<'_, StoredCheckpoint> {
        let mut state = self.state();
        if let Some(checkpoint) = state.journal.checkpoint(&self.signer) {
            state.checkpoints.push(checkpoint);
        }
        let last = state.checkpoints.last().cloned();
        Box::pin(ready(last.ok_or_else(|| StoreErrorKind::Corrupt.into())))
    }

    fn checkpoints(&self, from: u64, limit: usize) -> Answer<'_, Vec<StoredCheckpoint>> {
        let state = self.state();
        let checkpoints = state
            .checkpoints
            .iter()
            .filter(|checkpoint| checkpoint.size >= from);
        Box::pin(ready(Ok(checkpoints.take(limit.min(PAGE)).cloned().collect())))
    }

    fn stats(&self) -> Answer<'_, Stats> {
        Box::pin(ready(Ok(self.state().stats())))
    }

    fn verifier_key(&self) -> &VerifierKey {
        self.signer.verifier_key()
    }
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<SessionId, Session>,
    webhooks: BTreeMap<WebhookId, Webhook>,
    outbox: BTreeMap<String, Row>,
    /// How many deliveries there ever were, so that each has its place.
    deliveries: u64,
    entries: Vec<(StoredEntry, Option<Pseudonym>)>,
    checkpoints: Vec<StoredCheckpoint>,
    journal: Journal,
}

#[derive(Debug)]
struct Row {
    place: u64,
    webhook: WebhookId,
    event: Event,
    /// None once it was given up.
    due_at: Option<OffsetDateTime>,
    fence: u64,
    attempts: u32,
}

impl State {
    fn commit(&mut self, unit: Unit, signer: &Signer, limits: &Limits) -> Result<Committed, StoreError> {
        if let Some(change) = &unit.change {
            self.check(change, limits)?;
        }
        let rows = self.fan_out(&unit, limits)?;
        let first = self.journal.tree.size();
        self.log(&unit.entries, signer)?;

        let version = unit.change.and_then(|change| self.apply(change));
        let deliveries = rows.len();
        for (id, webhook, event) in rows {
            let row = Row {
                place: self.deliveries,
                webhook,
                due_at: Some(event.at),
                event,
                fence: 0,
                attempts: 0,
            };
            self.deliveries += 1;
            self.outbox.insert(id, row);
        }
        Ok(Committed {
            version,
            entries: first..self.journal.tree.size(),
            deliveries,
        })
    }

    fn check(&self, change: &Change, limits: &Limits) -> Result<(), StoreError> {
        match change {
            Change::CreateSession(session) => {
                if self.sessions.contains_key(&session.id) {
                    return Err(Conflict::IdInUse.into());
                }
                if session.version != 0 {
                    return Err(Conflict::VersionChanged.into());
                }
                self.check_guest(session)
            }
            Change::UpdateSession(session) => {
                let stored = self.sessions.get(&session.id).ok_or(StoreErrorKind::NotFound)?;
                if stored.version != session.version {
                    return Err(Conflict::VersionChanged.into());
                }
                self.check_guest(session)
            }
            Change::RemoveSession(id) if !self.sessions.contains_key(id) => {
                Err(StoreErrorKind::NotFound.into())
            }
            Change::RemoveWebhook(id) if !self.webhooks.contains_key(id) => {
                Err(StoreErrorKind::NotFound.into())
            }
            Change::RemoveSession(_) | Change::RemoveWebhook(_) => Ok(()),
            Change::PutWebhook(webhook) => self.check_webhook(webhook, limits),
        }
    }

    fn check_guest(&self, session: &Session) -> Result<(), StoreError> {
        let taken = |other: &Session| {
            other.id != session.id
                && other.ended_at.is_none()
                && other.owner == session.owner
                && other.guest == session.guest
        };
        if session.ended_at.is_none() && self.sessions.values().any(taken) {
            return Err(Conflict::GuestInUse.into());
        }
        Ok(())
    }

    fn check_webhook(&self, webhook: &Webhook, limits: &Limits) -> Result<(), StoreError> {
        match self.webhooks.get(&webhook.id) {
            Some(_) if webhook.version == 0 => return Err(Conflict::IdInUse.into()),
            Some(stored) if stored.version != webhook.version => return Err(Conflict::VersionChanged.into()),
            Some(_) => {}
            None if webhook.version > 0 => return Err(StoreErrorKind::NotFound.into()),
            None if self.webhooks.len() as u64 >= limits.webhooks => {
                return Err(StoreErrorKind::TooManyWebhooks.into());
            }
            None => {}
        }
        let taken = |other: &Webhook| {
            other.id != webhook.id && other.owner == webhook.owner && other.name == webhook.name
        };
        if self.webhooks.values().any(taken) {
            return Err(Conflict::WebhookNameInUse.into());
        }
        Ok(())
    }

    /// The deliveries of the unit's events to the webhooks as they are after its change.
    fn fan_out(&self, unit: &Unit, limits: &Limits) -> Result<Vec<(String, WebhookId, Event)>, StoreError> {
        let (changed, put) = match &unit.change {
            Some(Change::PutWebhook(webhook)) => (Some(&webhook.id), Some(webhook)),
            Some(Change::RemoveWebhook(id)) => (Some(id), None),
            _ => (None, None),
        };
        let unchanged = self
            .webhooks
            .values()
            .filter(|webhook| Some(&webhook.id) != changed);
        let mut webhooks: Vec<&Webhook> = unchanged.chain(put).collect();
        webhooks.sort_by_key(|webhook| &webhook.id);
        let removed = if put.is_none() { changed } else { None };
        let kept = |row: &&Row| row.due_at.is_some() && Some(&row.webhook) != removed;
        let mut rows = self.outbox.values().filter(kept).count() as u64;
        let mut bytes: u64 = self
            .outbox
            .values()
            .filter(kept)
            .map(|row| row.event.body.len() as u64)
            .sum();

        let mut deliveries: Vec<(String, WebhookId, Event)> = Vec::new();
        for event in &unit.events {
            let wants = |webhook: &&&Webhook| {
                webhook.enabled && webhook.owner == event.owner && webhook.events.contains(&event.name)
            };
            for webhook in webhooks.iter().filter(wants) {
                let id = event.delivery_id(&webhook.id);
                if self.outbox.contains_key(&id) || deliveries.iter().any(|(other, ..)| *other == id) {
                    return Err(Conflict::EventIdInUse.into());
                }
                rows += 1;
                bytes += event.body.len() as u64;
                if rows > limits.outbox_rows || bytes > limits.outbox_bytes {
                    return Err(StoreErrorKind::OutboxFull.into());
                }
                deliveries.push((id, webhook.id.clone(), event.clone()));
            }
        }
        Ok(deliveries)
    }

    fn log(&mut self, drafts: &[audit::Draft], signer: &Signer) -> Result<(), StoreError> {
        let mut journal = self.journal.clone();
        for record in journal.append(drafts, signer)? {
            match record {
                Record::Checkpoint(checkpoint) => self.checkpoints.push(checkpoint),
                Record::Entry(entry, subject) => self.entries.push((entry, subject)),
            }
        }
        self.journal = journal;
        Ok(())
    }

    /// Does what was checked, and gives the new version.
    fn apply(&mut self, change: Change) -> Option<u64> {
        match change {
            Change::CreateSession(mut session) | Change::UpdateSession(mut session) => {
                session.version += 1;
                let version = session.version;
                self.sessions.insert(session.id.clone(), session);
                Some(version)
            }
            Change::PutWebhook(mut webhook) => {
                webhook.version += 1;
                let version = webhook.version;
                self.webhooks.insert(webhook.id.clone(), webhook);
                Some(version)
            }
            Change::RemoveSession(id) => {
                self.sessions.remove(&id);
                None
            }
            Change::RemoveWebhook(id) => {
                self.webhooks.remove(&id);
                self.outbox.retain(|_, row| row.webhook != id);
                None
            }
        }
    }

    fn find_sessions(&self, query: &SessionQuery) -> Vec<Session> {
        let by_time = |limit: usize, when: &dyn Fn(&Session) -> Option<OffsetDateTime>| {
            let mut found: Vec<_> = self
                .sessions
                .values()
                .filter_map(|session| Some((when(session)?, session)))
                .collect();
            found.sort_by_key(|(when, session)| (*when, session.id.clone()));
            found
                .into_iter()
                .take(limit.min(PAGE))
                .map(|(_, session)| session.clone())
                .collect()
        };
        let by_id = |after: &Option<SessionId>, limit: usize, wanted: &dyn Fn(&Session) -> bool| {
            self.sessions
                .values()
                .filter(|session| after.as_ref().is_none_or(|after| session.id > *after) && wanted(session))
                .take(limit.min(PAGE))
                .cloned()
                .collect()
        };
        match query {
            SessionQuery::All { after, limit } => by_id(after, *limit, &|_| true),
            SessionQuery::Live { after, limit } => {
                by_id(after, *limit, &|session| session.ended_at.is_none())
            }
            SessionQuery::DueBefore { time, limit } => by_time(*limit, &|session| {
                (session.ended_at.is_none() && session.lapses_at <= *time).then_some(session.lapses_at)
            }),
            SessionQuery::EndedBefore { time, limit } => {
                by_time(*limit, &|session| session.ended_at.filter(|ended| ended <= time))
            }
        }
    }

    fn lease(&mut self, now: OffsetDateTime, lease: Duration, limit: usize) -> Vec<Leased> {
        let mut due: BTreeMap<&WebhookId, Vec<(OffsetDateTime, u64, &String)>> = BTreeMap::new();
        for (id, row) in &self.outbox {
            if let Some(due_at) = row.due_at.filter(|due_at| *due_at <= now)
                && self
                    .webhooks
                    .get(&row.webhook)
                    .is_some_and(|webhook| webhook.enabled)
            {
                due.entry(&row.webhook).or_default().push((due_at, row.place, id));
            }
        }
        let mut queues: Vec<_> = due.into_iter().collect();
        for (_, queue) in &mut queues {
            queue.sort_unstable();
        }
        queues.sort_by_key(|(webhook, queue)| (queue[0].0, *webhook));
        let share = (limit / queues.len().max(1)).max(1);
        let first = queues.iter().flat_map(|(_, queue)| queue.iter().take(share));
        let rest = queues.iter().flat_map(|(_, queue)| queue.iter().skip(share));
        let ids: Vec<String> = first
            .chain(rest)
            .take(limit)
            .map(|(_, _, id)| (*id).clone())
            .collect();

        let until = lease_end(now, lease);
        ids.into_iter().filter_map(|id| self.take(id, until)).collect()
    }

    fn take(&mut self, id: String, until: OffsetDateTime) -> Option<Leased> {
        let row = self.outbox.get_mut(&id)?;
        let webhook = self.webhooks.get(&row.webhook)?.clone();
        row.due_at = Some(until);
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

    fn settle(
        &mut self,
        settlement: &Settlement,
        signer: &Signer,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        let row = self
            .outbox
            .get(&settlement.delivery)
            .ok_or(StoreErrorKind::Fenced)?;
        if row.attempts == 0 || row.due_at.is_none() || row.fence != settlement.fence {
            return Err(StoreErrorKind::Fenced.into());
        }
        let webhook = row.webhook.clone();
        self.log(&settlement.entries, signer)?;
        match settlement.settled {
            Settled::Delivered => {
                self.outbox.remove(&settlement.delivery);
            }
            Settled::Dead => self.bury(&settlement.delivery, limits),
            Settled::RetryAt(time) => {
                if let Some(row) = self.outbox.get_mut(&settlement.delivery) {
                    row.due_at = Some(time);
                    row.fence += 1;
                }
            }
        }
        if let Some(webhook) = self.webhooks.get_mut(&webhook) {
            webhook.failing_since = match settlement.settled {
                Settled::Delivered => None,
                _ => webhook.failing_since.or(Some(settlement.at)),
            };
            if settlement.disable_webhook {
                webhook.enabled = false;
                webhook.version += 1;
            }
        }
        Ok(())
    }

    fn bury(&mut self, id: &str, limits: &Limits) {
        if let Some(row) = self.outbox.get_mut(id) {
            row.due_at = None;
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

    fn stats(&self) -> Stats {
        let pending = || self.outbox.values().filter(|row| row.due_at.is_some());
        let live = self
            .sessions
            .values()
            .filter(|session| session.ended_at.is_none());
        Stats {
            live_sessions: live.count() as u64,
            outbox_pending: pending().count() as u64,
            outbox_bytes: pending().map(|row| row.event.body.len() as u64).sum(),
            outbox_oldest: pending().map(|row| row.event.at).min(),
            outbox_dead: (self.outbox.len() - pending().count()) as u64,
            audit_entries: self.journal.tree.size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::conformance::Fixture;
    use crate::{Limits, MemoryStore};

    fn make(limits: Limits) -> Fixture {
        let signer = audit::Signer::from_seed("example.com/guest-store", &[3; 32]).unwrap();
        Fixture::new(MemoryStore::new(signer, limits), ())
    }

    crate::conformance!(make);
}
