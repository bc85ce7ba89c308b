//! A store in memory, for tests.

mod outgoing;

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use audit::{Pseudonym, Signer, VerifierKey};
use genesys_api::SessionId;
use time::OffsetDateTime;

use crate::journal::{Journal, Record};
use crate::store::PAGE;
use crate::{
    Answer, Change, Committed, Conflict, Leased, Limits, Session, SessionQuery, Settlement, Stats, Store,
    StoreError, StoreErrorKind, StoredCheckpoint, StoredEntry, Unit, Webhook,
};
use outgoing::Outgoing;

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
        Box::pin(ready(Ok(self
            .state()
            .outgoing
            .webhooks
            .values()
            .cloned()
            .collect())))
    }

    fn lease_deliveries(
        &self,
        now: OffsetDateTime,
        lease: Duration,
        limit: usize,
    ) -> Answer<'_, Vec<Leased>> {
        Box::pin(ready(Ok(self.state().outgoing.lease(
            now,
            lease,
            limit.min(PAGE),
        ))))
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
    outgoing: Outgoing,
    entries: Vec<(StoredEntry, Option<Pseudonym>)>,
    checkpoints: Vec<StoredCheckpoint>,
    journal: Journal,
}

impl State {
    fn commit(&mut self, unit: Unit, signer: &Signer, limits: &Limits) -> Result<Committed, StoreError> {
        match &unit.change {
            Some(Change::CreateSession(session)) => {
                if self.sessions.contains_key(&session.id) {
                    return Err(Conflict::IdInUse.into());
                }
                if session.version != 0 {
                    return Err(Conflict::VersionChanged.into());
                }
                self.check_guest(session)?;
            }
            Some(Change::UpdateSession(session)) => {
                let stored = self.sessions.get(&session.id).ok_or(StoreErrorKind::NotFound)?;
                if stored.version != session.version {
                    return Err(Conflict::VersionChanged.into());
                }
                self.check_guest(session)?;
            }
            Some(Change::RemoveSession(id)) if !self.sessions.contains_key(id) => {
                return Err(StoreErrorKind::NotFound.into());
            }
            _ => {}
        }
        let mut outgoing = self.outgoing.clone();
        let (mut version, deliveries, dropped) = outgoing.commit(&unit, limits)?;
        let first = self.journal.tree.size();
        self.log(&unit.entries, signer)?;

        // nothing below fails
        self.outgoing = outgoing;
        match unit.change {
            Some(Change::CreateSession(mut session) | Change::UpdateSession(mut session)) => {
                session.version += 1;
                version = Some(session.version);
                self.sessions.insert(session.id.clone(), session);
            }
            Some(Change::RemoveSession(id)) => drop(self.sessions.remove(&id)),
            Some(Change::PutWebhook(_) | Change::RemoveWebhook(_)) | None => {}
        }
        Ok(Committed {
            version,
            entries: first..self.journal.tree.size(),
            deliveries,
            dropped,
        })
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

    fn settle(
        &mut self,
        settlement: &Settlement,
        signer: &Signer,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        self.outgoing.check_fence(settlement)?;
        self.log(&settlement.entries, signer)?;
        self.outgoing.settle(settlement, limits);
        Ok(())
    }

    fn stats(&self) -> Stats {
        let live = self
            .sessions
            .values()
            .filter(|session| session.ended_at.is_none());
        let pending = || self.outgoing.pending();
        Stats {
            live_sessions: live.count() as u64,
            outbox_pending: pending().count() as u64,
            outbox_bytes: pending().map(|(_, bytes)| bytes).sum(),
            outbox_oldest: pending().map(|(at, _)| at).min(),
            outbox_dead: self.outgoing.dead() as u64,
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
