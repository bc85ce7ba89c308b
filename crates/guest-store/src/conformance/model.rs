//! Random requests to a store, compared with a model that is too simple to be wrong.

mod deliveries;
mod request;

use std::collections::BTreeMap;
use std::time::Duration;

use genesys_api::WebhookId;
use proptest::test_runner::{Config, TestRunner};

use request::{Changed, Request, request};

use super::Make;
use super::samples::{at, draft, event, session, webhook};
use crate::{
    Change, Conflict, Leased, Limits, SessionQuery, Settled, Settlement, Stats, Store, StoreErrorKind, Unit,
};

/// The store answers random requests as the model does.
pub(crate) fn store_behaves_like_model(make: Make) {
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
    outbox_rows: 11,
    outbox_bytes: 60,
    outbox_dead: 5,
    owner_outbox_rows: 8,
    owner_outbox_bytes: 40,
    owner_webhooks: 2,
    webhooks: 3,
    queue: 4,
};

#[derive(Clone, Default)]
struct Model {
    now: i64,
    /// Guest, whether it ended, version.
    sessions: BTreeMap<u8, (u8, bool, u64)>,
    webhooks: BTreeMap<u8, Hook>,
    outbox: Vec<Delivery>,
    entries: u64,
}

#[derive(Clone, Default)]
struct Hook {
    name: u8,
    is_on: bool,
    version: u64,
    failing_since: Option<i64>,
    failures: u32,
    rest_until: Option<i64>,
    last_turn: Option<i64>,
}

#[derive(Clone)]
struct Delivery {
    id: String,
    webhook: u8,
    bytes: u64,
    /// `None` for a dead letter.
    due: Option<i64>,
    happened: i64,
    is_leased: bool,
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
                let found = found.map(|committed| {
                    let sent = [committed.deliveries, committed.dropped];
                    (committed.version, committed.entries.end, sent)
                });
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
                rest,
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
                        rest_until: rest.map(|seconds| at(model.now + seconds)),
                        disable_webhook: disable,
                        entries: vec![draft("g")],
                    })
                    .await;
                let expected = model.settle(lease, settled, rest, disable);
                assert_eq!(found.map_err(|error| error.kind()), expected, "{text}");
            }
        }
        model.compare(store, &text).await;
    }
    super::audit_log::verify(store).await;
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
                let mut webhook = webhook(&id.to_string(), owner(id), &name.to_string(), &["created"]);
                webhook.enabled = enabled;
                webhook.version =
                    self.webhooks.get(&id).map_or(0, |stored| stored.version) + u64::from(stale);
                Change::PutWebhook(webhook)
            }
            Changed::RemoveWebhook { id } => Change::RemoveWebhook(webhook_id(id)),
        });
        let events = events.iter().map(|(id, bytes)| {
            let mut event = event(&id.to_string(), owner(*id), "created");
            event.body = vec![b'x'; usize::from(*bytes)].into();
            event.at = at(self.now);
            event
        });
        Unit {
            change,
            entries: (0..entries).map(|_| draft("g")).collect(),
            events: events.collect(),
            ..Unit::default()
        }
    }

    fn commit(
        &mut self,
        change: Option<Changed>,
        entries: u8,
        events: &[(u8, u8)],
    ) -> Result<(Option<u64>, u64, [usize; 2]), StoreErrorKind> {
        let is_creation = matches!(change, Some(Changed::CreateSession { .. }));
        let version = change.map_or(Ok(None), |change| self.change(change))?;
        let (mut made, mut dropped) = (0, 0);
        for (id, bytes) in events {
            let on: Vec<u8> = self
                .webhooks
                .iter()
                .filter(|(webhook, stored)| owner(**webhook) == owner(*id) && stored.is_on)
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
                    is_leased: false,
                    fence: 0,
                    attempt: 0,
                });
                if !self.is_too_full(owner(webhook)) {
                    made += 1;
                } else if is_creation {
                    return Err(StoreErrorKind::OutboxFull);
                } else {
                    dropped += 1;
                    self.dead_letter(self.outbox.len() - 1);
                }
            }
        }
        self.entries += u64::from(entries);
        Ok((version, self.entries, [made, dropped]))
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
                let stored = self.webhooks.get(&id).cloned().unwrap_or_default();
                let own = || {
                    self.webhooks
                        .iter()
                        .filter(|(other, _)| owner(**other) == owner(id))
                };
                match (stored.version, stale) {
                    (0, true) => return Err(StoreErrorKind::NotFound),
                    (_, true) => return conflict(Conflict::VersionChanged),
                    (0, false)
                        if self.webhooks.len() as u64 >= LIMITS.webhooks
                            || own().count() as u64 >= LIMITS.owner_webhooks =>
                    {
                        return Err(StoreErrorKind::TooManyWebhooks);
                    }
                    _ => {}
                }
                if own().any(|(other, stored)| *other != id && stored.name == name) {
                    return conflict(Conflict::WebhookNameInUse);
                }
                let put = Hook {
                    name,
                    is_on: enabled,
                    version: stored.version + 1,
                    last_turn: stored.last_turn,
                    ..Hook::default()
                };
                self.webhooks.insert(id, put);
                if !enabled {
                    self.dead_letter_all(id);
                }
                Ok(Some(stored.version + 1))
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
        let all = SessionQuery::All(None);
        let sessions = store.sessions(all, 100).await.expect("readable");
        let mut sessions: Vec<_> = sessions
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
        sessions.sort_unstable();
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
                    (webhook.enabled, webhook.version),
                    (webhook.failing_since, webhook.failures, webhook.rest_until),
                )
            })
            .collect();
        let expected = self.webhooks.iter();
        let expected: Vec<_> = expected
            .map(|(id, hook)| {
                (
                    id.to_string(),
                    (hook.is_on, hook.version),
                    (hook.failing_since.map(at), hook.failures, hook.rest_until.map(at)),
                )
            })
            .collect();
        assert_eq!(webhooks, expected, "after {after}");
    }
}

/// Owner of a webhook or an event.
fn owner(id: u8) -> &'static str {
    if id.is_multiple_of(2) { "o" } else { "p" }
}

fn webhook_id(id: u8) -> WebhookId {
    id.to_string().parse().expect("a valid id")
}
