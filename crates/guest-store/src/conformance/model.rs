//! Random requests to a store, compared with a model that is too simple to be wrong.

mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use genesys_api::WebhookId;
use proptest::test_runner::{Config, TestRunner};

use request::{Changed, Request, request};

use super::Make;
use super::samples::{at, draft, event, session, webhook};
use crate::{
    Change, Conflict, Leased, Limits, SessionQuery, Settled, Settlement, Stats, Store, StoreErrorKind, Unit,
};

/// Whatever is asked of the store, it does what the model does.
pub fn behaves_like_the_model(make: Make) {
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let requests = proptest::collection::vec(request(), 1..60);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let result = TestRunner::new(config).run(&requests, |requests| {
        let fixture = make(LIMITS);
        runtime.block_on(compare(&*fixture.store, requests));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

const LIMITS: Limits = Limits {
    outbox_rows: 5,
    outbox_bytes: 30,
    outbox_dead: 3,
    webhooks: 3,
    queue: 4,
};

#[derive(Clone, Default)]
struct Model {
    now: i64,
    /// Guest, whether it ended, version.
    sessions: BTreeMap<u8, (u8, bool, u64)>,
    /// Name, whether it is on, since when it fails, version.
    webhooks: BTreeMap<u8, (u8, bool, Option<i64>, u64)>,
    outbox: Vec<Delivery>,
    entries: u64,
}

#[derive(Clone)]
struct Delivery {
    id: String,
    webhook: u8,
    bytes: u64,
    /// None once it was given up.
    due: Option<i64>,
    happened: i64,
    fence: u64,
    attempt: u32,
}

async fn compare(store: &dyn Store, requests: Vec<Request>) {
    let mut model = Model::default();
    let mut leases: Vec<Leased> = Vec::new();
    for request in requests {
        let text = format!("{request:?}");
        match request {
            Request::Advance(seconds) => model.now += seconds,
            Request::Checkpoint => {
                assert_eq!(store.checkpoint().await.expect("signable").size, model.entries);
            }
            Request::Commit {
                change,
                entries,
                events,
            } => {
                let unit = model.unit(change.as_ref(), entries, &events);
                let mut next = model.clone();
                let expected = next.commit(change, entries, &events);
                let found = store.commit(unit).await;
                let found =
                    found.map(|committed| (committed.version, committed.entries.end, committed.deliveries));
                assert_eq!(found.map_err(|error| error.kind()), expected, "{text}");
                if expected.is_ok() {
                    model = next;
                }
            }
            Request::Lease { limit, seconds } => {
                let lease = Duration::from_secs(seconds);
                let leased = store
                    .lease_deliveries(at(model.now), lease, limit)
                    .await
                    .expect("leasable");
                model.lease(&leased, limit, seconds);
                leases.extend(leased);
            }
            Request::Settle {
                which,
                settled,
                disable,
            } => {
                let Some(lease) = leases.iter().rev().nth(which) else {
                    continue;
                };
                let settled = match settled {
                    0 => Settled::Delivered,
                    1 => Settled::RetryAt(at(model.now + 50)),
                    _ => Settled::Dead,
                };
                let found = store
                    .settle_delivery(Settlement {
                        delivery: lease.id.clone(),
                        fence: lease.fence,
                        at: at(model.now),
                        settled,
                        disable_webhook: disable,
                        entries: vec![draft("g")],
                    })
                    .await;
                let expected = model.settle(lease, settled, disable);
                assert_eq!(found.map_err(|error| error.kind()), expected, "{text}");
            }
        }
        model.compare(store, &text).await;
    }
    super::journal::verify(store).await;
}

impl Model {
    fn unit(&self, change: Option<&Changed>, entries: u8, events: &[(u8, u8)]) -> Unit {
        let stored = |id: u8, stale: bool| {
            self.sessions.get(&id).map_or(0, |(.., version)| *version) + u64::from(stale)
        };
        let change = change.map(|change| match *change {
            Changed::CreateSession { id, guest } => {
                Change::CreateSession(session(&id.to_string(), "o", &guest.to_string()))
            }
            Changed::UpdateSession {
                id,
                guest,
                stale,
                ends,
            } => {
                let mut session = session(&id.to_string(), "o", &guest.to_string());
                session.version = stored(id, stale);
                session.ended_at = ends.then_some(at(self.now));
                Change::UpdateSession(session)
            }
            Changed::RemoveSession { id } => {
                Change::RemoveSession(id.to_string().parse().expect("a valid id"))
            }
            Changed::PutWebhook {
                id,
                name,
                stale,
                enabled,
            } => {
                let mut webhook = webhook(&id.to_string(), "o", &name.to_string(), &["created"]);
                webhook.enabled = enabled;
                webhook.version = self.webhooks.get(&id).map_or(0, |stored| stored.3) + u64::from(stale);
                Change::PutWebhook(webhook)
            }
            Changed::RemoveWebhook { id } => Change::RemoveWebhook(webhook_id(id)),
        });
        let events = events.iter().map(|(id, bytes)| {
            let mut event = event(&id.to_string(), "o", "created");
            event.body = vec![b'x'; usize::from(*bytes)].into();
            event.at = at(self.now);
            event
        });
        Unit {
            change,
            entries: (0..entries).map(|_| draft("g")).collect(),
            events: events.collect(),
        }
    }

    fn commit(
        &mut self,
        change: Option<Changed>,
        entries: u8,
        events: &[(u8, u8)],
    ) -> Result<(Option<u64>, u64, usize), StoreErrorKind> {
        let version = change.map_or(Ok(None), |change| self.change(change))?;
        let mut deliveries = 0;
        for (id, bytes) in events {
            let on: Vec<u8> = self
                .webhooks
                .iter()
                .filter(|(_, stored)| stored.1)
                .map(|(id, _)| *id)
                .collect();
            for webhook in on {
                let id = event(&id.to_string(), "o", "").delivery_id(&webhook_id(webhook));
                if self.outbox.iter().any(|delivery| delivery.id == id) {
                    return Err(StoreErrorKind::Conflict(Conflict::EventIdInUse));
                }
                self.outbox.push(Delivery {
                    id,
                    webhook,
                    bytes: u64::from(*bytes),
                    due: Some(self.now),
                    happened: self.now,
                    fence: 0,
                    attempt: 0,
                });
                deliveries += 1;
                let stats = self.stats();
                if stats.outbox_pending > LIMITS.outbox_rows || stats.outbox_bytes > LIMITS.outbox_bytes {
                    return Err(StoreErrorKind::OutboxFull);
                }
            }
        }
        self.entries += u64::from(entries);
        Ok((version, self.entries, deliveries))
    }

    fn change(&mut self, change: Changed) -> Result<Option<u64>, StoreErrorKind> {
        let conflict = |conflict| Err(StoreErrorKind::Conflict(conflict));
        match change {
            Changed::CreateSession { id, guest } => {
                if self.sessions.contains_key(&id) {
                    return conflict(Conflict::IdInUse);
                }
                self.put_session(id, (guest, false, 1))
            }
            Changed::UpdateSession {
                id,
                guest,
                stale,
                ends,
            } => {
                let Some((.., version)) = self.sessions.get(&id).copied() else {
                    return Err(StoreErrorKind::NotFound);
                };
                if stale {
                    return conflict(Conflict::VersionChanged);
                }
                self.put_session(id, (guest, ends, version + 1))
            }
            Changed::RemoveSession { id } => self
                .sessions
                .remove(&id)
                .map(|_| None)
                .ok_or(StoreErrorKind::NotFound),
            Changed::PutWebhook {
                id,
                name,
                stale,
                enabled,
            } => {
                let stored = self.webhooks.get(&id).map_or(0, |stored| stored.3);
                match (stored, stale) {
                    (0, true) => return Err(StoreErrorKind::NotFound),
                    (_, true) => return conflict(Conflict::VersionChanged),
                    (0, false) if self.webhooks.len() as u64 >= LIMITS.webhooks => {
                        return Err(StoreErrorKind::TooManyWebhooks);
                    }
                    _ => {}
                }
                if self
                    .webhooks
                    .iter()
                    .any(|(other, stored)| *other != id && stored.0 == name)
                {
                    return conflict(Conflict::WebhookNameInUse);
                }
                self.webhooks.insert(id, (name, enabled, None, stored + 1));
                Ok(Some(stored + 1))
            }
            Changed::RemoveWebhook { id } => {
                self.outbox.retain(|delivery| delivery.webhook != id);
                self.webhooks
                    .remove(&id)
                    .map(|_| None)
                    .ok_or(StoreErrorKind::NotFound)
            }
        }
    }

    fn put_session(&mut self, id: u8, new: (u8, bool, u64)) -> Result<Option<u64>, StoreErrorKind> {
        let taken = |(other, stored): (&u8, &(u8, bool, u64))| *other != id && stored.0 == new.0 && !stored.1;
        if !new.1 && self.sessions.iter().any(taken) {
            return Err(StoreErrorKind::Conflict(Conflict::GuestInUse));
        }
        self.sessions.insert(id, new);
        Ok(Some(new.2))
    }

    /// Checks what was leased: each is due, the limit is used up, and every webhook has its share.
    fn lease(&mut self, leased: &[Leased], limit: usize, seconds: u64) {
        let mut due: BTreeMap<u8, usize> = BTreeMap::new();
        for delivery in &self.outbox {
            if delivery.due.is_some_and(|due| due <= self.now) && self.webhooks[&delivery.webhook].1 {
                *due.entry(delivery.webhook).or_default() += 1;
            }
        }
        assert_eq!(leased.len(), limit.min(due.values().sum()));
        let ids: BTreeSet<_> = leased.iter().map(|lease| &lease.id).collect();
        assert_eq!(ids.len(), leased.len(), "each once");
        if limit >= due.len() {
            for (webhook, count) in &due {
                let id = webhook_id(*webhook);
                let share = leased.iter().filter(|lease| lease.webhook.id == id).count();
                assert!(
                    share >= (*count).min(limit / due.len()),
                    "webhook {webhook} has its share"
                );
            }
        }
        for lease in leased {
            let mut of_that_id = self.outbox.iter_mut().filter(|delivery| delivery.id == lease.id);
            let delivery = of_that_id.next().expect("it is in the outbox");
            assert!(delivery.due.is_some_and(|due| due <= self.now) && self.webhooks[&delivery.webhook].1);
            delivery.attempt += 1;
            assert_eq!(lease.attempt, delivery.attempt);
            assert!(lease.fence > delivery.fence);
            delivery.fence = lease.fence;
            delivery.due = Some(self.now + i64::try_from(seconds).expect("a few"));
        }
    }

    fn settle(&mut self, lease: &Leased, settled: Settled, disable: bool) -> Result<(), StoreErrorKind> {
        let now = self.now;
        let found = self.outbox.iter().position(|delivery| {
            delivery.id == lease.id && delivery.fence == lease.fence && delivery.due.is_some()
        });
        let at = found.ok_or(StoreErrorKind::Fenced)?;
        let delivery = &mut self.outbox[at];
        // whoever comes next has a higher one
        delivery.fence += 1;
        let webhook = self
            .webhooks
            .get_mut(&delivery.webhook)
            .expect("it outlives its deliveries");
        webhook.2 = if settled == Settled::Delivered {
            None
        } else {
            webhook.2.or(Some(now))
        };
        if disable {
            (webhook.1, webhook.3) = (false, webhook.3 + 1);
        }
        match settled {
            Settled::Delivered => drop(self.outbox.remove(at)),
            Settled::RetryAt(_) => delivery.due = Some(now + 50),
            Settled::Dead => {
                (delivery.due, delivery.bytes) = (None, 0);
                let dead = |delivery: &Delivery| delivery.due.is_none();
                if self.outbox.iter().filter(|delivery| dead(delivery)).count() as u64 > LIMITS.outbox_dead {
                    let oldest = self.outbox.iter().position(dead).expect("there is one");
                    self.outbox.remove(oldest);
                }
            }
        }
        self.entries += 1;
        Ok(())
    }

    fn stats(&self) -> Stats {
        let pending = || self.outbox.iter().filter(|delivery| delivery.due.is_some());
        Stats {
            live_sessions: self.sessions.values().filter(|(_, ended, _)| !ended).count() as u64,
            outbox_pending: pending().count() as u64,
            outbox_bytes: pending().map(|delivery| delivery.bytes).sum(),
            outbox_oldest: pending().map(|delivery| at(delivery.happened)).min(),
            outbox_dead: (self.outbox.len() - pending().count()) as u64,
            audit_entries: self.entries,
        }
    }

    async fn compare(&self, store: &dyn Store, after: &str) {
        assert_eq!(
            store.stats().await.expect("readable"),
            self.stats(),
            "after {after}"
        );
        let all = SessionQuery::All {
            after: None,
            limit: 100,
        };
        let sessions = store.sessions(all).await.expect("readable");
        let sessions: Vec<_> = sessions
            .iter()
            .map(|session| {
                (
                    session.id.to_string(),
                    session.guest.to_string(),
                    session.ended_at.is_some(),
                    session.version,
                )
            })
            .collect();
        let expected = self.sessions.iter();
        let expected: Vec<_> = expected
            .map(|(id, (guest, ended, version))| (id.to_string(), guest.to_string(), *ended, *version))
            .collect();
        assert_eq!(sessions, expected, "after {after}");
        let webhooks = store.webhooks().await.expect("readable");
        let webhooks: Vec<_> = webhooks
            .iter()
            .map(|webhook| {
                (
                    webhook.id.to_string(),
                    webhook.enabled,
                    webhook.failing_since,
                    webhook.version,
                )
            })
            .collect();
        let expected = self.webhooks.iter();
        let expected: Vec<_> = expected
            .map(|(id, (_, on, failing, version))| (id.to_string(), *on, failing.map(at), *version))
            .collect();
        assert_eq!(webhooks, expected, "after {after}");
    }
}

fn webhook_id(id: u8) -> WebhookId {
    id.to_string().parse().expect("a valid id")
}
